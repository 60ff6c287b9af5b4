//! A value → YAML that means the same to every reader, whichever version of YAML it knows.

use std::fmt::Write;

use serde_json::{Map, Value};

use super::scalar;

/// The value in block style, as `kubectl get -o yaml` writes it.
pub(super) fn yaml(value: &Value) -> String {
    let mut out = String::new();
    match value {
        Value::Object(object) if !object.is_empty() => mapping(object, 0, &mut out),
        Value::Array(list) if !list.is_empty() => sequence(list, 0, &mut out),
        leaf => {
            write_leaf(leaf, 0, &mut out);
            out.push('\n');
        }
    }
    out
}

/// Writes entries; the first where the line stands, the others indented.
fn mapping(object: &Map<String, Value>, indent: usize, out: &mut String) {
    for (index, (key, value)) in object.iter().enumerate() {
        if index > 0 {
            pad(indent, out);
        }
        let key = word(key);
        // A longer one is no key to a parser without its question mark.
        if key.len() > 1000 {
            out.push_str("? ");
            out.push_str(&key);
            out.push('\n');
            pad(indent, out);
        } else {
            out.push_str(&key);
        }
        out.push(':');
        match value {
            Value::Object(object) if !object.is_empty() => {
                out.push('\n');
                pad(indent + 2, out);
                mapping(object, indent + 2, out);
            }
            Value::Array(list) if !list.is_empty() => {
                out.push('\n');
                pad(indent, out);
                sequence(list, indent, out);
            }
            leaf => {
                out.push(' ');
                write_leaf(leaf, indent + 2, out);
                out.push('\n');
            }
        }
    }
}

fn sequence(list: &[Value], indent: usize, out: &mut String) {
    for (index, element) in list.iter().enumerate() {
        if index > 0 {
            pad(indent, out);
        }
        out.push_str("- ");
        match element {
            Value::Object(object) if !object.is_empty() => mapping(object, indent + 2, out),
            Value::Array(list) if !list.is_empty() => sequence(list, indent + 2, out),
            leaf => {
                write_leaf(leaf, indent + 2, out);
                out.push('\n');
            }
        }
    }
}

fn pad(indent: usize, out: &mut String) {
    out.extend(std::iter::repeat_n(' ', indent));
}

fn write_leaf(value: &Value, indent: usize, out: &mut String) {
    match value {
        Value::String(text) if is_block(text) => block(text, indent, out),
        Value::String(text) => out.push_str(&word(text)),
        // Empty lists and objects, numbers, booleans and null are in YAML what they are in JSON.
        other => out.push_str(&other.to_string()),
    }
}

/// Whether a text of several lines can be written as it is.
fn is_block(text: &str) -> bool {
    let body = text.strip_suffix('\n').unwrap_or(text);
    body.contains('\n')
        && !body.starts_with([' ', '\n', '\t'])
        && !body.ends_with('\n')
        && text.chars().all(|sign| sign == '\n' || is_printable(sign))
}

fn block(text: &str, indent: usize, out: &mut String) {
    out.push_str(if text.ends_with('\n') { "|" } else { "|-" });
    for line in text.strip_suffix('\n').unwrap_or(text).split('\n') {
        out.push('\n');
        if !line.is_empty() {
            pad(indent, out);
            out.push_str(line);
        }
    }
}

/// A text in one line, quoted if it could be taken for something else.
fn word(text: &str) -> String {
    if is_plain(text) {
        text.to_owned()
    } else if text.chars().all(|sign| is_printable(sign) && sign != '\t')
        && text.contains(['"', '\\'])
    {
        format!("'{}'", text.replace('\'', "''"))
    } else {
        double_quoted(text)
    }
}

fn is_plain(text: &str) -> bool {
    let sign = |sign: char| sign.is_ascii_alphanumeric() || " _-./@$(),+=:%*".contains(sign);
    let first = |sign: char| sign.is_ascii_alphabetic() || "_/$(".contains(sign);
    is_quantity(text)
        || text.starts_with(first)
            && text.chars().all(sign)
            && !text.ends_with([' ', ':'])
            && !text.contains(": ")
            && matches!(scalar::resolve(text), Some(Value::String(_)))
}

/// Whether a text is a number with one of Kubernetes' units, which no YAML takes for a number.
fn is_quantity(text: &str) -> bool {
    const UNITS: [&str; 9] = ["m", "k", "M", "G", "T", "Ki", "Mi", "Gi", "Ti"];
    let unit = text.trim_start_matches(|sign: char| sign.is_ascii_digit());
    unit.len() < text.len() && UNITS.contains(&unit)
}

fn double_quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for sign in text.chars() {
        match sign {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            sign if is_printable(sign) => out.push(sign),
            sign => {
                write!(out, "\\U{:08X}", u32::from(sign)).expect("a String takes all");
            }
        }
    }
    out.push('"');
    out
}

/// What every reader takes as it is. Line separators and the byte order mark are printable to YAML,
/// but not to all who edit it.
fn is_printable(sign: char) -> bool {
    match sign {
        '\t' => true,
        '\u{feff}' | '\u{2028}' | '\u{2029}' | '\u{fffe}' | '\u{ffff}' => false,
        sign => !sign.is_control(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::manifest::yaml::read;

    #[test]
    fn objects_and_lists_are_blocks() {
        let value = json!({
            "a": { "b": [1, { "c": "x", "d": [] }, [2, [3]]], "e": {} },
            "f": null,
            "g": [{ "h": { "i": true } }],
        });
        assert_eq!(
            yaml(&value),
            "a:\n  b:\n  - 1\n  - c: x\n    d: []\n  - - 2\n    - - 3\n  e: {}\nf: null\ng:\n\
             - h:\n    i: true\n"
        );
        assert_eq!(read(&yaml(&value)), Ok(value));
    }

    #[test]
    fn only_what_cannot_be_mistaken_is_unquoted() {
        for (text, expected) in [
            ("fairlead/proxy:0.1.0", "fairlead/proxy:0.1.0"),
            ("$(POD_NAMESPACE).svc", "$(POD_NAMESPACE).svc"),
            ("sidecar.istio.io/inject", "sidecar.istio.io/inject"),
            ("512Mi", "512Mi"),
            ("50m", "50m"),
            ("1E", "\"1E\""),
            ("Mi", "Mi"),
            ("yes", "\"yes\""),
            ("0644", "\"0644\""),
            ("1e3", "\"1e3\""),
            ("10.0.0.0/8", "\"10.0.0.0/8\""),
            ("2026-01-02", "\"2026-01-02\""),
            ("12:30", "\"12:30\""),
            ("null", "\"null\""),
            ("", "\"\""),
            ("*", "\"*\""),
            ("-p", "\"-p\""),
            ("a: b", "\"a: b\""),
            ("a:", "\"a:\""),
            ("a #b", "\"a #b\""),
            ("{\"a\":1}", "'{\"a\":1}'"),
            ("it's \"so\"", "'it''s \"so\"'"),
            ("a\tb", "\"a\\tb\""),
            (
                "\u{1}\u{85}\u{feff}",
                "\"\\U00000001\\U00000085\\U0000FEFF\"",
            ),
        ] {
            assert_eq!(word(text), expected);
            assert_eq!(read(&format!("a: {expected}")), Ok(json!({ "a": text })));
        }
    }

    #[test]
    fn texts_of_several_lines_are_written_as_they_are() {
        for text in [
            "a\nb\n",
            "a\nb",
            "a\n\n  b\n",
            "a\nb\n\n",
            "\na\n",
            " a\nb",
            "a \nb\t\n# c\n--- d\n---\n",
            "a\r\nb\n",
            "\n",
            "a\n",
        ] {
            let value = json!({ "k": { "a": text, "b": [text] } });
            assert_eq!(read(&yaml(&value)), Ok(value), "{}", yaml(&json!(text)));
        }
        assert_eq!(yaml(&json!({ "a": "b\nc\n" })), "a: |\n  b\n  c\n");
        assert_eq!(yaml(&json!({ "a": ["b\nc"] })), "a:\n- |-\n  b\n  c\n");
    }

    #[test]
    fn long_keys_are_marked() {
        let value = json!({ "a": { "k".repeat(2000): [1], "l".repeat(2000): { "x": "y" } } });
        assert_eq!(read(&yaml(&value)), Ok(value));
    }
}

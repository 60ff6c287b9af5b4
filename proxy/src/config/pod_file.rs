//! The downward API's files of labels and annotations: `key="value"` a line, quoted as in Go.

use std::collections::BTreeMap;

/// Reads all lines; second come those that are wrong.
pub(super) fn read(text: &str) -> (BTreeMap<String, String>, Vec<&str>) {
    let mut map = BTreeMap::new();
    let mut wrong = Vec::new();
    for line in text.lines().filter(|line| !line.is_empty()) {
        let entry = line
            .split_once('=')
            .and_then(|(key, quoted)| Some((key, unquote(quoted)?)));
        match entry {
            Some((key, value)) => {
                map.insert(key.to_owned(), value);
            }
            None => wrong.push(line),
        }
    }
    (map, wrong)
}

/// Go's escapes; JSON's are almost the same, but lack those of control characters.
fn unquote(quoted: &str) -> Option<String> {
    let inner = quoted.strip_prefix('"')?.strip_suffix('"')?;
    let mut text = String::with_capacity(inner.len());
    let mut characters = inner.chars();
    while let Some(character) = characters.next() {
        text.push(match character {
            '\\' => escaped(&mut characters)?,
            _ => character,
        });
    }
    Some(text)
}

/// What follows a backslash.
fn escaped(characters: &mut impl Iterator<Item = char>) -> Option<char> {
    let digits = match characters.next()? {
        'a' => return Some('\x07'),
        'b' => return Some('\x08'),
        'f' => return Some('\x0c'),
        'n' => return Some('\n'),
        'r' => return Some('\r'),
        't' => return Some('\t'),
        'v' => return Some('\x0b'),
        'x' => 2,
        'u' => 4,
        'U' => 8,
        other => return Some(other),
    };
    let code: String = characters.take(digits).collect();
    if code.len() != digits {
        return None;
    }
    char::from_u32(u32::from_str_radix(&code, 16).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(line: &str, expected: Option<(&str, &str)>) {
        let (map, wrong) = read(line);
        match expected {
            Some((key, value)) => {
                assert_eq!(map.get(key).map(String::as_str), Some(value));
                assert!(wrong.is_empty());
            }
            None => assert_eq!((map.len(), wrong), (0, vec![line])),
        }
    }

    #[test]
    fn values_are_quoted_as_in_go() {
        check(r#"app="cart""#, Some(("app", "cart")));
        check(r#"a/b="""#, Some(("a/b", "")));
        check(r#"a="x=\"y\"""#, Some(("a", r#"x="y""#)));
        check(r#"a="\\n \t""#, Some(("a", "\\n \t")));
        check(r#"a="\x01\u00e9\U0001f600""#, Some(("a", "\x01é😀")));
    }

    #[test]
    fn lines_without_quotes_or_with_half_an_escape_are_wrong() {
        for line in [
            "app",
            "app=cart",
            r#"app="cart"#,
            r#"a="\u12""#,
            r#"a="\ud800""#,
        ] {
            check(line, None);
        }
    }
}

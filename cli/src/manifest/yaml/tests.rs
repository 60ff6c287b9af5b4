use serde_json::json;

use super::*;

#[track_caller]
fn check(text: &str, expected: &Value) {
    assert_eq!(read(text).as_ref(), Ok(expected), "{text}");
}

#[track_caller]
fn check_fault(text: &str, line: usize, part: &str) {
    let error = read(text).unwrap_err();
    assert_eq!(error.line, line, "{error:?}");
    assert!(error.reason.contains(part), "{part} in {error:?}");
}

#[test]
fn a_quoted_word_is_text() {
    check("a: yes", &json!({ "a": true }));
    check("a: 'yes'", &json!({ "a": "yes" }));
    check("a: \"0644\"", &json!({ "a": "0644" }));
    check("a: 0644", &json!({ "a": 420 }));
    check("a: !!str 12", &json!({ "a": "12" }));
    check("a: ! 12", &json!({ "a": "12" }));
    check("a: !!int '12'", &json!({ "a": 12 }));
    check("a: !!float 1", &json!({ "a": 1 }));
    check("a: |\n  yes\n", &json!({ "a": "yes\n" }));
    check("a: >-\n  b\n  c\n", &json!({ "a": "b c" }));
}

#[test]
fn a_block_ends_as_the_input_does() {
    for (text, expected) in [
        ("a: |\n  b\n", "b\n"),
        ("a: |\n  b", "b"),
        ("a: |+\n  b", "b"),
        ("a: |-\n  b", "b"),
        ("a: >\n  b\n  c", "b c"),
        ("a: |\r\n  b\r\n  c", "b\nc"),
        // The last line is none of the block's.
        ("a: |\n  b\n  ", "b\n"),
        ("a: |\n  b\n# c", "b\n"),
        ("a: |\n  b\n...", "b\n"),
    ] {
        check(text, &json!({ "a": expected }));
    }
    check("a: |\n  b\nc: d", &json!({ "a": "b\n", "c": "d" }));
    check(
        "a:\n- |\n  b\n- >\n  \u{e9}",
        &json!({ "a": ["b\n", "\u{e9}"] }),
    );
}

#[test]
fn nothing_is_null() {
    for text in ["", "# a\n", "---\n", "---\n# a\n...\n", "\u{feff}"] {
        check(text, &Value::Null);
    }
}

#[test]
fn keys_become_text() {
    check(
        "1: a\ntrue: b\n'on': c",
        &json!({ "1": "a", "true": "b", "on": "c" }),
    );
}

#[test]
fn aliases_repeat_and_merge() {
    check(
        "a: &a { x: 1, y: 2 }\nb: *a\nc: { <<: *a, y: 3 }\nd: { <<: [{ x: 5 }, *a] }\ne: { '<<': 1 }",
        &json!({
            "a": { "x": 1, "true": 2 },
            "b": { "x": 1, "true": 2 },
            "c": { "x": 1, "true": 3 },
            "d": { "x": 5, "true": 2 },
            "e": { "<<": 1 },
        }),
    );
}

#[test]
fn directives_and_markers_are_no_content() {
    check(
        "%YAML 1.2\n%TAG !e! tag:yaml.org,2002:\n---\na: !e!str 1\n...\n",
        &json!({ "a": "1" }),
    );
    check("--- {a: 1}\n", &json!({ "a": 1 }));
}

#[test]
fn faults_have_their_line() {
    for (text, line, part) in [
        ("a: 1\nb: [1", 2, ""),
        ("a: 1\n\tb: 2", 1, "tab"),
        ("a:\n\t- 1", 2, ""),
        ("a: 1\n b: 2", 2, ""),
        ("a: 'x", 1, ""),
        ("a: 1\nb: 2\na: 3", 3, "the key \"a\" is there twice"),
        ("a: 1\nb: *x", 2, ""),
        ("a: &a [*a]", 1, "within what it stands for"),
        ("a: 1\n? [b]\n: 2", 2, "a list is a key"),
        ("a: 1\n~: 2", 2, "null is a key"),
        ("a: 1\nb: !Ref x", 2, "the tag !Ref"),
        ("a: !x [1]", 1, "the tag !x"),
        ("a: !!int x", 1, "\"x\" is no int"),
        ("a: .nan", 1, ".nan"),
        ("a:\n  <<: 1", 2, "<< takes"),
    ] {
        check_fault(text, line, part);
    }
}

#[test]
fn aliases_cannot_fill_the_memory() {
    let mut bomb = "a0: &a0 [xxxxxxxxxx, xxxxxxxxxx]\n".to_owned();
    for n in 1..40 {
        let m = n - 1;
        bomb += &format!("a{n}: &a{n} [*a{m}, *a{m}, *a{m}, *a{m}]\n");
    }
    let error = read(&bomb).unwrap_err();
    assert!(error.reason.contains("too large"), "{error:?}");
}

#[test]
fn depth_is_limited() {
    let deep = |n: usize| format!("{}{}", "[".repeat(n), "]".repeat(n));
    assert!(read(&deep(200)).is_ok());
    assert!(read(&deep(100_000)).is_err());
    let mut aliases = "a0: &a0 [1]\n".to_owned();
    for n in 1..400 {
        aliases += &format!("a{n}: &a{n} [*a{}]\n", n - 1);
    }
    let error = read(&aliases).unwrap_err();
    assert!(error.reason.contains("too deep"), "{error:?}");
}

use serde_json::json;

use super::*;

/// The manifest written once more, with `changed` in place of the documents that say `change: me`.
#[track_caller]
fn rewritten(text: &str, changed: &Value) -> String {
    let manifest = Manifest::parse(text).unwrap();
    let mut out = String::new();
    for mut document in manifest.documents {
        let changes = document.value == json!({ "change": "me" });
        if changes {
            document.value = changed.clone();
        }
        document.write(changes, &mut out);
    }
    out
}

#[test]
fn unchanged_documents_come_through_byte_by_byte() {
    for text in [
        "",
        "\n\n# nothing\n",
        "a:   1 # x\n\n---\n\n# y\nb: {c: 1}\n---\n---\n...\n",
        "\u{feff}a: 1\r\n---\r\nb: 2",
        "{\"a\": 1}\n\n{\"b\" :2}  ",
        "---\n{\"a\": 1}\n---\n# z\n{b: 1} # c\n",
        "%YAML 1.1\n--- &a {x: 1}\n",
    ] {
        assert_eq!(rewritten(text, &Value::Null), text);
    }
}

#[test]
fn a_changed_document_keeps_what_stands_before_it() {
    let new = json!({ "b": [2] });
    for (text, expected) in [
        ("change: me", "b:\n- 2\n"),
        (
            "# x\n---\n# y\nchange: me # z\n---\na: 1",
            "# x\n---\n# y\nb:\n- 2\n---\na: 1",
        ),
        (
            "--- {change: me}\n...\n%YAML 1.2\n---\na: 1\n",
            "---\nb:\n- 2\n...\n%YAML 1.2\n---\na: 1\n",
        ),
        ("{change: me}\n", "b:\n- 2\n"),
        (
            "{\"change\": \"me\"}\n{\"a\":1}\n",
            "{\"b\":[2]}\n{\"a\":1}\n",
        ),
        ("{\n\"change\": \"me\"}", "{\n  \"b\": [\n    2\n  ]\n}"),
        (
            "---\n{\"a\":1} {\"change\":\"me\"} \n---\na: 1\n",
            "---\n{\"a\":1} {\"b\":[2]} \n---\na: 1\n",
        ),
    ] {
        assert_eq!(rewritten(text, &new), expected);
    }
}

#[test]
fn every_document_that_cannot_be_read_is_told_with_its_line() {
    let errors = |text: &str| -> Vec<String> {
        let errors = Manifest::parse(text).unwrap_err();
        errors.iter().map(|error| error.place.to_string()).collect()
    };
    assert_eq!(
        errors("a: 1\n---\nb: [\n---\nc: 1\n---\n# x\nd:\n\t- 1\n"),
        ["document 2, line 3", "document 4, line 9"]
    );
    assert_eq!(
        errors("---\n# x\n{\"a\": 1}\n{\"a\":\n1,}\n"),
        ["document 1, line 5"]
    );
    assert_eq!(errors("a: 1\n---\n{a: 1, a: 2}\n"), ["document 2, line 3"]);
}

#[test]
fn the_fault_of_broken_json_is_that_of_json() {
    let error = &Manifest::parse("{\"a\": 1,\n \"b\": [}\n").unwrap_err()[0];
    assert_eq!(error.to_string(), "document 1, line 2: expected value");
}

#[test]
fn documents_know_where_they_stand() {
    let text = "# x\n---\na: 1\n---\n\n{\"b\": 1}\n{\n\"c\": 1}\n {\"d\": 1}\n";
    let manifest = Manifest::parse(text).unwrap();
    let places: Vec<(usize, usize)> = manifest
        .documents
        .iter()
        .map(|document| (document.place.document, document.place.line))
        .collect();
    assert_eq!(places, [(1, 3), (2, 6), (3, 7), (4, 9)]);
}

#[test]
fn an_input_of_comments_says_nothing() {
    for text in ["", "# a\n---\n---\n", "---\n", " \n"] {
        assert!(Manifest::parse(text).unwrap().is_empty(), "{text}");
    }
    assert!(!Manifest::parse("a: 1").unwrap().is_empty());
}

#[test]
fn whatever_is_cut_off_or_replaced_is_read_or_told_but_never_changed() {
    let text = "\u{feff}# a\n%YAML 1.2\n---\n&a b: [1, *a, {c: 'd', \"e\": !!str f}]\n...\n---\n\
                {\"g\": [1.5e3, null]}\n{\"h\":\"\\u00e9\"}\n---\r\ni: |-\r\n  j\n\n  k\nl: >\n m\n\
                ? n\n: - o\n  -\tp\n<<: {q: r}\n";
    let signs = [
        '\n', '\t', '-', '{', '"', '&', '*', ':', '\u{0}', 'é', '#', '%',
    ];
    for (at, _) in text.char_indices() {
        let (before, after) = text.split_at(at);
        let rest = after
            .chars()
            .next()
            .map_or("", |sign| &after[sign.len_utf8()..]);
        let replaced = signs.iter().map(|sign| format!("{before}{sign}{rest}"));
        for input in replaced.chain([before.to_owned(), after.to_owned()]) {
            if let Ok(manifest) = Manifest::parse(&input) {
                let mut out = String::new();
                for document in &manifest.documents {
                    document.write(false, &mut out);
                }
                assert_eq!(out, input);
            }
        }
    }
}

//! What cannot be read is told with its place, and nothing is printed.

use std::fs;

use super::{INJECT, UNINJECT, corpus, fairlead, tests};

const POD: &str = "apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nspec: {containers: []}\n";

/// Both commands refuse it, with these words.
#[track_caller]
fn check(input: &[u8], parts: &[&str]) {
    for command in [INJECT.as_slice(), UNINJECT.as_slice()] {
        check_command(command, input, parts);
    }
}

#[track_caller]
fn check_command(command: &[&str], input: &[u8], parts: &[&str]) {
    let output = fairlead(command, input);
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(output.stdout.is_empty());
    for part in parts {
        assert!(said.contains(part), "{part} in {said}");
    }
    let lines = said.lines();
    assert!(lines.clone().count() <= 12, "{said}");
}

#[test]
fn broken_yaml_has_its_document_and_line() {
    for (text, parts) in [
        (
            format!("{POD}---\na: [1\n"),
            ["standard input: document 2, line 6:", "unclosed bracket"],
        ),
        (
            format!("{POD}---\na: 1\nb:\n\t- c\n"),
            ["document 2, line 8:", "tab"],
        ),
        (
            format!("{POD}---\na: 1\n b: 2\n"),
            ["document 2, line 7:", "mapping"],
        ),
        (
            format!("{POD}metadata: {{}}\n"),
            ["document 1, line 5:", "the key \"metadata\" is there twice"],
        ),
        (
            format!("{POD}---\na: *none\n"),
            ["document 2, line 6:", "anchor"],
        ),
        (
            "{\"a\": 1,\n\"a\": 2}\n".to_owned(),
            ["document 1, line 2:", "the key \"a\" is there twice"],
        ),
        (
            "{\"kind\": \"Pod\"\n\"a\": 2}\n".to_owned(),
            ["document 1, line 2:", "expected `,` or `}`"],
        ),
    ] {
        check(text.as_bytes(), &parts);
    }
}

#[test]
fn every_broken_document_is_told() {
    let text = format!("a: [\n---\n{POD}---\nb: {{\n---\nc: 'd\n");
    check(
        text.as_bytes(),
        &["document 1, line", "document 3, line", "document 4, line"],
    );
}

#[test]
fn an_empty_input_is_no_manifest() {
    for text in ["", "\n", "# only a comment\n", "---\n---\n"] {
        check(text.as_bytes(), &["standard input has no document"]);
    }
}

#[test]
fn text_that_is_not_utf8_is_told_with_its_place() {
    check(b"a: \xff\n", &["standard input is not UTF-8", "index 3"]);
    let utf16: Vec<u8> = POD.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let with_mark = [&[0xff, 0xfe], utf16.as_slice()].concat();
    check(&with_mark, &["standard input is not UTF-8"]);
}

#[test]
fn what_is_no_object_of_kubernetes_is_told() {
    for (text, part) in [
        (
            "just words\n",
            "the document is not an object of Kubernetes, but text",
        ),
        ("- a\n", "but a list"),
        ("12\n", "but a number"),
        ("apiVersion: v1\n", "the document has no kind"),
        ("kind: Pod\n", "the document has no apiVersion"),
        ("kind: 1\napiVersion: v1\n", "the document has no kind"),
        (
            "{kind: List, apiVersion: v1, items: [{kind: Pod}]}\n",
            "items[0] of the List has no apiVersion",
        ),
    ] {
        check(text.as_bytes(), &[part, "document 1, line 1"]);
    }
}

#[test]
fn kinds_that_nobody_knows_come_through() {
    let text = "kind: Anything\napiVersion: example.org/v1 # odd\nspec: {template: 1}\n";
    assert_eq!(super::through(&INJECT, text), text);
}

#[test]
fn a_pod_that_is_refused_keeps_everything_from_being_printed() {
    for file in corpus("refused") {
        check_command(&INJECT, &fs::read(file).unwrap(), &["nothing is printed"]);
    }
}

#[test]
fn what_was_edited_after_the_injection_is_told() {
    for (annotation, part) in [
        ("sidecar.istio.io/status: '{'", "not the injector's JSON"),
        (
            "sidecar.istio.io/status: '{}', fairlead.io/uninject: '{}'",
            "not a JSON Patch",
        ),
    ] {
        let text = POD.replace(
            "{name: a}",
            &format!("{{name: a, annotations: {{{annotation}}}}}"),
        );
        check(
            text.as_bytes(),
            &["Pod/a: refused", part, "nothing is printed"],
        );
    }
}

#[test]
fn files_that_are_none_are_told() {
    let directory = tests();
    let directory = directory.to_str().unwrap();
    for (file, parts) in [
        ("/none.yaml", ["read /none.yaml", "No such file"]),
        (directory, [directory, "is a directory; name one file"]),
    ] {
        check_command(&["inject", "--defaults", "-f", file], b"", &parts);
        check_command(&["uninject", "-f", file], b"", &parts);
    }
}

#[test]
fn a_few_lines_of_aliases_cannot_fill_the_memory() {
    let mut text = "a0: &a0 [x, x, x, x, x, x, x, x]\n".to_owned();
    for n in 1..30 {
        let aliases = vec![format!("*a{}", n - 1); 8].join(", ");
        text += &format!("a{n}: &a{n} [{aliases}]\n");
    }
    check(
        text.as_bytes(),
        &["document 1, line", "aliases make the document too large"],
    );
    let deep = "[".repeat(100_000);
    check(deep.as_bytes(), &["document 1, line 1"]);
}

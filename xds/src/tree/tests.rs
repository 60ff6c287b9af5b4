use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::*;

fn map(entries: &[(&str, Node)]) -> Node {
    let entries = entries.iter();
    Node::Map(
        entries
            .map(|(key, node)| ((*key).to_owned(), node.clone()))
            .collect(),
    )
}

fn string(text: &str) -> Node {
    Node::String(text.to_owned())
}

#[track_caller]
fn check(text: &str, expected: &Node) {
    assert_eq!(&yaml(text.as_bytes()).expect("YAML"), expected);
}

#[track_caller]
fn refused(tree: Result<Node, TreeError>, expected: &str) {
    let error = tree.expect_err("it has a fault").to_string();
    assert!(error.contains(expected), "{error:?} lacks {expected:?}");
}

#[test]
fn yaml_becomes_a_tree() {
    check("a: 1", &map(&[("a", Node::Integer(1))]));
    check("a: '1'", &map(&[("a", string("1"))]));
    check("1: true", &map(&[("1", Node::Bool(true))]));
    check("a: ~", &map(&[("a", Node::Null)]));
    check("a: 0.25s", &map(&[("a", string("0.25s"))]));
    check("a: 0x10", &map(&[("a", Node::Integer(16))]));
    check("- 1.5\n- {}", &Node::List(vec![Node::Float(1.5), map(&[])]));
    check(
        "a: &one {b: 1}\nc: *one",
        &map(&[
            ("a", map(&[("b", Node::Integer(1))])),
            ("c", map(&[("b", Node::Integer(1))])),
        ]),
    );
    check("", &Node::Null);
}

#[test]
fn a_key_that_is_given_twice_stays_twice() {
    let twice = map(&[("a", Node::Integer(1)), ("a", Node::Integer(2))]);
    check("a: 1\na: 2", &twice);
    assert_eq!(json(br#"{"a":1,"a":2}"#).expect("JSON"), twice);
}

#[test]
fn a_fault_of_the_syntax_is_told_with_line_and_column() {
    refused(yaml(b"a: 1\n b: 2"), "line 2 column 3");
    refused(yaml(b"a: [1"), "line 2 column 1");
    refused(json(b"{\"a\": 1,\n}"), "line 2 column 1");
    refused(json(b"{} {}"), "line 1 column 4");
    refused(yaml(b"a: 1\n---\nb: 2"), "more than one document");
    refused(yaml(b"a: !secret x"), "a value without a tag");
    refused(yaml(b"a: \xff"), "UTF-8 at byte 3");
}

#[test]
fn nesting_and_aliases_are_bounded() {
    let deep = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
    assert!(json(deep(DEPTH).as_bytes()).is_ok());
    refused(json(deep(DEPTH + 1).as_bytes()), "deeper than 100 levels");
    refused(yaml(deep(DEPTH + 1).as_bytes()), "deeper than 100 levels");
    let mut laughs = "a0: &a0 [ha, ha, ha, ha, ha, ha, ha, ha, ha, ha]\n".to_owned();
    for level in 1..20 {
        let alias = format!("*a{}", level - 1);
        let aliases = [&*alias; 10].join(", ");
        laughs.push_str(&format!("a{level}: &a{level} [{aliases}]\n"));
    }
    refused(yaml(laughs.as_bytes()), "repetition limit");
    // Each alias is named once; it is their length that multiplies.
    let long = "x".repeat(1 << 20);
    let aliases = vec!["*a"; 300].join(", ");
    refused(
        yaml(format!("[&a {long}, {aliases}]").as_bytes()),
        "too large",
    );
}

#[test]
fn what_nests_far_too_deep_is_refused_before_it_is_read() {
    const LEVELS: usize = 50_000;
    let closed = |open: &str, close: &str| open.repeat(LEVELS) + &close.repeat(LEVELS);
    for (text, place) in [
        (closed("[", "]"), "line 1 column 101"),
        (closed("{a: ", "}"), "line 1 column 401"),
        (closed("[a: ", "]"), "line 1 column "),
        (closed("{\"]\": ", "}"), "line 1 column "),
        (closed("{']''}': \n", "}"), "line 101 column 1"),
        (closed("[ # ]]\n", "]"), "line 101 column 1"),
        (
            format!("a: it's\nb: {}", closed("[", "]")),
            "line 2 column ",
        ),
        ("{a: ".repeat(LEVELS), "line 1 column 401"),
        ("- ".repeat(LEVELS), "line 1 column "),
    ] {
        let started = Instant::now();
        let tree = yaml(text.as_bytes());
        let took = started.elapsed();
        let shown = Quoted(&text);
        let error = tree.expect_err("it is too deep").to_string();
        assert!(
            error.contains("deeper than 100 levels") && error.contains(place),
            "{shown}: {error}"
        );
        // Read as a whole, some take minutes.
        assert!(took < Duration::from_secs(10), "{shown}: {took:?}");
    }
}

#[test]
fn brackets_that_are_text_are_no_nesting() {
    let many = "[{".repeat(2_000);
    let lines = "  [\n".repeat(2_000);
    for text in [
        format!("a: '{many}'\nb: 1"),
        format!("a: \"{many}\"\nb: 1"),
        format!("a: x{many}\nb: 1"),
        format!("a: x {many}\nb: 1"),
        format!("a: |\n  x {many}\nb: 1"),
        format!("a: |\n{lines}b: 1"),
        format!("a: 1 # {many}\nb: 1"),
        format!("a: {{b: '{many}', c: \"\\\"{many}\"}}\nb: 1"),
        format!("a: [{}]\nb: 1", "[[]], {a: {}}, ".repeat(2_000)),
    ] {
        let tree = yaml(text.as_bytes());
        let shown = Quoted(&text);
        let Ok(Node::Map(entries)) = tree else {
            panic!("{shown}: {tree:?}");
        };
        assert_eq!(entries[1], ("b".to_owned(), Node::Integer(1)), "{shown}");
    }
}

#[test]
fn a_long_text_is_cut_where_it_is_named() {
    assert_eq!(Quoted("a\nb").to_string(), "'a\\nb'");
    let long = "ä".repeat(1000);
    assert_eq!(Quoted(&long).to_string().chars().count(), 63);
}

proptest! {
    #[test]
    fn any_bytes_are_read_without_a_panic(bytes: Vec<u8>) {
        let _ = yaml(&bytes);
        let _ = json(&bytes);
    }

    #[test]
    fn any_text_that_looks_like_yaml_is_read_without_a_panic(
        text in "([-?:,{}&*!|>'\"%@`# \n\\[\\]]|[a-c]|[0-9]){0,60}"
    ) {
        let _ = yaml(text.as_bytes());
        let _ = json(text.as_bytes());
    }
}

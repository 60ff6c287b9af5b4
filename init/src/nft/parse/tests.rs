use serde_json::{Value, json};

use super::{ListingError, parse};
use crate::{
    nft::{Hook, count, matches},
    random::Random,
    rules::{Chain, Family, Is, Match, Ports, Protocol, Rule, State, Table, Verdict},
};

/// A rule's expressions, read in the table of this name.
#[track_caller]
#[expect(clippy::needless_pass_by_value, reason = "written in place")]
fn read_in(table: &str, expressions: Value) -> Rule {
    let listing = json!({"nftables": [
        {"metainfo": {"json_schema_version": 1}},
        {"table": {"family": "inet", "name": table, "handle": 1}},
        {"chain": {"family": "inet", "table": table, "name": "c", "handle": 1}},
        {"rule": {"family": "inet", "table": table, "chain": "c", "handle": 2, "expr": expressions}},
    ]});
    let listed = parse(&listing.to_string()).unwrap();
    listed.table("inet", table).unwrap().chains[0].rules[0].clone()
}

fn read(expressions: Value) -> Rule {
    read_in("istio-proxy-nat", expressions)
}

#[expect(clippy::needless_pass_by_value, reason = "written in place")]
fn comparison(operator: &str, left: Value, right: Value) -> Value {
    json!({"match": {"op": operator, "left": left, "right": right}})
}

fn meta(key: &str) -> Value {
    json!({"meta": {"key": key}})
}

fn ct(key: &str) -> Value {
    json!({"ct": {"key": key}})
}

fn payload(protocol: &str, field: &str) -> Value {
    json!({"payload": {"protocol": protocol, "field": field}})
}

#[test]
fn each_condition_of_ours_is_known() {
    let cidr = |text: &str| text.parse().unwrap();
    let ports = |first, last| Ports { first, last };
    for (operator, left, right, expected) in [
        (
            "==",
            meta("nfproto"),
            json!("ipv4"),
            Match::Family(Family::Ipv4),
        ),
        (
            "==",
            meta("nfproto"),
            json!(10),
            Match::Family(Family::Ipv6),
        ),
        (
            "!=",
            meta("nfproto"),
            json!(10),
            Match::Family(Family::Ipv4),
        ),
        (
            "==",
            meta("l4proto"),
            json!("tcp"),
            Match::Protocol(Is::Equal(Protocol::Tcp)),
        ),
        (
            "!=",
            meta("l4proto"),
            json!(17),
            Match::Protocol(Is::Not(Protocol::Udp)),
        ),
        (
            "==",
            meta("iifname"),
            json!("lo"),
            Match::InInterface(Is::Equal("lo".into())),
        ),
        (
            "!=",
            meta("oif"),
            json!("lo"),
            Match::OutInterface(Is::Not("lo".into())),
        ),
        ("!=", meta("skuid"), json!(1337), Match::Uid(Is::Not(1337))),
        (
            "==",
            meta("skgid"),
            json!(4_294_967_295_u32),
            Match::Gid(Is::Equal(u32::MAX)),
        ),
        (
            "==",
            meta("mark"),
            json!(1337),
            Match::Mark(Is::Equal(1337)),
        ),
        (
            "!=",
            ct("mark"),
            json!(1337),
            Match::ConnectionMark(Is::Not(1337)),
        ),
        (
            "in",
            ct("state"),
            json!("invalid"),
            Match::State(Is::Equal(vec![State::Invalid])),
        ),
        (
            "in",
            ct("state"),
            json!(["established", "related"]),
            Match::State(Is::Equal(vec![State::Related, State::Established])),
        ),
        (
            "!=",
            ct("state"),
            json!({"set": [64, 8, 1]}),
            Match::State(Is::Not(vec![State::Invalid, State::New, State::Untracked])),
        ),
        (
            "==",
            payload("tcp", "dport"),
            json!(80),
            Match::DestinationPort(Protocol::Tcp, Is::Equal(vec![80.into()])),
        ),
        (
            "!=",
            payload("udp", "sport"),
            json!({"set": [{"range": [80, 90]}, 53]}),
            Match::SourcePort(Protocol::Udp, Is::Not(vec![53.into(), ports(80, 90)])),
        ),
        (
            "==",
            payload("ip", "saddr"),
            json!("127.0.0.6"),
            Match::Source(Is::Equal(cidr("127.0.0.6/32"))),
        ),
        (
            "!=",
            payload("ip6", "daddr"),
            json!({"prefix": {"addr": "fd00::", "len": 8}}),
            Match::Destination(Is::Not(cidr("fd00::/8"))),
        ),
        (
            "!=",
            json!({"&": [payload("tcp", "flags"), [1, 2, 4, 16]]}),
            json!(2),
            Match::Syn(Is::Not(())),
        ),
        (
            "==",
            json!({"&": [payload("tcp", "flags"), {"|": [{"|": [{"|": ["fin", "syn"]}, "rst"]}, "ack"]}]}),
            json!("syn"),
            Match::Syn(Is::Equal(())),
        ),
    ] {
        let rule = read(json!([comparison(operator, left, right), {"accept": null}]));
        assert_eq!(rule.matches, [expected]);
        assert_eq!(rule.verdict, Verdict::Accept);
    }
}

#[test]
fn a_protocol_by_its_header_is_one_of_a_family() {
    let rule = read(json!([comparison(
        "==",
        payload("ip", "protocol"),
        json!(6)
    )]));
    let expected = [
        Match::Family(Family::Ipv4),
        Match::Protocol(Is::Equal(Protocol::Tcp)),
    ];
    assert_eq!(rule.matches, expected);
}

#[test]
fn a_condition_that_is_not_known_stays_as_text() {
    for expression in [
        comparison("<", meta("skuid"), json!(10)),
        comparison("==", meta("skuid"), json!("root")),
        comparison("==", meta("skuid"), json!({"set": [1, 2]})),
        comparison("==", meta("iifname"), json!("eth*")),
        comparison("==", meta("iifname"), json!("@set")),
        comparison("==", meta("mark"), json!(4_294_967_296_u64)),
        comparison("==", json!({"&": [meta("mark"), 255]}), json!(1)),
        comparison(
            "==",
            json!({"ct": {"key": "mark", "dir": "original"}}),
            json!(1),
        ),
        comparison("==", payload("tcp", "dport"), json!("https")),
        comparison("==", payload("tcp", "dport"), json!({"range": [90, 80]})),
        comparison("==", payload("tcp", "dport"), json!(65536)),
        comparison("in", payload("tcp", "flags"), json!(2)),
        comparison("==", payload("ip", "daddr"), json!("::1")),
        comparison(
            "==",
            payload("ip", "daddr"),
            json!({"prefix": {"addr": "10.0.0.0", "len": 33}}),
        ),
        comparison("!=", ct("state"), json!({"|": [2, 4]})),
        comparison("in", ct("state"), json!(3)),
        json!({"match": null}),
        json!({"limit": {"rate": 10, "per": "second"}}),
        json!({"xt": {"type": "match", "name": "owner"}}),
    ] {
        let rule = read(json!([expression, {"counter": null}, {"drop": null}]));
        assert_eq!(rule.matches, [Match::Unknown(expression.to_string())]);
        assert_eq!(rule.verdict, Verdict::Drop);
    }
}

#[test]
fn each_verdict_is_known() {
    let set = |key: Value, value: Value| json!({"mangle": {"key": key, "value": value}});
    let jump = Verdict::Jump(Chain::ISTIO_REDIRECT);
    for (deeds, expected) in [
        (json!([]), Verdict::Continue),
        (json!([{"continue": null}]), Verdict::Continue),
        (json!([{"return": null}]), Verdict::Return),
        (json!([{"drop": null}]), Verdict::Drop),
        (
            json!([{"counter": {"packets": 1, "bytes": 2}}, {"accept": null}]),
            Verdict::Accept,
        ),
        (json!([{"jump": {"target": "ISTIO_REDIRECT"}}]), jump),
        (
            json!([{"goto": {"target": "output"}}]),
            Verdict::Goto(Chain::OUTPUT),
        ),
        (
            json!([{"redirect": {"port": 15001}}]),
            Verdict::Redirect(15001),
        ),
        (
            json!([{"tproxy": {"family": "ip", "port": 15006}}, set(meta("mark"), json!(1337)),
                {"accept": null}]),
            Verdict::Tproxy {
                port: 15006,
                mark: 1337,
            },
        ),
        (
            json!([set(meta("mark"), json!(1338))]),
            Verdict::SetMark(1338),
        ),
        (json!([set(ct("mark"), meta("mark"))]), Verdict::SaveMark),
        (json!([set(meta("mark"), ct("mark"))]), Verdict::RestoreMark),
        (
            json!([set(ct("zone"), json!(2))]),
            Verdict::ConnectionZone(2),
        ),
    ] {
        assert_eq!(read(deeds).verdict, expected);
    }
}

#[test]
fn a_verdict_that_is_not_known_stays_as_text() {
    let mark = |value: Value| json!({"mangle": {"key": meta("mark"), "value": value}});
    for deeds in [
        json!([{"redirect": null}]),
        json!([{"redirect": {"port": 1, "flags": "random"}}]),
        json!([{"redirect": {"port": 70000}}]),
        json!([{"tproxy": {"port": 1}}]),
        json!([{"tproxy": {"port": 1, "addr": "::1"}}, mark(json!(1)), {"accept": null}]),
        json!([{"tproxy": {"port": 1}}, mark(json!(1)), {"drop": null}]),
        json!([{"jump": {}}]),
        json!([{"reject": null}]),
        json!([{"log": null}, {"accept": null}]),
        json!([mark(json!({"|": [meta("mark"), 1]}))]),
        json!([mark(json!(1)), {"accept": null}]),
        json!([mark(json!(1)), comparison("==", meta("mark"), json!(1)), {"accept": null}]),
        json!([{"xt": {"type": "target", "name": "REDIRECT"}}]),
        json!([7]),
        json!([{}]),
    ] {
        let texts: Vec<String> = deeds
            .as_array()
            .unwrap()
            .iter()
            .map(Value::to_string)
            .collect();
        assert_eq!(read(deeds).verdict, Verdict::Unknown(texts.join(" ")));
    }
}

#[test]
fn a_log_of_others_decides_nothing() {
    let rule = read_in("theirs", json!([{"log": {"prefix": "x"}}, {"drop": null}]));
    assert_eq!((rule.matches, rule.verdict), (vec![], Verdict::Drop));
}

#[test]
fn hooks_and_tables_of_anybody_are_told() {
    let chain = |family: &str, table: &str, kind: &str, priority: i32, policy: &str| {
        json!({"chain": {"family": family, "table": table, "name": "output", "type": kind,
            "hook": "output", "prio": priority, "policy": policy}})
    };
    let rule = |family: &str, table: &str, chain: &str| json!({"rule": {"family": family, "table": table, "chain": chain, "expr": []}});
    let listing = json!({"nftables": [
        {"set": {"family": "inet", "table": "a", "name": "s"}},
        chain("inet", "istio-proxy-raw", "filter", -300, "accept"),
        chain("inet", "a", "filter", 0, "drop"),
        chain("ip", "b", "nat", -100, "accept"),
        chain("ip6", "c", "filter", -201, "accept"),
        chain("ip6", "istio-proxy-nat", "filter", 0, "accept"),
        {"table": {"family": "inet", "name": "d", "flags": ["dormant"]}},
        chain("inet", "d", "filter", 0, "accept"),
        {"table": {"family": "inet", "name": "e", "flags": "owner"}},
        chain("inet", "e", "filter", 0, "accept"),
        rule("inet", "istio-proxy-raw", "output"),
        rule("inet", "a", "output"),
        rule("ip", "b", "more"),
        rule("ip6", "c", "output"),
        rule("ip6", "istio-proxy-nat", "output"),
        rule("ip", "raw", "prerouting"),
    ]});
    let listed = parse(&listing.to_string()).unwrap();
    let hook = |family, table| {
        let chain = &listed.table(family, table).unwrap().chains[0];
        (chain.name.name(), chain.hook.clone())
    };
    let at = |kind: &str, priority, drops| {
        Some(Hook {
            name: "output".to_owned(),
            priority,
            kind: kind.to_owned(),
            drops,
        })
    };
    assert_eq!(
        hook("inet", "istio-proxy-raw"),
        ("OUTPUT", at("filter", -300, false))
    );
    assert_eq!(hook("inet", "a"), ("output", at("filter", 0, true)));
    assert_eq!(hook("ip", "b"), ("output", at("nat", -100, false)));
    assert_eq!(hook("inet", "d"), ("output", None));
    assert_eq!(hook("inet", "e"), ("output", at("filter", 0, false)));
    assert_eq!(hook("ip6", "istio-proxy-nat").0, "output");
    for (family, name, expected) in [
        ("inet", "istio-proxy-raw", Table::Raw),
        ("inet", "a", Table::Mangle),
        ("ip", "b", Table::Nat),
        ("ip6", "c", Table::Raw),
        ("ip6", "istio-proxy-nat", Table::Mangle),
        ("ip", "raw", Table::Raw),
    ] {
        let table = listed.table(family, name).unwrap();
        let mut rules = table.chains.iter().flat_map(|chain| &chain.rules);
        assert_eq!(rules.next().unwrap().table, expected, "{family} {name}");
    }
}

#[test]
fn other_texts_are_no_rulesets() {
    for text in ["", "{", "table inet x {}", "{\"nftables\": "] {
        assert!(matches!(parse(text), Err(ListingError::Json(_))), "{text}");
    }
    for text in ["{}", "[]", "null", "{\"nftables\": {}}", "7"] {
        assert!(
            matches!(parse(text), Err(ListingError::NotARuleset)),
            "{text}"
        );
    }
    for text in [
        "{\"nftables\": []}",
        "{\"nftables\": [7, {}, {\"rule\": {}}]}",
    ] {
        assert!(parse(text).is_ok(), "{text}");
    }
}

/// One of each form.
fn listing() -> Value {
    let rule = |expressions: Value| {
        json!({"rule": {"family": "inet", "table": "istio-proxy-nat", "chain": "output",
            "handle": 3, "expr": expressions}})
    };
    json!({"nftables": [
        {"metainfo": {"version": "1.0.6", "json_schema_version": 1}},
        {"table": {"family": "inet", "name": "istio-proxy-nat", "handle": 1, "flags": "owner"}},
        {"chain": {"family": "inet", "table": "istio-proxy-nat", "name": "output", "handle": 2,
            "type": "nat", "hook": "output", "prio": -100, "policy": "accept"}},
        {"chain": {"family": "inet", "table": "istio-proxy-nat", "name": "ISTIO_OUTPUT", "handle": 4}},
        rule(json!([
            comparison("==", meta("oifname"), json!("lo")),
            comparison("!=", payload("ip", "daddr"), json!({"prefix": {"addr": "10.0.0.0", "len": 8}})),
            comparison("!=", payload("tcp", "dport"), json!({"set": [53, {"range": [80, 90]}]})),
            comparison("in", ct("state"), json!(["established", 4])),
            {"counter": {"packets": 0, "bytes": 0}},
            {"redirect": {"port": 15001}},
        ])),
        rule(json!([
            comparison("==", meta("nfproto"), json!(2)),
            {"tproxy": {"family": "ip", "port": 15006}},
            {"mangle": {"key": meta("mark"), "value": 1337}},
            {"accept": null},
        ])),
        rule(json!([{"mangle": {"key": ct("mark"), "value": meta("mark")}}])),
        rule(json!([{"jump": {"target": "ISTIO_OUTPUT"}}])),
    ]})
}

#[test]
fn no_mutation_of_a_ruleset_brings_the_reader_down() {
    let whole = listing().to_string();
    let listed = parse(&whole).unwrap();
    let chains = listed.tables.iter().flat_map(|table| &table.chains);
    let wanted: Vec<Rule> = chains.flat_map(|chain| chain.rules.clone()).collect();
    assert!(matches(&listed, &wanted));
    let mut random = Random::new(4);
    for _ in 0..20_000 {
        let text = if random.below(2) == 0 {
            mutated_text(&whole, &mut random)
        } else {
            let mut value = listing();
            for _ in 0..=random.below(3) {
                mutate(&mut value, &mut random);
            }
            value.to_string()
        };
        if let Ok(listed) = parse(&text)
            && matches(&listed, &wanted)
        {
            assert_eq!(count(&listed), wanted.len(), "{text}");
        }
    }
}

/// Puts a part of the text in the place of another.
fn mutated_text(text: &str, random: &mut Random) -> String {
    let mut bytes = text.as_bytes().to_vec();
    for _ in 0..=random.below(3) {
        let start = random.below(bytes.len());
        let end = (start + random.below(6)).min(bytes.len());
        let from = random.below(text.len());
        let to = (from + random.below(6)).min(text.len());
        bytes.splice(start..end, text.as_bytes()[from..to].iter().copied());
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Replaces, removes or doubles one value somewhere inside.
fn mutate(value: &mut Value, random: &mut Random) {
    match value {
        Value::Array(items) if !items.is_empty() && random.below(8) > 0 => {
            let position = random.below(items.len());
            match random.below(8) {
                0 => drop(items.remove(position)),
                1 => items.push(items[position].clone()),
                _ => mutate(&mut items[position], random),
            }
        }
        Value::Object(fields) if !fields.is_empty() && random.below(8) > 0 => {
            let position = random.below(fields.len());
            let key = fields.keys().nth(position).cloned().unwrap();
            match random.below(8) {
                0 => drop(fields.remove(&key)),
                _ => mutate(&mut fields[&key], random),
            }
        }
        other => {
            const NUMBERS: [i64; 6] = [0, -1, 2, 65536, i64::MAX, i64::MIN];
            *other = match random.below(6) {
                0 => Value::Null,
                1 => json!([]),
                2 => json!({}),
                3 => json!("@x*"),
                4 => json!([{"set": [[]]}, {"range": [1]}]),
                _ => json!(NUMBERS[random.below(NUMBERS.len())]),
            };
        }
    }
}

use super::{super::render::statement, merge};
use crate::rules::{Chain, Family, Is, Match, Protocol, Rule, State, Table, Verdict};

const V4: Match = Match::Family(Family::Ipv4);
const V6: Match = Match::Family(Family::Ipv6);

fn rule(chain: &Chain, matches: &[Match]) -> Rule {
    Rule {
        table: Table::Nat,
        chain: chain.clone(),
        matches: matches.to_vec(),
        verdict: Verdict::Return,
    }
}

fn to(cidr: &str) -> Match {
    Match::Destination(Is::Equal(cidr.parse().unwrap()))
}

fn uid(uid: u32) -> Match {
    Match::Uid(Is::Equal(uid))
}

/// Rules of one condition each, in a chain of ours.
fn rules(conditions: &[Match]) -> Vec<Rule> {
    let conditions = conditions.iter().map(std::slice::from_ref);
    conditions
        .map(|matches| rule(&Chain::ISTIO_OUTPUT, matches))
        .collect()
}

#[track_caller]
fn check(ipv4: &[Match], ipv6: &[Match], expected: &[&[Match]]) {
    let merged = merge(&[(Family::Ipv4, rules(ipv4)), (Family::Ipv6, rules(ipv6))]);
    let found: Vec<&[Match]> = merged.iter().map(|rule| &*rule.matches).collect();
    assert_eq!(found, expected);
}

#[test]
fn what_both_families_have_stands_there_once() {
    check(
        &[uid(1), uid(2)],
        &[uid(1), uid(2)],
        &[&[uid(1)], &[uid(2)]],
    );
}

#[test]
fn what_one_family_has_keeps_its_place_and_is_for_it_alone() {
    check(
        &[uid(1), uid(7), uid(2)],
        &[uid(1), uid(2), uid(8)],
        &[&[uid(1)], &[V4, uid(7)], &[uid(2)], &[V6, uid(8)]],
    );
    check(&[uid(1)], &[], &[&[V4, uid(1)]]);
    check(&[], &[uid(1)], &[&[V6, uid(1)]]);
}

#[test]
fn an_address_tells_the_family() {
    let (v4, v6) = (to("10.0.0.0/8"), to("fd00::/8"));
    check(
        &[uid(1), v4.clone(), uid(2)],
        &[uid(1), v6.clone(), uid(2)],
        &[&[uid(1)], &[v4], &[v6], &[uid(2)]],
    );
}

#[test]
fn rules_in_different_orders_are_written_for_each_family() {
    check(
        &[uid(1), uid(2)],
        &[uid(2), uid(1)],
        &[&[V4, uid(1)], &[uid(2)], &[V6, uid(1)]],
    );
}

#[test]
fn a_single_family_leaves_the_other_alone() {
    let in_kernels = rule(&Chain::OUTPUT, &[]);
    let of_address = rule(&Chain::OUTPUT, &[to("10.0.0.0/8")]);
    let in_ours = rule(&Chain::ISTIO_OUTPUT, &[uid(1)]);
    let rules = vec![in_kernels, of_address.clone(), in_ours.clone()];
    assert_eq!(
        merge(&[(Family::Ipv4, rules)]),
        [rule(&Chain::OUTPUT, &[V4]), of_address, in_ours]
    );
    assert_eq!(merge(&[]), []);
}

#[test]
fn conditions_are_written_as_nft_prints_them() {
    for (given, expected) in [
        (
            vec![Match::Destination(Is::Equal("10.1.0.0/8".parse().unwrap()))],
            "ip daddr 10.0.0.0/8 counter return",
        ),
        (
            vec![Match::DestinationPort(
                Protocol::Tcp,
                Is::Not(vec![53.into(), 20.into(), 21.into(), 53.into()]),
            )],
            "tcp dport != { 20-21, 53 } counter return",
        ),
        (
            vec![
                Match::Protocol(Is::Equal(Protocol::Tcp)),
                Match::SourcePort(Protocol::Tcp, Is::Equal(vec![65535.into(), 65534.into()])),
            ],
            "tcp sport 65534-65535 counter return",
        ),
        (
            vec![Match::State(Is::Equal(vec![
                State::Established,
                State::Related,
                State::Established,
            ]))],
            "ct state { related, established } counter return",
        ),
    ] {
        let rule = rule(&Chain::ISTIO_OUTPUT, &given);
        let merged = merge(&[(Family::Ipv4, vec![rule])]);
        assert_eq!(statement(&merged[0]), expected);
    }
}

#[test]
fn what_nobody_listens_for_is_dropped() {
    let captured = Rule {
        verdict: Verdict::Tproxy { port: 1, mark: 2 },
        ..rule(&Chain::ISTIO_TPROXY, &[to("10.0.0.0/8")])
    };
    let dropped = Rule {
        verdict: Verdict::Drop,
        ..captured.clone()
    };
    assert_eq!(
        merge(&[(Family::Ipv4, vec![captured.clone()])]),
        [captured, dropped]
    );
}

#[test]
fn each_family_finds_its_own_list_in_the_merged_one() {
    let mut random = crate::random::Random::new(7);
    for _ in 0..2000 {
        let mut list = |cidr: &str| -> Vec<Rule> {
            let conditions = (0..random.below(8)).map(|_| match random.below(4) {
                0 => to(cidr),
                _ => uid(u32::try_from(random.below(5)).unwrap()),
            });
            rules(&conditions.collect::<Vec<_>>())
        };
        let lists = [
            (Family::Ipv4, list("10.0.0.0/8")),
            (Family::Ipv6, list("fd00::/8")),
        ];
        let merged = merge(&lists);
        for (family, list) in &lists {
            let concerns = |rule: &Rule| {
                rule.matches.iter().all(|condition| match condition {
                    Match::Family(of) => of == family,
                    Match::Destination(cidr) => Family::of(cidr.value()) == *family,
                    _ => true,
                })
            };
            let mut found: Vec<Rule> = merged
                .iter()
                .filter(|rule| concerns(rule))
                .cloned()
                .collect();
            for rule in &mut found {
                rule.matches
                    .retain(|condition| !matches!(condition, Match::Family(_)));
            }
            assert_eq!(found, *list, "{lists:?}");
        }
    }
}

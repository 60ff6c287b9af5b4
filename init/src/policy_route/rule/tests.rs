use netlink_packet_route::rule::{RuleAction, RuleAttribute, RuleFlags, RuleMessage};

use super::{Change, Standing, addition, to_none, to_one};
use crate::{policy_route::RouteError, rules::Family};

fn standing(ours: &[u32], similar: &[u32]) -> Standing {
    Standing {
        ours: ours.to_vec(),
        similar: similar.to_vec(),
    }
}

/// A rule as the kernel lists it.
fn listed(priority: u32, alter: impl FnOnce(&mut RuleMessage)) -> RuleMessage {
    let mut rule = addition(Family::Ipv4, 1337, 133);
    rule.header.table = 133;
    rule.attributes.extend([
        RuleAttribute::Priority(priority),
        RuleAttribute::SuppressPrefixLen(u32::MAX),
    ]);
    alter(&mut rule);
    rule
}

fn replace(rule: &mut RuleMessage, old: &RuleAttribute, new: &RuleAttribute) {
    for attribute in &mut rule.attributes {
        if attribute == old {
            *attribute = new.clone();
        }
    }
}

#[track_caller]
fn check_read(rules: &[RuleMessage], expected: &Standing) {
    let read = Standing::of(rules.iter(), Family::Ipv4, 1337, 133);
    assert_eq!(&read, expected);
}

#[test]
fn rules_with_our_mark_and_table_and_nothing_more_are_ours() {
    check_read(
        &[listed(32764, |_| ()), listed(32765, |_| ())],
        &standing(&[32764, 32765], &[]),
    );
}

#[test]
fn rules_with_another_mark_table_action_or_family_are_not_ours() {
    let other_mark = listed(1, |rule| {
        replace(
            rule,
            &RuleAttribute::FwMark(1337),
            &RuleAttribute::FwMark(1),
        );
    });
    let other_table = listed(2, |rule| {
        rule.header.table = 254;
        replace(rule, &RuleAttribute::Table(133), &RuleAttribute::Table(254));
    });
    let other_action = listed(3, |rule| rule.header.action = RuleAction::Prohibit);
    let other_family = addition(Family::Ipv6, 1337, 133);
    check_read(
        &[other_mark, other_table, other_action, other_family],
        &standing(&[], &[]),
    );
}

#[test]
fn rules_with_a_further_condition_are_only_similar() {
    let conditions: [fn(&mut RuleMessage); 6] = [
        |rule| {
            let whole = RuleAttribute::FwMask(u32::MAX);
            replace(rule, &whole, &RuleAttribute::FwMask(0xfff));
        },
        |rule| rule.attributes.push(RuleAttribute::Iifname("eth0".into())),
        |rule| rule.attributes.push(RuleAttribute::L3MDev(true)),
        |rule| rule.header.flags = RuleFlags::Invert,
        |rule| rule.header.tos = 8,
        |rule| rule.header.src_len = 24,
    ];
    for condition in conditions {
        check_read(&[listed(7, condition)], &standing(&[], &[7]));
    }
}

#[track_caller]
fn check_steps(standing: &Standing, expected: &[Change]) {
    assert_eq!(to_one(standing).unwrap(), expected);
}

#[test]
fn one_rule_stays_and_none_is_deleted_before_one_stands() {
    use Change::{Add, Delete};
    check_steps(&standing(&[], &[]), &[Add]);
    check_steps(&standing(&[32765], &[]), &[]);
    check_steps(&standing(&[32764, 32765], &[]), &[Delete(32765)]);
    check_steps(&standing(&[9, 9, 9], &[]), &[Delete(9), Delete(9)]);
    // A rule after that of the main table is never asked.
    check_steps(&standing(&[40000], &[]), &[Add, Delete(40000)]);
    check_steps(&standing(&[5, 32766], &[]), &[Delete(32766)]);
}

#[test]
fn a_rule_that_could_be_confused_with_another_is_never_deleted() {
    check_steps(&standing(&[8, 9], &[9]), &[Change::Delete(8)]);
    let confused = standing(&[9, 9], &[9]);
    assert!(matches!(
        to_one(&confused),
        Err(RouteError::Ambiguous { priority: 9 })
    ));
    assert!(matches!(
        to_none(&standing(&[9], &[9])),
        Err(RouteError::Ambiguous { priority: 9 })
    ));
    assert_eq!(to_none(&standing(&[8], &[9])).unwrap(), [8]);
}

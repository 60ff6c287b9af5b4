//! For which connections a listener filter is left out
//! (`envoy.config.listener.v3.ListenerFilterChainMatchPredicate`).

use fairlead_xds::envoy::{
    config::listener::v3::{
        ListenerFilterChainMatchPredicate, listener_filter_chain_match_predicate::Rule,
    },
    r#type::v3::Int32Range,
};

use crate::compile::At;

/// Matches connections by their destination port.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Predicate {
    /// Each connection.
    Any,
    /// From the first port to before the second.
    Ports(i32, i32),
    /// Where any of these matches.
    Or(Box<[Self]>),
    /// Where all of these match.
    And(Box<[Self]>),
    /// Where this does not match.
    Not(Box<Self>),
}

impl Predicate {
    /// The predicate that the message asks for.
    pub fn compile(at: &At<'_>, message: &ListenerFilterChainMatchPredicate) -> Option<Self> {
        let set = |name: &str, rules: &[ListenerFilterChainMatchPredicate]| {
            let at = at.field(name);
            if rules.len() < 2 {
                return at.field("rules").fault(format!(
                    "has {} rules; at least 2 are accepted",
                    rules.len()
                ));
            }
            let compiled = at.each("rules", rules, Self::compile);
            (compiled.len() == rules.len()).then(|| compiled.into_boxed_slice())
        };
        Some(match at.required("rule", message.rule.as_ref())? {
            Rule::OrMatch(or) => Self::Or(set("or_match", &or.rules)?),
            Rule::AndMatch(and) => Self::And(set("and_match", &and.rules)?),
            Rule::NotMatch(not) => Self::Not(Self::compile(&at.field("not_match"), not)?.into()),
            Rule::AnyMatch(true) => Self::Any,
            Rule::AnyMatch(false) => {
                return at.field("any_match").fault("is false; true is accepted");
            }
            Rule::DestinationPortRange(Int32Range { start, end }) => Self::Ports(*start, *end),
        })
    }

    /// Whether a connection to this port is meant.
    pub fn matches(&self, port: u16) -> bool {
        match self {
            Self::Any => true,
            Self::Ports(start, end) => (*start..*end).contains(&i32::from(port)),
            Self::Or(rules) => rules.iter().any(|rule| rule.matches(port)),
            Self::And(rules) => rules.iter().all(|rule| rule.matches(port)),
            Self::Not(rule) => !rule.matches(port),
        }
    }
}

#[cfg(test)]
mod tests {
    use fairlead_xds::envoy::config::listener::v3::listener_filter_chain_match_predicate::MatchSet;

    use super::*;
    use crate::compile::{Fault, Findings};

    fn message(rule: Rule) -> ListenerFilterChainMatchPredicate {
        ListenerFilterChainMatchPredicate { rule: Some(rule) }
    }

    fn ports(start: i32, end: i32) -> ListenerFilterChainMatchPredicate {
        message(Rule::DestinationPortRange(Int32Range { start, end }))
    }

    fn set(rules: &[ListenerFilterChainMatchPredicate]) -> MatchSet {
        MatchSet {
            rules: rules.to_vec(),
        }
    }

    #[track_caller]
    fn check(message: &ListenerFilterChainMatchPredicate, matching: &[u16], others: &[u16]) {
        let findings = Findings::default();
        let predicate = Predicate::compile(&findings.at(""), message).unwrap();
        for port in matching {
            assert!(predicate.matches(*port), "{port}");
        }
        for port in others {
            assert!(!predicate.matches(*port), "{port}");
        }
    }

    #[track_caller]
    fn check_fault(message: &ListenerFilterChainMatchPredicate, fault: &str) {
        let findings = Findings::default();
        assert_eq!(
            Predicate::compile(&findings.at("filter_disabled"), message),
            None
        );
        let faults: Vec<_> = findings.faults().iter().map(Fault::to_string).collect();
        assert_eq!(faults, [fault]);
    }

    #[test]
    fn predicates_match_ports() {
        check(&ports(80, 82), &[80, 81], &[79, 82, 0, 65535]);
        check(&ports(0, 65536), &[0, 65535], &[]);
        check(&ports(82, 80), &[], &[80, 81, 82]);
        check(&message(Rule::AnyMatch(true)), &[0, 80], &[]);
        let or = set(&[ports(80, 81), ports(443, 444)]);
        check(&message(Rule::OrMatch(or.clone())), &[80, 443], &[81]);
        let not = message(Rule::NotMatch(message(Rule::OrMatch(or)).into()));
        check(&not, &[81], &[80, 443]);
        let and = set(&[ports(80, 90), not]);
        check(&message(Rule::AndMatch(and)), &[81, 89], &[80, 90]);
    }

    #[test]
    fn faults_name_the_field() {
        check_fault(
            &ListenerFilterChainMatchPredicate { rule: None },
            "filter_disabled.rule: is missing",
        );
        check_fault(
            &message(Rule::AnyMatch(false)),
            "filter_disabled.any_match: is false; true is accepted",
        );
        check_fault(
            &message(Rule::OrMatch(set(&[ports(1, 2)]))),
            "filter_disabled.or_match.rules: has 1 rules; at least 2 are accepted",
        );
        let broken = ListenerFilterChainMatchPredicate { rule: None };
        check_fault(
            &message(Rule::AndMatch(set(&[ports(1, 2), broken]))),
            "filter_disabled.and_match.rules[1].rule: is missing",
        );
    }
}

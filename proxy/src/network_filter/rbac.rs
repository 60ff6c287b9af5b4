//! The filter that lets a connection go on, or ends it, by policies.

use std::time::Duration;

use fairlead_xds::{
    envoy::extensions::filters::network::rbac::v3::{Rbac as Message, rbac::EnforcementType},
    xds::r#type::matcher::v3::Matcher,
};

use super::{
    field,
    statistics::{FilterStatistic, RbacStatistic, joined},
};
use crate::{
    authorization::{Decision, Engine, Facts},
    compile::At,
};

/// The close reason of a connection that may not go on.
pub const DENY_CLOSE: &str = "rbac_deny_close";

/// Below which name Envoy keeps what the filter found out.
pub const METADATA: &str = "envoy.filters.network.rbac";

/// `envoy.filters.network.rbac`
///
/// Envoy decides when the downstream's first bytes arrive, or that it has none. Before a `tcp_proxy`
/// the upstream connection is begun by then, and what the upstream sends first is passed on. A
/// connection that is denied is reset without a response flag, with [`DENY_CLOSE`] and the decision's
/// termination details.
#[derive(Clone, Debug)]
pub struct Rbac {
    stat_prefix: Box<str>,
    shadow_rules_stat_prefix: Box<str>,
    rules: Option<Engine>,
    shadow_rules: Option<Engine>,
    /// How often it is decided.
    pub enforcement: Enforcement,
    /// How long a connection that may not go on is held before it is closed.
    pub delay_deny: Option<Duration>,
}

/// When policies are applied.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Enforcement {
    /// When the first bytes arrive.
    OneTimeOnFirstByte,
    /// Whenever bytes arrive. Nothing that policies ask of changes in between, but each time is
    /// counted.
    Continuous,
}

/// What the filter says of a connection.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Verdict<'a> {
    /// What the rules say; none where there are none, and the connection may go on.
    pub enforced: Option<Decision<'a>>,
    /// What the shadow rules say, which is only counted and logged.
    pub shadow: Option<Decision<'a>>,
}

impl Verdict<'_> {
    /// Whether the connection is to be ended.
    pub fn is_denied(&self) -> bool {
        self.enforced.is_some_and(Decision::is_denied)
    }

    /// What is to be counted.
    pub fn statistics(&self) -> impl Iterator<Item = RbacStatistic> {
        let shadow = self.shadow.map(|decision| match decision.is_denied() {
            true => RbacStatistic::ShadowDenied,
            false => RbacStatistic::ShadowAllowed,
        });
        let enforced = self.enforced.map(|decision| match decision.is_denied() {
            true => RbacStatistic::Denied,
            false => RbacStatistic::Allowed,
        });
        shadow.into_iter().chain(enforced)
    }
}

impl Rbac {
    /// The filter that the message asks for.
    pub fn compile(at: &At<'_>, message: &Message) -> Option<Self> {
        let Message {
            rules,
            matcher,
            shadow_rules,
            shadow_matcher,
            shadow_rules_stat_prefix,
            stat_prefix,
            enforcement_type,
            delay_deny,
        } = message;
        let stat_prefix = field::stat_prefix(at, stat_prefix);
        let engine = |name: &str, rules: Option<&_>, tree_name: &str, tree: Option<&_>| {
            // Of the two the tree is the one that holds, in Envoy.
            match (tree, rules) {
                (Some(tree), _) => matcher_tree(&at.field(tree_name), tree).map(Some),
                (None, Some(rules)) => Engine::compile(&at.field(name), rules).map(Some),
                (None, None) => Some(None),
            }
        };
        let enforced = engine("rules", rules.as_ref(), "matcher", matcher.as_ref());
        let shadow = engine(
            "shadow_rules",
            shadow_rules.as_ref(),
            "shadow_matcher",
            shadow_matcher.as_ref(),
        );
        let enforcement = match EnforcementType::try_from(*enforcement_type) {
            Ok(EnforcementType::OneTimeOnFirstByte) => Some(Enforcement::OneTimeOnFirstByte),
            Ok(EnforcementType::Continuous) => Some(Enforcement::Continuous),
            Err(_) => {
                let at = at.field("enforcement_type");
                at.fault(format!("{enforcement_type} is no enforcement type"))
            }
        };
        let delay_deny = match delay_deny {
            Some(delay) => field::duration(&at.field("delay_deny"), *delay),
            None => Some(Duration::ZERO),
        };
        Some(Self {
            stat_prefix: stat_prefix?,
            shadow_rules_stat_prefix: shadow_rules_stat_prefix.as_str().into(),
            rules: enforced?,
            shadow_rules: shadow?,
            enforcement: enforcement?,
            delay_deny: delay_deny.map(|delay| (!delay.is_zero()).then_some(delay))?,
        })
    }

    /// What the rules and the shadow rules say of the connection.
    pub fn decide(&self, facts: &Facts<'_>) -> Verdict<'_> {
        let [enforced, shadow] = [&self.rules, &self.shadow_rules]
            .map(|engine| engine.as_ref().map(|engine| engine.decide(facts)));
        Verdict { enforced, shadow }
    }

    /// The metadata that Envoy sets under [`METADATA`] for what the shadow rules say, which access
    /// logs may show.
    pub fn shadow_metadata<'a>(&self, shadow: Decision<'a>) -> Vec<(String, &'a str)> {
        let result = match shadow.is_denied() {
            true => "denied",
            false => "allowed",
        };
        let policy = shadow.policy().filter(|name| !name.is_empty());
        let entries = [
            ("shadow_effective_policy_id", policy),
            ("shadow_engine_result", Some(result)),
        ];
        let prefix = &self.shadow_rules_stat_prefix;
        let entries = entries
            .into_iter()
            .filter_map(|(key, value)| Some((format!("{prefix}{key}"), value?)));
        entries.collect()
    }

    /// What its statistics are called by.
    pub fn stat_prefix(&self) -> &str {
        &self.stat_prefix
    }

    /// What those of the shadow rules are called by, besides.
    pub fn shadow_rules_stat_prefix(&self) -> &str {
        &self.shadow_rules_stat_prefix
    }

    /// The whole name of a statistic.
    pub fn statistic_name(&self, statistic: RbacStatistic) -> String {
        let prefix = match statistic {
            RbacStatistic::ShadowAllowed | RbacStatistic::ShadowDenied => {
                &self.shadow_rules_stat_prefix
            }
            RbacStatistic::Allowed | RbacStatistic::Denied => "",
        };
        joined([&self.stat_prefix, "rbac", prefix, statistic.as_str()])
    }
}

/// A tree of matchers; the empty one, which no connection matches, denies them all.
fn matcher_tree(at: &At<'_>, tree: &Matcher) -> Option<Engine> {
    let Matcher {
        on_no_match,
        matcher_type,
    } = tree;
    if on_no_match.is_some() || matcher_type.is_some() {
        return at.fault("trees of matchers are not supported: write the policies as rules");
    }
    Some(Engine::deny_all())
}

#[cfg(test)]
mod tests {
    use fairlead_xds::{
        envoy::config::rbac::v3::{Rbac as Rules, rbac::Action},
        google::protobuf,
        xds::r#type::matcher::v3::matcher::OnMatch,
    };

    use super::*;
    use crate::compile::{Fault, Findings};

    fn message() -> Message {
        Message {
            stat_prefix: "tcp.".to_owned(),
            ..Message::default()
        }
    }

    fn rules(action: Action) -> Rules {
        Rules {
            action: action.into(),
            ..Rules::default()
        }
    }

    #[track_caller]
    fn compile(message: &Message) -> Rbac {
        let findings = Findings::default();
        let filter = Rbac::compile(&findings.at(""), message);
        assert_eq!(findings.faults(), []);
        filter.unwrap()
    }

    #[track_caller]
    fn check(message: &Message, denied: bool, statistics: &[&str]) {
        let filter = compile(message);
        let address = "10.0.0.1:1".parse().unwrap();
        let verdict = filter.decide(&Facts {
            remote: address,
            direct_remote: address,
            destination: address,
            server_name: "",
            peer: None,
        });
        assert_eq!(verdict.is_denied(), denied);
        let counted: Vec<_> = verdict
            .statistics()
            .map(|statistic| filter.statistic_name(statistic))
            .collect();
        assert_eq!(counted, statistics);
    }

    #[test]
    fn only_the_rules_are_enforced() {
        let deny = Some(rules(Action::Allow));
        let allow = Some(rules(Action::Deny));
        check(&message(), false, &[]);
        let enforced = Message {
            rules: deny.clone(),
            ..message()
        };
        check(&enforced, true, &["tcp.rbac.denied"]);
        let shadow = Message {
            shadow_rules: deny,
            shadow_rules_stat_prefix: "istio_dry_run_".to_owned(),
            ..message()
        };
        check(&shadow, false, &["tcp.rbac.istio_dry_run_.shadow_denied"]);
        let both = Message {
            rules: allow.clone(),
            shadow_rules: allow,
            ..message()
        };
        let statistics = ["tcp.rbac.shadow_allowed", "tcp.rbac.allowed"];
        check(&both, false, &statistics);
        let log = Message {
            rules: Some(rules(Action::Log)),
            ..message()
        };
        check(&log, false, &["tcp.rbac.allowed"]);
    }

    #[test]
    fn an_empty_tree_denies_and_goes_before_the_rules() {
        let tree = Message {
            rules: Some(rules(Action::Deny)),
            matcher: Some(Matcher::default()),
            ..message()
        };
        check(&tree, true, &["tcp.rbac.denied"]);
    }

    #[test]
    fn what_the_shadow_rules_say_is_told() {
        let filter = compile(&Message {
            shadow_rules_stat_prefix: "dry_".to_owned(),
            ..message()
        });
        let result = |text| ("dry_shadow_engine_result".to_owned(), text);
        let policy = ("dry_shadow_effective_policy_id".to_owned(), "p");
        let denied = filter.shadow_metadata(Decision::Deny { policy: Some("p") });
        assert_eq!(denied, [policy, result("denied")]);
        let allowed = filter.shadow_metadata(Decision::Allow { policy: None });
        assert_eq!(allowed, [result("allowed")]);
    }

    #[test]
    fn a_delay_of_nothing_is_none() {
        let delayed = |seconds| Message {
            delay_deny: Some(protobuf::Duration { seconds, nanos: 0 }),
            enforcement_type: 1,
            ..message()
        };
        assert_eq!(compile(&message()).delay_deny, None);
        assert_eq!(compile(&delayed(0)).delay_deny, None);
        let filter = compile(&delayed(3));
        assert_eq!(filter.delay_deny, Some(Duration::from_secs(3)));
        assert_eq!(filter.enforcement, Enforcement::Continuous);
    }

    #[test]
    fn each_fault_is_told() {
        let tree = Matcher {
            on_no_match: Some(OnMatch::default().into()),
            matcher_type: None,
        };
        let message = Message {
            rules: Some(Rules {
                action: 5,
                ..Rules::default()
            }),
            shadow_matcher: Some(tree),
            enforcement_type: 9,
            delay_deny: Some(protobuf::Duration {
                seconds: -1,
                nanos: 0,
            }),
            ..Message::default()
        };
        let findings = Findings::default();
        assert!(Rbac::compile(&findings.at("x"), &message).is_none());
        let faults: Vec<_> = findings.faults().iter().map(Fault::to_string).collect();
        assert_eq!(
            faults,
            [
                "x.stat_prefix: is empty",
                "x.rules.action: 5 is no action",
                "x.shadow_matcher: trees of matchers are not supported: write the policies as rules",
                "x.enforcement_type: 9 is no enforcement type",
                "x.delay_deny: -1 s and 0 ns are no time span",
            ]
        );
    }
}

//! The limits, compiled from `envoy.config.cluster.v3.CircuitBreakers`.

use std::time::Duration;

use fairlead_xds::{
    envoy::{
        config::cluster::v3::{
            CircuitBreakers,
            circuit_breakers::{Thresholds, thresholds::RetryBudget as BudgetMessage},
        },
        r#type::v3::Percent,
    },
    google::protobuf::UInt32Value,
};

use super::RoutingPriority;
use crate::compile::{At, values};

/// The limits of a cluster.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CircuitBreakerConfig {
    /// Of what matters as most.
    pub default: Limits,
    /// Of what matters more.
    pub high: Limits,
}

/// The limits of one priority.
#[derive(Clone, Debug, PartialEq)]
pub struct Limits {
    /// The most connections.
    pub max_connections: u32,
    /// The most that wait for a connection.
    pub max_pending_requests: u32,
    /// The most requests under way.
    pub max_requests: u32,
    /// The most repeated requests under way.
    pub max_retries: u32,
    /// The most pools of connections.
    pub max_connection_pools: u32,
    /// The most connections of one endpoint, if there is a limit.
    pub max_connections_per_host: Option<u32>,
    /// Bounds retries by requests.
    pub retry_budget: Option<Box<RetryBudget>>,
    /// How many more may be had is told.
    pub track_remaining: bool,
}

/// Bounds retries by requests.
#[derive(Clone, Debug, PartialEq)]
pub struct RetryBudget {
    /// The retries, in percent of requests.
    pub budget_percent: f64,
    /// How long a request counts from its start on, whether it is done or not.
    pub budget_interval: Duration,
    /// So many retries are always allowed.
    pub min_retry_concurrency: u32,
}

impl Default for Limits {
    /// Envoy's, where nothing is asked for.
    fn default() -> Self {
        Self {
            max_connections: 1024,
            max_pending_requests: 1024,
            max_requests: 1024,
            max_retries: 3,
            max_connection_pools: u32::MAX,
            max_connections_per_host: None,
            retry_budget: None,
            track_remaining: false,
        }
    }
}

impl RetryBudget {
    /// The most retries at so many requests.
    pub fn limit(&self, requests: u32, pending: u32) -> u32 {
        let requests = f64::from(requests) + f64::from(pending);
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "the fraction is cut off, and the cast keeps to the bounds"
        )]
        let share = (requests * self.budget_percent / 100.0) as u32;
        share.max(self.min_retry_concurrency)
    }
}

impl CircuitBreakerConfig {
    /// The limits that the message asks for.
    pub fn compile(at: &At<'_>, message: &CircuitBreakers) -> Option<Self> {
        let CircuitBreakers {
            thresholds,
            per_host_thresholds,
        } = message;
        let clusters = at.each("thresholds", thresholds, |at, message| {
            Some((priority(at, message)?, limits(at, message)?))
        });
        let hosts = at.each("per_host_thresholds", per_host_thresholds, |at, message| {
            Some((priority(at, message)?, per_host(at, message)?))
        });
        if clusters.len() != thresholds.len() || hosts.len() != per_host_thresholds.len() {
            return None;
        }
        // The first of a priority counts.
        let of = |wanted: RoutingPriority| {
            let own = clusters.iter().find(|(priority, _)| *priority == wanted);
            let mut limits = own.map(|(_, limits)| limits.clone()).unwrap_or_default();
            let host = hosts.iter().find(|(priority, _)| *priority == wanted);
            limits.max_connections_per_host = host.and_then(|(_, limit)| *limit);
            limits
        };
        Some(Self {
            default: of(RoutingPriority::Default),
            high: of(RoutingPriority::High),
        })
    }

    /// The limits of the priority.
    pub fn of(&self, priority: RoutingPriority) -> &Limits {
        match priority {
            RoutingPriority::Default => &self.default,
            RoutingPriority::High => &self.high,
        }
    }
}

fn priority(at: &At<'_>, message: &Thresholds) -> Option<RoutingPriority> {
    match message.priority {
        0 => Some(RoutingPriority::Default),
        1 => Some(RoutingPriority::High),
        other => at
            .field("priority")
            .fault(format!("{other} is no known priority")),
    }
}

fn limits(at: &At<'_>, message: &Thresholds) -> Option<Limits> {
    let Thresholds {
        priority: _,
        max_connections,
        max_pending_requests,
        max_requests,
        max_retries,
        retry_budget,
        track_remaining,
        max_connection_pools,
    } = message;
    let or = |value: &Option<UInt32Value>, otherwise| value.map_or(otherwise, |value| value.value);
    let standard = Limits::default();
    let budget = match retry_budget {
        None => None,
        Some(message) => Some(Box::new(budget(&at.field("retry_budget"), message)?)),
    };
    Some(Limits {
        max_connections: or(max_connections, standard.max_connections),
        max_pending_requests: or(max_pending_requests, standard.max_pending_requests),
        max_requests: or(max_requests, standard.max_requests),
        max_retries: or(max_retries, standard.max_retries),
        max_connection_pools: or(max_connection_pools, standard.max_connection_pools),
        max_connections_per_host: None,
        retry_budget: budget,
        track_remaining: *track_remaining,
    })
}

fn budget(at: &At<'_>, message: &BudgetMessage) -> Option<RetryBudget> {
    let BudgetMessage {
        budget_percent,
        budget_interval,
        min_retry_concurrency,
    } = message;
    let percent = match budget_percent {
        None => Some(20.0),
        Some(Percent { value }) if (0.0..=100.0).contains(value) => Some(*value),
        Some(Percent { value }) => at
            .field("budget_percent")
            .fault(format!("{value} is not between 0 and 100")),
    };
    let interval = values::duration(
        &at.field("budget_interval"),
        &budget_interval.unwrap_or_default(),
    );
    Some(RetryBudget {
        budget_percent: percent?,
        budget_interval: interval?,
        min_retry_concurrency: min_retry_concurrency.map_or(3, |number| number.value),
    })
}

#[expect(clippy::option_option, reason = "faults, and no limit")]
fn per_host(at: &At<'_>, message: &Thresholds) -> Option<Option<u32>> {
    let Thresholds {
        priority: _,
        max_connections,
        max_pending_requests,
        max_requests,
        max_retries,
        retry_budget,
        track_remaining,
        max_connection_pools,
    } = message;
    let mut sound = true;
    for (name, set) in [
        ("max_pending_requests", max_pending_requests.is_some()),
        ("max_requests", max_requests.is_some()),
        ("max_retries", max_retries.is_some()),
        ("retry_budget", retry_budget.is_some()),
        ("track_remaining", *track_remaining),
        ("max_connection_pools", max_connection_pools.is_some()),
    ] {
        if set {
            at.field(name)
                .fault::<()>("is no limit of an endpoint; only max_connections is");
            sound = false;
        }
    }
    sound.then(|| max_connections.map(|limit| limit.value))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compile::{Fault, Findings};

    fn number(value: u32) -> Option<UInt32Value> {
        Some(UInt32Value { value })
    }

    fn compile(message: &CircuitBreakers) -> (Option<CircuitBreakerConfig>, Vec<String>) {
        let findings = Findings::default();
        let compiled = CircuitBreakerConfig::compile(&findings.at("c"), message);
        let faults = findings.faults();
        (compiled, faults.iter().map(Fault::to_string).collect())
    }

    #[test]
    fn the_first_of_each_priority_counts() {
        let of = |priority, limit| Thresholds {
            priority,
            max_connections: number(limit),
            ..Thresholds::default()
        };
        let message = CircuitBreakers {
            thresholds: vec![
                Thresholds {
                    max_retries: number(0),
                    retry_budget: Some(BudgetMessage::default()),
                    ..of(1, 10)
                },
                of(1, 11),
            ],
            per_host_thresholds: vec![of(0, 5), of(0, 6)],
        };
        let expected = CircuitBreakerConfig {
            default: Limits {
                max_connections_per_host: Some(5),
                ..Limits::default()
            },
            high: Limits {
                max_connections: 10,
                max_retries: 0,
                retry_budget: Some(Box::new(RetryBudget {
                    budget_percent: 20.0,
                    budget_interval: Duration::ZERO,
                    min_retry_concurrency: 3,
                })),
                ..Limits::default()
            },
        };
        assert_eq!(compile(&message), (Some(expected), vec![]));
    }

    #[track_caller]
    fn check_fault(message: &CircuitBreakers, expected: &str) {
        assert_eq!(compile(message), (None, vec![expected.to_owned()]));
    }

    #[test]
    fn faults_name_the_field() {
        let cluster = |one| CircuitBreakers {
            thresholds: vec![one],
            per_host_thresholds: vec![],
        };
        let host = |one| CircuitBreakers {
            thresholds: vec![],
            per_host_thresholds: vec![one],
        };
        let with_budget = |budget| Thresholds {
            retry_budget: Some(budget),
            ..Thresholds::default()
        };
        let unknown = Thresholds {
            priority: 2,
            ..Thresholds::default()
        };
        check_fault(
            &cluster(unknown),
            "c.thresholds[0].priority: 2 is no known priority",
        );
        check_fault(
            &host(unknown),
            "c.per_host_thresholds[0].priority: 2 is no known priority",
        );
        check_fault(
            &cluster(with_budget(BudgetMessage {
                budget_percent: Some(Percent { value: 101.0 }),
                ..BudgetMessage::default()
            })),
            "c.thresholds[0].retry_budget.budget_percent: 101 is not between 0 and 100",
        );
        check_fault(
            &cluster(with_budget(BudgetMessage {
                budget_interval: Some(fairlead_xds::google::protobuf::Duration {
                    seconds: -1,
                    nanos: 0,
                }),
                ..BudgetMessage::default()
            })),
            "c.thresholds[0].retry_budget.budget_interval: -1 s and 0 ns are no time span",
        );
        let others = [
            (
                "max_pending_requests",
                Thresholds {
                    max_pending_requests: number(1),
                    ..Thresholds::default()
                },
            ),
            (
                "max_requests",
                Thresholds {
                    max_requests: number(1),
                    ..Thresholds::default()
                },
            ),
            (
                "max_retries",
                Thresholds {
                    max_retries: number(1),
                    ..Thresholds::default()
                },
            ),
            ("retry_budget", with_budget(BudgetMessage::default())),
            (
                "track_remaining",
                Thresholds {
                    track_remaining: true,
                    ..Thresholds::default()
                },
            ),
            (
                "max_connection_pools",
                Thresholds {
                    max_connection_pools: number(1),
                    ..Thresholds::default()
                },
            ),
        ];
        for (name, one) in others {
            let expected = format!(
                "c.per_host_thresholds[0].{name}: is no limit of an endpoint; only max_connections is"
            );
            check_fault(&host(one), &expected);
        }
    }
}

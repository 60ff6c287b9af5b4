//! When the authority in the Secret changes, and when another certificate is served.
//!
//! Several replicas serve, each with a certificate of its own, and several API servers call, each with
//! its own view of the `caBundle`, a moment old. So that each call meets a certificate that is trusted,
//! a new authority comes in three steps, and each of them is one write of the Secret that holds only
//! if nobody else has written meanwhile; the `caBundle` follows the Secret's `ca.crt`.
//!
//! 1. *Announce*: `ca.crt` gets the new authority's certificate in front of the old one's, and
//!    `next.key` its key. It is trusted, and issues nothing yet.
//! 2. *Promote*: when a replica has seen every entry trust both for [`SETTLE`], the new key becomes
//!    `ca.key`. Each replica that learns of it serves a certificate of the new authority from then on;
//!    one that learns late goes on with the old, which is still trusted.
//! 3. *Retire*: when everything that the old authority issued has expired, it leaves `ca.crt`.
//!
//! A replica that starts amid these steps finds all that it needs in the Secret: the key that issues
//! is at all times one whose certificate is trusted. A certificate that somebody else brings follows
//! the same rule: its `ca.crt` is added to the `caBundle`, and the certificate is served [`SETTLE`]
//! later. From the `caBundle` itself nothing is dropped before [`QUIET`] has passed, so that replicas
//! of two opinions, as in the middle of an upgrade, serve side by side.

use std::time::Duration;

use time::OffsetDateTime;
use tokio::time::Instant;

use super::contents::Stored;

/// From the write of a `caBundle` until every API server goes by it. They watch, so it takes well below
/// a second; the rest is for one that is busy. Nothing is lost by waiting.
pub(super) const SETTLE: Duration = Duration::from_secs(15);
/// How long the `caBundle` must have been left alone before what nobody here needs is dropped from it:
/// longer than an upgrade takes, and longer than anybody lets one hang.
pub(super) const QUIET: Duration = Duration::from_secs(24 * 3600);

/// What is to be done to the Secret.
#[derive(Debug, Eq, PartialEq)]
pub(super) enum Step {
    Nothing,
    /// Make a successor that is trusted from now on.
    Announce,
    /// Let the successor issue.
    Promote,
    /// Trust this bundle alone.
    Retire(String),
}

/// `requested`: an operator asks for another authority. `settled`: every API server trusts the bundle.
pub(super) fn next_step(
    stored: &Stored,
    requested: bool,
    settled: bool,
    now: OffsetDateTime,
) -> Step {
    let Stored {
        authority,
        successor,
    } = stored;
    match successor {
        // With nothing valid to serve there is nothing to wait for.
        Some(_) if settled || authority.not_after() <= now => Step::Promote,
        Some(_) => Step::Nothing,
        None if requested || authority.needs_successor(now) => Step::Announce,
        None => match authority.without_predecessors(now) {
            Some(bundle) => Step::Retire(bundle),
            None => Step::Nothing,
        },
    }
}

/// Since when the API servers trust what.
#[derive(Debug, Default)]
pub(super) struct Trust {
    bundle: String,
    since: Option<Instant>,
}

impl Trust {
    /// Notes whether the entries trust the bundle at this moment.
    pub(super) fn note(&mut self, bundle: &str, trusted: bool, now: Instant) {
        if self.bundle != bundle {
            self.since = None;
            bundle.clone_into(&mut self.bundle);
        }
        self.since = trusted.then(|| self.since.unwrap_or(now));
    }

    /// Whether the bundle is trusted as far as this replica sees.
    pub(super) fn is_seen(&self) -> bool {
        self.since.is_some()
    }

    /// Whether every API server trusts the bundle.
    pub(super) fn is_settled(&self, bundle: &str, now: Instant) -> bool {
        self.bundle == bundle && self.since.is_some_and(|since| now - since >= SETTLE)
    }

    /// How long until it is settled, if it is about to be.
    pub(super) fn settles_in(&self, now: Instant) -> Option<Duration> {
        let left = SETTLE.checked_sub(now - self.since?)?;
        (!left.is_zero()).then_some(left)
    }
}

/// What is asked before another certificate is served.
#[derive(Clone, Copy, Debug)]
pub(super) struct Serving {
    /// Whether it has the origin of the one that is served: the authority, or the brought file.
    pub(super) same_origin: bool,
    /// Whether an operator asks for another one.
    pub(super) requested: bool,
    /// Whether every API server trusts the one that could be served.
    pub(super) settled: bool,
    /// When the one that is served is due to be renewed.
    pub(super) renew_at: OffsetDateTime,
    /// When it expires.
    pub(super) not_after: OffsetDateTime,
}

impl Serving {
    /// Whether another certificate takes the place of the one that is served.
    pub(super) fn is_over(self, now: OffsetDateTime) -> bool {
        if self.same_origin {
            self.requested || now >= self.renew_at
        } else {
            self.settled || now >= self.not_after
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::authority::Authority;
    use super::*;

    const NOW: OffsetDateTime = time::macros::datetime!(2026-01-01 00:00 UTC);
    const DAY: time::Duration = time::Duration::DAY;

    fn stored(successor: bool) -> Stored {
        let authority = Authority::generate(NOW).unwrap();
        let successor = successor.then(|| authority.successor(NOW).unwrap());
        Stored {
            authority,
            successor,
        }
    }

    #[test]
    fn an_authority_is_announced_trusted_and_only_then_promoted() {
        let near_the_end = NOW + DAY * 3400;
        let after_the_end = NOW + DAY * 3651;
        for (successor, requested, settled, now, expected) in [
            (false, false, true, NOW, Step::Nothing),
            (false, true, true, NOW, Step::Announce),
            (false, true, false, NOW, Step::Announce),
            (false, false, true, near_the_end, Step::Announce),
            (false, false, false, after_the_end, Step::Announce),
            (true, false, false, NOW, Step::Nothing),
            (true, true, false, NOW, Step::Nothing),
            (true, false, true, NOW, Step::Promote),
            (true, true, true, NOW, Step::Promote),
            (true, false, false, after_the_end, Step::Promote),
        ] {
            let step = next_step(&stored(successor), requested, settled, now);
            assert_eq!(step, expected, "{successor} {requested} {settled} {now}");
        }
    }

    #[test]
    fn a_predecessor_retires_when_nothing_else_is_due() {
        let successor = stored(true).successor.unwrap();
        let alone = successor.without_predecessors(NOW + DAY * 8).unwrap();
        let stored = Stored {
            authority: successor,
            successor: None,
        };
        for (requested, now, expected) in [
            (false, NOW + DAY * 7, Step::Nothing),
            (false, NOW + DAY * 8, Step::Retire(alone)),
            (true, NOW + DAY * 8, Step::Announce),
        ] {
            assert_eq!(next_step(&stored, requested, true, now), expected);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn trust_settles_when_it_has_lasted_for_the_same_bundle() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut trust = Trust::default();
        for (second, bundle, trusted, settled, left) in [
            (0, "a", false, false, None),
            (1, "a", true, false, Some(15)),
            (9, "a", true, false, Some(7)),
            (16, "a", true, true, None),
            (17, "b", true, false, Some(15)),
            (20, "b", false, false, None),
            (21, "b", true, false, Some(15)),
            (36, "b", true, true, None),
        ] {
            trust.note(bundle, trusted, at(second));
            assert_eq!(trust.is_settled(bundle, at(second)), settled, "{second}");
            let left = left.map(Duration::from_secs);
            assert_eq!(trust.settles_in(at(second)), left, "{second}");
            assert!(!trust.is_settled("other", at(second)));
        }
    }

    #[test]
    fn a_certificate_is_replaced_when_it_is_due_or_the_next_one_is_trusted() {
        let (renew_at, not_after) = (NOW + DAY, NOW + DAY * 2);
        for (same_origin, requested, settled, now, expected) in [
            (true, false, true, NOW, false),
            (true, true, false, NOW, true),
            (true, false, false, renew_at, true),
            (false, false, false, NOW, false),
            (false, true, false, NOW, false),
            (false, false, false, renew_at, false),
            (false, false, true, NOW, true),
            (false, false, false, not_after, true),
        ] {
            let serving = Serving {
                same_origin,
                requested,
                settled,
                renew_at,
                not_after,
            };
            assert_eq!(serving.is_over(now), expected, "{serving:?} {now}");
        }
    }
}

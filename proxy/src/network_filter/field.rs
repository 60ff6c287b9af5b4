//! Fields that several filters have.

use std::time::Duration;

use fairlead_xds::{
    envoy::config::core::v3::RuntimeFeatureFlag,
    google::protobuf::{self, BoolValue},
};

use crate::compile::{At, values};

/// The shortest time that Envoy's timers know.
pub(super) const MILLISECOND: Duration = Duration::from_millis(1);

/// A time, in whole milliseconds, as Envoy takes it.
pub(super) fn duration(at: &At<'_>, message: protobuf::Duration) -> Option<Duration> {
    let span = values::duration(at, &message)?;
    let nanos = span.subsec_nanos() % 1_000_000;
    Some(span - Duration::from_nanos(nanos.into()))
}

/// A time that must not be shorter than this one.
pub(super) fn at_least(
    at: &At<'_>,
    least: Duration,
    message: protobuf::Duration,
) -> Option<Duration> {
    let duration = duration(at, message)?;
    if duration < least {
        return at.fault(format!("must be at least {} ms", least.as_millis()));
    }
    Some(duration)
}

/// The prefix of a filter's statistics, which must not be empty.
pub(super) fn stat_prefix(at: &At<'_>, prefix: &str) -> Option<Box<str>> {
    if prefix.is_empty() {
        return at.field("stat_prefix").fault("is empty");
    }
    Some(prefix.into())
}

/// Whether a filter is enabled, which it is unless something else is said.
///
/// The proxy has no runtime layers, so that the key is never found there.
pub(super) fn enabled(at: &At<'_>, flag: Option<&RuntimeFeatureFlag>) -> Option<bool> {
    let Some(flag) = flag else {
        return Some(true);
    };
    let RuntimeFeatureFlag {
        default_value,
        runtime_key,
    } = flag;
    let at = at.field("runtime_enabled");
    if !runtime_key.is_empty() {
        at.field("runtime_key").unsupported(format!(
            "'{runtime_key}' is not looked up: there is no runtime, and the default holds"
        ));
    }
    let BoolValue { value } = at.required("default_value", *default_value)?;
    Some(value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compile::{Fault, Findings};

    #[track_caller]
    fn check(seconds: i64, nanos: i32, expected: Result<u64, &str>) {
        let findings = Findings::default();
        let message = protobuf::Duration { seconds, nanos };
        let duration = at_least(&findings.at("delay"), MILLISECOND, message);
        let fault = findings.faults().first().map(Fault::to_string);
        assert_eq!(duration, expected.ok().map(Duration::from_millis));
        assert_eq!(fault.as_deref(), expected.err());
    }

    #[test]
    fn durations_are_in_milliseconds() {
        check(0, 1_000_000, Ok(1));
        check(2, 1_999_999, Ok(2001));
        check(315_576_000_000, 0, Ok(315_576_000_000_000));
        check(0, 999_999, Err("delay: must be at least 1 ms"));
        for (seconds, nanos) in [
            (-1, 0),
            (0, -1),
            (1, 1_000_000_000),
            (i64::MAX, 0),
            (i64::MIN, i32::MIN),
        ] {
            let fault = format!("delay: {seconds} s and {nanos} ns are no time span");
            check(seconds, nanos, Err(&fault));
        }
    }

    #[test]
    fn a_filter_is_enabled_unless_it_is_said_otherwise() {
        for (flag, expected, faults, unsupported) in [
            (None, Some(true), 0, 0),
            (Some((None, "")), None, 1, 0),
            (Some((Some(true), "")), Some(true), 0, 0),
            (Some((Some(false), "key")), Some(false), 0, 1),
        ] {
            let findings = Findings::default();
            let flag = flag.map(|(value, key): (Option<bool>, &str)| RuntimeFeatureFlag {
                default_value: value.map(|value| BoolValue { value }),
                runtime_key: key.to_owned(),
            });
            assert_eq!(enabled(&findings.at("x"), flag.as_ref()), expected);
            assert_eq!(findings.faults().len(), faults);
            assert_eq!(findings.unsupported().len(), unsupported);
        }
    }
}

//! The settings that are wrong, collected so that the user sees all of them at once.

use std::fmt;

/// Every setting that is wrong.
#[derive(Debug, Eq, PartialEq, thiserror::Error)]
pub struct Faults(pub(super) Vec<Fault>);

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let noun = if self.0.len() == 1 {
            "setting is"
        } else {
            "settings are"
        };
        write!(f, "{} {noun} wrong, nothing was applied:", self.0.len())?;
        self.0.iter().try_for_each(|fault| write!(f, "\n  {fault}"))
    }
}

/// One setting that is wrong: its flag, its value and what is accepted.
#[derive(Debug, Eq, PartialEq)]
pub(super) struct Fault {
    pub(super) flag: &'static str,
    pub(super) value: String,
    pub(super) reason: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "--{} '{}': {}", self.flag, self.value, self.reason)
    }
}

//! References to container images.

use std::str::FromStr;

use super::ValueError;

/// A container image reference, `[registry/]name[:tag][@digest]`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ImageReference(String);

impl ImageReference {
    /// The text as it was written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Checks the characters that the OCI distribution grammar allows; what the name resolves to is the
/// kubelet's to say.
impl FromStr for ImageReference {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        let allowed = |c: char| c.is_ascii_alphanumeric() || "._-/:@".contains(c);
        let bounded = |c: char| c.is_ascii_alphanumeric();
        if text.chars().all(allowed) && text.starts_with(bounded) && text.ends_with(bounded) {
            Ok(Self(text.to_owned()))
        } else {
            Err(ValueError(
                "an image reference such as registry/fairlead/proxy:0.1.0 is accepted".to_owned(),
            ))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn image_references_hold_no_blank_or_quote() {
        for good in ["proxy", "fairlead/proxy:1", "r.example:5000/a/b@sha256:0a"] {
            assert!(good.parse::<ImageReference>().is_ok(), "{good}");
        }
        for bad in ["", "a b", "a\"", "a:", "/a", "{{x}}"] {
            assert!(bad.parse::<ImageReference>().is_err(), "{bad}");
        }
    }
}

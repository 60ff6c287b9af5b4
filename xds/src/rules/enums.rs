//! What a value of an enum must be.

use envoy_types::pb::validate;

use crate::descriptors::EnumType;

#[derive(Debug)]
pub(super) struct EnumRules {
    constant: Option<i32>,
    defined_only: bool,
    within: Vec<i32>,
    without: Vec<i32>,
}

impl EnumRules {
    pub(super) fn of(rules: validate::EnumRules) -> Self {
        Self {
            constant: rules.r#const,
            defined_only: rules.defined_only(),
            within: rules.r#in,
            without: rules.not_in,
        }
    }

    pub(super) fn check(&self, r#enum: EnumType, value: i32) -> Option<String> {
        let allowed = |number: i32| {
            self.constant.is_none_or(|constant| constant == number)
                && (self.within.is_empty() || self.within.contains(&number))
                && !self.without.contains(&number)
        };
        let defined = !self.defined_only || r#enum.value_name(value).is_some();
        if allowed(value) && defined {
            return None;
        }
        let values = r#enum.values().filter(|(_, number)| allowed(*number));
        let names: Vec<_> = values.map(|(name, _)| name).collect();
        Some(format!("must be one of {}", names.join(", ")))
    }
}

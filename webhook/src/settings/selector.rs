//! Kubernetes label selectors of the configuration file, checked as the API server checks its own.

use std::collections::BTreeMap;

use kube::core::{Expression, Selector};
use serde::Deserialize;

/// A LabelSelector as it is written. A misspelt field would select every pod, so it is a fault.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct SelectorFile {
    match_labels: Option<BTreeMap<String, String>>,
    match_expressions: Option<Vec<RequirementFile>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RequirementFile {
    key: String,
    operator: String,
    values: Option<Vec<String>>,
}

/// The selectors of a list in their order; what is wrong with one is a fault.
pub(super) fn check(
    field: &str,
    selectors: Vec<SelectorFile>,
    faults: &mut Vec<String>,
) -> Vec<Selector> {
    let selectors = selectors.into_iter().enumerate();
    selectors
        .map(|(index, selector)| selector.check(&format!("{field}[{index}]"), faults))
        .collect()
}

impl SelectorFile {
    fn check(self, field: &str, faults: &mut Vec<String>) -> Selector {
        let mut expressions = Vec::new();
        for (key, value) in self.match_labels.unwrap_or_default() {
            let field = format!("{field}.matchLabels");
            check_key(&field, &key, faults);
            check_values(&format!("{field}.{key}"), [&value], faults);
            expressions.push(Expression::Equal(key, value));
        }
        let requirements = self.match_expressions.unwrap_or_default();
        for (index, requirement) in requirements.into_iter().enumerate() {
            let field = format!("{field}.matchExpressions[{index}]");
            expressions.extend(requirement.check(&field, faults));
        }
        expressions.into_iter().collect()
    }
}

impl RequirementFile {
    fn check(self, field: &str, faults: &mut Vec<String>) -> Option<Expression> {
        let Self {
            key,
            operator,
            values,
        } = self;
        let values = values.unwrap_or_default();
        check_key(&format!("{field}.key"), &key, faults);
        check_values(&format!("{field}.values"), &values, faults);
        let takes_values = match operator.as_str() {
            "In" | "NotIn" => true,
            "Exists" | "DoesNotExist" => false,
            other => {
                faults.push(format!(
                    "invalid value '{other}' for {field}.operator: In, NotIn, Exists or \
                     DoesNotExist is accepted"
                ));
                return None;
            }
        };
        if takes_values == values.is_empty() {
            let rule = if takes_values {
                "needs at least one value"
            } else {
                "takes no values"
            };
            faults.push(format!("{field}.values: the operator {operator} {rule}"));
            return None;
        }
        let set = values.into_iter().collect();
        Some(match operator.as_str() {
            "In" => Expression::In(key, set),
            "NotIn" => Expression::NotIn(key, set),
            "Exists" => Expression::Exists(key),
            _ => Expression::DoesNotExist(key),
        })
    }
}

fn check_key(field: &str, key: &str, faults: &mut Vec<String>) {
    let (prefix, name) = match key.split_once('/') {
        Some((prefix, name)) => (Some(prefix), name),
        None => (None, key),
    };
    if !is_name(name) || prefix.is_some_and(|prefix| !is_subdomain(prefix)) {
        faults.push(format!(
            "invalid value '{key}' for {field}: the key of a label is accepted, such as app or \
             example.com/team"
        ));
    }
}

fn check_values<'a>(
    field: &str,
    values: impl IntoIterator<Item = &'a String>,
    faults: &mut Vec<String>,
) {
    for value in values {
        if !value.is_empty() && !is_name(value) {
            faults.push(format!(
                "invalid value '{value}' for {field}: the value of a label is accepted, which is at \
                 most 63 letters, digits, '-', '_' and '.', with a letter or digit at both ends"
            ));
        }
    }
}

/// What Kubernetes calls a qualified name without its prefix, and the non-empty value of a label.
fn is_name(text: &str) -> bool {
    let ends = |c: &u8| c.is_ascii_alphanumeric();
    text.len() <= 63
        && text
            .bytes()
            .all(|c| c.is_ascii_alphanumeric() || b"-_.".contains(&c))
        && text.as_bytes().first().is_some_and(ends)
        && text.as_bytes().last().is_some_and(ends)
}

/// RFC 1123, lower case.
fn is_subdomain(text: &str) -> bool {
    let is_label = |label: &str| {
        !label.is_empty()
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label
                .bytes()
                .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-')
    };
    text.len() <= 253 && text.split('.').all(is_label)
}

#[cfg(test)]
mod tests {
    use kube::core::SelectorExt;

    use super::*;

    fn checked(text: &str) -> (Vec<Selector>, Vec<String>) {
        let mut faults = Vec::new();
        let selectors = check("s", serde_norway::from_str(text).unwrap(), &mut faults);
        (selectors, faults)
    }

    #[track_caller]
    fn check_match(selector: &str, labels: &[(&str, &str)], expected: bool) {
        let (selectors, faults) = checked(&format!("[{selector}]"));
        assert!(faults.is_empty(), "{faults:?}");
        let labels = labels
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect();
        assert_eq!(selectors[0].matches(&labels), expected);
    }

    #[test]
    fn each_operator_selects_as_in_kubernetes() {
        let both = "{matchLabels: {a: x}, matchExpressions: [{key: b, operator: Exists}]}";
        check_match(both, &[("a", "x"), ("b", "")], true);
        check_match(both, &[("a", "x")], false);
        check_match(both, &[("b", "")], false);
        for (operator, value_x, value_z, absent) in [
            ("In, values: [x, y]", true, false, false),
            ("NotIn, values: [x, y]", false, true, true),
            ("Exists", true, true, false),
            ("DoesNotExist", false, false, true),
            ("DoesNotExist, values: []", false, false, true),
        ] {
            let selector = format!("{{matchExpressions: [{{key: a, operator: {operator}}}]}}");
            check_match(&selector, &[("a", "x")], value_x);
            check_match(&selector, &[("a", "z")], value_z);
            check_match(&selector, &[("b", "x")], absent);
        }
    }

    #[test]
    fn an_empty_selector_keeps_its_place() {
        for empty in ["{}", "{matchLabels: {}, matchExpressions: null}"] {
            let (selectors, faults) = checked(&format!("[{empty}, {{matchLabels: {{a: ''}}}}]"));
            assert!(faults.is_empty(), "{faults:?}");
            assert!(selectors[0].selects_all() && !selectors[1].selects_all());
        }
    }

    #[test]
    fn each_invalid_selector_is_told_with_its_reason() {
        for (selector, fault) in [
            (
                "{matchExpressions: [{key: a, operator: Near}]}",
                "invalid value 'Near' for s[0].matchExpressions[0].operator: In, NotIn, Exists or",
            ),
            (
                "{matchExpressions: [{key: a, operator: In}]}",
                "s[0].matchExpressions[0].values: the operator In needs at least one value",
            ),
            (
                "{matchExpressions: [{key: a, operator: NotIn, values: []}]}",
                "the operator NotIn needs at least one value",
            ),
            (
                "{matchExpressions: [{key: a, operator: Exists, values: [x]}]}",
                "the operator Exists takes no values",
            ),
            (
                "{matchExpressions: [{key: a b, operator: Exists}]}",
                "invalid value 'a b' for s[0].matchExpressions[0].key: the key of a label",
            ),
            ("{matchLabels: {Example.com/a: x}}", "'Example.com/a'"),
            ("{matchLabels: {-a: x}}", "'-a' for s[0].matchLabels"),
            (
                "{matchLabels: {a: x y}}",
                "invalid value 'x y' for s[0].matchLabels.a: the value of a label",
            ),
            (
                "{matchExpressions: [{key: a, operator: In, values: [b_]}]}",
                "invalid value 'b_' for s[0].matchExpressions[0].values",
            ),
        ] {
            let (_, faults) = checked(&format!("[{selector}]"));
            assert_eq!(faults.len(), 1, "{faults:?}");
            assert!(faults[0].contains(fault), "{fault} in {}", faults[0]);
        }
    }

    #[test]
    fn every_fault_of_every_selector_is_told() {
        let (_, faults) = checked(
            "[{matchLabels: {a b: c d}}, {matchExpressions: [{key: a, operator: Is}, {key: '', operator: In}]}]",
        );
        assert_eq!(faults.len(), 5, "{faults:?}");
        assert!(faults[4].starts_with("s[1].matchExpressions[1]"));
    }

    #[test]
    fn a_misspelt_field_is_no_empty_selector() {
        for text in [
            "[{matchLabel: {a: b}}]",
            "[{matchExpressions: [{key: a, operator: In, value: [b]}]}]",
        ] {
            assert!(serde_norway::from_str::<Vec<SelectorFile>>(text).is_err());
        }
    }
}

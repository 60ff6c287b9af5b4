//! Texts.

use fairlead_xds::envoy::r#type::matcher::v3::{
    RegexMatcher, StringMatcher as Message, string_matcher::MatchPattern,
};
use regex::Regex;

use crate::compile::At;

/// Matches a text (`envoy.type.matcher.v3.StringMatcher`).
#[derive(Clone, Debug)]
pub struct StringMatcher {
    pattern: Pattern,
    /// Of ASCII letters. The pattern is in lower case then.
    ignore_case: bool,
}

#[derive(Clone, Debug)]
enum Pattern {
    Exact(Box<str>),
    Prefix(Box<str>),
    Suffix(Box<str>),
    Contains(Box<str>),
    Regex(Box<Regex>),
}

impl StringMatcher {
    /// The matcher that the message asks for.
    pub fn compile(at: &At<'_>, message: &Message) -> Option<Self> {
        let Message {
            ignore_case,
            match_pattern,
        } = message;
        let text = |name: &str, text: &str| {
            if text.is_empty() {
                return at.field(name).fault("is empty");
            }
            Some(if *ignore_case {
                text.to_ascii_lowercase().into()
            } else {
                text.into()
            })
        };
        let pattern = match at.required("match_pattern", match_pattern.as_ref())? {
            // An empty text may be meant.
            MatchPattern::Exact(exact) if exact.is_empty() => Pattern::Exact("".into()),
            MatchPattern::Exact(exact) => Pattern::Exact(text("exact", exact)?),
            MatchPattern::Prefix(prefix) => Pattern::Prefix(text("prefix", prefix)?),
            MatchPattern::Suffix(suffix) => Pattern::Suffix(text("suffix", suffix)?),
            MatchPattern::Contains(part) => Pattern::Contains(text("contains", part)?),
            MatchPattern::SafeRegex(regex) => {
                Pattern::Regex(whole(&at.field("safe_regex"), regex)?.into())
            }
            MatchPattern::Custom(custom) => {
                return at
                    .field("custom")
                    .fault(format!("the matcher '{}' is not supported", custom.name));
            }
        };
        Some(Self {
            pattern,
            ignore_case: *ignore_case,
        })
    }

    /// Whether the text is what is meant.
    pub fn matches(&self, text: &str) -> bool {
        if self.ignore_case && !matches!(self.pattern, Pattern::Regex(_)) {
            return self.pattern.matches(&text.to_ascii_lowercase());
        }
        self.pattern.matches(text)
    }
}

impl Pattern {
    fn matches(&self, text: &str) -> bool {
        match self {
            Self::Exact(exact) => text == &**exact,
            Self::Prefix(prefix) => text.starts_with(&**prefix),
            Self::Suffix(suffix) => text.ends_with(&**suffix),
            Self::Contains(part) => text.contains(&**part),
            Self::Regex(regex) => regex.is_match(text),
        }
    }
}

/// An expression that is to match a text from its start to its end, as in Envoy.
fn whole(at: &At<'_>, message: &RegexMatcher) -> Option<Regex> {
    // Envoy has one engine, RE2, and ignores what is said of it.
    let RegexMatcher {
        regex,
        engine_type: _,
    } = message;
    let at = at.field("regex");
    if regex.is_empty() {
        return at.fault("is empty");
    }
    // Alone first, lest a group be closed that the expression did not open.
    if let Err(error) = Regex::new(regex) {
        return at.fault(error.to_string());
    }
    Regex::new(&format!("^(?:{regex})$")).map_or_else(|error| at.fault(error.to_string()), Some)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compile::Findings;

    fn message(pattern: MatchPattern, ignore_case: bool) -> Message {
        Message {
            ignore_case,
            match_pattern: Some(pattern),
        }
    }

    fn regex(regex: &str) -> MatchPattern {
        MatchPattern::SafeRegex(RegexMatcher {
            regex: regex.to_owned(),
            engine_type: None,
        })
    }

    #[track_caller]
    fn check(pattern: &MatchPattern, ignore_case: bool, accepted: &[&str], others: &[&str]) {
        let findings = Findings::default();
        let message = message(pattern.clone(), ignore_case);
        let matcher = StringMatcher::compile(&findings.at(""), &message).unwrap();
        for text in accepted {
            assert!(matcher.matches(text), "{text}");
        }
        for text in others {
            assert!(!matcher.matches(text), "{text}");
        }
    }

    #[test]
    fn patterns_match_as_they_say() {
        let exact = MatchPattern::Exact("aB".to_owned());
        check(&exact, false, &["aB"], &["ab", "aBc", ""]);
        check(&exact, true, &["aB", "AB"], &["aBc"]);
        check(&MatchPattern::Exact(String::new()), false, &[""], &["a"]);
        let prefix = MatchPattern::Prefix("aB".to_owned());
        check(&prefix, false, &["aB", "aBc"], &["caB", "ab"]);
        check(&prefix, true, &["abc", "ABC"], &["cab"]);
        let suffix = MatchPattern::Suffix("aB".to_owned());
        check(&suffix, false, &["aB", "caB"], &["aBc"]);
        let contains = MatchPattern::Contains("aB".to_owned());
        check(&contains, true, &["xaby"], &["a b"]);
    }

    #[test]
    fn expressions_match_the_whole_text() {
        check(&regex("a|b.*"), false, &["a", "bc"], &["ac", "ca"]);
        // Upper and lower case is the expression's own business.
        check(&regex("ab"), true, &["ab"], &["AB"]);
    }

    #[test]
    fn faults_name_the_field() {
        for (pattern, path) in [
            (MatchPattern::Prefix(String::new()), "san.prefix"),
            (MatchPattern::Suffix(String::new()), "san.suffix"),
            (MatchPattern::Contains(String::new()), "san.contains"),
            (regex(""), "san.safe_regex.regex"),
            (regex("a)(b"), "san.safe_regex.regex"),
        ] {
            let findings = Findings::default();
            let compiled = StringMatcher::compile(&findings.at("san"), &message(pattern, false));
            assert!(compiled.is_none());
            assert_eq!(findings.faults()[0].path, path);
        }
    }
}

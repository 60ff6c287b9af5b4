//! Lines by what filters said of a connection.

use fairlead_xds::envoy::{
    config::accesslog::v3::MetadataFilter as Message,
    r#type::matcher::v3::{
        DoubleMatcher, ListMatcher, MetadataMatcher, OrMatcher, ValueMatcher as ValueMessage,
        double_matcher, list_matcher,
        metadata_matcher::{PathSegment, path_segment::Segment},
        value_matcher::MatchPattern,
    },
};
use serde_json::Value;

use crate::{access_log::Fields, compile::At, matcher::StringMatcher};

/// Decides by a value of the dynamic metadata.
#[derive(Debug)]
pub struct MetadataFilter {
    matcher: Option<Matcher>,
    /// The decision where there is no such value.
    without: bool,
}

#[derive(Debug)]
struct Matcher {
    namespace: Box<str>,
    path: Box<[Box<str>]>,
    value: ValueMatcher,
    invert: bool,
}

#[derive(Debug)]
enum ValueMatcher {
    Null,
    /// From the first up to the second, without the second.
    Range(f64, f64),
    Exact(f64),
    String(StringMatcher),
    Bool(bool),
    Present(bool),
    /// An element of the list.
    OneOf(Box<ValueMatcher>),
    Or(Box<[ValueMatcher]>),
}

impl MetadataFilter {
    pub(super) fn compile(at: &At<'_>, message: &Message) -> Option<Self> {
        let Message {
            matcher,
            match_if_key_not_found,
        } = message;
        let matcher = match matcher {
            None => None,
            Some(matcher) => Some(Matcher::compile(&at.field("matcher"), matcher)?),
        };
        Some(Self {
            matcher,
            without: match_if_key_not_found.is_none_or(|matches| matches.value),
        })
    }

    pub(super) fn accepts(&self, fields: &Fields<'_>) -> bool {
        let found = self.matcher.as_ref().and_then(|matcher| {
            let namespace = fields.dynamic_metadata?.get(&*matcher.namespace)?;
            let keys = &mut matcher.path.iter();
            let value = keys.try_fold(namespace, |value, key| value.get(&**key))?;
            Some(matcher.value.accepts(value) != matcher.invert)
        });
        found.unwrap_or(self.without)
    }
}

impl Matcher {
    fn compile(at: &At<'_>, message: &MetadataMatcher) -> Option<Self> {
        let MetadataMatcher {
            filter,
            path,
            value,
            invert,
        } = message;
        if filter.is_empty() {
            at.field("filter").fault::<()>("is empty");
        }
        if path.is_empty() {
            at.field("path").fault::<()>("is empty");
        }
        let keys = at.each("path", path, |at, PathSegment { segment }| {
            match at.required("segment", segment.as_ref())? {
                Segment::Key(key) if key.is_empty() => at.field("key").fault("is empty"),
                Segment::Key(key) => Some(key.as_str().into()),
            }
        });
        let value = at.required("value", value.as_ref());
        let value = value.and_then(|value| ValueMatcher::compile(&at.field("value"), value))?;
        let sound = !filter.is_empty() && !path.is_empty() && keys.len() == path.len();
        sound.then(|| Self {
            namespace: filter.as_str().into(),
            path: keys.into(),
            value,
            invert: *invert,
        })
    }
}

impl ValueMatcher {
    fn compile(at: &At<'_>, message: &ValueMessage) -> Option<Self> {
        let ValueMessage { match_pattern } = message;
        Some(
            match at.required("match_pattern", match_pattern.as_ref())? {
                MatchPattern::NullMatch(_) => Self::Null,
                MatchPattern::DoubleMatch(DoubleMatcher { match_pattern }) => {
                    let at = at.field("double_match");
                    match at.required("match_pattern", match_pattern.as_ref())? {
                        double_matcher::MatchPattern::Range(range) => {
                            Self::Range(range.start, range.end)
                        }
                        double_matcher::MatchPattern::Exact(exact) => Self::Exact(*exact),
                    }
                }
                MatchPattern::StringMatch(matcher) => {
                    Self::String(StringMatcher::compile(&at.field("string_match"), matcher)?)
                }
                MatchPattern::BoolMatch(value) => Self::Bool(*value),
                MatchPattern::PresentMatch(value) => Self::Present(*value),
                MatchPattern::ListMatch(matcher) => {
                    let ListMatcher { match_pattern } = &**matcher;
                    let at = at.field("list_match");
                    match at.required("match_pattern", match_pattern.as_ref())? {
                        list_matcher::MatchPattern::OneOf(element) => {
                            Self::OneOf(Self::compile(&at.field("one_of"), element)?.into())
                        }
                    }
                }
                MatchPattern::OrMatch(OrMatcher { value_matchers }) => {
                    let at = at.field("or_match");
                    if value_matchers.len() < 2 {
                        return at
                            .field("value_matchers")
                            .fault("needs two matchers or more");
                    }
                    let compiled = at.each("value_matchers", value_matchers, Self::compile);
                    if compiled.len() < value_matchers.len() {
                        return None;
                    }
                    Self::Or(compiled.into())
                }
            },
        )
    }

    fn accepts(&self, value: &Value) -> bool {
        match self {
            Self::Null => value.is_null(),
            Self::Range(start, end) => value
                .as_f64()
                .is_some_and(|value| *start <= value && value < *end),
            Self::Exact(exact) => value.as_f64() == Some(*exact),
            Self::String(matcher) => value.as_str().is_some_and(|value| matcher.matches(value)),
            Self::Bool(expected) => value.as_bool() == Some(*expected),
            Self::Present(expected) => *expected,
            Self::OneOf(matcher) => value
                .as_array()
                .is_some_and(|list| list.iter().any(|value| matcher.accepts(value))),
            Self::Or(matchers) => matchers.iter().any(|matcher| matcher.accepts(value)),
        }
    }
}

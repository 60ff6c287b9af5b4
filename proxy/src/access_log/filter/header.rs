//! What a matcher of headers says where there are none.

use fairlead_xds::envoy::config::route::v3::{HeaderMatcher, header_matcher::HeaderMatchSpecifier};

use crate::{compile::At, matcher::StringMatcher};

/// Whether the matcher accepts what has no headers.
pub(super) fn matches_none(at: &At<'_>, message: &HeaderMatcher) -> Option<bool> {
    let HeaderMatcher {
        name,
        invert_match,
        treat_missing_header_as_empty,
        header_match_specifier,
    } = message;
    if name.is_empty() {
        return at.field("name").fault("is empty");
    }
    #[expect(deprecated, reason = "Envoy still takes them")]
    let accepts_empty = match header_match_specifier.as_ref() {
        None => return Some(*invert_match),
        Some(HeaderMatchSpecifier::PresentMatch(present)) => {
            return Some(*present == *invert_match);
        }
        Some(HeaderMatchSpecifier::StringMatch(matcher)) => {
            StringMatcher::compile(&at.field("string_match"), matcher)?.matches("")
        }
        Some(HeaderMatchSpecifier::ExactMatch(exact)) => exact.is_empty(),
        Some(
            HeaderMatchSpecifier::PrefixMatch(part)
            | HeaderMatchSpecifier::SuffixMatch(part)
            | HeaderMatchSpecifier::ContainsMatch(part),
        ) => part.is_empty(),
        Some(HeaderMatchSpecifier::SafeRegexMatch(_)) => {
            return at
                .field("safe_regex_match")
                .fault("is not supported; write it as a string_match");
        }
        // Nothing is no number.
        Some(HeaderMatchSpecifier::RangeMatch(_)) => false,
    };
    Some(*treat_missing_header_as_empty && accepts_empty != *invert_match)
}

//! How statistics are shown: `stats_config` of the bootstrap
//! (<https://www.envoyproxy.io/docs/envoy/latest/api-v3/config/metrics/v3/stats.proto>).

use std::sync::LazyLock;

use fairlead_xds::envoy::{
    config::metrics::v3::{
        HistogramBucketSettings, StatsConfig as Message, StatsMatcher, TagSpecifier, stats_matcher,
        tag_specifier::TagValue,
    },
    r#type::matcher::v3::ListStringMatcher,
};
use regex::Regex;

use super::tags::{Custom, DefaultTag, Tags};
use crate::{compile::At, matcher::StringMatcher};

/// The upper bounds of a histogram's buckets where nothing else is said.
const BUCKETS: [f64; 19] = [
    0.5,
    1.0,
    5.0,
    10.0,
    25.0,
    50.0,
    100.0,
    250.0,
    500.0,
    1_000.0,
    2_500.0,
    5_000.0,
    10_000.0,
    30_000.0,
    60_000.0,
    300_000.0,
    600_000.0,
    1_800_000.0,
    3_600_000.0,
];

/// What Envoy gives an expression, at most.
const LONGEST_REGEX: usize = 1024;

/// The range of `bins`.
const BINS: std::ops::RangeInclusive<u32> = 1..=46_082;

/// How statistics are shown, and which.
#[derive(Clone, Debug)]
pub struct StatsConfig {
    matcher: Matcher,
    tags: Tags,
    /// The first that matches a name gives its histogram the bounds.
    buckets: Box<[(StringMatcher, Box<[f64]>)]>,
}

/// Which statistics there are.
#[derive(Clone, Debug)]
enum Matcher {
    All,
    None,
    /// Those that one of them matches.
    Included(Box<[StringMatcher]>),
    /// Those that none of them matches.
    Excluded(Box<[StringMatcher]>),
}

impl Default for StatsConfig {
    fn default() -> Self {
        Self {
            matcher: Matcher::All,
            tags: Tags {
                defaults: DefaultTag::ALL.into(),
                ..Tags::default()
            },
            buckets: Box::default(),
        }
    }
}

impl StatsConfig {
    /// What the message asks for.
    pub fn compile(at: &At<'_>, message: &Message) -> Option<Self> {
        let Message {
            stats_tags,
            use_all_default_tags,
            stats_matcher,
            histogram_bucket_settings,
            allow_default_tag_overrides,
        } = message;
        let use_defaults = use_all_default_tags.as_ref().is_none_or(|all| all.value);
        let overrides = allow_default_tag_overrides
            .as_ref()
            .is_some_and(|allow| allow.value);
        let matcher = match stats_matcher {
            None => Some(Matcher::All),
            Some(matcher) => Matcher::compile(&at.field("stats_matcher"), matcher),
        };
        let tags = at.each("stats_tags", stats_tags, tag);
        let whole = tags.len() == stats_tags.len();
        let buckets = at.each(
            "histogram_bucket_settings",
            histogram_bucket_settings,
            bucket_settings,
        );
        let whole = whole && buckets.len() == histogram_bucket_settings.len();
        let config = Self {
            matcher: matcher?,
            tags: arrange(tags, use_defaults, overrides),
            buckets: buckets.into(),
        };
        whole.then_some(config)
    }

    /// Whether there is no statistic of this name.
    pub fn rejects(&self, name: &str) -> bool {
        let any = |matchers: &[StringMatcher]| matchers.iter().any(|one| one.matches(name));
        match &self.matcher {
            Matcher::All => false,
            Matcher::None => true,
            Matcher::Included(matchers) => !any(matchers),
            Matcher::Excluded(matchers) => any(matchers),
        }
    }

    /// How tags are found in names.
    pub fn tags(&self) -> &Tags {
        &self.tags
    }

    /// The upper bounds of the buckets of the histogram of this name.
    pub fn buckets(&self, name: &str) -> &[f64] {
        let mut settings = self.buckets.iter();
        let own = settings.find(|(matcher, _)| matcher.matches(name));
        own.map_or(&BUCKETS, |(_, bounds)| bounds)
    }
}

impl Matcher {
    fn compile(at: &At<'_>, message: &StatsMatcher) -> Option<Self> {
        let StatsMatcher { stats_matcher } = message;
        let list = |name: &str, list: &ListStringMatcher| -> Option<Box<[StringMatcher]>> {
            let at = at.field(name);
            if list.patterns.is_empty() {
                return at.field("patterns").fault("is empty");
            }
            let matchers = at.each("patterns", &list.patterns, StringMatcher::compile);
            (matchers.len() == list.patterns.len()).then_some(matchers.into())
        };
        match at.required("stats_matcher", stats_matcher.as_ref())? {
            stats_matcher::StatsMatcher::RejectAll(true) => Some(Self::None),
            stats_matcher::StatsMatcher::RejectAll(false) => Some(Self::All),
            stats_matcher::StatsMatcher::ExclusionList(patterns) => {
                list("exclusion_list", patterns).map(Self::Excluded)
            }
            stats_matcher::StatsMatcher::InclusionList(patterns) => {
                list("inclusion_list", patterns).map(Self::Included)
            }
        }
    }
}

/// A tag of the configuration.
enum Tag {
    Fixed(Box<str>, Box<str>),
    Default(DefaultTag),
    Custom(Custom),
}

fn tag(at: &At<'_>, message: &TagSpecifier) -> Option<Tag> {
    let TagSpecifier {
        tag_name,
        tag_value,
    } = message;
    if tag_name.is_empty() {
        return at.field("tag_name").fault("is empty");
    }
    let regex = match tag_value {
        Some(TagValue::FixedValue(value)) => {
            return Some(Tag::Fixed(tag_name.as_str().into(), value.as_str().into()));
        }
        Some(TagValue::Regex(regex)) => regex.as_str(),
        None => "",
    };
    if regex.is_empty() {
        let mut known = DefaultTag::ALL.iter();
        return match known.find(|tag| tag.name() == tag_name) {
            Some(known) => Some(Tag::Default(*known)),
            None => at.field("tag_name").fault(format!(
                "there is no default tag {tag_name}; give it a regex or a fixed_value"
            )),
        };
    }
    let at = at.field("regex");
    if regex.len() > LONGEST_REGEX {
        return at.fault(format!("is longer than {LONGEST_REGEX} bytes"));
    }
    match fancy_regex::Regex::new(regex) {
        Ok(regex) => Some(Tag::Custom(Custom {
            name: tag_name.as_str().into(),
            regex: regex.into(),
        })),
        Err(error) => at.fault(error.to_string()),
    }
}

/// Tags in the order in which they are looked for.
fn arrange(tags: Vec<Tag>, use_defaults: bool, overrides: bool) -> Tags {
    let mut defaults: Vec<DefaultTag> = match use_defaults {
        true => DefaultTag::ALL.into(),
        false => Vec::new(),
    };
    let (mut fixed, mut anywhere, mut prefixed) = (Vec::new(), Vec::new(), Vec::new());
    for tag in tags {
        match tag {
            Tag::Fixed(name, value) => fixed.push((name, value)),
            Tag::Default(tag) if defaults.contains(&tag) => {}
            Tag::Default(tag) => defaults.push(tag),
            Tag::Custom(custom) => {
                if overrides {
                    defaults.retain(|tag| tag.name() != &*custom.name);
                }
                let default = defaults.iter().any(|tag| tag.name() == &*custom.name);
                // A default tag comes before another of its name.
                if default || has_first_word(custom.regex.as_str()) {
                    prefixed.push(custom);
                } else {
                    anywhere.push(custom);
                }
            }
        }
    }
    Tags {
        fixed: fixed.into(),
        defaults: defaults.into(),
        anywhere: anywhere.into(),
        prefixed: prefixed.into(),
    }
}

/// Whether an expression tells the first word of the names: `^word\.`
fn has_first_word(regex: &str) -> bool {
    static FIRST_WORD: LazyLock<Regex> =
        LazyLock::new(|| Regex::new(r"^\^[A-Za-z0-9_]+\\\.").expect("the expression is sound"));
    FIRST_WORD.is_match(regex)
}

fn bucket_settings(
    at: &At<'_>,
    message: &HistogramBucketSettings,
) -> Option<(StringMatcher, Box<[f64]>)> {
    let HistogramBucketSettings {
        r#match,
        buckets,
        bins,
    } = message;
    let matcher = at
        .required("match", r#match.as_ref())
        .and_then(|matcher| StringMatcher::compile(&at.field("match"), matcher));
    let mut bounds = at.each("buckets", buckets, |at, bound| {
        if !(bound.is_finite() && *bound > 0.0) {
            return at.fault("is not above 0");
        }
        Some(*bound)
    });
    bounds.sort_by(f64::total_cmp);
    let unique = bounds.windows(2).all(|pair| pair[0] < pair[1]);
    if !unique {
        return at.field("buckets").fault("has the same bound twice");
    }
    if let Some(bins) = bins {
        let at = at.field("bins");
        if !BINS.contains(&bins.value) {
            let (least, most) = (BINS.start(), BINS.end());
            return at.fault(format!("is not within {least} and {most}"));
        }
        at.unsupported("is not needed: histograms grow with what they record");
    }
    if bounds.len() != buckets.len() {
        return None;
    }
    if bounds.is_empty() {
        bounds = BUCKETS.into();
    }
    Some((matcher?, bounds.into()))
}

#[cfg(test)]
mod tests;

//! What is asked for.

use std::collections::BTreeMap;

use regex::{Regex, RegexBuilder};

use crate::stats::set::Kind;

/// What a filter's automaton may take; a larger one is a mistake.
const FILTER_SIZE: usize = 1024 * 1024;

/// The parameters of a path.
type Parameters = BTreeMap<String, String>;

/// What is asked for.
#[derive(Debug, Default)]
pub struct Query {
    /// The form.
    pub format: Format,
    /// What a name must contain.
    pub filter: Option<Regex>,
    /// Whether a name must not contain it instead.
    pub invert_filter: bool,
    /// Whether what counted nothing yet is left out.
    pub used_only: bool,
    /// The one kind that is asked for; all without one.
    pub kind: Option<Kind>,
    /// The form of histograms.
    pub buckets: Buckets,
    /// Whether Prometheus is to be shown texts, too.
    pub text_readouts: bool,
    /// Whether only hidden statistics are asked for, which there are none of.
    pub hidden_only: bool,
}

/// The form of an answer.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Format {
    /// A name and a value a line.
    #[default]
    Text,
    /// JSON.
    Json,
    /// Prometheus' text format.
    Prometheus,
    /// The text in a page.
    Html,
}

/// The form of histograms.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Buckets {
    /// Quantiles; for Prometheus cumulative buckets.
    #[default]
    Unset,
    /// Quantiles.
    Summary,
    /// How many values are not above each bound.
    Cumulative,
    /// How many values are between a bound and the one before it.
    Disjoint,
    /// Quantiles, and all bins.
    Detailed,
}

/// Why there is no answer, in Envoy's words.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{0}")]
pub struct Refusal(pub String);

impl Query {
    /// The question of `/stats`.
    pub fn parse(parameters: &Parameters) -> Result<Self, Refusal> {
        let format = match parameters.get("format").map(String::as_str) {
            None | Some("text") => Format::Text,
            Some("json") => Format::Json,
            Some("prometheus") => return Self::prometheus(parameters),
            Some("html" | "active-html") => Format::Html,
            Some(_) => {
                return refuse("usage: /stats?format=(html|active-html|json|prometheus|text)\n\n");
            }
        };
        let (buckets, native) = buckets(parameters)?;
        if native {
            return refuse("Invalid histogram_buckets type for non prometheus stats type");
        }
        let kind = match parameters.get("type").map(String::as_str) {
            None | Some("" | "All") => None,
            Some("Counters") => Some(Kind::Counter),
            Some("Gauges") => Some(Kind::Gauge),
            Some("Histograms") => Some(Kind::Histogram),
            Some("TextReadouts") => Some(Kind::TextReadout),
            Some(_) => return refuse("invalid &type= param"),
        };
        Ok(Self {
            format,
            kind,
            ..Self::common(parameters, buckets)?
        })
    }

    /// The question of `/stats/prometheus`.
    pub fn prometheus(parameters: &Parameters) -> Result<Self, Refusal> {
        let (buckets, native) = buckets(parameters)?;
        if native {
            return refuse(
                "unsupported prometheusnative histogram type when not using protobuf exposition \
                 format",
            );
        }
        if matches!(buckets, Buckets::Disjoint | Buckets::Detailed) {
            return refuse("unsupported prometheus histogram bucket mode");
        }
        Ok(Self {
            format: Format::Prometheus,
            text_readouts: parameters.contains_key("text_readouts"),
            ..Self::common(parameters, buckets)?
        })
    }

    fn common(parameters: &Parameters, buckets: Buckets) -> Result<Self, Refusal> {
        let hidden_only = match parameters.get("hidden").map(String::as_str) {
            None | Some("include" | "exclude") => false,
            Some("only") => true,
            Some(_) => return refuse("usage: /stats?hidden=(include|only|exclude)\n\n"),
        };
        let filter = match parameters.get("filter") {
            None => None,
            Some(filter) => Some(compile(filter)?),
        };
        Ok(Self {
            filter,
            invert_filter: parameters.contains_key("invert_filter"),
            used_only: parameters.contains_key("usedonly"),
            buckets,
            hidden_only,
            ..Self::default()
        })
    }

    /// Whether a statistic of this name is asked for.
    pub(super) fn names(&self, name: &str) -> bool {
        let filter = self.filter.as_ref();
        filter.is_none_or(|filter| filter.is_match(name) != self.invert_filter)
    }

    /// Whether statistics of this kind are asked for.
    pub(super) fn asks_for(&self, kind: Kind) -> bool {
        !self.hidden_only && self.kind.is_none_or(|asked| asked == kind)
    }
}

/// The form of histograms, and whether it is that of Prometheus' other format.
fn buckets(parameters: &Parameters) -> Result<(Buckets, bool), Refusal> {
    let buckets = match parameters.get("histogram_buckets").map(String::as_str) {
        None => Buckets::Unset,
        Some("" | "none" | "summary") => Buckets::Summary,
        Some("cumulative") => Buckets::Cumulative,
        Some("disjoint") => Buckets::Disjoint,
        Some("detailed") => Buckets::Detailed,
        Some("prometheusnative") => return Ok((Buckets::Unset, true)),
        Some(_) => {
            return refuse(
                "usage: /stats?histogram_buckets=\
                 (cumulative|disjoint|detailed|summary|prometheusnative)",
            );
        }
    };
    Ok((buckets, false))
}

fn refuse<T>(words: &str) -> Result<T, Refusal> {
    Err(Refusal(words.to_owned()))
}

fn compile(filter: &str) -> Result<Regex, Refusal> {
    let regex = RegexBuilder::new(filter).size_limit(FILTER_SIZE).build();
    regex.map_err(|error| {
        let text = error.to_string();
        // The last line has the reason, those before it draw where it is.
        let reason = text.lines().last().unwrap_or_default();
        let reason = reason.strip_prefix("error: ").unwrap_or(reason);
        let words = match reason {
            "unclosed group" => "missing )",
            "unopened group" => "unexpected )",
            "unclosed character class" => "missing ]",
            "repetition operator missing expression" => "no argument for repetition operator",
            _ => reason,
        };
        Refusal(format!("Invalid re2 regex: {words}: {filter}"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parameters(text: &str) -> Parameters {
        let pairs = text.split('&').filter(|pair| !pair.is_empty());
        pairs
            .map(|pair| {
                let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
                (name.to_owned(), value.to_owned())
            })
            .collect()
    }

    #[track_caller]
    fn check_refusal(query: Result<Query, Refusal>, expected: &str) {
        assert_eq!(query.unwrap_err().to_string(), expected);
    }

    #[test]
    fn refusals_are_in_the_words_of_envoy() {
        for (text, expected) in [
            ("filter=(", "Invalid re2 regex: missing ): ("),
            ("filter=[a", "Invalid re2 regex: missing ]: [a"),
            (
                "filter=*",
                "Invalid re2 regex: no argument for repetition operator: *",
            ),
            ("filter=a)", "Invalid re2 regex: unexpected ): a)"),
            ("type=counters", "invalid &type= param"),
            (
                "format=foo",
                "usage: /stats?format=(html|active-html|json|prometheus|text)\n\n",
            ),
            (
                "hidden=x",
                "usage: /stats?hidden=(include|only|exclude)\n\n",
            ),
            (
                "histogram_buckets=x",
                "usage: /stats?histogram_buckets=\
                 (cumulative|disjoint|detailed|summary|prometheusnative)",
            ),
            (
                "histogram_buckets=prometheusnative",
                "Invalid histogram_buckets type for non prometheus stats type",
            ),
            (
                "format=prometheus&histogram_buckets=detailed",
                "unsupported prometheus histogram bucket mode",
            ),
            (
                "format=prometheus&histogram_buckets=prometheusnative",
                "unsupported prometheusnative histogram type when not using protobuf exposition \
                 format",
            ),
        ] {
            check_refusal(Query::parse(&parameters(text)), expected);
        }
    }

    #[test]
    fn a_large_filter_is_refused() {
        let query = Query::parse(&parameters("filter=x{1000}{1000}"));
        assert!(query.unwrap_err().0.starts_with("Invalid re2 regex: "));
    }

    #[test]
    fn questions_are_understood() {
        let query = Query::parse(&parameters("format=json&type=Gauges&usedonly")).unwrap();
        assert_eq!(query.format, Format::Json);
        assert!(query.used_only && query.asks_for(Kind::Gauge) && !query.asks_for(Kind::Counter));
        // Prometheus is always shown all kinds.
        let query = Query::parse(&parameters("format=prometheus&type=Gauges")).unwrap();
        assert!(query.asks_for(Kind::Counter));
        let query = Query::prometheus(&parameters("format=json")).unwrap();
        assert_eq!(query.format, Format::Prometheus);
        let query = Query::parse(&parameters("filter=a&invert_filter&format=html")).unwrap();
        assert_eq!(query.format, Format::Html);
        assert!(query.names("b") && !query.names("ab"));
        let query = Query::parse(&parameters("hidden=only")).unwrap();
        assert!(!query.asks_for(Kind::Counter));
    }
}

use std::time::Duration;

use fairlead_xds::{
    envoy::{
        config::{
            accesslog::v3::{ExtensionFilter, MetadataFilter as MetadataMessage},
            core::v3::RuntimeUInt32,
            route::v3::{HeaderMatcher, header_matcher::HeaderMatchSpecifier},
        },
        r#type::{
            matcher::v3::{
                ListMatcher, MetadataMatcher, OrMatcher, StringMatcher, ValueMatcher, list_matcher,
                metadata_matcher::{PathSegment, path_segment::Segment},
                string_matcher,
                value_matcher::{MatchPattern, NullMatch},
            },
            v3::Int64Range,
        },
    },
    google::protobuf::BoolValue,
};
use serde_json::json;

use super::*;
use crate::compile::{Fault, Findings};

fn filter(specifier: FilterSpecifier) -> AccessLogFilter {
    AccessLogFilter {
        filter_specifier: Some(specifier),
    }
}

fn comparison(op: Op, value: u32) -> Option<ComparisonFilter> {
    Some(ComparisonFilter {
        op: op.into(),
        value: Some(RuntimeUInt32 {
            default_value: value,
            runtime_key: "key".to_owned(),
        }),
    })
}

fn duration(op: Op, value: u32) -> FilterSpecifier {
    FilterSpecifier::DurationFilter(DurationFilter {
        comparison: comparison(op, value),
    })
}

fn flags(flags: &[&str]) -> FilterSpecifier {
    FilterSpecifier::ResponseFlagFilter(ResponseFlagFilter {
        flags: flags.iter().map(|flag| (*flag).to_owned()).collect(),
    })
}

fn header(matcher: HeaderMatcher) -> FilterSpecifier {
    FilterSpecifier::HeaderFilter(HeaderFilter {
        header: Some(matcher),
    })
}

fn header_matcher(
    specifier: Option<HeaderMatchSpecifier>,
    invert_match: bool,
    treat_missing_header_as_empty: bool,
) -> FilterSpecifier {
    header(HeaderMatcher {
        name: "a".to_owned(),
        invert_match,
        treat_missing_header_as_empty,
        header_match_specifier: specifier,
    })
}

fn exact(text: &str) -> StringMatcher {
    StringMatcher {
        match_pattern: Some(string_matcher::MatchPattern::Exact(text.to_owned())),
        ..StringMatcher::default()
    }
}

fn chance(percent_sampled: Option<(u32, DenominatorType)>) -> FilterSpecifier {
    FilterSpecifier::RuntimeFilter(RuntimeFilter {
        runtime_key: "key".to_owned(),
        percent_sampled: percent_sampled.map(|(numerator, denominator)| FractionalPercent {
            numerator,
            denominator: denominator.into(),
        }),
        use_independent_randomness: false,
    })
}

fn grpc(statuses: &[Status], exclude: bool) -> FilterSpecifier {
    FilterSpecifier::GrpcStatusFilter(GrpcStatusFilter {
        statuses: statuses.iter().map(|status| (*status).into()).collect(),
        exclude,
    })
}

fn log_types(types: &[AccessLogType], exclude: bool) -> FilterSpecifier {
    FilterSpecifier::LogTypeFilter(LogTypeFilter {
        types: types.iter().map(|log_type| (*log_type).into()).collect(),
        exclude,
    })
}

fn pattern(pattern: MatchPattern) -> ValueMatcher {
    ValueMatcher {
        match_pattern: Some(pattern),
    }
}

fn metadata(
    path: &[&str],
    value: Option<ValueMatcher>,
    invert: bool,
    without: Option<bool>,
) -> FilterSpecifier {
    let segment = |key: &&str| PathSegment {
        segment: Some(Segment::Key((*key).to_owned())),
    };
    FilterSpecifier::MetadataFilter(MetadataMessage {
        matcher: Some(MetadataMatcher {
            filter: "space".to_owned(),
            path: path.iter().map(segment).collect(),
            value,
            invert,
        }),
        match_if_key_not_found: without.map(|value| BoolValue { value }),
    })
}

#[track_caller]
fn check(specifier: FilterSpecifier, expected: bool) {
    let findings = Findings::default();
    let message = filter(specifier);
    let filter = Filter::compile(&findings.at("filter"), &message);
    let filter = filter.unwrap_or_else(|| panic!("{:?}", findings.faults()));
    let metadata = json!({"space": {
        "b": true, "n": 3, "t": "text", "z": null, "l": [1, "two"], "o": {"k": 1.5},
    }});
    let fields = Fields {
        log_type: LogType::TcpConnectionEnd,
        duration: Duration::from_micros(42_900),
        flags: Some(ResponseFlag::UpstreamOverflow).into(),
        dynamic_metadata: metadata.as_object(),
        ..Fields::default()
    };
    let mut rng = Rng::with_seed(1);
    assert_eq!(filter.accepts(&fields, &mut rng), expected, "{message:?}");
}

#[test]
fn what_only_http_has_is_decided_as_in_envoy() {
    let status = |op, value| {
        FilterSpecifier::StatusCodeFilter(StatusCodeFilter {
            comparison: comparison(op, value),
        })
    };
    check(status(Op::Eq, 0), true);
    check(status(Op::Ge, 1), false);
    check(status(Op::Ne, 200), true);
    check(
        FilterSpecifier::NotHealthCheckFilter(Default::default()),
        true,
    );
    check(FilterSpecifier::TraceableFilter(Default::default()), false);
    check(grpc(&[Status::Ok], false), false);
    check(grpc(&[Status::Unknown], false), true);
    check(grpc(&[Status::Unknown, Status::Ok], true), false);
    check(grpc(&[], false), false);
    check(grpc(&[], true), true);
}

#[test]
fn headers_are_missing() {
    let string = |text| Some(HeaderMatchSpecifier::StringMatch(exact(text)));
    let range = Some(HeaderMatchSpecifier::RangeMatch(Int64Range {
        start: 0,
        end: 3,
    }));
    check(header_matcher(None, false, false), false);
    check(header_matcher(None, true, false), true);
    check(
        header_matcher(
            Some(HeaderMatchSpecifier::PresentMatch(false)),
            false,
            false,
        ),
        true,
    );
    check(
        header_matcher(Some(HeaderMatchSpecifier::PresentMatch(true)), false, false),
        false,
    );
    check(
        header_matcher(Some(HeaderMatchSpecifier::PresentMatch(true)), true, false),
        true,
    );
    check(header_matcher(string("x"), true, false), false);
    check(header_matcher(string("x"), true, true), true);
    check(header_matcher(string("x"), false, true), false);
    check(header_matcher(string(""), false, true), true);
    check(header_matcher(range, true, true), true);
}

#[test]
fn durations_are_compared_in_milliseconds() {
    for (op, value, expected) in [
        (Op::Eq, 42, true),
        (Op::Eq, 43, false),
        (Op::Ge, 42, true),
        (Op::Ge, 43, false),
        (Op::Le, 42, true),
        (Op::Le, 41, false),
        (Op::Ne, 42, false),
        (Op::Ne, 41, true),
    ] {
        check(duration(op, value), expected);
    }
}

#[test]
fn flags_are_looked_for() {
    check(flags(&[]), true);
    check(flags(&["UO"]), true);
    check(flags(&["NR", "UO"]), true);
    check(flags(&["NR", "UF"]), false);
    let findings = Findings::default();
    let any = Filter::compile(&findings.at(""), &filter(flags(&[]))).unwrap();
    assert!(!any.accepts(&Fields::default(), &mut Rng::with_seed(1)));
}

#[test]
fn chances_are_fractions() {
    check(chance(None), false);
    check(chance(Some((0, DenominatorType::Hundred))), false);
    check(chance(Some((100, DenominatorType::Hundred))), true);
    check(chance(Some((1_000_000, DenominatorType::Million))), true);
    let findings = Findings::default();
    let message = filter(chance(Some((2_500, DenominatorType::TenThousand))));
    let quarter = Filter::compile(&findings.at(""), &message).unwrap();
    let mut rng = Rng::with_seed(7);
    let accepted = (0..10_000)
        .filter(|_| quarter.accepts(&Fields::default(), &mut rng))
        .count();
    assert!((2_300..2_700).contains(&accepted), "{accepted}");
}

#[test]
fn log_types_are_told_apart() {
    check(log_types(&[], false), false);
    check(log_types(&[], true), true);
    check(log_types(&[AccessLogType::TcpConnectionEnd], false), true);
    check(log_types(&[AccessLogType::TcpConnectionEnd], true), false);
    check(
        log_types(
            &[AccessLogType::DownstreamEnd, AccessLogType::TcpPeriodic],
            false,
        ),
        false,
    );
}

#[test]
fn metadata_is_compared() {
    let bool_match = |value| Some(pattern(MatchPattern::BoolMatch(value)));
    check(metadata(&["b"], bool_match(true), false, None), true);
    check(metadata(&["b"], bool_match(true), true, None), false);
    check(metadata(&["b"], bool_match(false), false, None), false);
    check(metadata(&["x"], bool_match(true), false, None), true);
    check(metadata(&["x"], bool_match(true), false, Some(true)), true);
    check(metadata(&["x"], bool_match(true), true, Some(false)), false);
    check(
        FilterSpecifier::MetadataFilter(MetadataMessage::default()),
        true,
    );
    let number = |matcher| {
        Some(pattern(MatchPattern::DoubleMatch(
            fairlead_xds::envoy::r#type::matcher::v3::DoubleMatcher {
                match_pattern: Some(matcher),
            },
        )))
    };
    use fairlead_xds::envoy::r#type::{matcher::v3::double_matcher, v3::DoubleRange};
    let range = |start, end| double_matcher::MatchPattern::Range(DoubleRange { start, end });
    check(
        metadata(
            &["n"],
            number(double_matcher::MatchPattern::Exact(3.0)),
            false,
            None,
        ),
        true,
    );
    check(
        metadata(&["n"], number(range(1.0, 3.0)), false, None),
        false,
    );
    check(
        metadata(&["o", "k"], number(range(1.0, 3.0)), false, None),
        true,
    );
    let text = |text| pattern(MatchPattern::StringMatch(exact(text)));
    check(metadata(&["t"], Some(text("text")), false, None), true);
    check(metadata(&["n"], Some(text("3")), false, None), false);
    check(
        metadata(
            &["z"],
            Some(pattern(MatchPattern::NullMatch(NullMatch {}))),
            false,
            None,
        ),
        true,
    );
    check(
        metadata(
            &["z"],
            Some(pattern(MatchPattern::PresentMatch(true))),
            false,
            None,
        ),
        true,
    );
    let list = |matcher: ValueMatcher| {
        let one_of = list_matcher::MatchPattern::OneOf(Box::new(matcher));
        Some(pattern(MatchPattern::ListMatch(Box::new(ListMatcher {
            match_pattern: Some(one_of),
        }))))
    };
    check(metadata(&["l"], list(text("two")), false, None), true);
    check(metadata(&["l"], list(text("three")), false, None), false);
    let or = |value_matchers| Some(pattern(MatchPattern::OrMatch(OrMatcher { value_matchers })));
    check(
        metadata(&["t"], or(vec![text("a"), text("text")]), false, None),
        true,
    );
    check(
        metadata(&["t"], or(vec![text("a"), text("b")]), false, None),
        false,
    );
}

#[test]
fn filters_are_combined() {
    let (yes, no) = (flags(&["UO"]), flags(&["NR"]));
    let and = |filters: [&FilterSpecifier; 2]| {
        FilterSpecifier::AndFilter(AndFilter {
            filters: filters.map(|each| filter(each.clone())).into(),
        })
    };
    let or = |filters: [&FilterSpecifier; 2]| {
        FilterSpecifier::OrFilter(OrFilter {
            filters: filters.map(|each| filter(each.clone())).into(),
        })
    };
    check(and([&yes, &yes]), true);
    check(and([&yes, &no]), false);
    check(or([&no, &yes]), true);
    check(or([&no, &no]), false);
    check(and([&or([&no, &yes]), &yes]), true);
}

#[track_caller]
fn check_faults(specifier: Option<FilterSpecifier>, expected: &[&str]) {
    let findings = Findings::default();
    let message = AccessLogFilter {
        filter_specifier: specifier,
    };
    assert!(Filter::compile(&findings.at("filter"), &message).is_none());
    let faults: Vec<_> = findings.faults().iter().map(Fault::to_string).collect();
    assert_eq!(faults, expected);
}

#[test]
fn each_fault_of_a_filter_is_told() {
    check_faults(None, &["filter.filter_specifier: is missing"]);
    check_faults(
        Some(FilterSpecifier::DurationFilter(DurationFilter {
            comparison: None,
        })),
        &["filter.duration_filter.comparison: is missing"],
    );
    check_faults(
        Some(FilterSpecifier::StatusCodeFilter(StatusCodeFilter {
            comparison: Some(ComparisonFilter { op: 9, value: None }),
        })),
        &[
            "filter.status_code_filter.comparison.op: is no comparison",
            "filter.status_code_filter.comparison.value: is missing",
        ],
    );
    check_faults(
        Some(FilterSpecifier::RuntimeFilter(RuntimeFilter::default())),
        &["filter.runtime_filter.runtime_key: is empty"],
    );
    check_faults(
        Some(FilterSpecifier::RuntimeFilter(RuntimeFilter {
            runtime_key: "key".to_owned(),
            percent_sampled: Some(FractionalPercent {
                numerator: 1,
                denominator: 9,
            }),
            use_independent_randomness: true,
        })),
        &["filter.runtime_filter.percent_sampled.denominator: is no denominator"],
    );
    check_faults(
        Some(FilterSpecifier::AndFilter(AndFilter {
            filters: vec![filter(flags(&[]))],
        })),
        &["filter.and_filter.filters: needs two filters or more"],
    );
    let unknown = "is no response flag; they are LH,UH,UT,LR,UR,UF,UC,UO,NR,DI,FI,RL,UAEX,RLSE,DC,URX,SI,IH,\
                   DPE,UMSDR,RFCF,NFCF,DT,UPE,NC,OM,DF,DO,DR,UDO";
    check_faults(
        Some(FilterSpecifier::OrFilter(OrFilter {
            filters: vec![filter(flags(&["uo", "UO"])), filter(flags(&["-"]))],
        })),
        &[
            &format!("filter.or_filter.filters[0].response_flag_filter.flags[0]: 'uo' {unknown}"),
            &format!("filter.or_filter.filters[1].response_flag_filter.flags[0]: '-' {unknown}"),
        ],
    );
    check_faults(
        Some(FilterSpecifier::HeaderFilter(HeaderFilter { header: None })),
        &["filter.header_filter.header: is missing"],
    );
    check_faults(
        Some(header(HeaderMatcher::default())),
        &["filter.header_filter.header.name: is empty"],
    );
    #[expect(deprecated, reason = "Envoy still takes it")]
    let regex = HeaderMatchSpecifier::SafeRegexMatch(Default::default());
    check_faults(
        Some(header_matcher(Some(regex), false, false)),
        &[
            "filter.header_filter.header.safe_regex_match: is not supported; write it as a string_match",
        ],
    );
    check_faults(
        Some(FilterSpecifier::GrpcStatusFilter(GrpcStatusFilter {
            statuses: vec![0, 99],
            exclude: false,
        })),
        &["filter.grpc_status_filter.statuses[1]: is no gRPC status"],
    );
    check_faults(
        Some(FilterSpecifier::LogTypeFilter(LogTypeFilter {
            types: vec![99],
            exclude: false,
        })),
        &["filter.log_type_filter.types[0]: is no type of access log"],
    );
    check_faults(
        Some(FilterSpecifier::ExtensionFilter(ExtensionFilter {
            name: "cel".to_owned(),
            config_type: None,
        })),
        &["filter.extension_filter: the filter 'cel' is not supported"],
    );
    check_faults(
        Some(FilterSpecifier::MetadataFilter(MetadataMessage {
            matcher: Some(MetadataMatcher::default()),
            match_if_key_not_found: None,
        })),
        &[
            "filter.metadata_filter.matcher.filter: is empty",
            "filter.metadata_filter.matcher.path: is empty",
            "filter.metadata_filter.matcher.value: is missing",
        ],
    );
    check_faults(
        Some(metadata(&[""], Some(ValueMatcher::default()), false, None)),
        &[
            "filter.metadata_filter.matcher.path[0].key: is empty",
            "filter.metadata_filter.matcher.value.match_pattern: is missing",
        ],
    );
}

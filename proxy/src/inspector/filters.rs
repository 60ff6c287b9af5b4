//! The listener filters of a listener, in their order.

use std::time::Duration;

use fairlead_xds::{
    envoy::{
        config::listener::v3::{Listener, ListenerFilter as Message, listener_filter::ConfigType},
        extensions::filters::listener::{
            http_inspector::v3::HttpInspector, original_dst::v3::OriginalDst,
            original_src::v3::OriginalSrc, proxy_protocol::v3 as proxy_protocol,
            tls_inspector::v3 as tls_inspector,
        },
    },
    google::protobuf::Any,
    prost::Name,
};

use super::{Predicate, proxy_protocol::ProxyProtocol, tls::TlsInspector};
use crate::compile::{At, values};

/// As in Envoy.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(15);

/// What is asked for before a filter chain is chosen.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ListenerFilters {
    pub(super) filters: Box<[ListenerFilter]>,
    /// How long to wait for the bytes that the filters need; without it, for ever.
    pub timeout: Option<Duration>,
    /// Whether the connection goes on when the time is over.
    pub continue_on_timeout: bool,
}

#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct ListenerFilter {
    pub(super) kind: Kind,
    /// The connections that it is left out for.
    pub(super) disabled: Option<Predicate>,
}

#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Kind {
    OriginalDst,
    Tls(TlsInspector),
    Http,
    ProxyProtocol(ProxyProtocol),
}

impl ListenerFilters {
    /// What the listener at this place asks for.
    pub fn compile(at: &At<'_>, listener: &Listener) -> Option<Self> {
        let filters = &listener.listener_filters;
        // A filter that is not known may be left out, which is no fault; one that is broken may not.
        let compiled = at.each("listener_filters", filters, |at, filter| {
            compile_filter(at, filter)
        });
        let timeout = values::duration_or(
            at,
            "listener_filters_timeout",
            listener.listener_filters_timeout.as_ref(),
            DEFAULT_TIMEOUT,
        );
        if compiled.len() != filters.len() {
            return None;
        }
        let mut filters: Vec<_> = compiled.into_iter().flatten().collect();
        // The older way to ask for it.
        let use_original_dst = listener.use_original_dst.is_some_and(|asked| asked.value);
        if use_original_dst && !filters.iter().any(ListenerFilter::is_original_dst) {
            filters.push(ListenerFilter {
                kind: Kind::OriginalDst,
                disabled: None,
            });
        }
        Some(Self {
            filters: filters.into(),
            timeout: timeout.filter(|timeout| !timeout.is_zero()),
            continue_on_timeout: listener.continue_on_listener_filters_timeout,
        })
    }

    /// Whether the destination before the redirect is to be asked for.
    pub fn original_dst(&self) -> bool {
        self.filters.iter().any(ListenerFilter::is_original_dst)
    }

    /// Whether a header of the PROXY protocol is looked for.
    pub fn proxy_protocol(&self) -> bool {
        let mut filters = self.filters.iter();
        filters.any(|filter| matches!(filter.kind, Kind::ProxyProtocol(_)))
    }

    /// Part of the names of the statistics of the PROXY protocol filter.
    pub fn proxy_protocol_stat_prefix(&self) -> Option<&str> {
        self.filters.iter().find_map(|filter| match &filter.kind {
            Kind::ProxyProtocol(proxy) => proxy.stat_prefix.as_deref(),
            _ => None,
        })
    }
}

impl ListenerFilter {
    fn is_original_dst(&self) -> bool {
        self.kind == Kind::OriginalDst
    }
}

/// The filter, or that it is left out.
fn compile_filter(at: &At<'_>, message: &Message) -> Option<Option<ListenerFilter>> {
    let Message {
        name,
        filter_disabled,
        config_type,
    } = message;
    let disabled = filter_disabled
        .as_ref()
        .map(|predicate| Predicate::compile(&at.field("filter_disabled"), predicate));
    let named = if name.is_empty() {
        at.field("name").fault("is missing")
    } else {
        Some(())
    };
    let kind = match at.required("typed_config", config_type.as_ref())? {
        ConfigType::TypedConfig(config) => compile_kind(&at.field("typed_config"), config)?,
        ConfigType::ConfigDiscovery(_) => {
            return at.field("config_discovery").fault("is not supported");
        }
    };
    named?;
    let disabled = match disabled {
        Some(compiled) => Some(compiled?),
        None => None,
    };
    Some(kind.map(|kind| ListenerFilter { kind, disabled }))
}

fn compile_kind(at: &At<'_>, config: &Any) -> Option<Option<Kind>> {
    // The host before the name means nothing.
    let name = config.type_url.rsplit('/').next().unwrap_or_default();
    let is = |full_name: String| name == full_name;
    if is(OriginalDst::full_name()) {
        let OriginalDst {} = at.decode(config)?;
        return Some(Some(Kind::OriginalDst));
    }
    if is(HttpInspector::full_name()) {
        let HttpInspector {} = at.decode(config)?;
        return Some(Some(Kind::Http));
    }
    if is(tls_inspector::TlsInspector::full_name()) {
        let tls = TlsInspector::compile(at, &at.decode(config)?)?;
        return Some(Some(Kind::Tls(tls)));
    }
    if is(proxy_protocol::ProxyProtocol::full_name()) {
        let proxy = ProxyProtocol::compile(at, &at.decode(config)?)?;
        return Some(Some(Kind::ProxyProtocol(proxy)));
    }
    if is(OriginalSrc::full_name()) {
        at.unsupported("upstream connections do not come from the address of the downstream");
        return Some(None);
    }
    if is_security(name) {
        return at.fault(format!(
            "{name} is not supported, and connections that it may refuse would pass"
        ));
    }
    at.unsupported(format!("{name} is left out"));
    Some(None)
}

/// Whether a filter of this type may refuse connections, or lead them elsewhere, so that none may
/// pass without it. A struct in the place of a type may be any filter.
fn is_security(name: &str) -> bool {
    const PARTS: &[&str] = &[
        ".rbac.",
        ".jwt_authn.",
        ".ext_authz.",
        ".wasm.",
        ".lua.",
        ".local_ratelimit.",
        ".dynamic_modules.",
        ".set_filter_state.",
        "TypedStruct",
    ];
    name.is_empty() || PARTS.iter().any(|part| name.contains(part))
}

#[cfg(test)]
mod tests {
    use fairlead_xds::{
        envoy::{
            config::{
                core::v3::ExtensionConfigSource,
                listener::v3::{
                    ListenerFilterChainMatchPredicate, listener_filter_chain_match_predicate::Rule,
                },
            },
            r#type::v3::Int32Range,
        },
        google::protobuf::{BoolValue, Duration as Time},
        prost::Message as _,
    };

    use super::*;
    use crate::compile::{Fault, Findings};

    fn filter(kind: &str, value: Vec<u8>) -> Message {
        Message {
            name: kind.to_owned(),
            filter_disabled: None,
            config_type: Some(ConfigType::TypedConfig(Any {
                type_url: format!("type.googleapis.com/{kind}"),
                value,
            })),
        }
    }

    fn listener(listener_filters: Vec<Message>) -> Listener {
        Listener {
            listener_filters,
            ..Listener::default()
        }
    }

    fn compile(listener: &Listener) -> (Option<ListenerFilters>, Vec<String>, Vec<String>) {
        let findings = Findings::default();
        let compiled = ListenerFilters::compile(&findings.at(""), listener);
        let told = |faults: &[Fault]| faults.iter().map(Fault::to_string).collect();
        (
            compiled,
            told(&findings.faults()),
            told(&findings.unsupported()),
        )
    }

    #[track_caller]
    fn check_fault(filter: Message, expected: &str) {
        let (compiled, faults, _) = compile(&listener(vec![filter]));
        assert_eq!(compiled, None);
        assert_eq!(faults, [expected]);
    }

    const TLS: &str = "envoy.extensions.filters.listener.tls_inspector.v3.TlsInspector";
    const HTTP: &str = "envoy.extensions.filters.listener.http_inspector.v3.HttpInspector";
    const DST: &str = "envoy.extensions.filters.listener.original_dst.v3.OriginalDst";
    const PROXY: &str = "envoy.extensions.filters.listener.proxy_protocol.v3.ProxyProtocol";

    #[test]
    fn filters_keep_their_order() {
        let mut disabled = filter(TLS, vec![]);
        let range = Int32Range {
            start: 3306,
            end: 3307,
        };
        disabled.filter_disabled = Some(ListenerFilterChainMatchPredicate {
            rule: Some(Rule::DestinationPortRange(range)),
        });
        let proxy = proxy_protocol::ProxyProtocol {
            stat_prefix: "edge".to_owned(),
            ..proxy_protocol::ProxyProtocol::default()
        };
        let filters = vec![
            filter(DST, vec![]),
            disabled,
            filter(HTTP, vec![]),
            filter(PROXY, proxy.encode_to_vec()),
        ];
        let (compiled, faults, unsupported) = compile(&listener(filters));
        assert_eq!((faults.len(), unsupported.len()), (0, 0));
        let compiled = compiled.unwrap();
        let [dst, tls, http, proxy] = &*compiled.filters else {
            panic!("{compiled:?}");
        };
        assert_eq!(dst.kind, Kind::OriginalDst);
        assert!(matches!(tls.kind, Kind::Tls(_)));
        assert_eq!(tls.disabled, Some(Predicate::Ports(3306, 3307)));
        assert_eq!(http.kind, Kind::Http);
        assert!(matches!(proxy.kind, Kind::ProxyProtocol(_)));
        assert!(compiled.original_dst());
        assert_eq!(compiled.proxy_protocol_stat_prefix(), Some("edge"));
        assert_eq!(compiled.timeout, Some(Duration::from_secs(15)));
        assert!(!compiled.continue_on_timeout);
    }

    #[test]
    fn the_original_destination_can_be_asked_for_in_the_older_way() {
        for filters in [vec![], vec![filter(DST, vec![])]] {
            let (compiled, ..) = compile(&Listener {
                use_original_dst: Some(BoolValue { value: true }),
                ..listener(filters)
            });
            let compiled = compiled.unwrap();
            assert!(compiled.original_dst());
            assert_eq!(compiled.filters.len(), 1);
        }
    }

    #[test]
    fn the_time_is_that_of_the_listener() {
        let with_time = |seconds| Listener {
            listener_filters_timeout: Some(Time { seconds, nanos: 0 }),
            continue_on_listener_filters_timeout: true,
            ..Listener::default()
        };
        let (compiled, ..) = compile(&with_time(2));
        let compiled = compiled.unwrap();
        assert_eq!(compiled.timeout, Some(Duration::from_secs(2)));
        assert!(compiled.continue_on_timeout);
        let (compiled, ..) = compile(&with_time(0));
        assert_eq!(compiled.unwrap().timeout, None);
        let (_, faults, _) = compile(&with_time(-1));
        assert_eq!(
            faults,
            ["listener_filters_timeout: -1 s and 0 ns are no time span"]
        );
    }

    #[test]
    fn faults_name_the_filter() {
        check_fault(
            Message {
                name: String::new(),
                ..filter(HTTP, vec![])
            },
            "listener_filters[0].name: is missing",
        );
        check_fault(
            Message {
                config_type: None,
                ..filter(HTTP, vec![])
            },
            "listener_filters[0].typed_config: is missing",
        );
        check_fault(
            Message {
                config_type: Some(ConfigType::ConfigDiscovery(ExtensionConfigSource::default())),
                ..filter(HTTP, vec![])
            },
            "listener_filters[0].config_discovery: is not supported",
        );
        check_fault(
            Message {
                filter_disabled: Some(ListenerFilterChainMatchPredicate { rule: None }),
                ..filter(HTTP, vec![])
            },
            "listener_filters[0].filter_disabled.rule: is missing",
        );
        let (_, faults, _) = compile(&listener(vec![filter(TLS, vec![0xff])]));
        assert!(
            faults[0].starts_with("listener_filters[0].typed_config: is no "),
            "{faults:?}"
        );
        let rate = "envoy.extensions.filters.listener.local_ratelimit.v3.LocalRateLimit";
        check_fault(
            filter(rate, vec![]),
            &format!(
                "listener_filters[0].typed_config: {rate} is not supported, and connections that it \
                 may refuse would pass"
            ),
        );
    }

    #[test]
    fn what_enforces_nothing_is_left_out_with_a_word() {
        let source = "envoy.extensions.filters.listener.original_src.v3.OriginalSrc";
        let filters = vec![filter(source, vec![]), filter("a.Stranger", vec![])];
        let (compiled, faults, unsupported) = compile(&listener(filters));
        assert_eq!(compiled.unwrap().filters.len(), 0);
        assert_eq!(faults.len(), 0);
        assert_eq!(
            unsupported,
            [
                "listener_filters[0].typed_config: upstream connections do not come from the \
                 address of the downstream",
                "listener_filters[1].typed_config: a.Stranger is left out",
            ]
        );
    }
}

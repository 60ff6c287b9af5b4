//! The texts of which bootstraps are put together: YAML in its flow form, which nests in strings.
//!
//! `$DIR` stands for the scratch directory of a run, `$LOG` for the access log that is compared.

/// Where the admin interface of either program listens.
pub(crate) const ADMIN: &str = "127.0.0.1:9901";

/// Every operator that says the same at each run; `name=value`, tab, and so on.
const FIELDS: &[(&str, &str)] = &[
    ("local", "%DOWNSTREAM_LOCAL_ADDRESS%"),
    ("local_ip", "%DOWNSTREAM_LOCAL_ADDRESS_WITHOUT_PORT%"),
    ("local_port", "%DOWNSTREAM_LOCAL_PORT%"),
    ("remote", "%DOWNSTREAM_REMOTE_ADDRESS%"),
    ("remote_ip", "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%"),
    ("direct", "%DOWNSTREAM_DIRECT_REMOTE_ADDRESS%"),
    (
        "direct_ip",
        "%DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT%",
    ),
    ("flags", "%RESPONSE_FLAGS%"),
    ("flags_long", "%RESPONSE_FLAGS_LONG%"),
    ("code", "%RESPONSE_CODE%"),
    ("code_details", "%RESPONSE_CODE_DETAILS%"),
    ("termination", "%CONNECTION_TERMINATION_DETAILS%"),
    ("protocol", "%PROTOCOL%"),
    ("received", "%BYTES_RECEIVED%"),
    ("sent", "%BYTES_SENT%"),
    ("wire_received", "%DOWNSTREAM_WIRE_BYTES_RECEIVED%"),
    ("wire_sent", "%DOWNSTREAM_WIRE_BYTES_SENT%"),
    ("up_wire_received", "%UPSTREAM_WIRE_BYTES_RECEIVED%"),
    ("up_wire_sent", "%UPSTREAM_WIRE_BYTES_SENT%"),
    ("up_cluster", "%UPSTREAM_CLUSTER%"),
    ("up_host", "%UPSTREAM_HOST%"),
    ("up_remote", "%UPSTREAM_REMOTE_ADDRESS%"),
    ("up_local", "%UPSTREAM_LOCAL_ADDRESS%"),
    ("up_failure", "%UPSTREAM_TRANSPORT_FAILURE_REASON%"),
    ("up_attempts", "%UPSTREAM_REQUEST_ATTEMPT_COUNT%"),
    ("up_tls", "%UPSTREAM_TLS_VERSION%"),
    ("up_cipher", "%UPSTREAM_TLS_CIPHER%"),
    ("up_peer_subject", "%UPSTREAM_PEER_SUBJECT%"),
    ("up_peer_uri", "%UPSTREAM_PEER_URI_SAN%"),
    ("up_local_uri", "%UPSTREAM_LOCAL_URI_SAN%"),
    ("sni", "%REQUESTED_SERVER_NAME%"),
    ("route", "%ROUTE_NAME%"),
    ("chain", "%FILTER_CHAIN_NAME%"),
    ("tls", "%DOWNSTREAM_TLS_VERSION%"),
    ("cipher", "%DOWNSTREAM_TLS_CIPHER%"),
    ("peer_uri", "%DOWNSTREAM_PEER_URI_SAN%"),
    ("peer_dns", "%DOWNSTREAM_PEER_DNS_SAN%"),
    ("peer_subject", "%DOWNSTREAM_PEER_SUBJECT%"),
    ("peer_issuer", "%DOWNSTREAM_PEER_ISSUER%"),
    ("local_uri", "%DOWNSTREAM_LOCAL_URI_SAN%"),
    ("local_subject", "%DOWNSTREAM_LOCAL_SUBJECT%"),
    ("failure", "%DOWNSTREAM_TRANSPORT_FAILURE_REASON%"),
    ("log_type", "%ACCESS_LOG_TYPE%"),
    ("year", "%START_TIME(%Y)%"),
];

/// The access log of all fields.
pub(crate) fn log() -> String {
    log_fields(|_| true)
}

/// The access log without what depends on how far the upstream's side has come.
pub(crate) fn log_downstream() -> String {
    log_fields(|name| {
        !name.starts_with("up_") && !name.ends_with("sent") && !name.ends_with("received")
    })
}

fn log_fields(wanted: impl Fn(&str) -> bool) -> String {
    let fields: Vec<_> = FIELDS
        .iter()
        .filter(|(name, _)| wanted(name))
        .map(|(name, operator)| format!("{name}={operator}"))
        .collect();
    log_of(&format!("{}\\n", fields.join("\\t")), "")
}

/// An access log in the same file with another format, and further fields such as a filter.
pub(crate) fn log_of(format: &str, fields: &str) -> String {
    let form = format!("log_format: {{text_format_source: {{inline_string: \"{format}\"}}}}");
    log_as(&form, fields)
}

/// An access log in the same file, by the field of its format.
pub(crate) fn log_as(form: &str, fields: &str) -> String {
    format!(
        "{{name: envoy.access_loggers.file, {fields} typed_config: {{\"@type\": \
         type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog, \
         path: $DIR/access.log, {form}}}}}"
    )
}

/// The whole, with admin.
pub(crate) fn bootstrap(listeners: &[String], clusters: &[String]) -> String {
    bootstrap_with("", listeners, clusters)
}

/// The whole with further lines at the top.
pub(crate) fn bootstrap_with(top: &str, listeners: &[String], clusters: &[String]) -> String {
    format!(
        "node: {{id: differential, cluster: differential}}\n\
         admin: {{address: {}}}\n{top}\n\
         static_resources:\n  listeners: [\n    {}\n  ]\n  clusters: [\n    {}\n  ]\n",
        address(ADMIN),
        listeners.join(",\n    "),
        clusters.join(",\n    "),
    )
}

/// An address; one of IPv6 in brackets.
pub(crate) fn address(text: &str) -> String {
    let (ip, port) = text.rsplit_once(':').expect("an address with a port");
    let ip = ip.trim_start_matches('[').trim_end_matches(']');
    format!("{{socket_address: {{address: \"{ip}\", port_value: {port}}}}}")
}

/// An extension and its configuration; the fields may be empty.
pub(crate) fn any(name: &str, message: &str, fields: &str) -> String {
    format!(
        "{{name: {name}, typed_config: {{\"@type\": type.googleapis.com/{message}, {fields}}}}}"
    )
}

/// A listener of these fields, named after its port.
pub(crate) fn listener(at: &str, fields: &str) -> String {
    let port = at.rsplit(':').next().expect("a port");
    format!("{{name: l{port}, address: {}, {fields}}}", address(at))
}

/// A listener of one filter chain.
pub(crate) fn listen(at: &str, filters: &[String]) -> String {
    listener(at, &chains(&[chain("", filters)]))
}

/// The field of filter chains.
pub(crate) fn chains(chains: &[String]) -> String {
    format!("filter_chains: [{}]", chains.join(", "))
}

/// A filter chain: further fields, then its filters.
pub(crate) fn chain(fields: &str, filters: &[String]) -> String {
    let comma = if fields.is_empty() { "" } else { ", " };
    format!("{{{fields}{comma}filters: [{}]}}", filters.join(", "))
}

/// A filter chain with a name and a match, which goes to the cluster of the same name.
pub(crate) fn matching(name: &str, criteria: &str) -> String {
    chain(
        &format!("name: {name}, filter_chain_match: {{{criteria}}}"),
        &[tcp(name)],
    )
}

/// A TCP proxy of these fields, logged.
pub(crate) fn proxy(fields: &str) -> String {
    any(
        "envoy.filters.network.tcp_proxy",
        "envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy",
        &format!("stat_prefix: tcp, access_log: [$LOG], {fields}"),
    )
}

/// A TCP proxy to a cluster.
pub(crate) fn tcp(cluster: &str) -> String {
    proxy(&format!("cluster: {cluster}"))
}

/// A TCP proxy to a cluster that logs nothing.
pub(crate) fn unlogged(cluster: &str) -> String {
    let fields = format!("stat_prefix: tcp, cluster: {cluster}");
    network("tcp_proxy", "TcpProxy", &fields)
}

/// A network filter whose name and message follow from one word.
pub(crate) fn network(word: &str, message: &str, fields: &str) -> String {
    any(
        &format!("envoy.filters.network.{word}"),
        &format!("envoy.extensions.filters.network.{word}.v3.{message}"),
        fields,
    )
}

/// A listener filter whose name and message follow from one word.
pub(crate) fn before(word: &str, message: &str, fields: &str) -> String {
    any(
        &format!("envoy.filters.listener.{word}"),
        &format!("envoy.extensions.filters.listener.{word}.v3.{message}"),
        fields,
    )
}

/// A static cluster of equal endpoints.
pub(crate) fn fixed(name: &str, endpoints: &[&str], fields: &str) -> String {
    let endpoints: Vec<_> = endpoints.iter().map(|at| endpoint(at, "")).collect();
    cluster(
        name,
        &format!(
            "type: STATIC, {}, {fields}",
            assignment(name, &[locality("", &endpoints)])
        ),
    )
}

/// A cluster of these fields.
pub(crate) fn cluster(name: &str, fields: &str) -> String {
    format!("{{name: {name}, connect_timeout: 1s, {fields}}}")
}

/// The field of a cluster's endpoints.
pub(crate) fn assignment(name: &str, localities: &[String]) -> String {
    format!(
        "load_assignment: {{cluster_name: {name}, endpoints: [{}]}}",
        localities.join(", ")
    )
}

/// Endpoints of a locality, with further fields.
pub(crate) fn locality(fields: &str, endpoints: &[String]) -> String {
    let comma = if fields.is_empty() { "" } else { ", " };
    format!(
        "{{{fields}{comma}lb_endpoints: [{}]}}",
        endpoints.join(", ")
    )
}

/// An endpoint with further fields.
pub(crate) fn endpoint(at: &str, fields: &str) -> String {
    let comma = if fields.is_empty() { "" } else { ", " };
    format!("{{endpoint: {{address: {}}}{comma}{fields}}}", address(at))
}

/// The transport socket of a side of TLS: `Downstream` or `Upstream`.
pub(crate) fn tls(side: &str, fields: &str) -> String {
    format!(
        "transport_socket: {}",
        any(
            "envoy.transport_sockets.tls",
            &format!("envoy.extensions.transport_sockets.tls.v3.{side}TlsContext"),
            fields,
        )
    )
}

/// The certificate of somebody, in a TLS context.
pub(crate) fn own(who: &str) -> String {
    format!("tls_certificates: [{}]", pair(who))
}

/// The files of somebody's certificate and key.
pub(crate) fn pair(who: &str) -> String {
    format!(
        "{{certificate_chain: {{filename: $DIR/{who}.pem}}, private_key: {{filename: $DIR/{who}.key}}}}"
    )
}

/// The authority that peers must come from, with further demands.
pub(crate) fn trust(fields: &str) -> String {
    let comma = if fields.is_empty() { "" } else { ", " };
    format!("validation_context: {{trusted_ca: {{filename: $DIR/ca.pem}}{comma}{fields}}}")
}

use super::*;

const SIDECAR: &str = r#"
node: {id: a, cluster: b}
admin:
  address: {socket_address: {address: 127.0.0.1, port_value: 15000}}
static_resources:
  listeners:
  - name: in
    address: {socket_address: {address: 0.0.0.0, port_value: 15006}}
    listener_filters:
    - name: original_dst
      typed_config:
        "@type": type.googleapis.com/envoy.extensions.filters.listener.original_dst.v3.OriginalDst
    filter_chains:
    - filters:
      - name: tcp
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy
          stat_prefix: in
          cluster: passthrough
  clusters:
  - name: passthrough
    type: ORIGINAL_DST
    lb_policy: CLUSTER_PROVIDED
    connect_timeout: 1s
"#;

fn sound(text: &str) -> Bootstrap {
    let read = read(text.as_bytes(), Format::Yaml, UnknownFields::Refuse);
    let read = read.expect("it is sound");
    assert_eq!(read.warnings, []);
    read.message
}

#[test]
fn a_bootstrap_is_read() {
    let bootstrap = sound(SIDECAR);
    let resources = bootstrap.static_resources.expect("resources");
    assert_eq!(resources.listeners.len(), 1);
    assert_eq!(resources.clusters[0].name, "passthrough");
    let chain = &resources.listeners[0].filter_chains[0];
    assert_eq!(chain.filters[0].name, "tcp");
}

#[test]
fn all_faults_are_told_at_once() {
    let text = SIDECAR
        .replace("15006", "70000")
        .replace("stat_prefix", "stat_prefx")
        .replace("CLUSTER_PROVIDED", "ANY")
        .replace("connect_timeout: 1s", "connect_timeout: 1");
    let faults = read(text.as_bytes(), Format::Yaml, UnknownFields::Refuse);
    let faults = faults.expect_err("it has faults");
    let faults: Vec<_> = faults.iter().map(Fault::to_string).collect();
    let filter = "static_resources.listeners[0].filter_chains[0].filters[0].typed_config";
    assert_eq!(
        faults,
        [
            "static_resources.listeners[0].address.socket_address.port_value: must be at most 65535".to_owned(),
            format!("{filter}.stat_prefx: unknown field; did you mean 'stat_prefix'?"),
            format!("{filter}.stat_prefix: is missing; it must be at least 1 character long"),
            "static_resources.clusters[0].lb_policy: expected one of ROUND_ROBIN, LEAST_REQUEST, RING_HASH, RANDOM, MAGLEV, CLUSTER_PROVIDED, LOAD_BALANCING_POLICY_CONFIG, found 'ANY'".to_owned(),
            "static_resources.clusters[0].connect_timeout: expected a duration in seconds such as '1.5s', found 1".to_owned(),
        ]
    );
}

#[test]
fn an_overlay_adds_and_replaces() {
    let over = sound("node: {id: c}\nstatic_resources: {clusters: [{name: d}]}");
    let merged = overlay(sound(SIDECAR), &over);
    let node = merged.node.expect("a node");
    assert_eq!((&*node.id, &*node.cluster), ("c", "b"));
    let clusters = merged.static_resources.expect("resources").clusters;
    let names: Vec<_> = clusters.iter().map(|cluster| &*cluster.name).collect();
    assert_eq!(names, ["passthrough", "d"]);
}

#[test]
fn the_pieces_are_the_whole() {
    let mut whole = sound(SIDECAR);
    let pieces = read_pieces(SIDECAR.as_bytes(), Format::Yaml, UnknownFields::Refuse);
    let pieces = pieces.expect("it is sound").message;
    let resources = whole.static_resources.as_mut().expect("resources");
    let encoded = |bytes: Vec<u8>| Bytes::from(bytes);
    let listeners = resources.listeners.drain(..);
    let listeners: Vec<_> = listeners.map(|it| encoded(it.encode_to_vec())).collect();
    let clusters = resources.clusters.drain(..);
    let clusters: Vec<_> = clusters.map(|it| encoded(it.encode_to_vec())).collect();
    assert_eq!(pieces.listeners, listeners);
    assert_eq!(pieces.clusters, clusters);
    assert!(pieces.secrets.is_empty());
    assert_eq!(pieces.bootstrap, whole);
}

#[test]
fn pieces_are_put_together_again() {
    let pieces = read_pieces(SIDECAR.as_bytes(), Format::Yaml, UnknownFields::Refuse);
    let pieces = pieces.expect("it is sound").message;
    let encoded: Vec<u8> = pieces.encoded().flatten().collect();
    assert_eq!(
        Bootstrap::decode(&*encoded).expect("a bootstrap"),
        sound(SIDECAR)
    );
    assert_eq!(super::pieces(&encoded.into()).expect("a bootstrap"), pieces);
    assert_eq!(Pieces::default().encoded().flatten().count(), 0);
}

#[test]
fn pieces_are_laid_over_pieces_as_the_whole_is() {
    let over = "node: {id: c}\nstatic_resources: {clusters: [{name: d}]}";
    let read = |text: &str| {
        let read = read_pieces(text.as_bytes(), Format::Yaml, UnknownFields::Refuse);
        read.expect("it is sound").message
    };
    let overlaid: Vec<u8> = read(SIDECAR)
        .overlaid(read(over))
        .encoded()
        .flatten()
        .collect();
    assert_eq!(
        Bootstrap::decode(&*overlaid).expect("a bootstrap"),
        overlay(sound(SIDECAR), &sound(over))
    );
}

#[test]
fn an_overlay_adds_its_pieces() {
    let over = sound("static_resources: {clusters: [{name: d}]}");
    let both = [sound(SIDECAR).encode_to_vec(), over.encode_to_vec()].concat();
    let pieces = pieces(&both.into()).expect("a bootstrap");
    assert_eq!(pieces.clusters.len(), 2);
}

#[test]
fn bytes_that_are_no_bootstrap_have_no_pieces() {
    assert!(pieces(&Bytes::from_static(&[0x12, 5])).is_err());
    assert!(pieces(&Bytes::from_static(&[0x12, 1, 0x0a])).is_err());
    assert!(pieces(&Bytes::from_static(&[0x0a, 1, 0x0a])).is_err());
}

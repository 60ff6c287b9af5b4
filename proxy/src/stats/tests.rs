use std::{collections::BTreeMap, sync::Arc, thread};

use super::{
    export::{Page, Query},
    sets::{Side, cluster::ClusterStatistics},
    *,
};
use crate::tls::Event;

fn store() -> Arc<Store> {
    Arc::new(Store::new(StatsConfig::default()))
}

fn worker(index: usize) -> Worker {
    Worker::new(index, 2).unwrap()
}

fn ask(store: &Arc<Store>, more: Vec<Arc<dyn Source>>, question: &str) -> String {
    let parameters: BTreeMap<String, String> = question
        .split('&')
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    Page::new(store, more, Query::parse(&parameters).unwrap()).collect()
}

#[track_caller]
fn check(store: &Arc<Store>, question: &str, expected: &[&str]) {
    let page = ask(store, Vec::new(), question);
    assert_eq!(page.lines().collect::<Vec<_>>(), expected);
}

#[test]
fn sums_over_workers_are_exact() {
    const TIMES: u64 = 10_000;
    let store = store();
    let cluster = store.cluster("a");
    let workers: Vec<_> = (0..4)
        .map(|index| {
            let cluster = cluster.clone();
            thread::spawn(move || {
                let own = cluster.connections.of(Worker::new(index, 4).unwrap());
                for value in 0..TIMES {
                    own.upstream_cx_total.increment();
                    own.upstream_cx_active.increment();
                    own.upstream_cx_length_ms.record(value % 100);
                    cluster.membership.set().membership_change.increment();
                }
                own.upstream_cx_active.add(-(TIMES as i64) + 1);
            })
        })
        .collect();
    while workers.iter().any(|worker| !worker.is_finished()) {
        store.latch();
        ask(&store, Vec::new(), "usedonly");
    }
    for worker in workers {
        worker.join().unwrap();
    }
    store.latch();
    check(
        &store,
        "usedonly&histogram_buckets=cumulative&filter=total|active|change",
        &[
            "cluster.a.membership_change: 40000",
            "cluster.a.upstream_cx_active: 4",
            "cluster.a.upstream_cx_total: 40000",
        ],
    );
    let page = ask(&store, Vec::new(), "format=prometheus&filter=length");
    assert!(
        page.contains(r#"_bucket{envoy_cluster_name="a",le="+Inf"} 40000"#),
        "{page}"
    );
    assert!(
        page.contains(r#"_bucket{envoy_cluster_name="a",le="50"} 20400"#),
        "{page}"
    );
}

#[test]
fn what_one_worker_took_away_another_may_have_added() {
    let store = store();
    let cluster = store.cluster("a");
    let [one, other] =
        [0, 1].map(|index| &cluster.connections.of(worker(index)).upstream_cx_active);
    one.add(3);
    other.decrement();
    let question = "filter=cx_active";
    check(&store, question, &["cluster.a.upstream_cx_active: 2"]);
    other.add(-5);
    check(&store, question, &["cluster.a.upstream_cx_active: 0"]);
}

#[test]
fn a_scope_lives_as_long_as_it_is_held() {
    let store = store();
    let first = store.cluster("a");
    first.connections.of(worker(0)).upstream_cx_total.add(7);
    let second = store.cluster("a");
    assert!(Arc::ptr_eq(&first, &second));
    drop(first);
    let question = "filter=upstream_cx_total";
    check(&store, question, &["cluster.a.upstream_cx_total: 7"]);
    drop(second);
    check(&store, question, &[]);
    store.latch();
    let anew = store.cluster("a");
    check(&store, question, &["cluster.a.upstream_cx_total: 0"]);
    drop(anew);
}

#[test]
fn the_same_prefix_may_have_statistics_of_two_kinds() {
    let store = store();
    let proxy = store.tcp_proxy("a.rbac");
    let rbac = store.rbac("tcp.a");
    proxy.of(worker(0)).idle_timeout.increment();
    rbac.of(worker(0)).denied.increment();
    check(
        &store,
        "usedonly",
        &["tcp.a.rbac.denied: 1", "tcp.a.rbac.idle_timeout: 1"],
    );
}

#[test]
fn five_thousand_unused_clusters_take_little_memory() {
    // The scope behind its counters, the name behind its own, and the entry of the store.
    let counters = 2 * size_of::<usize>();
    let name = counters + "cluster.outbound|8080||service-0000.namespace.svc.cluster.local;.".len();
    let entry = size_of::<(Arc<str>, std::any::TypeId, std::sync::Weak<dyn Source>)>();
    let each = counters + size_of::<Scope<ClusterStatistics>>() + name + entry;
    assert!(5_000 * each < 2_000_000, "{each}");
    assert!(each - name <= 240, "{each}");
}

#[test]
fn counting_owns_no_memory() {
    // What has nothing to drop has allocated nothing.
    assert!(!std::mem::needs_drop::<Counter>());
    assert!(!std::mem::needs_drop::<Gauge>());
    assert_eq!((size_of::<Counter>(), size_of::<Gauge>()), (8, 8));
}

#[test]
fn counters_begin_again_and_gauges_go_on() {
    let store = store();
    let cluster = store.cluster("a");
    let own = cluster.connections.of(worker(0));
    own.upstream_cx_total.add(5);
    own.upstream_cx_active.add(2);
    store.reset_counters();
    let question = "usedonly";
    check(&store, question, &["cluster.a.upstream_cx_active: 2"]);
    own.upstream_cx_total.add(3);
    check(
        &store,
        question,
        &[
            "cluster.a.upstream_cx_active: 2",
            "cluster.a.upstream_cx_total: 3",
        ],
    );
    store.reset_counters();
    check(&store, question, &["cluster.a.upstream_cx_active: 2"]);
}

/// Two clusters whose names sort unlike their statistics, a subscription and a handshake.
fn example(store: &Arc<Store>) -> Vec<Arc<dyn Source>> {
    let a = store.cluster("a");
    let connections = a.connections.of(worker(0));
    connections.upstream_cx_total.add(2);
    connections.upstream_cx_length_ms.record(3);
    connections.upstream_cx_length_ms.record(2000);
    let a_b = store.cluster("a-b");
    a_b.connections.of(worker(1)).upstream_cx_total.increment();
    let tls = store.tls(Side::Cluster, "a");
    let cipher = Event::Cipher("TLS_AES_128_GCM_SHA256");
    tls.of(worker(0)).count(&cipher);
    let subscription = store.endpoint_subscription("a");
    subscription.set().version_text.set("v<1>");
    vec![a, a_b, tls, subscription]
}

#[test]
fn text_has_texts_first_and_histograms_last() {
    let store = store();
    let _held = example(&store);
    check(
        &store,
        "filter=version_text|upstream_cx_(total|length)|ssl.(handshake|ciphers)",
        &[
            "cluster.a.version_text: \"v&lt;1&gt;\"",
            "cluster.a-b.upstream_cx_total: 1",
            "cluster.a.ssl.ciphers.TLS_AES_128_GCM_SHA256: 1",
            "cluster.a.ssl.handshake: 0",
            "cluster.a.upstream_cx_total: 2",
            "cluster.a-b.upstream_cx_length_ms: No recorded values",
            // Until the interval ends.
            "cluster.a.upstream_cx_length_ms: No recorded values",
        ],
    );
    check(
        &store,
        "type=Counters&usedonly&filter=cx",
        &[
            "cluster.a-b.upstream_cx_total: 1",
            "cluster.a.upstream_cx_total: 2",
        ],
    );
    check(&store, "type=Gauges&usedonly", &[]);
    check(&store, "hidden=only", &[]);
}

#[test]
fn histograms_have_the_form_that_is_asked_for() {
    let store = store();
    let _held = example(&store);
    store.latch();
    let name = "cluster.a.upstream_cx_length_ms";
    let question = |buckets: &str| format!("usedonly&filter=length&histogram_buckets={buckets}");
    let summary = "P0(3,3) P25(3,3) P50(3,3) P75(2004,2004) P90(2004,2004) P95(2004,2004) \
                   P99(2004,2004) P99.5(2004,2004) P99.9(2004,2004) P100(2004,2004)";
    for buckets in ["", "none", "summary"] {
        check(&store, &question(buckets), &[&format!("{name}: {summary}")]);
    }
    check(
        &store,
        &question("cumulative"),
        &[&format!(
            "{name}: B0.5(0,0) B1(0,0) B5(1,1) B10(1,1) B25(1,1) B50(1,1) B100(1,1) B250(1,1) \
             B500(1,1) B1000(1,1) B2500(2,2) B5000(2,2) B10000(2,2) B30000(2,2) B60000(2,2) \
             B300000(2,2) B600000(2,2) B1.8e+06(2,2) B3.6e+06(2,2)"
        )],
    );
    // The next interval is empty.
    store.latch();
    check(
        &store,
        &question("disjoint"),
        &[&format!(
            "{name}: B0.5(0,0) B1(0,0) B5(0,1) B10(0,0) B25(0,0) B50(0,0) B100(0,0) B250(0,0) \
             B500(0,0) B1000(0,0) B2500(0,1) B5000(0,0) B10000(0,0) B30000(0,0) B60000(0,0) \
             B300000(0,0) B600000(0,0) B1.8e+06(0,0) B3.6e+06(0,0)"
        )],
    );
    check(
        &store,
        &question("detailed"),
        &[
            "cluster.a.upstream_cx_length_ms:",
            "  totals=3,1:1, 2000,8:1",
            "  intervals=",
            &format!(
                "  summary={}",
                summary.replace("(3,", "(nan,").replace("(2004,", "(nan,")
            ),
        ],
    );
}

#[test]
fn json_lists_histograms_in_one_element() {
    let store = store();
    let _held = example(&store);
    let json = |question: &str| ask(&store, Vec::new(), &format!("format=json&{question}"));
    assert_eq!(json("filter=nothing"), r#"{"stats":[]}"#);
    assert_eq!(
        json("filter=version_text|upstream_cx_total"),
        r#"{"stats":[{"name":"cluster.a.version_text","value":"v<1>"},{"name":"cluster.a-b.upstream_cx_total","value":1},{"name":"cluster.a.upstream_cx_total","value":2}]}"#
    );
    let page = json("filter=length");
    let start = r#"{"stats":[{"histograms":{"supported_quantiles":[0,25,50,75,90,95,99,99.5,99.9,100],"computed_quantiles":[{"name":"cluster.a-b.upstream_cx_length_ms","values":[{"cumulative":null,"interval":null},"#;
    assert!(page.starts_with(start), "{page}");
    assert!(page.ends_with("]}]}}]}"), "{page}");
    store.latch();
    for (buckets, expected) in [
        (
            "cumulative",
            r#"{"stats":[{"name":"cluster.a.upstream_cx_total","value":2},{"histograms":[{"name":"cluster.a.upstream_cx_length_ms","buckets":[{"upper_bound":0.5,"interval":0,"cumulative":0},{"upper_bound":1,"#,
        ),
        (
            "detailed",
            r#"{"stats":[{"name":"cluster.a.upstream_cx_total","value":2},{"histograms":{"supported_percentiles":[0,25,50,75,90,95,99,99.5,99.9,100],"details":[{"name":"cluster.a.upstream_cx_length_ms","totals":[{"lower_bound":3,"width":1,"count":1},{"lower_bound":2000,"width":8,"count":1}],"intervals":[{"#,
        ),
    ] {
        let question =
            format!("usedonly&filter=a\\.upst.*(total|length)&histogram_buckets={buckets}");
        let page = json(&question);
        assert!(page.starts_with(expected), "{page}");
        let parsed: serde_json::Value = serde_json::from_str(&page).unwrap();
        assert_eq!(parsed["stats"].as_array().unwrap().len(), 2);
    }
}

#[test]
fn prometheus_has_one_block_for_each_family() {
    let store = store();
    let _held = example(&store);
    let listeners = ["0.0.0.0_80", "0.0.0.0_81"].map(|name| store.listener_worker(name, 1));
    listeners[0].of(worker(1)).downstream_cx_active.increment();
    let given = Given {
        name: "istiocustom.istio_build.component.proxy".to_owned(),
        family: "istio_build".to_owned(),
        labels: vec![("component".to_owned(), "pr\"oxy".to_owned())],
        kind: Kind::Gauge,
        value: 1,
        used: true,
    };
    let question = "format=prometheus&text_readouts&\
                    filter=upstream_cx_total|worker.*cx_active|istio|version_text|ciphers";
    let page = ask(&store, Given::sources(vec![given]), question);
    assert_eq!(
        page.lines().collect::<Vec<_>>(),
        [
            "# TYPE envoy_cluster_ssl_ciphers counter",
            "envoy_cluster_ssl_ciphers{cipher_suite=\"TLS_AES_128_GCM_SHA256\",\
             envoy_cluster_name=\"a\"} 1",
            "# TYPE envoy_cluster_upstream_cx_total counter",
            "envoy_cluster_upstream_cx_total{envoy_cluster_name=\"a\"} 2",
            "envoy_cluster_upstream_cx_total{envoy_cluster_name=\"a-b\"} 1",
            "# TYPE istio_build gauge",
            "istio_build{component=\"pr\\\"oxy\"} 1",
            "# TYPE envoy_listener_worker_downstream_cx_active gauge",
            "envoy_listener_worker_downstream_cx_active{envoy_worker_id=\"1\",\
             envoy_listener_address=\"0.0.0.0_80\"} 1",
            "envoy_listener_worker_downstream_cx_active{envoy_worker_id=\"1\",\
             envoy_listener_address=\"0.0.0.0_81\"} 0",
            "# TYPE envoy_cluster_version_text gauge",
            "envoy_cluster_version_text{envoy_cluster_name=\"a\",text_value=\"v<1>\"} 0",
        ]
    );
}

#[test]
fn prometheus_has_histograms_or_summaries() {
    let store = store();
    let _held = example(&store);
    store.latch();
    let page = ask(
        &store,
        Vec::new(),
        "format=prometheus&usedonly&filter=length",
    );
    let lines: Vec<_> = page.lines().collect();
    assert_eq!(
        lines[..2],
        [
            "# TYPE envoy_cluster_upstream_cx_length_ms histogram",
            r#"envoy_cluster_upstream_cx_length_ms_bucket{envoy_cluster_name="a",le="0.5"} 0"#,
        ]
    );
    assert_eq!(
        lines[19..],
        [
            r#"envoy_cluster_upstream_cx_length_ms_bucket{envoy_cluster_name="a",le="3600000"} 2"#,
            r#"envoy_cluster_upstream_cx_length_ms_bucket{envoy_cluster_name="a",le="+Inf"} 2"#,
            r#"envoy_cluster_upstream_cx_length_ms_sum{envoy_cluster_name="a"} 2003"#,
            r#"envoy_cluster_upstream_cx_length_ms_count{envoy_cluster_name="a"} 2"#,
        ]
    );
    let question = "format=prometheus&usedonly&filter=length&histogram_buckets=summary";
    let page = ask(&store, Vec::new(), question);
    let lines: Vec<_> = page.lines().collect();
    assert_eq!(
        lines[..3],
        [
            "# TYPE envoy_cluster_upstream_cx_length_ms summary",
            r#"envoy_cluster_upstream_cx_length_ms{envoy_cluster_name="a",quantile="0"} 3"#,
            r#"envoy_cluster_upstream_cx_length_ms{envoy_cluster_name="a",quantile="0.25"} 3"#,
        ]
    );
}

#[test]
fn given_statistics_stand_among_the_others() {
    let store = store();
    let server = store.server();
    server.set().live.set(1);
    server.set().version.set(3);
    let given = |name: &str| Given {
        name: name.to_owned(),
        family: String::new(),
        labels: Vec::new(),
        kind: Kind::Gauge,
        value: 5,
        used: true,
    };
    let more = Given::sources(vec![
        given("server.uptime_more"),
        given("server.state_more"),
    ]);
    let page = ask(&store, more, "usedonly");
    assert_eq!(
        page,
        "server.live: 1\nserver.state_more: 5\nserver.uptime_more: 5\nserver.version: 3\n"
    );
}

#[test]
fn letters_that_names_do_not_have_are_replaced() {
    let store = store();
    let _held = store.connection_limit("a:b://c\nd");
    check(
        &store,
        "type=Gauges",
        &["connection_limit.a_b_c_d.active_connections: 0"],
    );
}

#[test]
fn many_clusters_come_in_pieces() {
    let store = store();
    let held: Vec<_> = (0..1000)
        .map(|index| store.cluster(&format!("c{index}")))
        .collect();
    for question in ["", "format=json", "format=prometheus"] {
        let parameters = [("format".to_owned(), question.replace("format=", ""))];
        let parameters: BTreeMap<_, _> = parameters
            .into_iter()
            .filter(|(_, format)| !format.is_empty())
            .collect();
        let page = Page::new(&store, Vec::new(), Query::parse(&parameters).unwrap());
        let longest = page.map(|piece| piece.len()).max().unwrap();
        assert!((1_000..1_000_000).contains(&longest), "{longest}");
    }
    assert_eq!(held.len(), 1000);
}

#[test]
fn rejected_statistics_are_not_shown_and_their_histograms_not_kept() {
    use fairlead_xds::envoy::{
        config::metrics::v3::{StatsConfig as Message, StatsMatcher, stats_matcher},
        r#type::matcher::v3::{ListStringMatcher, StringMatcher, string_matcher::MatchPattern},
    };
    let prefix = StringMatcher {
        match_pattern: Some(MatchPattern::Prefix("cluster.a.".to_owned())),
        ..StringMatcher::default()
    };
    let list = ListStringMatcher {
        patterns: vec![prefix],
    };
    let message = Message {
        stats_matcher: Some(StatsMatcher {
            stats_matcher: Some(stats_matcher::StatsMatcher::ExclusionList(list)),
        }),
        ..Message::default()
    };
    let findings = crate::compile::Findings::default();
    let config = StatsConfig::compile(&findings.at(""), &message).unwrap();
    let store = Arc::new(Store::new(config));
    let held = ["a", "b"].map(|name| {
        let cluster = store.cluster(name);
        let own = cluster.connections.of(worker(0));
        own.upstream_cx_connect_ms.record(1);
        own.upstream_cx_total.increment();
        cluster
    });
    store.latch();
    let page = ask(&store, Vec::new(), "usedonly&histogram_buckets=detailed");
    assert!(
        page.starts_with("cluster.b.upstream_cx_total: 1\n"),
        "{page}"
    );
    assert!(!page.contains("cluster.a."), "{page}");
    let index = (0..held[0].fields())
        .find(|index| held[0].field(*index).0 == "upstream_cx_connect_ms")
        .unwrap();
    let kept = held.map(|cluster| cluster.read(index).unwrap().used);
    assert_eq!(kept, [false, true]);
}

use super::*;

fn layer(text: &str) -> Layer {
    Layer::parse(text).unwrap().value
}

#[track_caller]
fn check_fault(text: &str, parts: &[&str]) {
    let fault = Layer::parse(text).unwrap_err().to_string();
    for part in parts {
        assert!(fault.contains(part), "{part} in {fault}");
    }
}

#[test]
fn each_field_is_read_from_yaml_and_from_json() {
    let expected = Layer {
        concurrency: Some(4),
        access_log: Some(AccessLog::All),
        access_log_encoding: Some(AccessLogEncoding::Json),
        termination_drain_duration: Some(Duration::from_secs(20)),
        connect_timeout: Some(Duration::from_millis(1500)),
        status_port: Some(15120),
        interception_mode: Some(InterceptionMode::Tproxy),
        hold_application_until_proxy_starts: Some(true),
        proxy_metadata: BTreeMap::from([("MINIMUM".to_owned(), "5s".to_owned())]),
    };
    let yaml = "
        concurrency: 4
        accessLog: all
        accessLogEncoding: JSON
        terminationDrainDuration: 20s
        connectTimeout: 1.5s
        statusPort: 15120
        interceptionMode: TPROXY
        holdApplicationUntilProxyStarts: true
        proxyMetadata:
          MINIMUM: 5s
    ";
    let json = r#"{
	"concurrency": 4, "accessLog": "all", "accessLogEncoding": "JSON",
	"terminationDrainDuration": "20s", "connectTimeout": "1.5s", "statusPort": 15120,
	"interceptionMode": "TPROXY", "holdApplicationUntilProxyStarts": true,
	"proxyMetadata": { "MINIMUM": "5s" } }"#;
    assert_eq!(layer(yaml), expected);
    assert_eq!(layer(json), expected);
}

#[test]
fn nothing_said_leaves_everything_to_the_layer_below() {
    for text in ["", "{}", "# nothing", "concurrency: null", "proxyMetadata:"] {
        assert_eq!(layer(text), Layer::default(), "{text}");
    }
    assert_eq!(Layer::default().proxy_config(), ProxyConfig::default());
    assert_eq!(Layer::default().status_port_or_default(), ports::STATUS);
}

#[test]
fn the_layer_above_is_stronger_field_by_field() {
    let lower = layer("{concurrency: 1, accessLog: all, statusPort: 15120}");
    let upper = layer("{concurrency: 0, connectTimeout: 1s}");
    let expected = layer("{concurrency: 0, accessLog: all, statusPort: 15120, connectTimeout: 1s}");
    assert_eq!(upper.over(&lower), expected);
    assert_eq!(lower.over(&Layer::default()), lower);
    assert_eq!(Layer::default().over(&lower), lower);
}

#[test]
fn metadata_is_laid_over_name_by_name() {
    let lower = layer("proxyMetadata: {A: mesh, B: mesh}");
    let upper = layer("proxyMetadata: {B: pod, C: pod}");
    let expected = layer("proxyMetadata: {A: mesh, B: pod, C: pod}");
    assert_eq!(upper.over(&lower), expected);
}

#[test]
fn a_value_that_is_not_accepted_is_a_fault_with_its_path() {
    for (text, parts) in [
        (
            "concurrency: -1",
            &["concurrency is -1", "from 0 to 512"][..],
        ),
        ("concurrency: two", &["concurrency is \"two\""]),
        ("concurrency: 1.5", &["from 0 to 512"]),
        ("accessLog: some", &["accessLog is \"some\"", "`failures`"]),
        ("accessLogEncoding: 1", &["accessLogEncoding is 1"]),
        ("terminationDrainDuration: 5", &["a text is accepted"]),
        ("terminationDrainDuration: soon", &["such as 5s"]),
        ("connectTimeout: 0s", &["more than zero"]),
        ("statusPort: 15021", &["statusPort is 15021", "0 for none"]),
        ("statusPort: 70000", &["1 to 65535"]),
        ("interceptionMode: tproxy", &["REDIRECT, TPROXY or NONE"]),
        ("holdApplicationUntilProxyStarts: 'yes'", &["true or false"]),
        (
            "proxyMetadata: [A]",
            &["proxyMetadata is [\"A\"]", "fields"],
        ),
        (
            "proxyMetadata: {A: true}",
            &["proxyMetadata.A is true", "quotes"],
        ),
        ("proxyMetadata: {A=B: x}", &["proxyMetadata.A=B", "letters"]),
        ("proxyMetadata: {1A: x}", &["proxyMetadata.1A", "letters"]),
        (
            "proxyMetadata: {POD_NAME: x}",
            &["proxyMetadata.POD_NAME", "remove it"],
        ),
        ("concurrency: [", &["not YAML"]),
        ("- concurrency: 2", &["fields with values are accepted"]),
        ("two", &["fields with values are accepted"]),
    ] {
        check_fault(text, parts);
    }
}

#[test]
fn every_fault_is_told_at_once() {
    check_fault(
        "{concurrency: -1, statusPort: 1.5, proxyMetadata: {A: 1}}",
        &[
            "concurrency is -1",
            "statusPort is 1.5",
            "proxyMetadata.A is 1",
        ],
    );
}

#[test]
fn a_field_without_effect_is_warned_of() {
    for (text, expected) in [
        (
            "tracing: {sampling: 1}",
            "tracing has no effect in this mesh",
        ),
        (
            "image: {imageType: debug}",
            "image has no effect in this mesh",
        ),
        (
            "concurency: 2",
            "concurency is not known; is concurrency meant?",
        ),
        ("tracin: {}", "tracin is not known; is tracing meant?"),
        ("somethingElse: 1", "somethingElse is not known"),
        (
            "proxyMetadata: {ISTIO_META_DNS_CAPTURE: 'true'}",
            "proxyMetadata.ISTIO_META_DNS_CAPTURE has no effect: the proxy of this mesh answers no DNS",
        ),
    ] {
        let read = Layer::parse(text).unwrap();
        assert_eq!(read.warnings, [expected]);
        assert_eq!(read.value, Layer::default());
    }
}

#[test]
fn hostile_documents_are_answered_in_a_few_words() {
    let long = "k".repeat(1_000_000);
    let fields = |field: &dyn Fn(usize) -> String| (0..20_000).map(field).collect::<String>();
    let Document { warnings, .. } = Layer::parse(&format!(
        "? {long}\n: 1\n{}",
        fields(&|n| format!("x{n}: 1\n"))
    ))
    .unwrap();
    assert!(warnings.len() < 100 && warnings.concat().len() < 10_000);
    for text in [
        format!("concurrency: {long}"),
        format!("proxyMetadata:\n{}", fields(&|n| format!("  x{n}: [1]\n"))),
        format!(
            "x: &x [{}]\ny: [{}]",
            fields(&|_| "1,".to_owned()),
            fields(&|_| "*x,".to_owned())
        ),
    ] {
        let fault = Layer::parse(&text).unwrap_err().to_string();
        assert!(fault.len() < 10_000, "{} bytes", fault.len());
    }
}

use prost::{Message, Name};

use super::*;
use crate::{
    descriptors::MessageType,
    envoy::extensions::filters::network::tcp_proxy::v3::TcpProxy,
    google::protobuf::Struct,
    json::{Layout, Secrets, message_to_json},
    read::{Format, UnknownFields, read_message},
};

#[test]
fn each_type_is_a_message_and_stands_once() {
    let mut seen = std::collections::HashSet::new();
    for (category, name, extension) in table::KNOWN {
        assert!(seen.insert(name), "{name} stands twice");
        // Istio's own are in no package.
        if *extension != Extension::MetadataExchange {
            assert!(MessageType::named(name).is_some(), "{name}");
        }
        let url = format!("type.googleapis.com/{name}");
        assert_eq!(find(*category, &url), Some(*extension));
    }
}

#[test]
fn an_extension_is_known_in_its_place_alone() {
    let url = "type.googleapis.com/envoy.extensions.filters.network.echo.v3.Echo";
    assert_eq!(find(Category::NetworkFilter, url), Some(Extension::Echo));
    assert_eq!(find(Category::ListenerFilter, url), None);
}

#[track_caller]
fn check(category: Category, name: &str, message: &str, expected: Unknown) {
    let url = format!("type.googleapis.com/{message}");
    assert_eq!(unknown(category, name, &url), expected, "{name} {message}");
}

#[test]
fn an_unknown_filter_that_could_refuse_is_refused() {
    for name in [
        "envoy.filters.network.ext_authz",
        "envoy.filters.network.ext_proc",
        "envoy.filters.network.wasm",
        "envoy.filters.network.dynamic_modules",
        "envoy.filters.network.golang",
        "istio_authn",
        "com.example.jwt",
    ] {
        check(Category::NetworkFilter, name, "", Unknown::Refuse);
    }
    for message in [
        "envoy.extensions.filters.http.rbac.v3.RBAC",
        "envoy.extensions.filters.http.jwt_authn.v3.JwtAuthentication",
        "envoy.extensions.filters.http.ext_authz.v3.ExtAuthz",
        "envoy.extensions.filters.http.basic_auth.v3.BasicAuth",
        "envoy.extensions.filters.http.api_key_auth.v3.ApiKeyAuth",
        "envoy.extensions.filters.http.oauth2.v3.OAuth2",
        "envoy.extensions.filters.http.lua.v3.Lua",
        "envoy.extensions.filters.http.wasm.v3.Wasm",
        "envoy.extensions.filters.http.csrf.v3.CsrfPolicy",
        "envoy.extensions.filters.http.ext_proc.v3.ExternalProcessor",
    ] {
        check(Category::HttpFilter, "a", message, Unknown::Refuse);
    }
}

#[test]
fn any_other_unknown_filter_is_left_out() {
    for message in [
        "envoy.extensions.filters.network.mongo_proxy.v3.MongoProxy",
        "envoy.extensions.filters.http.grpc_stats.v3.FilterConfig",
        "envoy.extensions.filters.http.tap.v3.Tap",
        "stats.PluginConfig",
        "com.example.Evaluation",
    ] {
        check(Category::NetworkFilter, "a", message, Unknown::Warn);
    }
}

#[test]
fn what_encrypts_verifies_or_routes_is_not_left_out() {
    check(Category::TransportSocket, "a", "a.B", Unknown::Refuse);
    check(Category::CertificateValidator, "a", "a.B", Unknown::Refuse);
    check(Category::Cluster, "a", "a.B", Unknown::Refuse);
    check(Category::Matcher, "a", "a.B", Unknown::Refuse);
    check(Category::LoadBalancer, "a", "a.B", Unknown::Warn);
    check(Category::AccessLogger, "a", "a.B", Unknown::Warn);
    check(Category::ProtocolOptions, "a", "a.B", Unknown::Warn);
    check(Category::Other, "a", "a.Rbac", Unknown::Warn);
}

fn typed_struct(outer: &str, inner: &str, value: &str) -> Any {
    let text = format!(
        r#"{{"@type":"type.googleapis.com/{outer}","type_url":"type.googleapis.com/{inner}","value":{value}}}"#
    );
    let read = read_message(text.as_bytes(), Format::Json, UnknownFields::Refuse);
    read.expect("it is sound").message
}

#[test]
fn a_typed_struct_stands_for_what_it_holds() {
    for outer in ["udpa.type.v1.TypedStruct", "xds.type.v3.TypedStruct"] {
        let inner = TcpProxy::full_name();
        let any = typed_struct(outer, &inner, r#"{"stat_prefix":"a","cluster":"b"}"#);
        let found = find_any(Category::NetworkFilter, &any);
        assert_eq!(found, Some(Extension::TcpProxy));
        let any = unwrapped(any).expect("it is sound");
        assert_eq!(any.type_url, TcpProxy::type_url());
        let proxy = TcpProxy::decode(&*any.value).expect("a filter");
        assert_eq!(proxy.stat_prefix, "a");

        let any = typed_struct(outer, &inner, r#"{"stat_prefix":1}"#);
        let faults = unwrapped(any).expect_err("it has faults");
        assert_eq!(
            faults[0].to_string(),
            "value.stat_prefix: expected a string (put it in quotes), found 1"
        );
    }
}

#[test]
fn a_typed_struct_of_no_known_type_keeps_its_name() {
    let inner = "envoy.tcp.metadataexchange.config.MetadataExchange";
    let any = typed_struct("udpa.type.v1.TypedStruct", inner, r#"{"protocol":"istio"}"#);
    let found = find_any(Category::NetworkFilter, &any);
    assert_eq!(found, Some(Extension::MetadataExchange));
    let any = unwrapped(any).expect("it is sound");
    assert_eq!(any.type_url, format!("type.googleapis.com/{inner}"));
    assert!(any.value.is_empty());
}

#[test]
fn anything_else_stays_as_it_is() {
    let any = Any {
        type_url: Struct::type_url(),
        value: vec![1],
    };
    assert_eq!(unwrapped(any.clone()), Ok(any));
    let broken = Any {
        type_url: "type.googleapis.com/xds.type.v3.TypedStruct".to_owned(),
        value: vec![255],
    };
    assert!(message_to_json(&broken, Layout::Compact, Secrets::Redact).is_err());
    assert_eq!(unwrapped(broken.clone()), Ok(broken));
}

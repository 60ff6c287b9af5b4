//! Which sessions are resumed, and which must not be.

use fairlead_xds::{
    envoy::extensions::transport_sockets::tls::v3::{
        DownstreamTlsContext, TlsSessionTicketKeys, UpstreamTlsContext,
        common_tls_context::ValidationContextType, downstream_tls_context::SessionTicketKeysType,
        tls_parameters::TlsProtocol,
    },
    google::protobuf::UInt32Value,
};

use super::kit::*;
use crate::tls::{Connect, Contexts, DownstreamTls, UpstreamTls};

struct Mesh {
    ca: Authority,
    own: Pair,
    stock: Pair,
    contexts: Contexts,
}

impl Mesh {
    fn new() -> Self {
        let ca = Authority::new("mesh");
        let (own, stock) = (ca.issue(&[CLIENT]), ca.issue(&[SERVER]));
        let contexts = contexts();
        Self {
            ca,
            own,
            stock,
            contexts,
        }
    }

    fn caller(&self) -> UpstreamTlsContext {
        caller(Some(&self.own), &self.ca, SERVER)
    }

    fn listener(&self) -> DownstreamTlsContext {
        strict(&self.stock, &self.ca)
    }

    fn client(&self, message: &UpstreamTlsContext) -> UpstreamTls {
        client(&self.contexts, message)
    }
}

/// Whether the second connection resumes the session of the first.
async fn resumes(
    first: (&UpstreamTls, &DownstreamTls, Connect<'_>),
    second: (&UpstreamTls, &DownstreamTls, Connect<'_>),
) -> bool {
    let (at_client, _) = talk(first.0, first.1, first.2).await;
    assert!(!at_client.resumed);
    let (at_client, at_server) = talk(second.0, second.1, second.2).await;
    assert_eq!(at_client.resumed, at_server.resumed);
    assert!(at_client.validated && at_server.validated);
    assert!(at_client.peer.is_some() && at_server.peer.is_some());
    at_client.resumed
}

#[tokio::test]
async fn a_session_is_resumed_in_both_versions() {
    let mesh = Mesh::new();
    let server = server(&mesh.contexts, &mesh.listener());
    for version in [TlsProtocol::TlSv12, TlsProtocol::TlSv13] {
        let mut message = mesh.caller();
        message.common_tls_context.as_mut().unwrap().tls_params = versions(version, version);
        let client = mesh.client(&message);
        let one = (&client, &*server, asking());
        assert!(resumes(one, one).await, "{version:?}");
        // The context is the same when it is compiled again.
        let again = mesh.client(&message);
        let (at_client, _) = talk(&again, &server, asking()).await;
        assert!(at_client.resumed);
    }
}

#[tokio::test]
async fn a_session_is_for_the_same_expectations_name_and_endpoint() {
    let mesh = Mesh::new();
    let server = server(&mesh.contexts, &mesh.listener());
    let client = mesh.client(&mesh.caller());
    let mut expecting = mesh.caller();
    let common = expecting.common_tls_context.as_mut().unwrap();
    let mut validation = trusting(&mesh.ca);
    validation.match_typed_subject_alt_names =
        vec![uri("spiffe://cluster.local/ns/shop/sa/other"), uri(SERVER)];
    let context = ValidationContextType::ValidationContext(validation);
    common.validation_context_type = Some(context);
    let expecting = mesh.client(&expecting);
    let nobody = mesh.client(&caller(Some(&mesh.own), &mesh.ca, CLIENT));
    let one = (&client, &*server, asking());
    assert!(!resumes(one, (&expecting, &server, asking())).await);
    // Someone who expects another must not be given the session of the right one.
    let (near, _) = meet(&nobody, &server, asking()).await;
    assert_eq!(near.unwrap_err().token(), "tls_peer_san_mismatch");

    let named = Connect {
        sni: Some("other.example.com"),
        ..asking()
    };
    let (at_client, _) = talk(&client, &server, named).await;
    assert!(!at_client.resumed);
    let mut elsewhere = asking();
    elsewhere.ends.peer = "10.4.5.7:8080".parse().unwrap();
    let (at_client, _) = talk(&client, &server, elsewhere).await;
    assert!(!at_client.resumed);
}

#[tokio::test]
async fn a_session_is_for_the_same_identity() {
    let mesh = Mesh::new();
    let server = server(&mesh.contexts, &mesh.listener());
    let client = mesh.client(&mesh.caller());
    let other = mesh.ca.issue(&["spiffe://cluster.local/ns/shop/sa/other"]);
    let other = mesh.client(&caller(Some(&other), &mesh.ca, SERVER));
    let first = (&client, &*server, asking());
    assert!(!resumes(first, (&other, &server, asking())).await);
}

#[tokio::test]
async fn resumption_can_be_turned_off_on_both_sides() {
    let mesh = Mesh::new();
    let plain = server(&mesh.contexts, &mesh.listener());
    let mut message = mesh.caller();
    message.max_session_keys = Some(UInt32Value { value: 0 });
    let client = mesh.client(&message);
    let one = (&client, &*plain, asking());
    assert!(!resumes(one, one).await);

    for version in [TlsProtocol::TlSv12, TlsProtocol::TlSv13] {
        let mut message = mesh.caller();
        message.common_tls_context.as_mut().unwrap().tls_params = versions(version, version);
        let client = mesh.client(&message);
        let mut listener = mesh.listener();
        listener.session_ticket_keys_type = Some(
            SessionTicketKeysType::DisableStatelessSessionResumption(true),
        );
        let stateful = server(&mesh.contexts, &listener);
        let one = (&client, &*stateful, asking());
        let is_12 = version == TlsProtocol::TlSv12;
        assert_eq!(resumes(one, one).await, is_12, "{version:?}");
        listener.disable_stateful_session_resumption = true;
        let never = server(&mesh.contexts, &listener);
        let one = (&client, &*never, asking());
        let mut elsewhere = one;
        elsewhere.2.ends.peer = "10.4.5.7:8080".parse().unwrap();
        assert!(!resumes(elsewhere, elsewhere).await, "{version:?}");
    }
}

#[tokio::test]
async fn proxies_with_the_same_ticket_keys_resume_each_others_sessions() {
    let mesh = Mesh::new();
    let client = mesh.client(&mesh.caller());
    let mut listener = mesh.listener();
    let keys = TlsSessionTicketKeys {
        keys: vec![inline(&"k".repeat(80)).unwrap()],
    };
    listener.session_ticket_keys_type = Some(SessionTicketKeysType::SessionTicketKeys(keys));
    let one = server(&contexts(), &listener);
    let two = server(&contexts(), &listener);
    let first = (&client, &*one, asking());
    assert!(resumes(first, (&client, &two, asking())).await);
    // The same keys, but another CA: what one verified is nothing to the other.
    let other = Authority::new("other");
    let mut stranger = listener;
    let own = strict(&mesh.stock, &other).common_tls_context;
    stranger.common_tls_context = own;
    let stranger = server(&contexts(), &stranger);
    let (_, far) = meet(&client, &stranger, asking()).await;
    assert_eq!(
        far.unwrap_err().token(),
        "tls_peer_certificate_unknown_issuer"
    );
}

use std::net::Ipv4Addr;

use fairlead_xds::{
    envoy::{
        config::{
            cluster::v3::Cluster as Message,
            core::v3::{
                HealthCheck, ProxyProtocolConfig, TransportSocket as Socket,
                health_check::{HealthChecker, TcpHealthCheck},
                transport_socket::ConfigType,
            },
        },
        extensions::transport_sockets::{
            proxy_protocol::v3::ProxyProtocolUpstreamTransport, raw_buffer::v3::RawBuffer,
            tls::v3::UpstreamTlsContext,
        },
    },
    google::protobuf::{Any, Duration as Seconds, UInt32Value},
    prost::Name,
};
use tokio::{io::AsyncReadExt, join, net::TcpListener};

use super::*;
use crate::cluster::upkeep::tests::config;

/// What begins a handshake of TLS.
const HANDSHAKE: u8 = 22;

fn socket<M: Name>(message: &M) -> Socket {
    Socket {
        name: M::full_name(),
        config_type: Some(ConfigType::TypedConfig(Any {
            type_url: M::type_url(),
            value: message.encode_to_vec(),
        })),
    }
}

fn behind_a_header(version: i32, inner: Socket) -> Socket {
    socket(&ProxyProtocolUpstreamTransport {
        config: Some(ProxyProtocolConfig {
            version,
            ..ProxyProtocolConfig::default()
        }),
        transport_socket: Some(inner),
        ..ProxyProtocolUpstreamTransport::default()
    })
}

fn compiled(socket: Socket) -> ClusterConfig {
    let once = Some(UInt32Value { value: 1 });
    let second = Some(Seconds {
        seconds: 1,
        nanos: 0,
    });
    let message = Message {
        name: "stock".to_owned(),
        transport_socket: Some(socket),
        health_checks: vec![HealthCheck {
            timeout: second,
            interval: second,
            unhealthy_threshold: once,
            healthy_threshold: once,
            health_checker: Some(HealthChecker::TcpHealthCheck(TcpHealthCheck::default())),
            ..HealthCheck::default()
        }],
        ..Message::default()
    };
    config(&message)
}

/// A header by the addresses of the proxy and of the endpoint.
type Header = fn(SocketAddr, SocketAddr) -> Vec<u8>;

/// Checks an endpoint behind this socket: it reads these headers, and then this byte.
async fn begins_with(socket: Socket, headers: Header, then: u8) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let config = compiled(socket);
    let endpoint = Endpoint::unassigned(address, Instant::now());
    let checking = async {
        let settings = &config.health_checks[0];
        let mut stream = dial(&config, &endpoint, address, settings).await?;
        stream.write_all(b"PING").await
    };
    let reading = async {
        let (mut stream, peer) = listener.accept().await.unwrap();
        let expected = [headers(peer, address), vec![then]].concat();
        let mut first = vec![0; expected.len()];
        stream.read_exact(&mut first).await.unwrap();
        assert_eq!(
            first.escape_ascii().to_string(),
            expected.escape_ascii().to_string()
        );
    };
    // A handshake of TLS comes to nothing here.
    let (_, ()) = join!(checking, reading);
}

fn line(peer: SocketAddr, address: SocketAddr) -> Vec<u8> {
    format!(
        "PROXY TCP4 {} {} {} {}\r\n",
        peer.ip(),
        address.ip(),
        peer.port(),
        address.port()
    )
    .into()
}

fn local() -> Vec<u8> {
    b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0".to_vec()
}

#[tokio::test]
async fn a_check_begins_with_the_headers_that_traffic_begins_with() {
    let raw = || socket(&RawBuffer::default());
    let tls = || socket(&UpstreamTlsContext::default());
    let (v1, v2) = (0, 1);
    let none: Header = |_, _| Vec::new();
    let told: Header = |_, _| local();
    begins_with(raw(), none, b'P').await;
    begins_with(behind_a_header(v1, raw()), line, b'P').await;
    begins_with(behind_a_header(v2, raw()), told, b'P').await;
    begins_with(behind_a_header(v1, tls()), line, HANDSHAKE).await;
    let both: Header = |peer, address| [local(), line(peer, address)].concat();
    let socket = behind_a_header(v2, behind_a_header(v1, tls()));
    begins_with(socket, both, HANDSHAKE).await;
}

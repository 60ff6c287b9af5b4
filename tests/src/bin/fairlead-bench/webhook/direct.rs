//! Reviews posted to a webhook as an API server does, over connections that stay.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use anyhow::{Context, ensure};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{Request, client::conn::http1};
use hyper_util::rt::TokioIo;
use k8s_openapi::api::{
    admissionregistration::v1::MutatingWebhookConfiguration, core::v1::Service,
    discovery::v1::EndpointSlice,
};
use kube::{Api, Client, api::ListParams};
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, ServerName, pem::PemObject},
};
use serde_json::json;
use tokio::{net::TcpStream, task::JoinSet, time::Instant};
use tokio_rustls::TlsConnector;

use crate::kubernetes::{Kind, pod};

const CONNECTIONS: usize = 8;

/// One replica of a webhook, found as the API server finds it.
pub(super) struct Hook {
    address: SocketAddr,
    host: String,
    path: String,
    tls: Arc<ClientConfig>,
}

impl Hook {
    pub(super) async fn find(client: &Client, configuration: &str) -> anyhow::Result<Self> {
        let configurations: Api<MutatingWebhookConfiguration> = Api::all(client.clone());
        let found = configurations.get(configuration).await?;
        let first = found.webhooks.into_iter().flatten().next();
        let called = first
            .context("a webhook configuration has an entry")?
            .client_config;
        let service = called.service.context("the webhook is a Service")?;
        let bundle = called.ca_bundle.context("the webhook has a caBundle")?;
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(&bundle.0) {
            roots.add(certificate.context("read the caBundle")?)?;
        }
        let tls = ClientConfig::builder()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let port = service.port.unwrap_or(443);
        Ok(Self {
            address: replica(client, &service.namespace, &service.name, port).await?,
            host: format!("{}.{}.svc", service.name, service.namespace),
            path: service.path.unwrap_or_default(),
            tls: Arc::new(tls),
        })
    }

    /// Posts so many reviews of a pod, over a few connections at once; each must be answered with a
    /// patch.
    pub(super) async fn post(&self, kind: Kind, reviews: usize) -> anyhow::Result<Duration> {
        let body = Bytes::from(review(kind)?);
        let start = Instant::now();
        let mut connections = JoinSet::new();
        for _ in 0..CONNECTIONS {
            let mut sender = self.connect().await?;
            let (host, path, body) = (self.host.clone(), self.path.clone(), body.clone());
            connections.spawn(async move {
                for _ in 0..reviews / CONNECTIONS {
                    let request = Request::post(&path)
                        .header("host", &host)
                        .header("content-type", "application/json")
                        .body(Full::new(body.clone()))?;
                    sender.ready().await?;
                    let response = sender.send_request(request).await?;
                    let status = response.status();
                    let answer = response.into_body().collect().await?.to_bytes();
                    ensure!(
                        status.is_success() && contains(&answer, b"\"patch\""),
                        "{host} answers {status}: {}",
                        String::from_utf8_lossy(&answer)
                    );
                }
                Ok(())
            });
        }
        let ended = connections.join_all().await;
        ended.into_iter().collect::<anyhow::Result<()>>()?;
        Ok(start.elapsed())
    }

    async fn connect(&self) -> anyhow::Result<http1::SendRequest<Full<Bytes>>> {
        let stream = TcpStream::connect(self.address).await;
        let stream = stream.with_context(|| format!("connect to {}", self.address))?;
        stream.set_nodelay(true)?;
        let name = ServerName::try_from(self.host.clone())?;
        let connector = TlsConnector::from(Arc::clone(&self.tls));
        let stream = connector.connect(name, stream).await?;
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        // Ends with the sender, which learns what went wrong.
        tokio::spawn(connection);
        Ok(sender)
    }
}

/// The first address behind a Service.
async fn replica(
    client: &Client,
    namespace: &str,
    name: &str,
    port: i32,
) -> anyhow::Result<SocketAddr> {
    let services: Api<Service> = Api::namespaced(client.clone(), namespace);
    let service = services.get(name).await?;
    let ports = service.spec.and_then(|spec| spec.ports).unwrap_or_default();
    let named = ports.into_iter().find(|each| each.port == port);
    let named = named
        .with_context(|| format!("Service {name} has no port {port}"))?
        .name;
    let slices: Api<EndpointSlice> = Api::namespaced(client.clone(), namespace);
    let of_service = format!("kubernetes.io/service-name={name}");
    let slices = slices
        .list(&ListParams::default().labels(&of_service))
        .await?;
    let address = slices.items.into_iter().find_map(|slice| {
        let address = slice
            .endpoints
            .into_iter()
            .flatten()
            .flat_map(|endpoint| endpoint.addresses)
            .next()?;
        let mut ports = slice.ports.into_iter().flatten();
        let port = ports
            .find(|each| each.name.as_deref().unwrap_or("") == named.as_deref().unwrap_or(""))?;
        let port = u16::try_from(port.port?).ok()?;
        Some(SocketAddr::new(address.parse().ok()?, port))
    });
    address.with_context(|| format!("nothing stands behind Service {name}"))
}

fn review(kind: Kind) -> anyhow::Result<Vec<u8>> {
    let mut object = serde_json::to_value(pod("bench")?)?;
    object["metadata"]["namespace"] = json!(kind.namespace());
    let review = json!({
        "apiVersion": "admission.k8s.io/v1",
        "kind": "AdmissionReview",
        "request": {
            "uid": "705ab4f5-6393-11e8-b7cc-42010a800002",
            "kind": {"group": "", "version": "v1", "kind": "Pod"},
            "resource": {"group": "", "version": "v1", "resource": "pods"},
            "namespace": kind.namespace(),
            "name": "bench",
            "operation": "CREATE",
            "userInfo": {"username": "bench"},
            "object": object,
            "oldObject": null,
            "dryRun": true,
        },
    });
    Ok(serde_json::to_vec(&review)?)
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window == part)
}

//! What TLS costs a cluster in memory, and a handshake in time.
//!
//! `cargo run --release -p fairlead-proxy --example tls_memory`

use std::{
    error::Error,
    fs,
    time::{Duration, Instant},
};

use fairlead_proxy::{
    compile::Findings,
    tls::{Connect, Contexts, DownstreamTls, Ends, UpstreamTls, accept, connect},
};
use fairlead_xds::{
    envoy::{
        config::core::v3::{DataSource, data_source::Specifier},
        extensions::transport_sockets::tls::v3::{
            CertificateValidationContext, CommonTlsContext, DownstreamTlsContext,
            SubjectAltNameMatcher, TlsCertificate, TlsParameters, UpstreamTlsContext,
            common_tls_context::ValidationContextType, subject_alt_name_matcher::SanType,
        },
        r#type::matcher::v3::{StringMatcher, string_matcher::MatchPattern},
    },
    google::protobuf::{BoolValue, UInt32Value},
};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, SanType as Name};
use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

const CLUSTERS: usize = 50_000;
const HANDSHAKES: u32 = 500;
const SERVER: &str = "spiffe://cluster.local/ns/shop/sa/server";

fn inline(text: String) -> Option<DataSource> {
    Some(DataSource {
        watched_directory: None,
        specifier: Some(Specifier::InlineString(text)),
    })
}

struct Mesh {
    issuer: Issuer<'static, KeyPair>,
    ca: String,
}

impl Mesh {
    fn new() -> Result<Self, rcgen::Error> {
        let mut params = CertificateParams::new([])?;
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate()?;
        let ca = params.self_signed(&key)?.pem();
        let issuer = Issuer::new(params, key);
        Ok(Self { issuer, ca })
    }

    fn common(&self, own: &str, expected: Option<&str>) -> Result<CommonTlsContext, rcgen::Error> {
        let mut params = CertificateParams::new([])?;
        params.subject_alt_names = vec![Name::URI(own.try_into()?)];
        let key = KeyPair::generate()?;
        let certificate = TlsCertificate {
            certificate_chain: inline(params.signed_by(&key, &self.issuer)?.pem()),
            private_key: inline(key.serialize_pem()),
            ..TlsCertificate::default()
        };
        let san = expected.map(|expected| SubjectAltNameMatcher {
            san_type: SanType::Uri.into(),
            matcher: Some(StringMatcher {
                ignore_case: false,
                match_pattern: Some(MatchPattern::Exact(expected.to_owned())),
            }),
            oid: String::new(),
        });
        let validation = CertificateValidationContext {
            trusted_ca: inline(self.ca.clone()),
            match_typed_subject_alt_names: san.into_iter().collect(),
            ..CertificateValidationContext::default()
        };
        Ok(CommonTlsContext {
            tls_params: Some(TlsParameters {
                tls_minimum_protocol_version: 4,
                tls_maximum_protocol_version: 4,
                ..TlsParameters::default()
            }),
            tls_certificates: vec![certificate],
            alpn_protocols: vec!["istio".to_owned()],
            validation_context_type: Some(ValidationContextType::ValidationContext(validation)),
            ..CommonTlsContext::default()
        })
    }
}

fn resident_bytes() -> Result<i64, Box<dyn Error>> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kilobytes = line.and_then(|line| line.split_whitespace().next());
    Ok(kilobytes.ok_or("no VmRSS")?.parse::<i64>()? * 1024)
}

fn expect(message: &mut UpstreamTlsContext, account: &str) {
    if let Some(common) = &mut message.common_tls_context
        && let Some(ValidationContextType::ValidationContext(validation)) =
            &mut common.validation_context_type
        && let [san] = &mut *validation.match_typed_subject_alt_names
        && let Some(matcher) = &mut san.matcher
    {
        matcher.match_pattern = Some(MatchPattern::Exact(account.to_owned()));
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let mesh = Mesh::new()?;
    let contexts = Contexts::new(|_| None, |_, _| Err("none".to_owned()), Box::default());
    let findings = Findings::default();
    let at = findings.at("");
    let mut upstream = UpstreamTlsContext {
        common_tls_context: Some(mesh.common("spiffe://cluster.local/a", Some(SERVER))?),
        ..UpstreamTlsContext::default()
    };
    for (accounts, what) in [
        (1, "all with the same names"),
        (CLUSTERS, "each with names of its own"),
    ] {
        let mut clusters = Vec::with_capacity(CLUSTERS);
        let (before, start) = (resident_bytes()?, Instant::now());
        for index in 0..CLUSTERS {
            upstream.sni = format!("outbound_.80_._.service-{index}.shop.svc.cluster.local");
            let account = format!("spiffe://cluster.local/ns/shop/sa/{:05}", index % accounts);
            expect(&mut upstream, &account);
            let compiled = UpstreamTls::compile(&at, &upstream, &contexts);
            clusters.push(compiled.ok_or("the context is sound")?);
        }
        let bytes = resident_bytes()? - before;
        println!(
            "{CLUSTERS} clusters, {what}: {} bytes and {} ns each",
            bytes / CLUSTERS as i64,
            start.elapsed().as_nanos() / CLUSTERS as u128,
        );
        drop(clusters);
    }
    let downstream = DownstreamTlsContext {
        common_tls_context: Some(mesh.common(SERVER, None)?),
        require_client_certificate: Some(BoolValue { value: true }),
        ..DownstreamTlsContext::default()
    };
    let server = DownstreamTls::compile(&at, &downstream, &contexts).ok_or("it is sound")?;
    expect(&mut upstream, SERVER);
    for (sessions, what) in [(0, "full"), (1, "resumed")] {
        upstream.max_session_keys = Some(UInt32Value { value: sessions });
        let client = UpstreamTls::compile(&at, &upstream, &contexts).ok_or("it is sound")?;
        let start = Instant::now();
        let mut resumed = 0;
        for _ in 0..HANDSHAKES {
            let ends = Ends {
                peer: ([10, 0, 0, 1], 80).into(),
                local: ([10, 0, 0, 2], 80).into(),
            };
            let (near, far) = duplex(64 * 1024);
            let ask = Connect {
                ends,
                host: None,
                sni: None,
                alpn: None,
            };
            let within = Duration::from_secs(5);
            let (near, far) = tokio::join!(
                connect(&client, near, ask, within),
                accept(&server, far, ends, within)
            );
            let ((mut near, handshaked), (mut far, _)) = (near?, far?);
            far.write_all(b"!").await?;
            far.flush().await?;
            near.read_u8().await?;
            resumed += u32::from(handshaked.resumed);
        }
        println!(
            "{what} mTLS handshake, both sides: {} us ({resumed} of {HANDSHAKES} resumed)",
            start.elapsed().as_micros() / u128::from(HANDSHAKES),
        );
    }
    Ok(())
}

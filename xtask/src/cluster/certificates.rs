//! The certificate authority of a cluster, a certificate for each of its users, and their
//! kubeconfig files.

use std::fs::OpenOptions;
use std::io::Write;
use std::net::Ipv4Addr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use anyhow::{Context, Result};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SanType,
};
use serde_json::json;

use super::network::Network;
use super::state::State;

/// Whom a certificate is for. The groups and names are those Kubernetes' own roles are bound to.
struct Identity<'a> {
    /// The name of its files.
    file: &'a str,
    common_name: String,
    organization: Option<&'a str>,
    dns_names: Vec<String>,
    addresses: Vec<Ipv4Addr>,
}

/// Makes everything under `pki/`, and a kubeconfig for `admin` and each daemon that is a client of
/// the apiserver.
pub(crate) fn create(state: &State, network: Network, node: &str) -> Result<()> {
    let authority_key =
        KeyPair::generate().context("generate the key of the cluster's authority")?;
    write_key(state, "ca", &authority_key)?;
    let authority = authority_parameters();
    let certificate = authority
        .self_signed(&authority_key)
        .context("sign the certificate of the cluster's authority")?;
    state.write("pki/ca.crt", &certificate.pem())?;
    let issuer = Issuer::new(authority, authority_key);

    let service_names = [
        "kubernetes",
        "kubernetes.default",
        "kubernetes.default.svc",
        "localhost",
    ];
    let server = Identity {
        file: "kube-apiserver",
        common_name: "kube-apiserver".to_owned(),
        organization: None,
        dns_names: service_names.map(str::to_owned).to_vec(),
        addresses: vec![
            Ipv4Addr::LOCALHOST,
            network.kubernetes_service(),
            network.node(),
        ],
    };
    issue(state, &issuer, server)?;
    let kubelet = Identity {
        file: "kubelet",
        common_name: format!("system:node:{node}"),
        organization: Some("system:nodes"),
        dns_names: vec![node.to_owned()],
        addresses: vec![network.node()],
    };
    issue(state, &issuer, kubelet)?;
    issue(
        state,
        &issuer,
        Identity::client("admin", "admin", Some("system:masters")),
    )?;
    for daemon in ["kube-controller-manager", "kube-scheduler", "kube-proxy"] {
        issue(
            state,
            &issuer,
            Identity::client(daemon, &format!("system:{daemon}"), None),
        )?;
    }
    for user in [
        "admin",
        "kubelet",
        "kube-controller-manager",
        "kube-scheduler",
        "kube-proxy",
    ] {
        write_secret(
            &state.kubeconfig(user),
            &kubeconfig(state, user, network.node()),
        )?;
    }

    let tokens =
        KeyPair::generate().context("generate the key that signs service account tokens")?;
    write_key(state, "service-accounts", &tokens)?;
    state.write("pki/service-accounts.pub", &tokens.public_key_pem())
}

impl<'a> Identity<'a> {
    fn client(file: &'a str, common_name: &str, organization: Option<&'a str>) -> Self {
        let common_name = common_name.to_owned();
        Self {
            file,
            common_name,
            organization,
            dns_names: Vec::new(),
            addresses: Vec::new(),
        }
    }
}

fn authority_parameters() -> CertificateParams {
    let mut parameters = CertificateParams::default();
    parameters
        .distinguished_name
        .push(DnType::CommonName, "Fairlead development cluster");
    parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    parameters.key_usages = vec![
        KeyUsagePurpose::KeyCertSign,
        KeyUsagePurpose::CrlSign,
        KeyUsagePurpose::DigitalSignature,
    ];
    parameters
}

fn issue(state: &State, issuer: &Issuer<'_, KeyPair>, identity: Identity<'_>) -> Result<()> {
    let file = identity.file;
    let mut parameters =
        CertificateParams::new(identity.dns_names).context("name a certificate")?;
    let addresses = identity
        .addresses
        .into_iter()
        .map(|address| SanType::IpAddress(address.into()));
    parameters.subject_alt_names.extend(addresses);
    // The default name of the library would be in front.
    parameters.distinguished_name = rcgen::DistinguishedName::new();
    parameters
        .distinguished_name
        .push(DnType::CommonName, identity.common_name);
    if let Some(organization) = identity.organization {
        parameters
            .distinguished_name
            .push(DnType::OrganizationName, organization);
    }
    parameters.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    parameters.extended_key_usages = vec![
        ExtendedKeyUsagePurpose::ClientAuth,
        ExtendedKeyUsagePurpose::ServerAuth,
    ];
    let key = KeyPair::generate().with_context(|| format!("generate the key of {file}"))?;
    let certificate = parameters
        .signed_by(&key, issuer)
        .with_context(|| format!("sign the certificate of {file}"))?;
    write_key(state, file, &key)?;
    state.write(&format!("pki/{file}.crt"), &certificate.pem())
}

fn write_key(state: &State, name: &str, key: &KeyPair) -> Result<()> {
    write_secret(
        &state.path(&format!("pki/{name}.key")),
        &key.serialize_pem(),
    )
}

/// Writes a file that only its owner may read.
fn write_secret(path: &Path, content: &str) -> Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    let mut file = options
        .open(path)
        .with_context(|| format!("create {}", path.display()))?;
    file.write_all(content.as_bytes())
        .with_context(|| format!("write {}", path.display()))
}

/// JSON is YAML, and needs no quoting rules.
fn kubeconfig(state: &State, user: &str, node: Ipv4Addr) -> String {
    json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{
            "name": "fairlead",
            "cluster": {
                "server": format!("https://{node}:6443"),
                "certificate-authority": state.path("pki/ca.crt"),
            },
        }],
        "users": [{
            "name": user,
            "user": {
                "client-certificate": state.path(&format!("pki/{user}.crt")),
                "client-key": state.path(&format!("pki/{user}.key")),
            },
        }],
        "contexts": [{"name": "fairlead", "context": {"cluster": "fairlead", "user": user}}],
        "current-context": "fairlead",
    })
    .to_string()
}

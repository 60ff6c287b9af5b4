//! The programs that are measured, and how each is told to do the same.

use std::{env, fmt, path::PathBuf, process::Command};

use anyhow::{Context, ensure};
use fairlead_tests::binary;

/// Names Istio's program, which is built apart from the product's.
const PILOT_AGENT: &str = "FAIRLEAD_BENCH_PILOT_AGENT";

/// A program, and how it is to program the firewall.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Subject {
    Fairlead,
    FairleadNative,
    Istio,
    /// Kept from the legacy backend, where it else installs a second set when it is run again.
    IstioForced,
    IstioNative,
}

/// Where the rules are found afterwards.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Backend {
    Iptables,
    Nftables,
}

impl Subject {
    pub(super) const ALL: [Self; 5] = [
        Self::Fairlead,
        Self::FairleadNative,
        Self::Istio,
        Self::IstioForced,
        Self::IstioNative,
    ];

    /// Ours, and what it is compared with.
    pub(super) const PAIRS: [[Self; 2]; 4] = [
        [Self::Fairlead, Self::Istio],
        [Self::FairleadNative, Self::Istio],
        [Self::Fairlead, Self::IstioForced],
        [Self::FairleadNative, Self::IstioNative],
    ];

    pub(super) fn is_ours(self) -> bool {
        matches!(self, Self::Fairlead | Self::FairleadNative)
    }

    pub(super) fn backend(self) -> Backend {
        match self {
            Self::Fairlead | Self::Istio | Self::IstioForced => Backend::Iptables,
            Self::FairleadNative | Self::IstioNative => Backend::Nftables,
        }
    }

    pub(super) fn program(self) -> anyhow::Result<PathBuf> {
        if self.is_ours() {
            return Ok(binary("fairlead-init"));
        }
        let program = env::var_os(PILOT_AGENT).with_context(|| {
            format!(
                "{PILOT_AGENT} is unset: run through `cargo xtask bench init`, which builds Istio's program and sets it"
            )
        })?;
        Ok(program.into())
    }

    /// What it is given before the arguments that say which redirect.
    fn arguments(self) -> &'static [&'static str] {
        match self {
            Self::Fairlead => &[],
            Self::FairleadNative => &["--native-nftables"],
            Self::Istio => &["istio-iptables"],
            Self::IstioForced => &["istio-iptables", "--force-iptables-binary=nft"],
            Self::IstioNative => &["istio-iptables", "--native-nftables"],
        }
    }

    pub(super) fn command(self, redirect: &[String]) -> anyhow::Result<Command> {
        let mut command = Command::new(self.program()?);
        command.args(self.arguments()).args(redirect);
        Ok(command)
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Fairlead => "Fairlead",
            Self::FairleadNative => "Fairlead native nftables",
            Self::Istio => "Istio",
            Self::IstioForced => "Istio forced to nft",
            Self::IstioNative => "Istio native nftables",
        })
    }
}

/// Which program of Istio is measured.
pub(super) fn describe_istio() -> anyhow::Result<String> {
    let program = Subject::Istio.program()?;
    let output = Command::new(&program)
        .args(["version", "--output=json"])
        .output()
        .with_context(|| format!("start {}", program.display()))?;
    ensure!(
        output.status.success(),
        "{} version: {}",
        program.display(),
        output.status
    );
    let version: serde_json::Value = serde_json::from_slice(&output.stdout)
        .with_context(|| format!("read what {} version prints", program.display()))?;
    let field = |name: &str| {
        version
            .pointer(&format!("/clientVersion/{name}"))
            .and_then(serde_json::Value::as_str)
            .unwrap_or("unknown")
    };
    Ok(format!(
        "Istio is `pilot-agent istio-iptables` of version {}, commit {}, built with {}.",
        field("version"),
        field("revision"),
        field("golang_version")
    ))
}

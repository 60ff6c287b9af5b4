//! The two proxies, and how each is told to do the same.

use std::{
    env, fmt, fs,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, bail, ensure};
use fairlead_tests::{binary, netns::User};

use super::scratch::Scratch;

/// Names Envoy's program, which is fetched apart from the product's.
const ENVOY: &str = "FAIRLEAD_BENCH_ENVOY";

/// What the Dockerfile sets for ours.
const GLIBC_TUNABLES: (&str, &str) = (
    "GLIBC_TUNABLES",
    "glibc.cpu.x86_rep_movsb_threshold=0x1000000",
);

/// What clap ends with when it does not know an argument.
const USAGE_ERROR: i32 = 2;

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Subject {
    Fairlead,
    Envoy,
}

impl Subject {
    pub(super) const ALL: [Self; 2] = [Self::Fairlead, Self::Envoy];
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Fairlead => "Fairlead",
            Self::Envoy => "Envoy",
        })
    }
}

/// Where the programs are.
#[derive(Debug)]
pub(super) struct Programs {
    fairlead: PathBuf,
    envoy: PathBuf,
}

impl Programs {
    pub(super) fn new(scratch: &Scratch) -> anyhow::Result<Self> {
        let fetched = env::var_os(ENVOY).map(PathBuf::from).with_context(|| {
            format!(
                "{ENVOY} is unset: run through `cargo xtask bench proxy`, which fetches Envoy and sets it"
            )
        })?;
        // The proxy's user may not enter the home directory that holds the cache.
        let envoy = scratch.path().join("envoy");
        fs::hard_link(&fetched, &envoy)
            // Where that is another file system.
            .or_else(|_| fs::copy(&fetched, &envoy).map(drop))
            .with_context(|| format!("copy {} to {}", fetched.display(), envoy.display()))?;
        Ok(Self {
            fairlead: binary("fairlead-proxy"),
            envoy,
        })
    }

    pub(super) fn describe_envoy(&self) -> anyhow::Result<String> {
        let output = Command::new(&self.envoy)
            .arg("--version")
            .output()
            .with_context(|| format!("start {}", self.envoy.display()))?;
        ensure!(
            output.status.success(),
            "{} --version: {}",
            self.envoy.display(),
            output.status
        );
        let said = String::from_utf8_lossy(&output.stdout);
        let version = said.split_whitespace().last().unwrap_or("unknown");
        Ok(format!("Envoy is {version}."))
    }

    /// The subject with the bootstrap and one worker.
    pub(super) fn command(&self, subject: Subject, bootstrap: &Path) -> Command {
        let mut command = self.with(subject, bootstrap);
        command.args(["--concurrency", "1"]);
        match subject {
            // As in its image.
            Subject::Fairlead => command.env(GLIBC_TUNABLES.0, GLIBC_TUNABLES.1),
            Subject::Envoy => command.args(["--log-level", "warning"]),
        };
        command
    }

    /// Ours without a bootstrap: plaintext alone, by the configuration that is built in.
    pub(super) fn passthrough(&self, address: &str) -> Command {
        let mut command = Command::new(&self.fairlead);
        command
            .args(["sidecar", "--proxyLogLevel", "error"])
            .env("POD_NAME", "bench")
            .env("POD_NAMESPACE", "bench")
            .env("INSTANCE_IP", address)
            .env("PROXY_CONFIG", r#"{"concurrency":1,"accessLog":"off"}"#);
        command
    }

    /// Lets the subject read the bootstrap and end. Returns why it cannot run it; only ours may say
    /// so, because what Envoy refuses is a fault of the bootstrap.
    pub(super) fn validate(
        &self,
        subject: Subject,
        bootstrap: &Path,
    ) -> anyhow::Result<Option<String>> {
        let mut command = self.with(subject, bootstrap);
        command
            .args(["--mode", "validate"])
            .uid(User::PROXY.uid)
            .gid(User::PROXY.gid)
            .stdin(Stdio::null());
        let output = command
            .output()
            .with_context(|| format!("start {}", command.get_program().display()))?;
        if output.status.success() {
            return Ok(None);
        }
        let said = String::from_utf8_lossy(&output.stderr);
        match (subject, output.status.code()) {
            (Subject::Fairlead, Some(USAGE_ERROR)) => {
                Ok(Some("it does not take `-c FILE` yet".to_owned()))
            }
            (Subject::Fairlead, _) => Ok(Some(format!(
                "it refuses {}: {}",
                bootstrap.display(),
                said.trim()
            ))),
            (Subject::Envoy, _) => bail!(
                "{} refuses {}: {}",
                self.envoy.display(),
                bootstrap.display(),
                said.trim()
            ),
        }
    }

    fn with(&self, subject: Subject, bootstrap: &Path) -> Command {
        let mut command = Command::new(match subject {
            Subject::Fairlead => &self.fairlead,
            Subject::Envoy => &self.envoy,
        });
        command.arg("-c").arg(bootstrap);
        if subject == Subject::Envoy {
            // Else two of them would share memory, and the second refuse to start.
            command.arg("--disable-hot-restart");
        }
        command
    }
}

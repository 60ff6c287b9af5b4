//! Istio's programs, beside which ours are measured: `pilot-agent` for the redirect, and a whole
//! `istiod` for the admission of pods; and `istioctl`, which must read what our admin port says.
//! Nothing else needs them.

use std::path::PathBuf;

use anyhow::Result;

use crate::cluster::Cluster;
use crate::{go, images, progress};

/// The release, and the commit of it that `xtask/istio/go.mod` and `xtask/istioctl/go.mod` require.
const VERSION: &str = "1.31";
const COMMIT: &str = "eed52ebb66ad";

/// Those that Istio builds each program with.
const AGENT_TAGS: &str = "agent,disable_pgv,grpcnotrace,retrynotrace";
const ISTIOD_TAGS: &str = "vtprotobuf,disable_pgv";
const ISTIOCTL_TAGS: &str = "vtprotobuf,disable_pgv";

const MODULE: &str = "istio.io/istio";

/// What istiod's image is called on the node.
const HUB: &str = "docker.io/istio";

/// Stands beside ours: it injects namespaces labelled `istio.io/rev=istio` alone.
const REVISION: &str = "istio";
const NAMESPACE: &str = "istio-system";

/// Istio's own images run as this user.
const USER: u32 = 1337;

/// Returns the program, after building it if this version of it is not in the cache.
pub(crate) fn pilot_agent() -> Result<PathBuf> {
    let directory = go::Build {
        name: &format!("istio-{VERSION}-{COMMIT}"),
        title: &format!("pilot-agent of Istio {VERSION}"),
        duration: "1 minute",
        module: &module(),
        files: &[],
        targets: &["istio.io/istio/pilot/cmd/pilot-agent"],
        tags: AGENT_TAGS,
        linker_flags: &linker_flags(),
    }
    .ensure()?;
    Ok(directory.join("pilot-agent"))
}

/// Returns the program, after building it if this version of it is not in the cache. It is of another
/// module than the others, whose libraries and builds stay as they are without it.
pub(crate) fn istioctl() -> Result<PathBuf> {
    let directory = go::Build {
        name: &format!("istioctl-{VERSION}-{COMMIT}"),
        title: &format!("istioctl of Istio {VERSION}"),
        duration: "4 minutes",
        module: &crate::checkout().join("xtask/istioctl"),
        files: &[],
        targets: &["istio.io/istio/istioctl/cmd/istioctl"],
        tags: ISTIOCTL_TAGS,
        linker_flags: &linker_flags(),
    }
    .ensure()?;
    Ok(directory.join("istioctl"))
}

/// Istio's control plane, which injects pods too.
#[derive(Debug)]
pub(crate) struct Istiod {
    image: PathBuf,
    chart: PathBuf,
}

impl Istiod {
    /// Builds the program and its image if this version of them is not in the cache, and finds the
    /// chart in the module's sources.
    pub(crate) fn ensure() -> Result<Self> {
        let directory = go::Build {
            name: &format!("istiod-{VERSION}-{COMMIT}"),
            title: &format!("istiod of Istio {VERSION}"),
            duration: "6 minutes",
            module: &module(),
            files: &[],
            targets: &["istio.io/istio/pilot/cmd/pilot-discovery"],
            tags: ISTIOD_TAGS,
            linker_flags: &linker_flags(),
        }
        .ensure()?;
        let program = directory.join("pilot-discovery");
        let image = images::of_peer(&format!("{HUB}/pilot:{VERSION}"), &program, USER)?;
        let sources = go::sources(&module(), MODULE)?;
        let chart = sources.join("manifests/charts/istio-control/istio-discovery");
        Ok(Self { image, chart })
    }

    /// Installs it with its chart as it is, but for what needs more than an admission controller:
    /// the telemetry filters and the autoscaler.
    pub(crate) fn install(&self, cluster: &Cluster) -> Result<()> {
        progress::step(&format!("helm install istiod {VERSION}"), || {
            cluster.load_archive(&self.image)?;
            cluster
                .helm(["upgrade", "--install", "istiod"])
                .arg(&self.chart)
                .arg(format!("--namespace={NAMESPACE}"))
                .args(["--create-namespace", "--wait", "--timeout=120s"])
                .args(Self::values().iter().flat_map(|value| ["--set", value]))
                .run()
        })
    }

    fn values() -> [String; 7] {
        [
            format!("revision={REVISION}"),
            format!("global.hub={HUB}"),
            format!("global.tag={VERSION}"),
            "global.imagePullPolicy=IfNotPresent".to_owned(),
            "telemetry.enabled=false".to_owned(),
            "autoscaleEnabled=false".to_owned(),
            // It asks for 2 GiB, which a developer's machine may not have free; it uses a tenth.
            "resources.requests.memory=256Mi".to_owned(),
        ]
    }
}

fn module() -> PathBuf {
    crate::checkout().join("xtask/istio")
}

/// Without them the programs do not know their version.
fn linker_flags() -> String {
    let version = "istio.io/istio/pkg/version";
    format!(
        "-s -w -X {version}.buildVersion={VERSION} -X {version}.buildGitRevision={COMMIT} -X {version}.buildStatus=Clean"
    )
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn go_modules_require_the_commit_named_here() {
        for module in ["xtask/istio/go.mod", "xtask/istioctl/go.mod"] {
            let module = fs::read_to_string(crate::checkout().join(module)).unwrap();
            let required = module
                .lines()
                .find_map(|line| line.strip_prefix("require istio.io/istio "));
            let version = required.and_then(|rest| rest.split_whitespace().next());
            assert!(
                version.is_some_and(|version| version.ends_with(COMMIT)),
                "{required:?}"
            );
        }
    }
}

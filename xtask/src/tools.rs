//! The Go programs of the development cluster: Kubernetes, Helm, CoreDNS and pause.
//!
//! One Go module (`xtask/kube`) builds them all, so that what they share compiles once. The result
//! is cached outside the checkout, under a name made of all that goes into it.

use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::go;

/// The Kubernetes that runs in the development cluster; `xtask/kube/go.mod` requires the same.
pub(crate) const KUBERNETES_VERSION: &str = "1.35.4";
const HELM_VERSION: &str = "3.20.2";

const TARGETS: [&str; 4] = ["./kube", "./coredns", "./pause", "helm.sh/helm/v3/cmd/helm"];

/// Where the built programs lie.
#[derive(Clone, Debug)]
pub(crate) struct Tools {
    directory: PathBuf,
}

impl Tools {
    /// Returns the programs, after building them if this version of them is not in the cache.
    ///
    /// The first build takes minutes on both cores; it may run in a thread beside a Rust build.
    pub(crate) fn ensure() -> Result<Self> {
        let directory = go::Build {
            name: &format!("kube-{KUBERNETES_VERSION}"),
            title: &format!("Kubernetes {KUBERNETES_VERSION}, Helm {HELM_VERSION} and CoreDNS"),
            duration: "6 minutes",
            module: &crate::checkout().join("xtask/kube"),
            files: &["kube/main.go", "coredns/main.go", "pause/main.go"],
            targets: &TARGETS,
            tags: "",
            linker_flags: &linker_flags(),
        }
        .ensure()?;
        Ok(Self { directory })
    }

    /// The multi-call Kubernetes binary: it acts as the component by whose name it is called.
    pub(crate) fn kube(&self) -> PathBuf {
        self.directory.join("kube")
    }

    /// Helm.
    pub(crate) fn helm(&self) -> PathBuf {
        self.directory.join("helm")
    }

    /// The directory of all of them, `coredns` and `pause` included: what their images are made of.
    pub(crate) fn directory(&self) -> &Path {
        &self.directory
    }
}

/// Without its version Kubernetes says v0.0.0-master, and a chart's `kubeVersion` refuses it.
fn linker_flags() -> String {
    let (major, minor) = major_and_minor(KUBERNETES_VERSION);
    let kubernetes = "k8s.io/component-base/version";
    let helm = "helm.sh/helm/v3";
    [
        "-s -w".to_owned(),
        format!("-X {kubernetes}.gitVersion=v{KUBERNETES_VERSION}"),
        format!("-X {kubernetes}.gitMajor={major} -X {kubernetes}.gitMinor={minor}"),
        format!("-X {helm}/internal/version.version=v{HELM_VERSION} -X {helm}/internal/version.metadata="),
        format!("-X {helm}/pkg/lint/rules.k8sVersionMajor={major} -X {helm}/pkg/lint/rules.k8sVersionMinor={minor}"),
        format!("-X {helm}/pkg/chartutil.k8sVersionMajor={major} -X {helm}/pkg/chartutil.k8sVersionMinor={minor}"),
    ]
    .join(" ")
}

fn major_and_minor(version: &str) -> (&str, &str) {
    let mut parts = version.split('.');
    (
        parts.next().unwrap_or_default(),
        parts.next().unwrap_or_default(),
    )
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn go_module_requires_the_versions_named_here() {
        let module = fs::read_to_string(crate::checkout().join("xtask/kube/go.mod")).unwrap();
        let (_, minor) = major_and_minor(KUBERNETES_VERSION);
        let patch = KUBERNETES_VERSION.rsplit('.').next().unwrap();
        for line in [
            format!("k8s.io/kubernetes v{KUBERNETES_VERSION}"),
            format!("k8s.io/client-go => k8s.io/client-go v0.{minor}.{patch}"),
            format!("helm.sh/helm/v3 v{HELM_VERSION}"),
        ] {
            assert!(module.contains(&line), "go.mod lacks {line:?}");
        }
    }

    #[test]
    fn linker_is_told_the_version() {
        let flags = linker_flags();
        assert!(flags.contains("version.gitVersion=v1.35.4"), "{flags}");
        assert!(flags.contains("version.gitMinor=35"), "{flags}");
    }
}

//! Istio's program for the redirect, `pilot-agent`, beside which ours is measured. Nothing else needs it.

use std::path::PathBuf;

use anyhow::Result;

use crate::go;

/// The release, and the commit of it that `xtask/istio/go.mod` requires.
const VERSION: &str = "1.31";
const COMMIT: &str = "eed52ebb66ad";

/// Those that Istio builds this program with, without which it is larger and slower to start.
const TAGS: &str = "agent,disable_pgv,grpcnotrace,retrynotrace";

/// Returns the program, after building it if this version of it is not in the cache.
pub(crate) fn pilot_agent() -> Result<PathBuf> {
    let directory = go::Build {
        name: &format!("istio-{VERSION}-{COMMIT}"),
        title: &format!("pilot-agent of Istio {VERSION}"),
        duration: "1 minute",
        module: &crate::checkout().join("xtask/istio"),
        files: &[],
        targets: &["istio.io/istio/pilot/cmd/pilot-agent"],
        tags: TAGS,
        linker_flags: &linker_flags(),
    }
    .ensure()?;
    Ok(directory.join("pilot-agent"))
}

/// Without them it does not know its version.
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
    fn go_module_requires_the_commit_named_here() {
        let module = fs::read_to_string(crate::checkout().join("xtask/istio/go.mod")).unwrap();
        let required = module
            .lines()
            .find(|line| line.starts_with("require istio.io/istio v"));
        assert!(
            required.is_some_and(|line| line.ends_with(COMMIT)),
            "{required:?}"
        );
    }
}

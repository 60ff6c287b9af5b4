//! Finds the product's programs.

use std::{env, path::PathBuf};

/// Names the directory of the built programs.
const DIRECTORY: &str = "FAIRLEAD_BIN_DIR";

/// The path of one of the product's programs, `fairlead-init` for one.
///
/// # Panics
/// When `FAIRLEAD_BIN_DIR` is unset or holds no such program.
#[track_caller]
pub fn binary(name: &str) -> PathBuf {
    let Some(directory) = env::var_os(DIRECTORY) else {
        panic!(
            "{DIRECTORY} is unset: run through `cargo xtask test`, which builds the programs and sets it"
        );
    };
    // Tests change neither directory nor namespace of the file system, but a relative path would
    // be taken from the package's directory.
    let path = PathBuf::from(directory).join(name);
    let path = path.canonicalize().unwrap_or_else(|error| {
        panic!(
            "{}: {error}: run through `cargo xtask test`",
            path.display()
        )
    });
    assert!(path.is_file(), "{} is no program", path.display());
    path
}

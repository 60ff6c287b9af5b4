//! A file or the standard input → text.

use std::{
    fs::File,
    io::{self, Read},
    str::Utf8Error,
};

/// More than any cluster takes in one go; a limit, lest an endless input fill the memory.
const LIMIT: u64 = 256 << 20;

/// Why an input cannot be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum InputError {
    #[error("{name} is a directory; name one file, or pipe several: cat DIR/*.yaml | … -f -")]
    Directory { name: String },
    #[error("read {name}")]
    Read { name: String, source: io::Error },
    #[error("{name} is larger than {} MiB; give it in parts", LIMIT >> 20)]
    Large { name: String },
    #[error("{name} is not UTF-8, which manifests are written in")]
    Utf8 { name: String, source: Utf8Error },
}

/// How an input is called in messages.
pub(crate) fn name(path: &str) -> &str {
    if path == "-" { "standard input" } else { path }
}

/// Reads all of a file, or of the standard input for `-`.
///
/// # Errors
/// There is no text in it.
pub(crate) fn read(path: &str) -> Result<String, InputError> {
    let named = || name(path).to_owned();
    let failed = |source| InputError::Read {
        name: named(),
        source,
    };
    let mut bytes = Vec::new();
    let length = if path == "-" {
        io::stdin().lock().take(LIMIT + 1).read_to_end(&mut bytes)
    } else {
        let file = File::open(path).map_err(failed)?;
        if file.metadata().map_err(failed)?.is_dir() {
            return Err(InputError::Directory { name: named() });
        }
        file.take(LIMIT + 1).read_to_end(&mut bytes)
    };
    if length.map_err(failed)? as u64 > LIMIT {
        return Err(InputError::Large { name: named() });
    }
    String::from_utf8(bytes).map_err(|error| InputError::Utf8 {
        name: named(),
        source: error.utf8_error(),
    })
}

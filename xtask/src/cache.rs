//! What is built once per version and outlives the checkout: `$XDG_CACHE_HOME/fairlead`.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::progress;

/// The directory for what can be rebuilt.
pub(crate) fn cache_directory() -> Result<PathBuf> {
    xdg("XDG_CACHE_HOME", ".cache")
}

/// The directory for what runs.
pub(crate) fn state_directory() -> Result<PathBuf> {
    xdg("XDG_STATE_HOME", ".local/state")
}

fn xdg(variable: &str, default: &str) -> Result<PathBuf> {
    base_directory(
        std::env::var_os(variable).map(PathBuf::from),
        std::env::home_dir(),
        default,
    )
    .with_context(|| format!("neither {variable} nor HOME is set; set one to an absolute path"))
}

/// XDG says that a relative path in its variables is to be ignored.
fn base_directory(
    variable: Option<PathBuf>,
    home: Option<PathBuf>,
    default: &str,
) -> Option<PathBuf> {
    let base = variable
        .filter(|path| path.is_absolute())
        .or_else(|| Some(home?.join(default)))?;
    Some(base.join("fairlead"))
}

/// Returns the cached directory `name`, building it first if it is not there.
///
/// `build` fills a scratch directory that is renamed into place when complete, so a killed build
/// leaves nothing that looks finished; a lock keeps two runs from building the same thing.
pub(crate) fn ensure(name: &str, build: impl FnOnce(&Path) -> Result<()>) -> Result<PathBuf> {
    ensure_in(&cache_directory()?, name, build)
}

fn ensure_in(cache: &Path, name: &str, build: impl FnOnce(&Path) -> Result<()>) -> Result<PathBuf> {
    let finished = cache.join(name);
    if finished.is_dir() {
        return Ok(finished);
    }
    let _lock = lock(
        &cache.join(format!("{name}.lock")),
        &format!("another run that builds {name}"),
    )?;
    if finished.is_dir() {
        return Ok(finished);
    }
    let scratch = cache.join(format!("{name}.partial"));
    remove(&scratch)?;
    fs::create_dir_all(&scratch).with_context(|| format!("create {}", scratch.display()))?;
    build(&scratch)?;
    fs::rename(&scratch, &finished)
        .with_context(|| format!("rename {} to {}", scratch.display(), finished.display()))?;
    Ok(finished)
}

/// Holds the lock file until the value is dropped; `holder` says in words whom a wait is for.
pub(crate) fn lock(path: &Path, holder: &str) -> Result<File> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).with_context(|| format!("create {}", parent.display()))?;
    }
    let file = File::create(path).with_context(|| format!("create {}", path.display()))?;
    if file.try_lock().is_err() {
        progress::say(&format!("waiting for {holder}"));
        file.lock()
            .with_context(|| format!("lock {}", path.display()))?;
    }
    Ok(file)
}

/// Removes a directory with all it holds, if it exists.
pub(crate) fn remove(directory: &Path) -> Result<()> {
    match fs::remove_dir_all(directory) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("remove {}", directory.display()))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(variable: Option<&str>, home: Option<&str>, expected: Option<&str>) {
        let directory = base_directory(
            variable.map(PathBuf::from),
            home.map(PathBuf::from),
            ".cache",
        );
        assert_eq!(directory, expected.map(PathBuf::from));
    }

    #[test]
    fn variable_beats_home() {
        check(
            Some("/var/cache"),
            Some("/root"),
            Some("/var/cache/fairlead"),
        );
    }

    #[test]
    fn relative_or_missing_variable_falls_back_to_home() {
        check(Some("cache"), Some("/root"), Some("/root/.cache/fairlead"));
        check(None, Some("/root"), Some("/root/.cache/fairlead"));
        check(None, None, None);
    }

    #[test]
    fn failed_build_is_built_again_and_finished_one_is_not() {
        let cache = std::env::temp_dir().join(format!("fairlead-cache-{}", std::process::id()));
        let failed = ensure_in(&cache, "tool-1", |scratch| {
            fs::write(scratch.join("half"), "")?;
            anyhow::bail!("no compiler")
        });
        assert_eq!(failed.unwrap_err().to_string(), "no compiler");
        let built = ensure_in(&cache, "tool-1", |scratch| {
            Ok(fs::write(scratch.join("whole"), "")?)
        })
        .unwrap();
        assert!(built.join("whole").exists() && !built.join("half").exists());
        ensure_in(&cache, "tool-1", |_| panic!("built a second time")).unwrap();
        remove(&cache).unwrap();
    }
}

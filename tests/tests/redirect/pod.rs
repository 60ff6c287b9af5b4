//! A namespace in which `fairlead-init` runs, and what can be seen of it afterwards.

use std::{
    fs,
    os::unix::fs::{PermissionsExt, symlink},
    path::{Path, PathBuf},
    process::{Command, Output},
};

use fairlead_tests::{binary, netns::Namespace};

/// What the webhook gives the init container of a pod without annotations.
pub(crate) const INJECTED: [&str; 16] = [
    "-p",
    "15001",
    "-z",
    "15006",
    "-u",
    "1337",
    "-m",
    "REDIRECT",
    "-i",
    "*",
    "-x",
    "",
    "-b",
    "*",
    "-d",
    "15090,15021,15020",
];

pub(crate) const BACKENDS: [&str; 2] = ["nft", "legacy"];
pub(crate) const FAMILIES: [&str; 2] = ["iptables", "ip6tables"];

/// The command that runs `fairlead-init`.
pub(crate) fn init(arguments: &[&str]) -> Command {
    let mut command = Command::new(binary("fairlead-init"));
    command.args(arguments);
    command
}

/// Runs `fairlead-init`, which must succeed, and returns what it told.
#[track_caller]
pub(crate) fn apply(namespace: &Namespace, arguments: &[&str]) -> String {
    let output = namespace.output(init(arguments));
    let told = told(&output);
    assert!(output.status.success(), "{told}");
    told
}

/// Runs a command that must fail with exit code 1, and returns what it told.
#[track_caller]
pub(crate) fn refused(namespace: &Namespace, command: Command) -> String {
    let output = namespace.output(command);
    let told = told(&output);
    assert_eq!(output.status.code(), Some(1), "{told}");
    told
}

fn told(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// The rules and own chains of all tables, as the kernel has them: table by table, each chain's
/// rules in order.
#[track_caller]
pub(crate) fn installed(namespace: &Namespace, family: &str, backend: &str) -> Vec<String> {
    let save = namespace.stdout(&format!("{family}-{backend}-save"), &[]);
    by_table(save.lines())
}

/// The rules of both families by both backends: all that `fairlead-init` could have changed.
#[track_caller]
pub(crate) fn everything(namespace: &Namespace) -> Vec<String> {
    let mut lines = Vec::new();
    for backend in BACKENDS {
        for family in FAMILIES {
            lines.extend(installed(namespace, family, backend));
        }
    }
    lines
}

/// The golden rules of one family.
#[track_caller]
pub(crate) fn golden(name: &str, family: &str) -> Vec<String> {
    let path = golden_file(&format!("{name}.rules"));
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    let heading = format!("# {family}-");
    let section = text.lines().skip_while(|line| !line.starts_with(&heading));
    by_table(section.skip(1).take_while(|line| !line.starts_with("# ")))
}

/// The path of a golden file.
pub(crate) fn golden_file(name: &str) -> String {
    format!("{}/../init/tests/golden/{name}", env!("CARGO_MANIFEST_DIR"))
}

/// The rules and own chains of a text for `iptables-restore`, each after its table's name.
fn by_table<'a>(lines: impl Iterator<Item = &'a str>) -> Vec<String> {
    let mut table = "";
    let mut found = Vec::new();
    for line in lines {
        if let Some(name) = line.strip_prefix('*') {
            table = name;
        } else if line.starts_with("-A ") || line.contains(" - [") {
            found.push((table, line));
        }
    }
    found.sort_by_key(|(table, line)| (*table, !line.starts_with(':'), chain(line)));
    found
        .into_iter()
        .map(|(table, line)| format!("{table}: {line}"))
        .collect()
}

/// The chain that a line declares or adds to.
fn chain(line: &str) -> &str {
    let word = if line.starts_with(':') { 0 } else { 1 };
    line.split(' ').nth(word).unwrap_or_default()
}

/// A directory for the PATH that holds only what a test puts there.
pub(crate) struct Programs(PathBuf);

impl Programs {
    /// An empty directory; the name tells the tests apart.
    pub(crate) fn new(name: &str) -> Self {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        // What an earlier run left.
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).expect("a directory for programs");
        Self(path)
    }

    /// Adds a program as it is.
    pub(crate) fn real(self, name: &str) -> Self {
        symlink(Path::new("/usr/sbin").join(name), self.0.join(name)).expect("a link to a program");
        self
    }

    /// Adds a program that prints a complaint and fails.
    pub(crate) fn failing(self, name: &str, complaint: &str) -> Self {
        let path = self.0.join(name);
        fs::write(
            &path,
            format!("#!/bin/sh\necho '{complaint}' >&2\nexit 1\n"),
        )
        .expect("a program");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("a program that runs");
        self
    }

    /// The command that runs `fairlead-init` with these programs alone.
    pub(crate) fn init(&self, arguments: &[&str]) -> Command {
        let mut command = init(arguments);
        command.env("PATH", &self.0);
        command
    }
}

//! Each configuration's rules are golden files, in the forms that `--dry-run` prints.

#[path = "../../tests/golden/configurations.rs"]
mod configurations;

use std::{
    collections::BTreeSet,
    env,
    ffi::OsStr,
    fs,
    path::{Path, PathBuf},
};

use clap::Parser;

use self::configurations::{Configuration, configurations};
use crate::{
    Config, Flags,
    plan::{Plan, Surroundings},
};

fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden")
}

/// The kinds of golden files, and what they are printed by.
const FORMS: [(&str, &[&str]); 2] = [("rules", &[]), ("nft", &["--native-nftables"])];

fn dry_run(configuration: &Configuration, further: &[&str]) -> String {
    let name = configuration.name;
    let arguments = [&["fairlead-init"], &configuration.arguments[..], further].concat();
    let flags = Flags::try_parse_from(arguments).unwrap_or_else(|error| panic!("{name}: {error}"));
    let config = Config::from_flags(&flags).unwrap_or_else(|faults| panic!("{name}: {faults}"));
    let servers = configuration.name_servers.iter();
    let surroundings = Surroundings {
        name_servers: servers.map(|server| server.parse().unwrap()).collect(),
        ..Surroundings::default()
    };
    Plan::new(&config, &surroundings).dry_run(config.backend)
}

#[test]
fn each_configuration_has_the_rules_of_its_golden_file() {
    let update = env::var_os("UPDATE_GOLDEN").is_some();
    let mut differing = Vec::new();
    for configuration in configurations() {
        for (form, arguments) in FORMS {
            let found = dry_run(&configuration, arguments);
            let name = format!("{}.{form}", configuration.name);
            let path = directory().join(&name);
            if update {
                fs::write(&path, &found).unwrap();
            }
            let expected = fs::read_to_string(&path).unwrap_or_default();
            if found != expected {
                let (number, line) = first_difference(&found, &expected);
                differing.push(format!("{name}, line {number}: {line}"));
            }
        }
    }
    assert!(
        differing.is_empty(),
        "if these are wanted, run with UPDATE_GOLDEN=1:\n{}",
        differing.join("\n")
    );
}

fn first_difference(found: &str, expected: &str) -> (usize, String) {
    let mut expected = expected.lines();
    for (index, line) in found.lines().enumerate() {
        if expected.next() != Some(line) {
            return (index + 1, line.to_owned());
        }
    }
    (found.lines().count() + 1, "nothing more".to_owned())
}

#[test]
fn golden_files_and_configurations_are_one_to_one() {
    let names: Vec<_> = configurations().iter().map(|each| each.name).collect();
    let distinct: BTreeSet<_> = names.iter().map(|name| (*name).to_owned()).collect();
    assert_eq!(names.len(), distinct.len(), "a name stands twice");
    for (form, _) in FORMS {
        let files = fs::read_dir(directory()).unwrap();
        let files = files.map(|entry| entry.unwrap().path());
        let files = files.filter(|path| path.extension() == Some(OsStr::new(form)));
        let files: BTreeSet<_> = files
            .map(|path| path.file_stem().unwrap().to_string_lossy().into_owned())
            .collect();
        assert_eq!(files, distinct, "{form}");
    }
}

//! Each configuration of the golden files: what stands in the kernel is what is written.

#[path = "../../../init/tests/golden/configurations.rs"]
mod table;

use std::{fmt::Write, process::Command};

use fairlead_tests::netns::Namespace;

pub(crate) use self::table::{Configuration, configurations};
use crate::pod::{FAMILIES, golden, golden_file, init, installed};

#[test]
#[ignore = "needs root"]
fn each_configuration_stands_as_it_is_written_behind_iptables_nft() {
    each_configuration_stands("nft");
}

#[test]
#[ignore = "needs root"]
fn each_configuration_stands_as_it_is_written_in_legacy_tables() {
    each_configuration_stands("legacy");
}

#[test]
#[ignore = "needs root"]
fn each_configuration_stands_as_it_is_written_in_nftables() {
    for configuration in configurations() {
        let name = configuration.name;
        let pod = Namespace::new();
        let list = || pod.stdout("nft", &["--stateless", "list", "ruleset"]);
        // What the kernel makes of the text is what shall stand there.
        pod.stdout("nft", &["-f", &golden_file(&format!("{name}.nft"))]);
        let expected = list();
        pod.stdout("nft", &["flush", "ruleset"]);
        let output = pod.output(in_surroundings(&configuration, &["--native-nftables"]));
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{name}: {told}");
        assert_eq!(list(), expected, "{name}");
    }
}

#[track_caller]
fn each_configuration_stands(backend: &str) {
    let forced = ["--force-iptables-binary", backend];
    let mut differing = String::new();
    for configuration in configurations() {
        let name = configuration.name;
        let pod = Namespace::new();
        let output = pod.output(in_surroundings(&configuration, &forced));
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{name}: {told}");
        for family in FAMILIES {
            let (found, expected) = (installed(&pod, family, backend), golden(name, family));
            for line in expected.iter().filter(|line| !found.contains(line)) {
                let _ = writeln!(differing, "{name}, {family}: missing {line}");
            }
            for line in found.iter().filter(|line| !expected.contains(line)) {
                let _ = writeln!(differing, "{name}, {family}: unexpected {line}");
            }
            if differing.is_empty() {
                assert_eq!(found, expected, "{name}, {family}: another order");
            }
        }
    }
    assert!(differing.is_empty(), "{backend}:\n{differing}");
}

/// The command that runs `fairlead-init` where `/etc/resolv.conf` has the configuration's servers.
pub(crate) fn in_surroundings(configuration: &Configuration, further: &[&str]) -> Command {
    const MOUNT: &str = "mount -t tmpfs none /mnt && printf %s \"$0\" >/mnt/resolv.conf && \
        mount --bind /mnt/resolv.conf /etc/resolv.conf && exec \"$@\"";
    let servers = configuration.name_servers.iter();
    let text: String = servers
        .map(|server| format!("nameserver {server}\n"))
        .collect();
    let init = init(&[&configuration.arguments[..], further].concat());
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-c", MOUNT, &text]);
    command.arg(init.get_program()).args(init.get_args());
    command
}

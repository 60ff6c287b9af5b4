//! Which rules are installed, from which state.

use fairlead_tests::netns::Namespace;

use crate::pod::{
    BACKENDS, FAMILIES, INJECTED, Programs, apply, everything, golden, init, installed,
};

#[test]
#[ignore = "needs root"]
fn the_default_rules_are_installed_as_they_are_written() {
    for backend in BACKENDS {
        let pod = Namespace::new();
        let told = apply(
            &pod,
            &[&INJECTED[..], &["--force-iptables-binary", backend]].concat(),
        );
        assert_eq!(
            told,
            format!(
                "info: ipv4: {backend}, as --force-iptables-binary says: 18 rules installed\n\
                 info: ipv6: {backend}, as --force-iptables-binary says: 18 rules installed\n"
            )
        );
        for family in FAMILIES {
            assert_eq!(installed(&pod, family, backend), golden("injected", family));
        }
        let addresses = pod.stdout("ip", &["-6", "-o", "address", "show", "dev", "lo"]);
        assert!(addresses.contains("::6/128"), "{addresses}");
    }
}

#[test]
#[ignore = "needs root"]
fn every_list_is_installed_as_it_is_written() {
    let arguments = [
        "-b",
        "*",
        "-d",
        "22",
        "-i",
        "10.0.0.0/8,fd00::/8",
        "-x",
        "10.1.0.0/16,fd00:1::/32",
        "-q",
        "443",
        "-o",
        "25",
        "-u",
        "1337",
        "-g",
        "1338",
    ];
    for backend in BACKENDS {
        let pod = Namespace::new();
        apply(
            &pod,
            &[&arguments[..], &["--force-iptables-binary", backend]].concat(),
        );
        for family in FAMILIES {
            assert_eq!(
                installed(&pod, family, backend),
                golden("everything", family)
            );
        }
    }
}

#[test]
#[ignore = "needs root"]
fn a_second_run_changes_nothing_and_runs_no_program_that_could() {
    for backend in BACKENDS {
        let pod = Namespace::new();
        apply(
            &pod,
            &[&INJECTED[..], &["--force-iptables-binary", backend]].concat(),
        );
        let before = installed(&pod, "iptables", backend);
        let saves = Programs::new(&format!("saves-{backend}"))
            .real(&format!("iptables-{backend}-save"))
            .real(&format!("ip6tables-{backend}-save"));
        let output = pod.output(saves.init(&INJECTED));
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{told}");
        assert_eq!(told.matches("already installed").count(), 2, "{told}");
        assert_eq!(installed(&pod, "iptables", backend), before);
    }
}

#[test]
#[ignore = "needs root"]
fn foreign_rules_survive_in_their_order() {
    for backend in BACKENDS {
        let pod = Namespace::new();
        let foreign = "*nat\n:THEIRS - [0:0]\n\
            -A OUTPUT -p udp -m udp --dport 53 -m comment --comment \"not -j ISTIO_OUTPUT\" -j ACCEPT\n\
            -A OUTPUT -j THEIRS\n-A THEIRS -p tcp -m tcp --dport 9 -j RETURN\nCOMMIT\n";
        for family in FAMILIES {
            pod.feed(
                &format!("{family}-{backend}-restore"),
                &["--noflush"],
                foreign,
            );
        }
        let theirs = |family| -> Vec<String> {
            let lines = installed(&pod, family, backend).into_iter();
            lines
                .filter(|line| !line.contains("ISTIO_") || line.contains("not -j"))
                .collect()
        };
        let before = FAMILIES.map(theirs);
        let forced = ["--force-iptables-binary", backend];
        for arguments in [&INJECTED[..], &["-b", "80"], &INJECTED[..]] {
            apply(&pod, &[arguments, &forced].concat());
            assert_eq!(FAMILIES.map(theirs), before);
        }
        let told = apply(&pod, &[&INJECTED[..], &forced].concat());
        assert_eq!(told.matches("already installed").count(), 2, "{told}");
    }
}

#[test]
#[ignore = "needs root"]
fn whatever_an_earlier_run_left_becomes_what_is_wanted() {
    let parts = [
        // An interrupted program that adds rule by rule.
        "*nat\n:ISTIO_INBOUND - [0:0]\n-A PREROUTING -p tcp -j ISTIO_INBOUND\nCOMMIT\n",
        // A jump that was added twice, rules in another order, and a chain of other settings.
        "*nat\n:ISTIO_OUTPUT - [0:0]\n:ISTIO_OUTPUT_DNS - [0:0]\n-A OUTPUT -j ISTIO_OUTPUT\n\
         -A OUTPUT -j ISTIO_OUTPUT\n-A ISTIO_OUTPUT -j ISTIO_OUTPUT_DNS\n\
         -A ISTIO_OUTPUT -d 127.0.0.1/32 -j RETURN\nCOMMIT\n",
        // Chains alone.
        "*nat\n:ISTIO_REDIRECT - [0:0]\n:ISTIO_IN_REDIRECT - [0:0]\nCOMMIT\n",
    ];
    for backend in BACKENDS {
        let forced = ["--force-iptables-binary", backend];
        for part in parts {
            let pod = Namespace::new();
            pod.feed(&format!("iptables-{backend}-restore"), &["--noflush"], part);
            apply(&pod, &[&INJECTED[..], &forced].concat());
            for family in FAMILIES {
                assert_eq!(
                    installed(&pod, family, backend),
                    golden("injected", family),
                    "{part}"
                );
            }
        }
    }
}

#[test]
#[ignore = "needs root"]
fn other_settings_replace_the_rules_of_earlier_ones() {
    for backend in BACKENDS {
        let pod = Namespace::new();
        let forced = ["--force-iptables-binary", backend];
        for earlier in [
            &["-b", "80,443", "-o", "25"][..],
            &["-i", "*", "-u", "7,8"],
            &[],
        ] {
            apply(&pod, &[earlier, &forced].concat());
            let told = apply(&pod, &[&INJECTED[..], &forced].concat());
            assert_eq!(told.matches("that differed").count(), 2, "{told}");
            for family in FAMILIES {
                assert_eq!(installed(&pod, family, backend), golden("injected", family));
            }
        }
    }
}

#[test]
#[ignore = "needs root"]
fn the_backend_is_legacy_only_where_it_holds_rules() {
    let pod = Namespace::new();
    // A look makes an empty table, which is no sign of use.
    pod.stdout("iptables-legacy-save", &["-t", "nat"]);
    pod.stdout(
        "ip6tables-legacy",
        &["-t", "nat", "-A", "OUTPUT", "-p", "udp", "-j", "ACCEPT"],
    );
    let told = apply(&pod, &INJECTED);
    assert_eq!(
        told,
        "info: ipv4: nft, as no legacy table holds rules: 18 rules installed\n\
         info: ipv6: legacy, as legacy tables hold rules: 18 rules installed\n"
    );
    assert_eq!(installed(&pod, "iptables", "legacy"), Vec::<String>::new());
    assert_eq!(installed(&pod, "ip6tables", "nft"), Vec::<String>::new());
}

#[test]
#[ignore = "needs root"]
fn no_table_is_made_in_a_backend_that_is_not_used() {
    let pod = Namespace::new();
    apply(&pod, &INJECTED);
    for names in [
        "/proc/thread-self/net/ip_tables_names",
        "/proc/thread-self/net/ip6_tables_names",
    ] {
        let tables = pod.run(|| std::fs::read_to_string(names));
        assert_eq!(tables.unwrap_or_default(), "", "{names}");
    }
}

#[test]
#[ignore = "needs root"]
fn a_pod_without_ipv6_gets_ipv4_rules_only() {
    let pod = Namespace::new();
    pod.run(|| std::fs::write("/proc/sys/net/ipv6/conf/all/disable_ipv6", "1"))
        .unwrap();
    let told = apply(
        &pod,
        &[
            "-b",
            "*",
            "-d",
            "15090,15021,15020",
            "-i",
            "*",
            "-x",
            "fd00::/8",
        ],
    );
    assert_eq!(
        told,
        "warn: fd00::/8 is not used: the pod has no IPv6\n\
         info: ipv4: nft, as no legacy table holds rules: 18 rules installed\n"
    );
    assert_eq!(installed(&pod, "ip6tables", "nft"), Vec::<String>::new());
}

#[test]
#[ignore = "needs root"]
fn a_dry_run_needs_no_privilege_and_changes_nothing() {
    let pod = Namespace::new();
    let arguments = [&INJECTED[..], &["--dry-run"]].concat();
    let output = pod.output_as(fairlead_tests::netns::User::APPLICATION, init(&arguments));
    assert!(output.status.success());
    let printed = String::from_utf8_lossy(&output.stdout);
    assert_eq!(printed.matches("COMMIT\n").count(), 2, "{printed}");
    assert_eq!(everything(&pod), Vec::<String>::new());
}

#[test]
#[ignore = "needs root"]
fn a_read_only_root_file_system_is_enough() {
    for backend in BACKENDS {
        let pod = Namespace::new();
        let mut command = std::process::Command::new("unshare");
        command.args([
            "--mount",
            "sh",
            "-c",
            "mount -o remount,bind,ro / && mount -t tmpfs -o ro none /run && exec \"$@\"",
            "sh",
        ]);
        command.arg(fairlead_tests::binary("fairlead-init"));
        command
            .args(INJECTED)
            .args(["--force-iptables-binary", backend]);
        let output = pod.output(command);
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        assert_eq!(
            installed(&pod, "iptables", backend),
            golden("injected", "iptables")
        );
    }
}

#[test]
#[ignore = "needs root"]
fn runs_at_once_install_one_set() {
    for backend in BACKENDS {
        let pod = Namespace::new();
        let runs: Vec<_> = (0..10)
            .map(|_| {
                let forced = ["--force-iptables-binary", backend];
                pod.spawn(init(&[&INJECTED[..], &forced].concat()))
            })
            .collect();
        for mut run in runs {
            assert!(run.exit().success());
        }
        for family in FAMILIES {
            assert_eq!(installed(&pod, family, backend), golden("injected", family));
        }
    }
}

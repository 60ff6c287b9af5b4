//! What cannot be applied leaves nothing, says why, and exits with 1.

use std::{fs::File, path::Path, process::Command};

use fairlead_tests::{
    binary,
    netns::{Namespace, User},
};

use crate::{
    pod::{INJECTED, Programs, apply, everything, init, refused},
    states::State,
};

#[test]
#[ignore = "needs root"]
fn wrong_settings_apply_nothing() {
    let pod = Namespace::new();
    for (arguments, part) in [
        (
            &["-b", "70000", "-i", "10.0.0.0/33"][..],
            "2 settings are wrong, nothing was applied",
        ),
        (&["-m", "tproxy"], "REDIRECT or TPROXY is accepted"),
        (&["--no-such-flag"], "unexpected argument '--no-such-flag'"),
    ] {
        let told = refused(&pod, init(arguments));
        assert!(told.contains(part), "{told}");
        assert_eq!(everything(&pod), Vec::<String>::new());
    }
}

#[test]
#[ignore = "needs root"]
fn a_single_wrong_value_applies_nothing() {
    let pod = Namespace::new();
    let nothing = State::of(&pod);
    for (flag, value) in [
        ("-p", "70000"),
        ("-z", "0"),
        ("-z", "15001"),
        ("-e", "x"),
        ("-u", "istio"),
        ("-g", "4294967295"),
        ("-m", "tproxy"),
        ("-b", "80,70000"),
        ("-d", "*"),
        ("-q", "90-80"),
        ("-o", "1, 2"),
        ("-i", "10.0.0.0/33"),
        ("-i", "10.0.0.0/8\n*nat"),
        ("-x", "*"),
        ("-t", "1338"),
        ("-r", "254"),
        ("-c", "eth0,a/b"),
        ("-c", "a!"),
        ("-k", "vm+"),
        ("--ipv6", "yes"),
        ("--dns-server", "dns.example"),
        ("--istio-outbound-owner-groups", "java"),
        ("--istio-outbound-owner-groups-exclude", "*"),
        ("--istio-outbound-ipv4-loopback-cidr", "10.0.0.0/8"),
        ("--iptables-probe-port", "0"),
        ("--probe-timeout", "5"),
        ("--force-iptables-binary", "nftables"),
        ("--log_output_level", "default:loud"),
        ("--network-namespace", "/nowhere"),
    ] {
        for way in [&[][..], &["--native-nftables"]] {
            let mut command = init(&[&["--redirect-dns", flag, value], way].concat());
            if flag != "-m" {
                command.args(["-m", "TPROXY"]);
            }
            let told = refused(&pod, command);
            assert!(!told.contains("Usage"), "{told}");
            assert_eq!(State::of(&pod), nothing, "{flag} {value}");
        }
    }
}

#[test]
#[ignore = "needs root"]
fn without_net_admin_the_capability_is_named() {
    let pod = Namespace::new();
    let without = |capability: &str| {
        let mut command = Command::new("setpriv");
        command
            .args([
                format!("--bounding-set=-{capability}"),
                format!("--inh-caps=-{capability}"),
            ])
            .arg(binary("fairlead-init"))
            .args(INJECTED);
        command
    };
    let told = refused(&pod, without("net_admin"));
    assert!(
        told.contains("the capability NET_ADMIN is missing: add it to"),
        "{told}"
    );

    let mut legacy = without("net_raw");
    legacy.args(["--force-iptables-binary", "legacy"]);
    let told = refused(&pod, legacy);
    assert!(
        told.contains("the capability NET_RAW is missing: add it to"),
        "{told}"
    );

    let told = refused_as_application(&pod);
    assert!(
        told.contains("the capability NET_ADMIN is missing"),
        "{told}"
    );
    assert_eq!(everything(&pod), Vec::<String>::new());

    // Only legacy needs it, and what looked for rules above has left legacy tables there.
    let untouched = Namespace::new();
    let output = untouched.output(without("net_raw"));
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

#[track_caller]
fn refused_as_application(pod: &Namespace) -> String {
    let output = pod.output_as(User::APPLICATION, init(&INJECTED));
    assert_eq!(output.status.code(), Some(1));
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
#[ignore = "needs root"]
fn without_iptables_the_image_is_blamed() {
    let pod = Namespace::new();
    let none = Programs::new("none");
    let told = refused(&pod, none.init(&INJECTED));
    assert!(
        told.contains("no iptables program for ipv4 is on the PATH: use an image"),
        "{told}"
    );

    let forced = [&INJECTED[..], &["--force-iptables-binary", "legacy"]].concat();
    let told = refused(&pod, none.init(&forced));
    assert!(
        told.contains("iptables-legacy-restore is not on the PATH"),
        "{told}"
    );

    let only_ipv4 = Programs::new("only-ipv4")
        .real("iptables-nft-save")
        .real("iptables-nft-restore");
    let told = refused(&pod, only_ipv4.init(&INJECTED));
    assert!(
        told.contains("no iptables program for ipv6 is on the PATH"),
        "{told}"
    );
    assert_eq!(everything(&pod), Vec::<String>::new());
}

#[test]
#[ignore = "needs root"]
fn rules_that_iptables_cannot_show_are_not_overlooked() {
    const RULES: &str = "table ip nat {
        set s {
            type ipv4_addr
            elements = { 192.0.2.1 }
        }
        chain OUTPUT {
            type nat hook output priority -100
            ip daddr @s tcp dport 99 counter redirect to :99
        }
    }\n";
    let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join("unreadable.nft");
    std::fs::write(&file, RULES).unwrap();
    let file = file.to_str().unwrap();
    let rules = |pod: &Namespace| pod.stdout("nft", &["list", "ruleset"]);

    let pod = Namespace::new();
    pod.stdout("nft", &["-f", file]);
    let before = rules(&pod);
    let told = refused(&pod, init(&INJECTED));
    assert!(told.contains("the table nat of ipv4 holds rules"), "{told}");
    assert_eq!(rules(&pod), before);
    apply(&pod, &[&INJECTED[..], &["--native-nftables"]].concat());
    apply(&pod, &["--cleanup-only"]);
    assert_eq!(rules(&pod), before);

    let redirected = Namespace::new();
    apply(&redirected, &INJECTED);
    redirected.stdout("nft", &["-f", file]);
    for arguments in [&["--cleanup-only"][..], &INJECTED, &["--native-nftables"]] {
        let told = refused(&redirected, init(arguments));
        assert!(told.contains("the table nat of ipv4 holds rules"), "{told}");
    }
}

#[test]
#[ignore = "needs root"]
fn rules_that_no_program_reaches_are_neither_doubled_nor_said_to_be_removed() {
    let none = Programs::new("unreachable-none");
    let only_nft = Programs::new("unreachable-nft").real("nft");
    let only_iptables = Programs::new("unreachable-iptables")
        .real("iptables-save")
        .real("iptables-restore")
        .real("ip6tables-save")
        .real("ip6tables-restore");
    let native = &["--native-nftables"][..];
    for (applied, programs, place) in [
        (&[][..], &none, "iptables-nft"),
        (&[], &only_nft, "iptables-nft"),
        (native, &none, "nftables"),
        (native, &only_iptables, "nftables"),
    ] {
        let pod = Namespace::new();
        apply(&pod, &[&INJECTED, applied].concat());
        let before = State::of(&pod);
        for arguments in [&["--cleanup-only"][..], &INJECTED, native] {
            let told = refused(&pod, programs.init(arguments));
            let part = format!("a redirect stands in the tables of {place}, which");
            assert!(told.contains(&part), "{arguments:?}: {told}");
            assert_eq!(State::of(&pod), before, "{arguments:?}");
        }
    }
}

#[test]
#[ignore = "needs root"]
fn a_fault_in_the_second_family_takes_the_first_ones_rules_back() {
    let failing = Programs::new("failing-ipv6")
        .real("iptables-nft-save")
        .real("iptables-nft-restore")
        .real("ip6tables-nft-save")
        .failing("ip6tables-nft-restore", "something strange");
    let pod = Namespace::new();
    let told = refused(&pod, failing.init(&INJECTED));
    assert!(told.contains("ip6tables-nft-restore failed"), "{told}");
    assert!(told.contains("something strange"), "{told}");
    assert_eq!(everything(&pod), Vec::<String>::new());

    apply(&pod, &["-b", "80", "-o", "25"]);
    let before = everything(&pod);
    refused(&pod, failing.init(&INJECTED));
    assert_eq!(everything(&pod), before);
}

#[test]
#[ignore = "needs root"]
fn a_kernel_without_the_nft_backend_is_served_by_legacy() {
    let old = Programs::new("old-kernel")
        .failing(
            "iptables-nft-restore",
            "Failed to initialize nft: Protocol not supported",
        )
        .real("iptables-legacy-save")
        .real("iptables-legacy-restore");
    let pod = Namespace::new();
    let output = pod.output(old.init(&[&INJECTED[..], &["--ipv6", "off"]].concat()));
    let told = String::from_utf8_lossy(&output.stderr);
    assert_eq!(
        told,
        "info: ipv4: legacy, as no other is usable: 18 rules installed\n"
    );
}

#[test]
#[ignore = "needs root"]
fn a_kernel_without_a_nat_table_is_told_which_modules_it_lacks() {
    let complaint =
        "can not initialize iptables table `nat`: Table does not exist (do you need to insmod?)";
    let bare = Programs::new("bare-kernel")
        .failing(
            "iptables-nft-restore",
            "Failed to initialize nft: Protocol not supported",
        )
        .failing("iptables-legacy-save", complaint);
    let pod = Namespace::new();
    let told = refused(&pod, bare.init(&INJECTED));
    assert!(told.contains("load the modules"), "{told}");
    assert!(told.contains("Protocol not supported"), "{told}");
}

#[test]
#[ignore = "needs root"]
fn ipv6_that_is_wanted_but_disabled_is_explained() {
    let pod = Namespace::new();
    pod.run(|| std::fs::write("/proc/sys/net/ipv6/conf/all/disable_ipv6", "1"))
        .unwrap();
    let told = refused(&pod, init(&[&INJECTED[..], &["--ipv6", "on"]].concat()));
    assert!(
        told.contains("IPv6 is disabled on the loopback interface"),
        "{told}"
    );
    assert!(told.contains("--ipv6 off"), "{told}");
    assert_eq!(everything(&pod), Vec::<String>::new());
}

#[test]
#[ignore = "needs root"]
fn a_lock_that_stays_taken_is_waited_for_and_then_named() {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("xtables.lock");
    let lock = File::create(&path).unwrap();
    lock.lock().unwrap();
    let pod = Namespace::new();
    let mut command = init(&[&INJECTED[..], &["--force-iptables-binary", "legacy"]].concat());
    command.env("XTABLES_LOCKFILE", &path);
    let told = refused(&pod, command);
    assert!(
        told.contains("waited 5 s for the lock of iptables"),
        "{told}"
    );
    assert_eq!(everything(&pod), Vec::<String>::new());
}

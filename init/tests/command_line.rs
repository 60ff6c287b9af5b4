//! The command line as a user meets it. A dry run needs neither privilege nor iptables.

use std::process::{Command, Output};

fn init() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_fairlead-init"));
    command.env_clear();
    command
}

fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn a_variable_stands_for_its_flag_and_a_flag_beats_it() {
    let run = |arguments: &[&str]| {
        let mut command = init();
        command.args(arguments).args(["--ipv6", "off"]);
        command.envs([
            ("DRY_RUN", "true"),
            ("INBOUND_CAPTURE_PORT", "1"),
            ("PROXY_UID", "2"),
            ("ISTIO_INBOUND_PORTS", "*"),
            ("ISTIO_LOCAL_EXCLUDE_PORTS", ""),
            ("ENVOY_PORT", "3"),
        ]);
        stdout(&command.output().expect("fairlead-init"))
    };
    let by_variable = run(&[]);
    assert!(by_variable.contains("--to-ports 1\n"), "{by_variable}");
    assert!(by_variable.contains("--uid-owner 2 "), "{by_variable}");
    assert!(
        by_variable.contains("-p tcp -j ISTIO_IN_REDIRECT\n"),
        "{by_variable}"
    );
    // Istio reads this one from the flag only.
    assert!(by_variable.contains("--to-ports 15001\n"), "{by_variable}");
    assert!(run(&["-z", "15006"]).contains("--to-ports 15006\n"));
}

#[test]
fn a_misspelt_dry_run_is_refused() {
    let output = init()
        .env("DRY_RUN", "maybe")
        .output()
        .expect("fairlead-init");
    assert_eq!(output.status.code(), Some(1));
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(told.contains("maybe"), "{told}");
}

#[test]
fn an_empty_variable_is_as_none() {
    const SWITCHES: [&str; 15] = [
        "SKIP_RULE_APPLY",
        "RUN_VALIDATION",
        "REDIRECT_DNS",
        "CAPTURE_ALL_DNS",
        "DROP_INVALID",
        "DUAL_STACK",
        "CNI_MODE",
        "RECONCILE",
        "CLEANUP_ONLY",
        "FORCE_APPLY",
        "NATIVE_NFTABLES",
        "ISTIO_META_DNS_CAPTURE",
        "INVALID_DROP",
        "ISTIO_DUAL_STACK",
        "LOG_AS_JSON",
    ];
    let plain = init().arg("-n").output().expect("fairlead-init");
    let mut command = init();
    command.arg("-n").envs(SWITCHES.map(|name| (name, "")));
    let output = command.output().expect("fairlead-init");
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert_eq!(stdout(&output), stdout(&plain));
}

#[test]
fn faults_are_told_as_json_where_manifests_ask_for_it() {
    let output = init()
        .args(["-n", "--log_as_json", "-b", "x"])
        .output()
        .expect("fairlead-init");
    assert_eq!(output.status.code(), Some(1));
    let told = String::from_utf8_lossy(&output.stderr);
    let start = r#"{"level":"error","msg":"1 setting is wrong"#;
    assert!(told.starts_with(start), "{told}");
    assert_eq!(told.lines().count(), 1, "{told}");
}

#[test]
fn a_log_that_nobody_takes_stops_nothing() {
    let full = std::fs::File::options().write(true).open("/dev/full");
    let output = init()
        .args(["-n", "--redirect-dns", "-b", "x"])
        .stderr(full.expect("/dev/full"))
        .output()
        .expect("fairlead-init");
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn random_variables_are_refused_or_printed() {
    const NAMES: [&str; 12] = [
        "INBOUND_CAPTURE_PORT",
        "PROXY_UID",
        "PROXY_GID",
        "ISTIO_INBOUND_INTERCEPTION_MODE",
        "ISTIO_INBOUND_PORTS",
        "ISTIO_LOCAL_EXCLUDE_PORTS",
        "ISTIO_SERVICE_CIDR",
        "ISTIO_OUTBOUND_PORTS",
        "ISTIO_EXCLUDE_INTERFACES",
        "ISTIO_OUTBOUND_OWNER_GROUPS",
        "FAIRLEAD_DNS_SERVERS",
        "CAPTURE_ALL_DNS",
    ];
    const VALUES: [&str; 12] = [
        "",
        "*",
        "80",
        "80,",
        "1-2",
        "2-1",
        "TPROXY",
        "10.0.0.0/8",
        "\n",
        "é",
        "-j",
        "true",
    ];
    let mut accepted = 0;
    for number in 0..NAMES.len() * VALUES.len() {
        let mut command = init();
        command.args(["--dry-run", "--ipv6", "on"]);
        // Each name with each value, and often another name with another value beside it.
        let pairs = [
            (number, number / NAMES.len()),
            (number * 7 + 3, number * 5 + 1),
        ];
        for (name, value) in &pairs[..1 + number % 2] {
            command.env(NAMES[name % NAMES.len()], VALUES[value % VALUES.len()]);
        }
        let output = command.output().expect("fairlead-init");
        let told = String::from_utf8_lossy(&output.stderr);
        match output.status.code() {
            Some(0) => {
                accepted += 1;
                assert!(stdout(&output).contains("\n*nat\n"), "{command:?}");
            }
            Some(1) => assert!(told.contains("error: "), "{command:?}: {told}"),
            _ => panic!("{command:?}: {}: {told}", output.status),
        }
    }
    assert!(accepted > 10, "{accepted} were accepted");
}

#[test]
fn faults_and_unknown_flags_exit_with_1() {
    for (arguments, part) in [
        (
            ["--dry-run", "-p=x"],
            "error: 1 setting is wrong, nothing was applied:",
        ),
        (
            ["--dry-run", "--unknown"],
            "unexpected argument '--unknown'",
        ),
    ] {
        let output = init().args(arguments).output().expect("fairlead-init");
        assert_eq!(output.status.code(), Some(1));
        assert_eq!(stdout(&output), "");
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(told.contains(part), "{told}");
    }
}

#[test]
fn help_groups_the_flags_with_defaults_and_variables() {
    let output = init().arg("--help").output().expect("fairlead-init");
    assert_eq!(output.status.code(), Some(0));
    let help = stdout(&output);
    for part in [
        "\nProxy:\n",
        "\nInbound:\n",
        "\nOutbound:\n",
        "\nRun:\n",
        "-p, --envoy-port <PORT>",
        "[default: 15001]",
        "[env: ISTIO_SERVICE_CIDR=]",
    ] {
        assert!(help.contains(part), "{part} is not in:\n{help}");
    }
}

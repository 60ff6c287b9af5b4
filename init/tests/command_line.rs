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

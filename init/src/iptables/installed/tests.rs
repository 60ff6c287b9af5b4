use super::Installed;
use crate::rules::{Chain, Table};

#[test]
fn an_empty_table_holds_no_rules() {
    let save = "# Generated\n*nat\n:PREROUTING ACCEPT [0:0]\n:OUTPUT DROP [1:60]\nCOMMIT\n";
    let installed = Installed::parse(save);
    assert_eq!(installed, Installed::default());
    assert!(!installed.holds_rules());
}

#[test]
fn ours_and_foreign_are_told_apart() {
    let installed = Installed::parse(
        "*nat\n:OUTPUT ACCEPT [0:0]\n:ISTIO_OUTPUT - [0:0]\n:ISTIO_OLD - [0:0]\n:DOCKER - [0:0]\n\
         -A OUTPUT -m comment --comment \"to -j ISTIO_OUTPUT\" -j ACCEPT\n\
         -A OUTPUT -j ISTIO_OUTPUT\n\
         -A DOCKER -j ISTIO_OUTPUT\n\
         -A DOCKER -j ISTIO_OLD\n\
         -A ISTIO_OUTPUT -j RETURN\nCOMMIT\n",
    );
    assert_eq!(names(&installed.ours.chains), ["ISTIO_OUTPUT"]);
    assert_eq!(
        ours(&installed),
        ["OUTPUT -j ISTIO_OUTPUT", "ISTIO_OUTPUT -j RETURN"]
    );
    assert_eq!(installed.foreign, 3);
    assert_eq!(names(&installed.referenced), ["ISTIO_OUTPUT", "ISTIO_OLD"]);
    assert!(!installed.other_mesh);
}

fn names(chains: &[(Table, Chain)]) -> Vec<&str> {
    chains.iter().map(|(_, chain)| chain.name()).collect()
}

fn ours(installed: &Installed) -> Vec<String> {
    let lines = installed.ours.lines.iter();
    lines
        .map(|line| format!("{} {}", line.rule.chain, line.text))
        .collect()
}

#[test]
fn what_istio_puts_into_the_kernels_chains_is_ours() {
    let istios = [
        "PREROUTING -i net1 -j RETURN",
        "PREROUTING -p tcp -j ISTIO_INBOUND",
        "PREROUTING -p tcp -m mark --mark 0x539 -j CONNMARK --save-mark --nfmask 0xffffffff --ctmask 0xffffffff",
        "OUTPUT -o net1 -j RETURN",
        "OUTPUT -o lo -p tcp -m mark --mark 0x539 -j RETURN",
        "OUTPUT ! -d 127.0.0.1/32 -o lo -p tcp -m owner --uid-owner 1337 -j MARK --set-xmark 0x53a/0xffffffff",
        "OUTPUT -p tcp -m connmark --mark 0x539 -j CONNMARK --restore-mark --nfmask 0xffffffff --ctmask 0xffffffff",
    ];
    let foreign = [
        "PREROUTING -i net2 -j RETURN",
        "OUTPUT -o net3 -j RETURN",
        "OUTPUT -o net1 -p udp -j RETURN",
        "OUTPUT -p tcp -j MARK --set-xmark 0x53a/0xffffffff",
        "OUTPUT -m owner --uid-owner 1337 -j MARK --set-xmark 0x1/0xffffffff",
    ];
    let lines: Vec<String> = foreign
        .iter()
        .chain(&istios)
        .map(|line| format!("-A {line}\n"))
        .collect();
    let installed = Installed::parse(&format!("*mangle\n{}", lines.concat()));
    assert_eq!(ours(&installed), istios);
    assert_eq!(installed.foreign, foreign.len());
}

#[test]
fn interfaces_of_virtual_machines_are_told_by_what_redirects_them() {
    let lines = [
        "PREROUTING -i vm0 -j ISTIO_REDIRECT",
        "PREROUTING -i vm0 -j RETURN",
        "PREROUTING -p tcp -j ISTIO_INBOUND",
    ];
    let text: Vec<String> = lines.iter().map(|line| format!("-A {line}\n")).collect();
    let installed = Installed::parse(&format!("*nat\n{}", text.concat()));
    assert_eq!(ours(&installed), lines);
}

#[test]
fn interfaces_are_left_out_between_doubled_jumps_too() {
    let lines = [
        "PREROUTING -p tcp -j ISTIO_INBOUND",
        "PREROUTING -i net1 -j RETURN",
        "PREROUTING -p tcp -j ISTIO_INBOUND",
        "OUTPUT -o net1 -j RETURN",
    ];
    let text: Vec<String> = lines.iter().map(|line| format!("-A {line}\n")).collect();
    let foreign = "-A PREROUTING -i net2 -j RETURN\n-A OUTPUT -o net2 -j RETURN\n";
    let installed = Installed::parse(&format!("*mangle\n{}{foreign}", text.concat()));
    assert_eq!(ours(&installed), lines);
}

#[test]
fn an_excluded_interface_without_a_redirect_is_anybodys() {
    let installed = Installed::parse(
        "*nat\n-A PREROUTING -i net1 -j RETURN\n-A OUTPUT -o net1 -j RETURN\nCOMMIT\n",
    );
    assert_eq!(installed.foreign, 2);
    assert!(installed.ours.is_empty());
}

#[test]
fn linkerds_chains_are_another_meshs() {
    assert!(Installed::parse("*nat\n:PROXY_INIT_OUTPUT - [0:0]\nCOMMIT\n").other_mesh);
}

#[test]
fn what_is_not_understood_is_passed_over() {
    for text in [
        "",
        "\u{0}",
        "-A",
        "-A ",
        ":",
        "-A OUTPUT",
        "-A OUTPUT -j",
        ": -\n-A X \"",
    ] {
        Installed::parse(text);
    }
}

#[test]
fn a_table_that_iptables_cannot_show_is_not_taken_for_an_empty_one() {
    for (save, unreadable) in [
        (
            "# Table `nat' is incompatible, use 'nft' tool.\n",
            Some(Table::Nat),
        ),
        (
            "*raw\nCOMMIT\n# Table `mangle' is incompatible, use 'nft' tool.\n",
            Some(Table::Mangle),
        ),
        // None of those in which a redirect stands.
        ("# Table `filter' is incompatible, use 'nft' tool.\n", None),
        (
            "# Table `nat' contains incompatible base-chains, use 'nft' tool to list them.\n",
            None,
        ),
        ("# Table `nat", None),
    ] {
        assert_eq!(Installed::parse(save).unreadable, unreadable, "{save}");
    }
}

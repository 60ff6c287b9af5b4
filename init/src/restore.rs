//! From what stands in a nat table to what shall: the text that `iptables-restore --noflush` takes.
//!
//! A restore is one commit, so nobody ever sees a half of it, and a fault in it changes nothing.

use std::fmt::Write;

use crate::{
    installed::Installed,
    ruleset::{Ruleset, is_ours},
};

/// The text that turns the installed rules of ours into the wanted ones; `None` when they are.
///
/// Foreign rules stay, in their order. A jump in a kernel's chain keeps its place if it is right:
/// `--noflush` would add it a second time.
pub fn transition(installed: &Installed, wanted: &Ruleset) -> Option<String> {
    let ours = &installed.ours;
    if ours.matches(wanted) {
        return None;
    }
    let stale = ours
        .chains
        .iter()
        .filter(|chain| !wanted.chains.contains(chain));
    let stale: Vec<&String> = stale.collect();
    let keeps = |chain: &str| !is_ours(chain) && ours.matches_in(wanted, chain);

    let mut text = String::from("*nat\n");
    for chain in wanted.chains.iter().chain(stale.iter().copied()) {
        // Makes the chain, or empties it.
        line(&mut text, format_args!(":{chain} - [0:0]"));
    }
    for jump in ours.rules.iter().filter(|rule| !is_ours(&rule.chain)) {
        if !keeps(&jump.chain) {
            line(
                &mut text,
                format_args!("-D {} {}", jump.chain, jump.specification),
            );
        }
    }
    for rule in &wanted.rules {
        if !keeps(&rule.chain) {
            line(
                &mut text,
                format_args!("-A {} {}", rule.chain, rule.specification),
            );
        }
    }
    for chain in stale {
        if !installed.referenced.contains(chain) {
            line(&mut text, format_args!("-X {chain}"));
        }
    }
    text.push_str("COMMIT\n");
    Some(text)
}

fn line(text: &mut String, line: std::fmt::Arguments<'_>) {
    // Writing to a string cannot fail.
    let _ = writeln!(text, "{line}");
}

#[cfg(test)]
mod tests {
    use super::transition;
    use crate::{
        installed::Installed,
        ruleset::{Line, Ruleset},
    };

    fn wanted() -> Ruleset {
        let line = |chain: &str, specification: &str| Line {
            chain: chain.to_owned(),
            specification: specification.to_owned(),
        };
        Ruleset {
            chains: vec!["ISTIO_OUTPUT".to_owned()],
            rules: vec![
                line("OUTPUT", "-j ISTIO_OUTPUT"),
                line("ISTIO_OUTPUT", "-d 10.0.0.0/8 -j RETURN"),
                line("ISTIO_OUTPUT", "-p tcp -m tcp --dport 80 -j RETURN"),
            ],
        }
    }

    #[track_caller]
    fn check(installed: &str, expected: Option<&str>) {
        let text = transition(&Installed::parse(installed), &wanted());
        assert_eq!(text.as_deref(), expected);
    }

    #[test]
    fn an_empty_table_gets_everything() {
        check(
            "",
            Some(
                "*nat\n:ISTIO_OUTPUT - [0:0]\n\
                 -A OUTPUT -j ISTIO_OUTPUT\n\
                 -A ISTIO_OUTPUT -d 10.0.0.0/8 -j RETURN\n\
                 -A ISTIO_OUTPUT -p tcp -m tcp --dport 80 -j RETURN\nCOMMIT\n",
            ),
        );
    }

    #[test]
    fn what_stands_is_left_alone() {
        check(
            ":ISTIO_OUTPUT - [0:0]\n\
             -A OUTPUT -j LOG\n-A OUTPUT -j ISTIO_OUTPUT\n-A OUTPUT -j ACCEPT\n\
             -A ISTIO_OUTPUT -d 10.0.0.0/8 -j RETURN\n\
             -A ISTIO_OUTPUT -p tcp -m tcp --dport 80 -j RETURN\n",
            None,
        );
    }

    #[test]
    fn another_order_is_put_right_without_touching_the_jump() {
        check(
            ":ISTIO_OUTPUT - [0:0]\n-A OUTPUT -j ISTIO_OUTPUT\n\
             -A ISTIO_OUTPUT -p tcp -m tcp --dport 80 -j RETURN\n\
             -A ISTIO_OUTPUT -d 10.0.0.0/8 -j RETURN\n",
            Some(
                "*nat\n:ISTIO_OUTPUT - [0:0]\n\
                 -A ISTIO_OUTPUT -d 10.0.0.0/8 -j RETURN\n\
                 -A ISTIO_OUTPUT -p tcp -m tcp --dport 80 -j RETURN\nCOMMIT\n",
            ),
        );
    }

    #[test]
    fn a_doubled_jump_becomes_one_and_a_stale_chain_goes() {
        check(
            ":ISTIO_OUTPUT - [0:0]\n:ISTIO_OUTPUT_DNS - [0:0]\n\
             -A OUTPUT -j ISTIO_OUTPUT\n-A OUTPUT -j ISTIO_OUTPUT\n\
             -A PREROUTING -p tcp -j ISTIO_OUTPUT_DNS\n\
             -A ISTIO_OUTPUT_DNS -j RETURN\n",
            Some(
                "*nat\n:ISTIO_OUTPUT - [0:0]\n:ISTIO_OUTPUT_DNS - [0:0]\n\
                 -D OUTPUT -j ISTIO_OUTPUT\n-D OUTPUT -j ISTIO_OUTPUT\n\
                 -D PREROUTING -p tcp -j ISTIO_OUTPUT_DNS\n\
                 -A OUTPUT -j ISTIO_OUTPUT\n\
                 -A ISTIO_OUTPUT -d 10.0.0.0/8 -j RETURN\n\
                 -A ISTIO_OUTPUT -p tcp -m tcp --dport 80 -j RETURN\n\
                 -X ISTIO_OUTPUT_DNS\nCOMMIT\n",
            ),
        );
    }

    #[test]
    fn a_stale_chain_in_foreign_use_is_only_emptied() {
        check(
            ":ISTIO_OLD - [0:0]\n:THEIRS - [0:0]\n-A THEIRS -j ISTIO_OLD\n-A ISTIO_OLD -j RETURN\n",
            Some(
                "*nat\n:ISTIO_OUTPUT - [0:0]\n:ISTIO_OLD - [0:0]\n\
                 -A OUTPUT -j ISTIO_OUTPUT\n\
                 -A ISTIO_OUTPUT -d 10.0.0.0/8 -j RETURN\n\
                 -A ISTIO_OUTPUT -p tcp -m tcp --dport 80 -j RETURN\nCOMMIT\n",
            ),
        );
    }

    #[test]
    fn nothing_wanted_removes_all_of_ours() {
        let installed = Installed::parse(
            ":ISTIO_OUTPUT - [0:0]\n-A OUTPUT -j ISTIO_OUTPUT\n-A ISTIO_OUTPUT -j RETURN\n",
        );
        assert_eq!(
            transition(&installed, &Ruleset::default()).as_deref(),
            Some(
                "*nat\n:ISTIO_OUTPUT - [0:0]\n-D OUTPUT -j ISTIO_OUTPUT\n-X ISTIO_OUTPUT\nCOMMIT\n"
            )
        );
    }
}

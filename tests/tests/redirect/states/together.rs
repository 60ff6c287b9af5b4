//! Runs at the same time, and runs that fail half-way.

use std::{
    os::{
        linux::net::SocketAddrExt,
        unix::net::{SocketAddr, UnixListener},
    },
    process::{Command, Stdio},
    thread,
};

use fairlead_init::turn::Turn;
use fairlead_tests::netns::Namespace;

use super::{
    random::Random,
    state::State,
    steps::{Run, TURN, WAYS, wait_for_the_turn},
};
use crate::pod::{Programs, apply, init, refused};

#[test]
#[ignore = "needs root"]
fn of_runs_at_once_one_is_whole_in_the_end() {
    let mut random = Random::of_seed(super::SEED);
    for _ in 0..5 {
        let runs: Vec<Run> = (0..8)
            .map(|_| Run {
                way: random.index(WAYS.len() - 1),
                ..Run::random(&mut random)
            })
            .collect();
        let pod = Namespace::new();
        thread::scope(|scope| {
            for run in &runs {
                scope.spawn(|| apply(&pod, &run.arguments()));
            }
        });
        let ours = State::of(&pod).ours;
        let is_whole = |run: &Run| {
            let alone = Namespace::new();
            apply(&alone, &run.arguments());
            State::of(&alone).ours == ours
        };
        assert!(runs.iter().any(is_whole), "{runs:?}: {ours:#?}");
    }
}

#[test]
#[ignore = "needs root"]
fn a_program_that_a_killed_run_has_started_keeps_its_turn() {
    let pod = Namespace::new();
    let turn = pod.run(Turn::take).expect("the turn");
    let mut command = Command::new("cat");
    command.stdin(Stdio::piped());
    let program = pod.spawn(command);
    drop(turn);
    let name = SocketAddr::from_abstract_name(TURN).expect("a name");
    assert!(pod.run(|| UnixListener::bind_addr(&name)).is_err());
    drop(program);
    wait_for_the_turn(&pod);
}

#[test]
#[ignore = "needs root"]
fn a_run_that_fails_takes_policy_routes_and_address_back() {
    let programs = Programs::new("failing-ipv6-tproxy")
        .real("iptables-nft-save")
        .real("iptables-nft-restore")
        .real("ip6tables-nft-save")
        .real("nft")
        .failing("ip6tables-nft-restore", "something strange");
    let tproxy = ["-m", "TPROXY", "-b", "*", "-i", "*", "--ipv6", "on"];
    let pod = Namespace::new();
    let nothing = State::of(&pod);
    refused(&pod, programs.init(&tproxy));
    assert_eq!(State::of(&pod), nothing);

    // What stood before the run stays.
    apply(&pod, &[&tproxy[..], &["-d", "22"]].concat());
    let standing = State::of(&pod);
    refused(&pod, programs.init(&tproxy));
    assert_eq!(State::of(&pod), standing);

    // With another mark the route of the standing rules is not lost either.
    refused(
        &pod,
        programs.init(&[&tproxy[..], &["-t", "2000", "-r", "200"]].concat()),
    );
    assert_eq!(State::of(&pod), standing);
}

#[test]
#[ignore = "needs root"]
fn what_was_made_with_any_mark_is_cleaned_up() {
    let pod = Namespace::new();
    let nothing = State::of(&pod).ours;
    for marks in [&[][..], &["-t", "2000", "-r", "200"]] {
        apply(
            &pod,
            &[&["-m", "TPROXY", "-b", "*", "--ipv6", "on"], marks].concat(),
        );
        let output = pod.output(init(&["--cleanup-only", "-r", "300"]));
        assert!(output.status.success());
        assert_eq!(State::of(&pod).ours, nothing, "{marks:?}");
    }
}

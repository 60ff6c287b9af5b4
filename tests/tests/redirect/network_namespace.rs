//! Entering the network namespace that a file stands for.

use std::process::Command;

use fairlead_init::{
    address,
    network_namespace::{self, NamespaceError},
};
use fairlead_tests::netns::{Namespace, User};

#[test]
#[ignore = "needs root"]
fn the_thread_and_what_it_starts_are_inside() {
    let (from, to) = (Namespace::new(), Namespace::new());
    to.ip(&["address", "add", "fd00::7/128", "dev", "lo", "nodad"]);
    let (addresses, listed) = from.run(|| {
        network_namespace::enter(&to.path()).expect("entered");
        let listed = Command::new("ip").args(["-6", "address"]).output();
        (address::ipv6_addresses(), listed)
    });
    let inside = "fd00::7".parse().expect("an address");
    assert!(addresses.is_ok_and(|addresses| addresses.contains(&inside)));
    let listed = String::from_utf8(listed.expect("ip runs").stdout).expect("text");
    assert!(listed.contains("fd00::7"), "{listed}");
}

#[test]
#[ignore = "needs root"]
fn without_privilege_the_remedy_is_told() {
    let (from, to) = (Namespace::new(), Namespace::new());
    let outcome = from.run_as(User::APPLICATION, || network_namespace::enter(&to.path()));
    assert!(matches!(outcome, Err(NamespaceError::Privilege { .. })));
    let of_init = std::path::Path::new("/proc/1/ns/net");
    let outcome = from.run_as(User::APPLICATION, || network_namespace::enter(of_init));
    assert!(
        matches!(outcome, Err(NamespaceError::Unreadable { .. })),
        "{outcome:?}"
    );
}

//! Connections of several users and groups.

use fairlead_tests::netns::User;

use super::{APPLICATION_PORT, World, everywhere};

const fn of_group(gid: u32) -> User {
    User { uid: 1000, gid }
}

/// Which users' connections to the peer are captured.
#[track_caller]
fn check(arguments: &[&str], captured: &[User], direct: &[User]) {
    everywhere(&[&["-i", "*"], arguments].concat(), |world: &World| {
        let peer = world.addresses.peer;
        let server = world.server(peer, 80);
        for user in captured {
            world.check(*user, peer, 80, &world.outbound);
        }
        for user in direct {
            world.check(*user, peer, 80, &server);
        }
    });
}

#[test]
#[ignore = "needs root"]
fn the_proxy_may_have_several_users_and_groups() {
    check(
        &["-u", "1337,1338", "-g", "2000,2001"],
        &[User::APPLICATION, of_group(1337), User::ROOT],
        &[
            User::PROXY,
            User::with_id(1338),
            of_group(2000),
            of_group(2001),
        ],
    );
}

#[test]
#[ignore = "needs root"]
fn the_proxy_may_be_root() {
    check(
        &["-u", "0"],
        &[User::APPLICATION, User::PROXY],
        &[User::ROOT],
    );
}

#[test]
#[ignore = "needs root"]
fn only_listed_groups_are_captured() {
    check(
        &["--istio-outbound-owner-groups", "2000,3000"],
        &[of_group(2000), of_group(3000)],
        &[User::APPLICATION, User::ROOT, User::PROXY],
    );
}

#[test]
#[ignore = "needs root"]
fn excluded_groups_are_not_captured() {
    check(
        &["--istio-outbound-owner-groups-exclude", "2000,3000"],
        &[User::APPLICATION, User::ROOT],
        &[of_group(2000), of_group(3000), User::PROXY],
    );
}

#[test]
#[ignore = "needs root"]
fn no_group_may_be_captured() {
    check(
        &["--istio-outbound-owner-groups="],
        &[],
        &[User::APPLICATION, User::ROOT, User::PROXY],
    );
}

#[test]
#[ignore = "needs root"]
fn the_first_user_alone_enters_the_pod_as_a_peer_would() {
    // As in Istio: the rule for all but the first user hides that of the second.
    everywhere(&["-b", "*", "-i", "*", "-u", "1337,1338"], |world| {
        let pod = world.addresses.pod;
        world.check(User::PROXY, pod, APPLICATION_PORT, &world.inbound);
        let second = User::with_id(1338);
        world.check(second, pod, APPLICATION_PORT, &world.application);
    });
}

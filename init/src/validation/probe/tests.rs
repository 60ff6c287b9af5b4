use std::{net::IpAddr, time::Duration};

use clap::Parser;
use fairlead_api::values::Selection;

use super::{Kind, Plan, Transport, plan};
use crate::{
    Config, Flags, Redirect,
    config::{Dns, Mode},
    rules::{Family, Ports},
    validation::{
        Settings,
        identity::{Credentials, Identity},
        surroundings::Route,
    },
};

/// What the webhook sets, for IPv4.
fn settings() -> Settings {
    Settings {
        redirect: redirect(),
        families: vec![Family::Ipv4],
        probe_port: 15002,
        timeout: Duration::from_secs(5),
    }
}

pub(in crate::validation) fn redirect() -> Redirect {
    let flags = Flags::parse_from(["fairlead-init", "-b", "*", "-i", "*"]);
    Config::from_flags(&flags).unwrap().redirect
}

const fn ports(first: u16, last: u16) -> Ports {
    Ports { first, last }
}

const fn process(uid: u32, gid: u32, anybody: bool) -> Credentials {
    Credentials {
        own: Identity { uid, gid },
        anybody,
        net_admin: true,
    }
}

/// Root with all capabilities, root that stays root, the proxy, and an application.
const ALMIGHTY: Credentials = process(0, 0, true);
const ROOT: Credentials = process(0, 0, false);
const PROXY: Credentials = process(1337, 1337, false);
const APPLICATION: Credentials = process(1000, 1000, false);

fn everywhere(destination: IpAddr) -> Option<Route> {
    let is_local = destination.is_loopback();
    Some(Route {
        interface: if is_local { "lo" } else { "eth0" }.to_owned(),
        source: Some("10.0.0.1".parse().unwrap()),
        is_local,
    })
}

fn planned(settings: &Settings, credentials: &Credentials) -> Plan {
    plan(settings, credentials, everywhere)
}

/// Kind, uid, gid and destination of each probe.
#[track_caller]
fn check(settings: &Settings, credentials: &Credentials, expected: &[(Kind, u32, u32, &str)]) {
    let plan = planned(settings, credentials);
    let probes: Vec<_> = plan
        .probes
        .iter()
        .map(|probe| {
            let Identity { uid, gid } = probe.client;
            (probe.kind, uid, gid, probe.destination.to_string())
        })
        .collect();
    let expected: Vec<_> = expected
        .iter()
        .map(|(kind, uid, gid, destination)| (*kind, *uid, *gid, (*destination).to_owned()))
        .collect();
    assert_eq!(probes, expected, "{:?}", plan.left_out);
}

fn with(alter: impl FnOnce(&mut Settings)) -> Settings {
    let mut settings = settings();
    alter(&mut settings);
    settings
}

const OUTSIDE: &str = "192.0.2.1:15002";
const INSIDE: &str = "127.0.0.6:15002";

#[test]
fn each_process_tries_what_it_can() {
    use Kind::{Inbound, Outbound, ProxyOutbound};
    let settings = settings();
    let as_proxy = [
        (Inbound, 1337, 1337, INSIDE),
        (ProxyOutbound, 1337, 1337, OUTSIDE),
    ];
    check(
        &settings,
        &ALMIGHTY,
        &[as_proxy[0], (Outbound, 0, 0, OUTSIDE), as_proxy[1]],
    );
    check(&settings, &ROOT, &[(Outbound, 0, 0, OUTSIDE)]);
    check(&settings, &PROXY, &as_proxy);
    check(&settings, &APPLICATION, &[(Outbound, 1000, 1000, OUTSIDE)]);
    // The proxy by group alone: its connections over loopback are taken for an application's.
    check(
        &settings,
        &process(1000, 1337, false),
        &[(ProxyOutbound, 1000, 1337, OUTSIDE)],
    );
}

#[test]
fn what_is_left_out_has_a_reason() {
    #[track_caller]
    fn check(settings: &Settings, credentials: &Credentials, expected: &[&str]) {
        assert_eq!(planned(settings, credentials).left_out, expected);
    }
    check(
        &settings(),
        &PROXY,
        &[
            "IPv4 outbound is not proven: this process runs as uid 1337 and gid 1337, which are not \
             captured, and it needs the capabilities SETUID and SETGID to connect as an application",
        ],
    );
    let needs_proxy = "is not proven: only a process of the proxy's user, or one with the capabilities \
                       SETUID and SETGID, can connect as the proxy";
    check(
        &settings(),
        &ROOT,
        &[
            &format!("IPv4 inbound {needs_proxy}"),
            &format!("IPv4 outbound of the proxy {needs_proxy}"),
        ],
    );
    let nothing = with(|settings| settings.redirect.outbound_cidrs = Selection::Only(Vec::new()));
    check(
        &nothing,
        &ALMIGHTY,
        &[
            "IPv4 outbound is not proven: no destination that the settings capture has a route",
            "IPv4 outbound of the proxy is not proven: no destination that the settings capture has a \
             route",
        ],
    );
}

#[test]
fn the_destination_is_one_that_is_captured() {
    #[track_caller]
    fn check_outbound(alter: impl FnOnce(&mut Redirect), expected: &str) {
        let settings = with(|settings| alter(&mut settings.redirect));
        check(
            &settings,
            &APPLICATION,
            &[(Kind::Outbound, 1000, 1000, expected)],
        );
    }
    let network = |network: &str| network.parse().unwrap();
    check_outbound(
        |redirect| redirect.excluded_outbound_ports = vec![ports(15002, 15004)],
        "192.0.2.1:15005",
    );
    check_outbound(
        |redirect| redirect.excluded_outbound_cidrs = vec![network("192.0.0.0/8")],
        "198.51.100.1:15002",
    );
    check_outbound(
        |redirect| {
            redirect.outbound_cidrs =
                Selection::Only(vec![network("fd00::/8"), network("10.8.0.0/16")]);
        },
        "10.8.0.1:15002",
    );
    check_outbound(
        |redirect| {
            redirect.outbound_cidrs = Selection::Only(vec![network("10.8.0.0/16")]);
            redirect.excluded_outbound_cidrs = vec![network("10.8.0.0/17")];
        },
        "10.8.255.254:15002",
    );
    check_outbound(
        |redirect| {
            redirect.outbound_cidrs = Selection::Only(Vec::new());
            redirect.outbound_ports = vec![443.into()];
        },
        "192.0.2.1:443",
    );
    check_outbound(
        |redirect| redirect.outbound_cidrs = Selection::Only(vec![network("10.8.0.9/32")]),
        "10.8.0.9:15002",
    );
}

#[test]
fn the_group_is_one_that_is_captured() {
    use Kind::Outbound;
    let only = with(|settings| settings.redirect.owner_groups = Selection::Only(vec![1337, 2000]));
    check(&only, &ROOT, &[]);
    let probes = planned(&only, &ALMIGHTY).probes;
    let outbound = probes.iter().find(|probe| probe.kind == Outbound).unwrap();
    assert_eq!(outbound.client, Identity { uid: 0, gid: 2000 });

    let except = with(|settings| settings.redirect.excluded_owner_groups = vec![0]);
    check(&except, &ROOT, &[]);
    let probes = planned(&except, &ALMIGHTY).probes;
    let outbound = probes.iter().find(|probe| probe.kind == Outbound).unwrap();
    assert_eq!(outbound.client, Identity { uid: 0, gid: 65534 });
}

#[test]
fn loopback_is_entered_by_an_address_that_is_not_localhost() {
    use Kind::{Inbound, ProxyOutbound};
    let own = (ProxyOutbound, 1337, 1337, OUTSIDE);
    let wide = with(|settings| {
        settings.redirect.loopback_cidr = "127.0.0.0/8".parse().unwrap();
    });
    check(
        &wide,
        &PROXY,
        &[(Inbound, 1337, 1337, "10.0.0.1:15002"), own],
    );
    let tunnel = with(|settings| settings.redirect.tunnel_port = 15002);
    check(
        &tunnel,
        &PROXY,
        &[(Inbound, 1337, 1337, "127.0.0.6:15003"), own],
    );
    let excluded = with(|settings| {
        settings.redirect.excluded_interfaces = vec!["lo".to_owned()];
    });
    check(&excluded, &PROXY, &[own]);
    let excluded = with(|settings| {
        settings.redirect.excluded_interfaces = vec!["eth+".to_owned()];
    });
    check(&excluded, &PROXY, &[(Inbound, 1337, 1337, INSIDE)]);
}

#[test]
fn tproxy_is_entered_by_a_port_that_the_nat_table_leaves_alone() {
    #[track_caller]
    fn check_tproxy(
        alter: impl FnOnce(&mut Redirect),
        credentials: &Credentials,
        expected: Option<(u32, Option<u32>, &str)>,
    ) {
        let mut settings = settings();
        settings.redirect.mode = Mode::Tproxy;
        alter(&mut settings.redirect);
        let plan = planned(&settings, credentials);
        assert_eq!(plan.deliveries.len(), 1);
        let mut probes = plan.probes.iter();
        let probe = probes.find(|probe| probe.kind == Kind::Transparent);
        let probe =
            probe.map(|probe| (probe.client.uid, probe.mark, probe.destination.to_string()));
        let expected = expected.map(|(uid, mark, address)| (uid, mark, address.to_owned()));
        assert_eq!(probe, expected, "{:?}", plan.left_out);
    }
    check_tproxy(|_| (), &ALMIGHTY, Some((1337, None, "127.0.0.6:15008")));
    check_tproxy(|_| (), &PROXY, Some((1337, None, "127.0.0.6:15008")));
    check_tproxy(|_| (), &ROOT, Some((0, Some(1338), INSIDE)));
    let only = |redirect: &mut Redirect| {
        redirect.inbound_ports = Selection::Only(vec![ports(9090, 9091)]);
    };
    check_tproxy(only, &ALMIGHTY, Some((0, Some(1338), "127.0.0.6:9090")));
    check_tproxy(only, &PROXY, None);
    let none = |redirect: &mut Redirect| redirect.inbound_ports = Selection::Only(Vec::new());
    check_tproxy(none, &ROOT, None);
    let unprivileged = Credentials {
        net_admin: false,
        ..PROXY
    };
    check_tproxy(|_| (), &unprivileged, None);
}

#[test]
fn questions_go_to_a_name_server_that_has_a_route() {
    #[track_caller]
    fn check_dns(servers: Selection<&str>, expected: &[&str]) {
        let servers = match servers {
            Selection::All => Selection::All,
            Selection::Only(servers) => {
                let servers = servers.iter().map(|server| server.parse().unwrap());
                Selection::Only(servers.collect())
            }
        };
        let settings = with(|settings| {
            settings.redirect.dns = Some(Dns {
                port: 15053,
                servers,
            });
        });
        let probes = planned(&settings, &APPLICATION).probes;
        let destinations: Vec<String> = probes
            .iter()
            .filter(|probe| matches!(probe.kind, Kind::Question(_)))
            .map(|probe| probe.destination.to_string())
            .collect();
        assert_eq!(destinations, expected);
    }
    check_dns(
        Selection::Only(vec!["fd00::53", "10.0.0.53", "10.0.0.54"]),
        &["10.0.0.53:53", "10.0.0.53:53"],
    );
    check_dns(Selection::All, &["192.0.2.1:53", "192.0.2.1:53"]);
    check_dns(
        Selection::Only(vec!["127.0.0.53"]),
        &["127.0.0.53:53", "127.0.0.53:53"],
    );
    check_dns(Selection::Only(vec!["fd00::53"]), &[]);

    let excluded = with(|settings| {
        settings.redirect.dns = Some(Dns {
            port: 15053,
            servers: Selection::All,
        });
        settings.redirect.excluded_outbound_ports = vec![53.into()];
    });
    let plan = planned(&excluded, &APPLICATION);
    assert!(
        plan.probes
            .iter()
            .all(|probe| probe.kind != Kind::Question(Transport::Udp))
    );
    assert!(plan.left_out.contains(
        &"IPv4 DNS by UDP is not proven: port 53 is excluded from the redirect".to_owned()
    ));
}

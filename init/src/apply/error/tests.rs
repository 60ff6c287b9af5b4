use std::io;

use super::ApplyError;
use crate::{
    Backend,
    iptables::{program::Tool, text},
    rules::{Chain, Family, Table},
};

fn refused() -> io::Error {
    io::Error::from(io::ErrorKind::PermissionDenied)
}

#[test]
fn each_fault_says_what_to_do() {
    let program = || "iptables-nft-restore".to_owned();
    let complaint = || "line 7 failed".to_owned();
    for (error, expected) in [
        (
            ApplyError::Capability("NET_ADMIN"),
            "the capability NET_ADMIN is missing: add it to securityContext.capabilities of the \
             container, which must run as root, and let the namespace's Pod Security level admit \
             it",
        ),
        (
            ApplyError::Tables {
                path: "/proc/net/ip_tables_names",
                source: refused(),
            },
            "read /proc/net/ip_tables_names: the container must run as root",
        ),
        (
            ApplyError::NoPrograms { family: "ipv4" },
            "no iptables program for ipv4 is on the PATH: use an image that has iptables, such as \
             fairlead/proxy",
        ),
        (
            ApplyError::NoProgram { program: program() },
            "iptables-nft-restore is not on the PATH: use an image that has it, or run with \
             another --force-iptables-binary or without --native-nftables",
        ),
        (
            ApplyError::Unreadable {
                table: "nat",
                family: "ipv4",
            },
            "the table nat of ipv4 holds rules of nft that iptables cannot show, so that a \
             redirect there can be neither told from them nor removed: remove them by nft, or run \
             with --native-nftables from the pod's start on",
        ),
        (
            ApplyError::OutOfReach {
                place: "the tables of iptables-nft",
                program: "iptables-nft-save",
            },
            "a redirect stands in the tables of iptables-nft, which can be neither replaced nor \
             removed as iptables-nft-save is not on the PATH: use the image that made it, or \
             delete the pod",
        ),
        (
            ApplyError::Unsupported {
                program: program(),
                modules: "nf_tables, nft_compat".to_owned(),
                choice: ", or run with --ipv6 off",
                complaint: complaint(),
            },
            "the kernel cannot do what iptables-nft-restore asks for: load the modules nf_tables, \
             nft_compat on the node, or run with --ipv6 off; the kernel of a sandbox such as \
             gVisor has none: give the pod another runtimeClassName (line 7 failed)",
        ),
        (
            ApplyError::Locked { program: program() },
            "iptables-nft-restore waited 5 s for the lock of iptables: end the program that holds \
             it; the container's restart tries again",
        ),
        (
            ApplyError::LockFile {
                program: program(),
                complaint: complaint(),
            },
            "iptables-nft-restore cannot make its lock: let XTABLES_LOCKFILE name a file that it \
             can open (line 7 failed)",
        ),
        (
            ApplyError::Program {
                program: program(),
                complaint: complaint(),
            },
            "iptables-nft-restore failed; --log_output_level=default:debug shows its input \
             (line 7 failed)",
        ),
        (
            ApplyError::Killed { program: program() },
            "iptables-nft-restore was killed after 20 s, as somebody else may have killed it \
             before: look at the node's load and memory; the container's restart tries again",
        ),
        (
            ApplyError::OtherMesh,
            "Linkerd's redirect is installed here (chains PROXY_INIT_*), and two meshes cannot \
             both have a pod's traffic: take the pod out of one, by the annotation \
             linkerd.io/inject: disabled or the label sidecar.istio.io/inject: \"false\"",
        ),
        (
            ApplyError::Listing(crate::nft::ListingError::NotARuleset),
            "read the ruleset of nftables",
        ),
        (
            ApplyError::Start {
                program: program(),
                source: refused(),
            },
            "run iptables-nft-restore",
        ),
        (
            ApplyError::Undo {
                subject: "ipv6",
                undo: Box::new(ApplyError::Locked { program: program() }),
                source: Box::new(ApplyError::OtherMesh),
            },
            "what was changed of ipv6 could not be taken back (iptables-nft-restore waited 5 s \
             for the lock of iptables: end the program that holds it; the container's restart \
             tries again): delete the pod, its traffic may be lost; it was taken back because of \
             the following",
        ),
    ] {
        assert_eq!(error.to_string(), expected);
    }
}

#[test]
fn the_fault_of_another_part_speaks_for_itself() {
    let turn = crate::turn::TurnError::Held;
    let route = crate::policy_route::RouteError::MarkOfAll;
    let address = crate::address::AddressError::Disabled;
    for (message, error) in [
        (turn.to_string(), ApplyError::from(turn)),
        (route.to_string(), ApplyError::from(route)),
        (address.to_string(), ApplyError::Address(address)),
    ] {
        assert_eq!(error.to_string(), message);
    }
}

#[test]
fn each_complaint_of_a_program_becomes_a_fault() {
    let rule = text::parse(
        Table::Nat,
        Chain::OUTPUT,
        "-m owner --uid-owner 1337 -j REDIRECT --to-ports 1",
    );
    let legacy = Tool::new(Family::Ipv6, Backend::Legacy);
    let native = Tool::new(Family::Ipv4, Backend::Native);
    for (tool, complaint, parts) in [
        (
            legacy,
            "Permission denied (you must be root)",
            &["the capability NET_ADMIN is missing"][..],
        ),
        (
            legacy,
            "can't initialize ip6tables table `nat': Table does not exist\nPerhaps",
            &[
                "ip6table_nat",
                "xt_owner",
                "or run with --ipv6 off",
                "exist; Perhaps)",
            ],
        ),
        (
            native,
            "Error: Could not process rule: Operation not supported",
            &["or run without --native-nftables"],
        ),
        (
            legacy,
            "Another app is currently holding the xtables lock.",
            &["waited 5 s for the lock"],
        ),
        (
            legacy,
            "Fatal: can't open lock file /run/xtables.lock: Read-only file system",
            &["XTABLES_LOCKFILE"],
        ),
        (legacy, "line 7 failed", &["failed; --log_output_level"]),
    ] {
        let program = tool.restore().to_owned();
        let error = ApplyError::of_complaint(tool, program, [&rule], complaint).to_string();
        for part in parts {
            assert!(error.contains(part), "{part}: {error}");
        }
    }
}

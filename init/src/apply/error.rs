//! Why the redirect could not be applied, and what to do about it.

use std::io;

use crate::{
    Backend,
    address::AddressError,
    capability::{Capability, UnmappedError},
    iptables::program::{Complaint, LOCK_SECONDS, Tool, modules},
    nft::ListingError,
    policy_route::RouteError,
    process::DEADLINE,
    rules::Rule,
    turn::TurnError,
};

/// Why the redirect could not be applied; nothing of it is left.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// Another run is under way.
    #[error(transparent)]
    Turn(#[from] TurnError),
    /// The container lacks a privilege.
    #[error(
        "the capability {0} is missing: add it to securityContext.capabilities of the container, \
         which must run as root, and let the namespace's Pod Security level admit it"
    )]
    Capability(&'static str),
    /// The list of legacy tables could not be read.
    #[error("read {path}: the container must run as root")]
    Tables {
        /// The kernel's list.
        path: &'static str,
        /// What the kernel said.
        source: io::Error,
    },
    /// No iptables at all.
    #[error(
        "no iptables program for {family} is on the PATH: use an image that has iptables, such as \
         fairlead/proxy"
    )]
    NoPrograms {
        /// The family.
        family: &'static str,
    },
    /// The program that was asked for is not there.
    #[error(
        "{program} is not on the PATH: use an image that has it, or run with another \
         --force-iptables-binary or without --native-nftables"
    )]
    NoProgram {
        /// Its name.
        program: String,
    },
    /// Rules stand that iptables cannot show.
    #[error(
        "the table {table} of {family} holds rules of nft that iptables cannot show, so that a \
         redirect there can be neither told from them nor removed: remove them by nft, or run with \
         --native-nftables from the pod's start on"
    )]
    Unreadable {
        /// The table.
        table: &'static str,
        /// The family.
        family: &'static str,
    },
    /// Rules stand where no program reaches them.
    #[error(
        "a redirect stands in {place}, which can be neither replaced nor removed as {program} is \
         not on the PATH: use the image that made it, or delete the pod"
    )]
    OutOfReach {
        /// Whose tables.
        place: &'static str,
        /// The program that would be needed.
        program: &'static str,
    },
    /// The kernel cannot do it.
    #[error(
        "the kernel cannot do what {program} asks for: load the modules {modules} on the node\
         {choice}; the kernel of a sandbox such as gVisor has none: give the pod another \
         runtimeClassName ({complaint})"
    )]
    Unsupported {
        /// The program that was refused.
        program: String,
        /// The modules that the rules need.
        modules: String,
        /// What else can be done.
        choice: &'static str,
        /// What the program said.
        complaint: String,
    },
    /// Somebody else was changing rules.
    #[error(
        "{program} waited {LOCK_SECONDS} s for the lock of iptables: end the program that holds \
         it; the container's restart tries again"
    )]
    Locked {
        /// The program that waited.
        program: String,
    },
    /// The lock could not be made.
    #[error(
        "{program} cannot make its lock: let XTABLES_LOCKFILE name a file that it can open ({complaint})"
    )]
    LockFile {
        /// The program that wanted it.
        program: String,
        /// What the program said.
        complaint: String,
    },
    /// The program failed for another reason.
    #[error("{program} failed; --log_output_level=default:debug shows its input ({complaint})")]
    Program {
        /// The program.
        program: String,
        /// What the program said.
        complaint: String,
    },
    /// The program did not end.
    #[error(
        "{program} was killed after {} s, as somebody else may have killed it before: look at the \
         node's load and memory; the container's restart tries again",
        DEADLINE.as_secs()
    )]
    Killed {
        /// The program.
        program: String,
    },
    /// The proxy's user is none here.
    #[error(transparent)]
    Unmapped(UnmappedError),
    /// Linkerd's rules are there.
    #[error(
        "Linkerd's redirect is installed here (chains PROXY_INIT_*), and two meshes cannot both \
         have a pod's traffic: take the pod out of one, by the annotation linkerd.io/inject: \
         disabled or the label sidecar.istio.io/inject: \"false\""
    )]
    OtherMesh,
    /// What nft printed could not be read.
    #[error("read the ruleset of nftables")]
    Listing(#[source] ListingError),
    /// The policy route could not be made or removed.
    #[error(transparent)]
    PolicyRoute(#[from] RouteError),
    /// The program could not be run.
    #[error("run {program}")]
    Start {
        /// The program.
        program: String,
        /// Why not.
        source: io::Error,
    },
    /// The proxy's IPv6 source address could not be added.
    #[error(transparent)]
    Address(AddressError),
    /// A change could not be taken back.
    #[error(
        "what was changed of {subject} could not be taken back ({undo}): delete the pod, its \
         traffic may be lost; it was taken back because of the following"
    )]
    Undo {
        /// A family, or what else was changed.
        subject: &'static str,
        /// Why they stay.
        undo: Box<ApplyError>,
        /// Why they were to go.
        source: Box<ApplyError>,
    },
}

impl ApplyError {
    /// Makes an error of what a failed program said when it was asked for these rules.
    pub(super) fn of_complaint<'a>(
        tool: Tool,
        program: String,
        rules: impl IntoIterator<Item = &'a Rule>,
        text: &str,
    ) -> Self {
        let complaint_text = || text.replace('\n', "; ");
        match Complaint::of(text) {
            Complaint::Privilege => Self::Capability(Capability::NetAdmin.name()),
            Complaint::Locked => Self::Locked { program },
            Complaint::LockFile => Self::LockFile {
                program,
                complaint: complaint_text(),
            },
            Complaint::Unsupported => Self::Unsupported {
                program,
                modules: modules(tool, rules).join(", "),
                choice: match (tool.backend, tool.family) {
                    (Backend::Native, _) => ", or run without --native-nftables",
                    (_, crate::rules::Family::Ipv4) => "",
                    (_, crate::rules::Family::Ipv6) => ", or run with --ipv6 off",
                },
                complaint: complaint_text(),
            },
            Complaint::Other => Self::Program {
                program,
                complaint: complaint_text(),
            },
        }
    }

    /// Whether another backend may still do.
    pub(super) fn leaves_other_backends(&self) -> bool {
        matches!(self, Self::Unsupported { .. } | Self::NoProgram { .. })
    }
}

#[cfg(test)]
mod tests;

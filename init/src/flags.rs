//! The command line: Istio's flags, short and long, and their environment variables.
//!
//! Values stay text here; [`Config`](crate::Config) reads them, so that all faults come at once.

use clap::Parser;

/// Programs the redirect of the pod whose network namespace it runs in, then exits.
///
/// Outgoing TCP connections go to the proxy's outbound port, incoming ones to its inbound port. A
/// second run changes nothing. Exits with 1 when a setting is wrong or the rules cannot be applied,
/// and has then changed nothing; with 126 when the validation finds that the redirect does not work.
///
/// `fairlead-init explain --help` tells how to ask what becomes of a packet.
///
/// Lists are separated by commas, without spaces. Each flag is also read from the environment
/// variable beside it; the flag beats the variable, and an empty variable is as none. Of a flag that
/// is given twice the last value counts.
#[derive(Debug, Parser)]
#[command(
    name = "fairlead-init",
    version,
    max_term_width = 100,
    args_override_self = true
)]
pub struct Flags {
    /// The proxy's port for captured outbound connections
    #[arg(short = 'p', long, default_value = "15001", value_name = "PORT")]
    #[arg(help_heading = PROXY)]
    pub envoy_port: String,

    /// The proxy's port for captured inbound connections
    #[arg(short = 'z', long, env, default_value = "15006", value_name = "PORT")]
    #[arg(help_heading = PROXY)]
    pub inbound_capture_port: String,

    /// The mesh's tunnel port, which is never captured
    #[arg(short = 'e', long, env, default_value = "15008", value_name = "PORT")]
    #[arg(help_heading = PROXY)]
    pub inbound_tunnel_port: String,

    /// The users whose connections are the proxy's own
    #[arg(short = 'u', long, env, default_value = "1337", value_name = "UIDS")]
    #[arg(help_heading = PROXY)]
    pub proxy_uid: String,

    /// The groups whose connections are the proxy's own [default: the users]
    #[arg(short = 'g', long, env, default_value = "", value_name = "GIDS")]
    #[arg(help_heading = PROXY, hide_default_value = true)]
    pub proxy_gid: String,

    /// How inbound connections reach the proxy: REDIRECT, or TPROXY, which leaves their addresses
    /// unchanged
    #[arg(
        short = 'm',
        long,
        env,
        default_value = "REDIRECT",
        value_name = "MODE"
    )]
    #[arg(help_heading = INBOUND)]
    pub istio_inbound_interception_mode: String,

    /// Captured destination ports: a list of ports and ranges (8000-8010), * for all, or nothing
    #[arg(
        short = 'b',
        long,
        env,
        default_value = "",
        value_name = "PORTS",
        hide_default_value = true
    )]
    #[arg(help_heading = INBOUND)]
    pub istio_inbound_ports: String,

    /// Destination ports that are not captured when all others are
    #[arg(
        short = 'd',
        long,
        env,
        default_value = "",
        value_name = "PORTS",
        hide_default_value = true
    )]
    #[arg(help_heading = INBOUND)]
    pub istio_local_exclude_ports: String,

    /// The mark of packets that TPROXY captures
    #[arg(short = 't', long, env, default_value = "1337", value_name = "MARK")]
    #[arg(help_heading = INBOUND)]
    pub istio_inbound_tproxy_mark: String,

    /// The routing table by which they stay in the pod
    #[arg(short = 'r', long, env, default_value = "133", value_name = "TABLE")]
    #[arg(help_heading = INBOUND)]
    pub istio_inbound_tproxy_route_table: String,

    /// Drop TCP packets that belong to no connection [env: INVALID_DROP=]
    #[arg(long, env, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = switch, default_value = "", hide_default_value = true, value_name = "BOOL")]
    #[arg(help_heading = INBOUND)]
    pub drop_invalid: Switch,

    /// Captured destinations: CIDRs, * for all, or nothing
    #[arg(
        short = 'i',
        long,
        env,
        default_value = "",
        value_name = "CIDRS",
        hide_default_value = true
    )]
    #[arg(help_heading = OUTBOUND)]
    pub istio_service_cidr: String,

    /// Destinations that are not captured
    #[arg(
        short = 'x',
        long,
        env,
        default_value = "",
        value_name = "CIDRS",
        hide_default_value = true
    )]
    #[arg(help_heading = OUTBOUND)]
    pub istio_service_exclude_cidr: String,

    /// Destination ports that are captured whatever the address
    #[arg(
        short = 'q',
        long,
        env,
        default_value = "",
        value_name = "PORTS",
        hide_default_value = true
    )]
    #[arg(help_heading = OUTBOUND)]
    pub istio_outbound_ports: String,

    /// Destination ports that are not captured
    #[arg(
        short = 'o',
        long,
        env,
        default_value = "",
        value_name = "PORTS",
        hide_default_value = true
    )]
    #[arg(help_heading = OUTBOUND)]
    pub istio_local_outbound_ports_exclude: String,

    /// Groups whose processes' connections are captured: numeric ids, at most 64, or * for all
    #[arg(long, env, default_value = "*", value_name = "GIDS")]
    #[arg(help_heading = OUTBOUND)]
    pub istio_outbound_owner_groups: String,

    /// Groups whose processes' connections are not captured when all others' are
    #[arg(
        long,
        env,
        default_value = "",
        value_name = "GIDS",
        hide_default_value = true
    )]
    #[arg(help_heading = OUTBOUND)]
    pub istio_outbound_owner_groups_exclude: String,

    /// What an application means by localhost, a part of 127.0.0.0/8
    #[arg(long, env, default_value = "127.0.0.1/32", value_name = "CIDR")]
    #[arg(help_heading = OUTBOUND)]
    pub istio_outbound_ipv4_loopback_cidr: String,

    /// Interfaces whose traffic is not captured, either way
    #[arg(
        short = 'c',
        long,
        env,
        default_value = "",
        value_name = "NAMES",
        hide_default_value = true
    )]
    #[arg(help_heading = INTERFACES)]
    pub istio_exclude_interfaces: String,

    /// Interfaces of virtual machines in the pod: what arrives by them is captured as outbound
    #[arg(
        short = 'k',
        long,
        env,
        default_value = "",
        value_name = "NAMES",
        hide_default_value = true
    )]
    #[arg(help_heading = INTERFACES)]
    pub kube_virt_interfaces: String,

    /// Send questions to the name servers of /etc/resolv.conf to the proxy's DNS port, 15053
    /// [env: ISTIO_META_DNS_CAPTURE=]
    #[arg(long, env, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = switch, default_value = "", hide_default_value = true, value_name = "BOOL")]
    #[arg(help_heading = DNS)]
    pub redirect_dns: Switch,

    /// With that, questions to any name server
    #[arg(long, env, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = switch, default_value = "", hide_default_value = true, value_name = "BOOL")]
    #[arg(help_heading = DNS)]
    pub capture_all_dns: Switch,

    /// With that, questions to this name server instead; may be given several times
    #[arg(
        long = "dns-server",
        env = "FAIRLEAD_DNS_SERVERS",
        value_delimiter = ',',
        value_name = "IP"
    )]
    #[arg(help_heading = DNS)]
    pub dns_servers: Vec<String>,

    /// Whether to redirect IPv6: auto does so where the pod has an IPv6 address, were it only ::1
    #[arg(
        long,
        env = "FAIRLEAD_IPV6",
        default_value = "auto",
        value_name = "auto|on|off"
    )]
    #[arg(help_heading = BACKEND)]
    pub ipv6: String,

    /// Istio's word for IPv6 beside IPv4, which auto is already [env: ISTIO_DUAL_STACK=]
    #[arg(long, env, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = switch, default_value = "", hide_default_value = true, value_name = "BOOL")]
    #[arg(help_heading = BACKEND)]
    pub dual_stack: Switch,

    /// The variant of iptables [default: legacy where it holds rules already, else nft]
    #[arg(
        long,
        env,
        default_value = "",
        value_name = "legacy|nft",
        hide_default_value = true
    )]
    #[arg(help_heading = BACKEND)]
    pub force_iptables_binary: String,

    /// Use nftables by its own program, nft, instead of iptables
    #[arg(long, env, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = switch, default_value = "", hide_default_value = true, value_name = "BOOL")]
    #[arg(help_heading = BACKEND)]
    pub native_nftables: Switch,

    /// The network namespace to program, as a file [default: that of the process]
    #[arg(
        long,
        env,
        default_value = "",
        value_name = "PATH",
        hide_default_value = true
    )]
    #[arg(help_heading = RUN)]
    pub network_namespace: String,

    /// The run is a node agent's: the lock of iptables is one per network namespace
    #[arg(long, env, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = switch, default_value = "", hide_default_value = true, value_name = "BOOL")]
    #[arg(help_heading = RUN)]
    pub cni_mode: Switch,

    /// Print what would be applied and run nothing; needs no privilege
    #[arg(short = 'n', long, env, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = switch, default_value = "", hide_default_value = true, value_name = "BOOL")]
    #[arg(help_heading = RUN)]
    pub dry_run: Switch,

    /// With that, write it to this file, too
    #[arg(
        long,
        env,
        default_value = "",
        value_name = "PATH",
        hide_default_value = true
    )]
    #[arg(help_heading = RUN)]
    pub dry_run_file_path: String,

    /// Remove everything that any run has added, by whichever backend, and add nothing
    #[arg(long, env, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = switch, default_value = "", hide_default_value = true, value_name = "BOOL")]
    #[arg(help_heading = RUN)]
    pub cleanup_only: Switch,

    /// Put right what differs from the settings, which each run does: for Istio's sake
    #[arg(long, env, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = switch, default_value = "", hide_default_value = true, value_name = "BOOL")]
    #[arg(help_heading = RUN)]
    pub reconcile: Switch,

    /// Apply the rules even where they are installed already
    #[arg(long, env, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = switch, default_value = "", hide_default_value = true, value_name = "BOOL")]
    #[arg(help_heading = RUN)]
    pub force_apply: Switch,

    /// Apply nothing, as before a validation alone
    #[arg(long, env, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = switch, default_value = "", hide_default_value = true, value_name = "BOOL")]
    #[arg(help_heading = RUN)]
    pub skip_rule_apply: Switch,

    /// Log level, of which debug shows each program that is run and its input
    #[arg(
        long = "log_output_level",
        env = "LOG_OUTPUT_LEVEL",
        default_value = "default:info",
        value_name = "[SCOPE:]LEVEL"
    )]
    #[arg(help_heading = RUN)]
    pub log_output_level: String,

    /// Log lines as JSON
    #[arg(long = "log_as_json", env = "LOG_AS_JSON", num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = switch, default_value = "", hide_default_value = true, value_name = "BOOL")]
    #[arg(help_heading = RUN)]
    pub log_as_json: Switch,

    /// Prove the redirect by connections, at the end
    #[arg(long, env, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = switch, default_value = "", hide_default_value = true, value_name = "BOOL")]
    #[arg(help_heading = VALIDATION)]
    pub run_validation: Switch,

    /// The port that such connections are made to
    #[arg(long, env, default_value = "15002", value_name = "PORT")]
    #[arg(help_heading = VALIDATION)]
    pub iptables_probe_port: String,

    /// How long they may take altogether
    #[arg(long, env, default_value = "5s", value_name = "DURATION")]
    #[arg(help_heading = VALIDATION)]
    pub probe_timeout: String,

    #[arg(long, env, hide = true, value_parser = switch, default_value = "", value_name = "BOOL")]
    pub(crate) invalid_drop: Switch,

    #[arg(long, env, hide = true, value_parser = switch, default_value = "", value_name = "BOOL")]
    pub(crate) istio_meta_dns_capture: Switch,

    #[arg(long, env, hide = true, value_parser = switch, default_value = "", value_name = "BOOL")]
    pub(crate) istio_dual_stack: Switch,
}

/// Whether something is to be done; nothing if that is not said.
pub type Switch = Option<bool>;

/// Reads a switch. Manifests leave variables empty that they do not set.
fn switch(text: &str) -> Result<Switch, &'static str> {
    match text.to_ascii_lowercase().as_str() {
        "" => Ok(None),
        "true" | "t" | "yes" | "y" | "on" | "1" => Ok(Some(true)),
        "false" | "f" | "no" | "n" | "off" | "0" => Ok(Some(false)),
        _ => Err("true or false is accepted"),
    }
}

impl Flags {
    /// A switch that two variables stand for, and is off if nothing is said.
    pub(crate) fn switch(flag: Switch, other_variable: Switch) -> bool {
        flag.or(other_variable).unwrap_or(false)
    }
}

const PROXY: &str = "Proxy";
const INBOUND: &str = "Inbound";
const OUTBOUND: &str = "Outbound";
const INTERFACES: &str = "Interfaces";
const DNS: &str = "DNS";
const BACKEND: &str = "Families and backends";
const RUN: &str = "Run";
const VALIDATION: &str = "Validation";

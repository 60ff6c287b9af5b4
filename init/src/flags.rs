//! The command line: Istio's flags, short and long, and their environment variables.
//!
//! Values stay text here; [`Config`](crate::Config) reads them, so that all faults come at once.

use clap::{Parser, builder::BoolishValueParser};

/// Programs the redirect of the pod whose network namespace it runs in, then exits.
///
/// Outgoing TCP connections go to the proxy's outbound port, incoming ones to its inbound port. A
/// second run changes nothing. Exits with 1 when a setting is wrong or the rules cannot be applied,
/// and has then changed nothing.
#[derive(Debug, Parser)]
#[command(name = "fairlead-init", version, max_term_width = 100)]
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

    /// How inbound connections reach the proxy
    #[arg(
        short = 'm',
        long,
        env,
        default_value = "REDIRECT",
        value_name = "MODE"
    )]
    #[arg(help_heading = INBOUND)]
    pub istio_inbound_interception_mode: String,

    /// Captured destination ports: a list, * for all, or nothing
    #[arg(short = 'b', long, env, default_value = "", value_name = "PORTS")]
    #[arg(help_heading = INBOUND)]
    pub istio_inbound_ports: String,

    /// Destination ports that are not captured when all others are
    #[arg(short = 'd', long, env, default_value = "", value_name = "PORTS")]
    #[arg(help_heading = INBOUND)]
    pub istio_local_exclude_ports: String,

    /// Captured destinations: CIDRs, * for all, or nothing
    #[arg(short = 'i', long, env, default_value = "", value_name = "CIDRS")]
    #[arg(help_heading = OUTBOUND)]
    pub istio_service_cidr: String,

    /// Destinations that are not captured
    #[arg(short = 'x', long, env, default_value = "", value_name = "CIDRS")]
    #[arg(help_heading = OUTBOUND)]
    pub istio_service_exclude_cidr: String,

    /// Destination ports that are captured whatever the address
    #[arg(short = 'q', long, env, default_value = "", value_name = "PORTS")]
    #[arg(help_heading = OUTBOUND)]
    pub istio_outbound_ports: String,

    /// Destination ports that are not captured
    #[arg(short = 'o', long, env, default_value = "", value_name = "PORTS")]
    #[arg(help_heading = OUTBOUND)]
    pub istio_local_outbound_ports_exclude: String,

    /// Whether to redirect IPv6: auto does so where the pod has an IPv6 address, were it only ::1
    #[arg(
        long,
        env = "FAIRLEAD_IPV6",
        default_value = "auto",
        value_name = "auto|on|off"
    )]
    #[arg(help_heading = RUN)]
    pub ipv6: String,

    /// The backend of iptables [default: legacy where it holds rules already, else nft]
    #[arg(long, env, default_value = "", value_name = "legacy|nft")]
    #[arg(help_heading = RUN, hide_default_value = true)]
    pub force_iptables_binary: String,

    /// Print what would be applied and run nothing; needs no privilege
    #[arg(short = 'n', long, env, value_parser = BoolishValueParser::new())]
    #[arg(help_heading = RUN)]
    pub dry_run: bool,

    /// Log level, of which debug shows each program that is run and its input
    #[arg(
        long = "log_output_level",
        env = "LOG_OUTPUT_LEVEL",
        default_value = "default:info"
    )]
    #[arg(help_heading = RUN, value_name = "[SCOPE:]LEVEL")]
    pub log_output_level: String,
}

const PROXY: &str = "Proxy";
const INBOUND: &str = "Inbound";
const OUTBOUND: &str = "Outbound";
const RUN: &str = "Run";

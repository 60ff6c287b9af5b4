//! The settings that make rules.

use fairlead_api::annotations;

use super::Setting;

const fn flag(flag: &'static str) -> Setting {
    Setting {
        flag,
        annotation: None,
    }
}

const fn annotated(flag: &'static str, annotation: &'static str) -> Setting {
    Setting {
        flag,
        annotation: Some(annotation),
    }
}

pub(super) const MODE: Setting = annotated(
    "--istio-inbound-interception-mode",
    annotations::INTERCEPTION_MODE,
);
pub(super) const MARK: Setting = flag("--istio-inbound-tproxy-mark");
pub(super) const INBOUND_PORT: Setting = flag("--inbound-capture-port");
pub(super) const UIDS: Setting = flag("--proxy-uid");
pub(super) const GIDS: Setting = flag("--proxy-gid");
pub(super) const DNS: Setting = flag("--redirect-dns");
pub(super) const INCLUDED_INBOUND: Setting =
    annotated("--istio-inbound-ports", annotations::INCLUDE_INBOUND_PORTS);
pub(super) const EXCLUDED_INBOUND: Setting = annotated(
    "--istio-local-exclude-ports",
    annotations::EXCLUDE_INBOUND_PORTS,
);
pub(super) const INCLUDED_CIDRS: Setting = annotated(
    "--istio-service-cidr",
    annotations::INCLUDE_OUTBOUND_IP_RANGES,
);
pub(super) const EXCLUDED_CIDRS: Setting = annotated(
    "--istio-service-exclude-cidr",
    annotations::EXCLUDE_OUTBOUND_IP_RANGES,
);
pub(super) const INCLUDED_PORTS: Setting = annotated(
    "--istio-outbound-ports",
    annotations::INCLUDE_OUTBOUND_PORTS,
);
pub(super) const EXCLUDED_PORTS: Setting = annotated(
    "--istio-local-outbound-ports-exclude",
    annotations::EXCLUDE_OUTBOUND_PORTS,
);
pub(super) const EXCLUDED_INTERFACES: Setting = flag("--istio-exclude-interfaces");
pub(super) const VIRTUAL_INTERFACES: Setting = flag("--kube-virt-interfaces");
pub(super) const DROP_INVALID: Setting = flag("--drop-invalid");
pub(super) const OUTBOUND_PORT: Setting = flag("--envoy-port");
pub(super) const DNS_SERVERS: Setting = flag("--dns-server");
pub(super) const ALL_DNS: Setting = flag("--capture-all-dns");
pub(super) const TUNNEL_PORT: Setting = flag("--inbound-tunnel-port");
pub(super) const LOOPBACK: Setting = flag("--istio-outbound-ipv4-loopback-cidr");
pub(super) const EXCLUDED_GROUPS: Setting = flag("--istio-outbound-owner-groups-exclude");
pub(super) const INCLUDED_GROUPS: Setting = flag("--istio-outbound-owner-groups");
pub(super) const PROXYS_PORTS: Setting = flag("--istio-local-exclude-ports");

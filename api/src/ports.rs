//! The ports that the mesh takes in a pod, with Istio's numbers.

/// Proxy admin, on loopback only.
pub const ADMIN: u16 = 15000;
/// Captured outbound connections (`virtualOutbound`).
pub const OUTBOUND: u16 = 15001;
/// Captured inbound connections (`virtualInbound`).
pub const INBOUND: u16 = 15006;
/// The mesh's tunnel; never captured.
pub const TUNNEL: u16 = 15008;
/// Metrics and health of the webhook and the control plane.
pub const CONTROL_METRICS: u16 = 15014;
/// Merged metrics and application probes.
pub const STATUS: u16 = 15020;
/// Proxy health, `/healthz/ready`.
pub const HEALTH: u16 = 15021;
/// Questions to name servers, where they are redirected.
pub const DNS: u16 = 15053;
/// Proxy metrics, `/stats/prometheus`.
pub const PROXY_METRICS: u16 = 15090;
/// Istio's debugging interface, of which no part of the mesh makes use.
pub const DEBUG: u16 = 15004;
/// The webhook container's HTTPS port: one that private clusters let the API server reach.
pub const WEBHOOK: u16 = 10250;

/// Ports of the proxy itself that inbound traffic reaches without capture, in the order that the
/// redirect lists them; a pod may move the last, the status port.
pub const UNCAPTURED_INBOUND: [u16; 3] = [PROXY_METRICS, HEALTH, STATUS];

/// Ports that are the mesh's in every pod; the status port, which a pod may move, is not among them.
pub const RESERVED: [u16; 8] = [
    ADMIN,
    OUTBOUND,
    DEBUG,
    INBOUND,
    TUNNEL,
    HEALTH,
    DNS,
    PROXY_METRICS,
];

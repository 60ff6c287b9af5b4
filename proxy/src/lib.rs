//! The proxy: carries a pod's traffic as a sidecar, or what an Envoy bootstrap tells.
//!
//! There is one way through the code:
//!
//! 1. A sidecar makes its own bootstrap ([`sidecar::bootstrap`]); with `-c FILE`, [`configuration`]
//!    reads one. [`snapshot`] compiles it, each part by the module that carries it out; [`compile`]
//!    keeps every fault. [`server`] puts it in force, and the next one.
//! 2. A worker of the [`plane`], one of the [`threads`], accepts for a [`listener`]. [`downstream`] owns
//!    the connection from here to its end. It asks where a captured one was going ([`original_dst`],
//!    [`destination`]), hands it to the listener of that address, has the [`inspector`] look at its
//!    first bytes, and finds its [`filter_chain`].
//! 3. [`tls`] decrypts it; [`network_filter`]s decide, of them [`authorization`] by policies.
//! 4. [`upstream`] asks the [`cluster`] for an endpoint and connects; [`connect`] bounds the wait and
//!    tells the causes of failure apart. [`dns`] and [`health_check`] keep the endpoints up to date.
//! 5. [`tcp`] passes the bytes both ways, by splice where there are many, until each side is done.
//! 6. The [`ending`] is the one source of log, [`access_log`] and [`stats`].
//!
//! Around it: [`sidecar`] starts, drains and ends the process; [`admin`] and [`health`] answer
//! operators, the kubelet and Prometheus; [`client`] asks them. What a sidecar counts for Istio's
//! metrics is [`telemetry`]. On behalf of the kubelet and of Prometheus the status port also asks the
//! [`application`].

pub mod access_log;
pub mod admin;
pub mod application;
pub mod arguments;
pub mod authorization;
pub mod client;
pub mod cluster;
pub mod compile;
pub mod config;
pub mod configuration;
pub mod connect;
pub mod descriptors;
pub mod destination;
pub mod direction;
pub mod dns;
pub mod downstream;
pub mod ending;
pub mod filter_chain;
pub mod grpc_health;
pub mod health;
pub mod health_check;
pub mod inspector;
pub mod lifecycle;
pub mod listener;
pub mod matcher;
pub mod network_filter;
pub mod original_dst;
pub mod overload;
pub mod pace;
pub mod plane;
pub mod server;
pub mod sidecar;
pub mod snapshot;
pub mod socket_options;
pub mod stats;
pub mod stream;
pub mod tcp;
pub mod telemetry;
pub mod threads;
pub mod tls;
pub mod upstream;

//! The sidecar proxy: carries a pod's traffic.
//!
//! The data path:
//!
//! 1. The redirect leads a connection to 15001 (outbound) or 15006 (inbound). The kernel gives it to
//!    one of the [`workers`], each a thread with its own runtime and sockets ([`listener`]).
//! 2. [`connection`] owns it from here to its end. It asks for the original destination
//!    ([`original_dst`]), which at a transparent socket is the one it arrived at, and refuses the
//!    proxy itself ([`destination`]).
//! 3. [`outbound`] goes there as it is; [`inbound`] from 127.0.0.6 or ::6, which the redirect lets
//!    pass. [`connect`] bounds the wait and tells the causes of failure apart.
//! 4. [`tcp`] passes the bytes both ways, by splice where there are many, until each side is done.
//! 5. The [`ending`] is the one source of log, [`access_log`] and [`statistics`].
//!
//! With a bootstrap (`-c FILE`) the same bytes go another way, which the sidecar will take, too:
//!
//! 1. [`configuration`] reads the file, and [`snapshot`] compiles it, each part by the module that
//!    carries it out; [`compile`] keeps every fault. [`server`] puts it in force, and the next one.
//! 2. A worker of the [`plane`] accepts for a [`listener`]. [`downstream`] hands the connection to the
//!    listener of its original destination, has the [`inspector`] look at its first bytes, and finds
//!    its [`filter_chain`].
//! 3. [`tls`] decrypts it; [`network_filter`]s decide, of them [`authorization`] by policies.
//! 4. [`upstream`] asks the [`cluster`] for an endpoint and connects; [`dns`] and [`health_check`] keep
//!    the endpoints up to date.
//! 5. The end is counted in [`stats`] and written to the [`access_log`].
//!
//! Around it: [`sidecar`] starts, drains and ends the process; [`admin`] and [`health`] answer
//! operators, the kubelet and Prometheus from [`metrics`]; [`client`] asks them. On behalf of the
//! kubelet and of Prometheus the status port also asks the [`application`].

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
pub mod connection;
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
pub mod inbound;
pub mod inspector;
pub mod lifecycle;
pub mod listener;
pub mod matcher;
pub mod metrics;
pub mod network_filter;
pub mod original_dst;
pub mod outbound;
pub mod pace;
pub mod plane;
pub mod server;
pub mod sidecar;
pub mod snapshot;
pub mod socket_options;
pub mod statistics;
pub mod stats;
pub mod stream;
pub mod tcp;
pub mod threads;
pub mod tls;
pub mod upstream;
pub mod workers;

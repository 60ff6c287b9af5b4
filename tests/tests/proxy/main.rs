//! `fairlead-proxy` in real network namespaces: two pods with the redirect that `fairlead-init`
//! installs, applications of one user and the proxy of another.

mod bootstrap;
mod calls;
mod faults;
mod hostile;
mod incidents;
mod life;
mod pod;
mod probes;
mod reload;
mod tproxy;

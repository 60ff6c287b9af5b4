//! `fairlead-proxy` in real network namespaces: two pods with the redirect that `fairlead-init`
//! installs, applications of one user and the proxy of another.

mod calls;
mod faults;
mod life;
mod pod;
mod probes;
mod reload;
mod tproxy;

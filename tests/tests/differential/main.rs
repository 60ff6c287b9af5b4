//! The same bootstraps, run by Envoy and by Fairlead with the same clients and upstreams: what the
//! clients see, the access log and the statistics are equal, or the difference is declared.
//!
//! - [`harness`]: runs a case with either program and compares
//! - [`observation`]: what was seen, and how two of them differ
//! - [`differences`]: what is known to differ, and the table of it in the documentation
//! - [`script`]: what the cases are written with: clients, upstreams, name servers
//! - [`bootstrap`]: the texts of which bootstraps are put together
//! - [`certificates`]: who is who in TLS
//!
//! The second program is ours; with `FAIRLEAD_DIFFERENTIAL=envoy` it is Envoy again, which shows
//! that a case says the same twice.

mod bootstrap;
mod certificates;
mod differences;
mod harness;
mod observation;
mod script;

mod cases;

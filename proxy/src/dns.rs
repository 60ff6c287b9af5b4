//! Names → addresses, for the clusters that are given by names.
//!
//! [`settings`] says how names are asked for, [`refresh`] when again, and [`resolver`] asks.

pub mod refresh;
pub mod resolver;
pub mod settings;

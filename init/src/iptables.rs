//! Rules by the programs of iptables, in the nft variant and in the legacy one.
//!
//! - [`text`]: a rule as the words of `iptables-save`, and back
//! - [`installed`]: what a save says of a network namespace
//! - `legacy`: which tables the legacy variant has
//! - [`restore`]: from what is installed to what is wanted
//! - [`program`]: the programs, and what their complaints mean

pub mod installed;
pub(crate) mod legacy;
pub mod program;
pub mod restore;
pub mod text;

//! Rules by nftables' own program: three tables that both families share, replaced together.
//!
//! - [`listed`]: what a ruleset holds, whoever made it

pub mod listed;

pub use self::listed::{Hook, Listed, ListedChain, ListedTable};

//! The test kit: what the tests of several crates share. It knows no product crate.
//!
//! - [`kube`]: a real cluster with the chart installed
//! - [`netns`]: network namespaces with interfaces, users and processes
//! - [`binary()`]: finds the product's programs
//! - [`wait`]: waits on conditions, within a deadline

mod binary;
pub mod kube;
pub mod netns;
pub mod wait;

pub use self::binary::binary;

//! Builds, tests, demonstrates and measures Fairlead.
fn main() {}

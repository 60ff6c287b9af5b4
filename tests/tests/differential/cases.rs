//! The cases, by topic.

/// A test of this name: a bootstrap and a script.
macro_rules! case {
    ($name:ident, $bootstrap:expr, $script:expr $(,)?) => {
        #[test]
        #[ignore = "needs root"]
        fn $name() {
            $crate::harness::check(stringify!($name), &$bootstrap, $script);
        }
    };
}

mod clusters;
mod encryption;
mod faults;
mod filters;
mod listeners;
mod logs;
mod matches;
mod names;
mod proxying;

//! A rule as `iptables-save` prints it and `iptables-restore` takes it, and back.

mod parse;
mod render;

pub use self::{
    parse::{parse, words},
    render::specification,
};

#[cfg(test)]
mod tests;

//! Generated input for the readers of flags and of rules: none brings them down, and what they
//! accept is what was meant.

mod flags;
mod transitions;

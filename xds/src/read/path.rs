//! Where in a text a value stands; it is written only when there is something to tell.

use std::fmt;

/// A place, and through its parents all places above it.
#[derive(Clone, Copy)]
pub(super) enum Path<'a> {
    Root,
    Field(&'a Path<'a>, &'a str),
    Index(&'a Path<'a>, usize),
    Key(&'a Path<'a>, &'a str),
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Root => Ok(()),
            Self::Field(Self::Root, name) => f.write_str(name),
            Self::Field(parent, name) => write!(f, "{parent}.{name}"),
            Self::Index(parent, index) => write!(f, "{parent}[{index}]"),
            Self::Key(parent, key) => write!(f, "{parent}[\"{}\"]", key.escape_debug()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_reads_from_the_root_down() {
        let listeners = Path::Field(&Path::Root, "listeners");
        let listener = Path::Index(&listeners, 2);
        let metadata = Path::Field(&listener, "metadata");
        let key = Path::Key(&metadata, "a.b");
        assert_eq!(key.to_string(), "listeners[2].metadata[\"a.b\"]");
        assert_eq!(Path::Root.to_string(), "");
    }
}

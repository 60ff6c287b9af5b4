//! The protocols that a client offers to speak.

use std::fmt;

/// Names of application protocols in the client's order: what a ClientHello offers, or the one that
/// the first bytes show.
#[derive(Clone, Default, Eq, PartialEq)]
pub struct ApplicationProtocols(Names);

#[derive(Clone, Default, Eq, PartialEq)]
enum Names {
    #[default]
    None,
    Seen(&'static str),
    /// As in the ALPN extension: each name behind a byte that tells its length. One allocation holds
    /// all.
    Offered(Box<[u8]>),
}

impl ApplicationProtocols {
    /// The protocol that the first bytes show.
    pub fn seen(name: &'static str) -> Self {
        Self(Names::Seen(name))
    }

    /// The names of an ALPN extension, in the extension's own form, or nothing where that is broken.
    pub fn offered(list: &[u8]) -> Option<Self> {
        let mut rest = list;
        while !rest.is_empty() {
            let (name, after) = split(rest)?;
            if name.is_empty() {
                return None;
            }
            rest = after;
        }
        (!list.is_empty()).then(|| Self(Names::Offered(list.into())))
    }

    /// Each name, which need not be text.
    pub fn iter(&self) -> impl Iterator<Item = &[u8]> {
        let (seen, mut offered) = match &self.0 {
            Names::None => (None, &[] as &[u8]),
            Names::Seen(name) => (Some(name.as_bytes()), &[] as &[u8]),
            Names::Offered(list) => (None, &**list),
        };
        let offered = std::iter::from_fn(move || {
            let (name, after) = split(offered)?;
            offered = after;
            Some(name)
        });
        seen.into_iter().chain(offered)
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0 == Names::None
    }
}

/// The first name of the list, and what follows it.
fn split(list: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = list.split_first()?;
    rest.split_at_checked(usize::from(*length))
}

impl fmt::Display for ApplicationProtocols {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, name) in self.iter().enumerate() {
            let separator = if index == 0 { "" } else { "," };
            write!(f, "{separator}{}", name.escape_ascii())?;
        }
        Ok(())
    }
}

impl fmt::Debug for ApplicationProtocols {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{self}]")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offered_names_are_those_of_the_extension() {
        let offered = ApplicationProtocols::offered(b"\x02h2\x08http/1.1").unwrap();
        assert_eq!(
            offered.iter().collect::<Vec<_>>(),
            [&b"h2"[..], b"http/1.1"]
        );
        assert_eq!(offered.to_string(), "h2,http/1.1");
        assert!(!offered.is_empty());
    }

    #[test]
    fn a_broken_list_offers_nothing() {
        for list in [
            &b""[..],
            b"\x00",
            b"\x03h2",
            b"\x02h2\x00",
            b"\x02h2\x09http/1.1",
        ] {
            assert_eq!(ApplicationProtocols::offered(list), None, "{list:?}");
        }
    }

    #[test]
    fn what_is_seen_is_one_name() {
        let seen = ApplicationProtocols::seen("http/1.1");
        assert_eq!(seen.iter().collect::<Vec<_>>(), [b"http/1.1"]);
        assert_eq!(ApplicationProtocols::default().iter().next(), None);
        assert!(ApplicationProtocols::default().is_empty());
    }
}

//! An authority in a Secret's data.

use std::collections::BTreeMap;

use k8s_openapi::{ByteString, api::core::v1::Secret};

use super::authority::{Authority, ParseError};

/// The bundle of trusted authorities.
const BUNDLE: &str = "ca.crt";
/// The private key of the one that issues.
const KEY: &str = "ca.key";
/// The private key of its successor, while API servers learn to trust that.
const SUCCESSOR_KEY: &str = "next.key";

/// An operator asks for a new authority by giving this annotation another value.
const ROTATE_AUTHORITY: &str = "fairlead.io/rotate-authority";
/// The value of that one that was obeyed last.
const ROTATED_AUTHORITY: &str = "fairlead.io/rotated-authority";
/// An operator asks for new serving certificates by giving this annotation another value.
const ROTATE_LEAF: &str = "fairlead.io/rotate-leaf";

/// What a Secret holds.
#[derive(Debug)]
pub(super) enum Contents {
    /// Neither key: the chart made it so.
    Empty,
    /// An authority.
    Complete(Box<Stored>),
    /// Something that is none.
    Broken(BrokenError),
}

/// An authority with what belongs to it.
#[derive(Debug)]
pub(super) struct Stored {
    pub(super) authority: Authority,
    /// The one that is to take its place.
    pub(super) successor: Option<Authority>,
}

/// Why a Secret's data is not an authority.
#[derive(Debug, Eq, PartialEq, thiserror::Error)]
pub(super) enum BrokenError {
    #[error("{missing} is missing beside {present}")]
    Half {
        present: &'static str,
        missing: &'static str,
    },
    #[error("{0} is not text")]
    NotText(&'static str),
    #[error(transparent)]
    Parse(#[from] ParseError),
    #[error("{SUCCESSOR_KEY}: {0}")]
    Successor(ParseError),
}

impl Contents {
    /// Reads the data.
    pub(super) fn of(secret: &Secret) -> Self {
        match read(secret) {
            Ok(None) => Self::Empty,
            Ok(Some(stored)) => Self::Complete(Box::new(stored)),
            Err(error) => Self::Broken(error),
        }
    }
}

fn read(secret: &Secret) -> Result<Option<Stored>, BrokenError> {
    let value = |key| {
        let data = secret.data.as_ref().and_then(|data| data.get(key));
        data.filter(|bytes| !bytes.0.is_empty())
    };
    let (bundle, key) = match (value(BUNDLE), value(KEY)) {
        (None, None) => return Ok(None),
        (Some(bundle), Some(key)) => (text(BUNDLE, bundle)?, text(KEY, key)?),
        (Some(_), None) => {
            let (present, missing) = (BUNDLE, KEY);
            return Err(BrokenError::Half { present, missing });
        }
        (None, Some(_)) => {
            let (present, missing) = (KEY, BUNDLE);
            return Err(BrokenError::Half { present, missing });
        }
    };
    let authority = Authority::parse(&bundle, &key)?;
    let successor = value(SUCCESSOR_KEY)
        .map(|key| text(SUCCESSOR_KEY, key))
        .transpose()?
        .map(|key| Authority::parse(&bundle, &key))
        .transpose()
        .map_err(BrokenError::Successor)?;
    Ok(Some(Stored {
        authority,
        successor,
    }))
}

fn text(name: &'static str, bytes: &ByteString) -> Result<String, BrokenError> {
    String::from_utf8(bytes.0.clone()).map_err(|_| BrokenError::NotText(name))
}

/// The request for a new authority that nobody has obeyed yet.
pub(super) fn open_request(secret: &Secret) -> Option<&str> {
    let request = annotation(secret, ROTATE_AUTHORITY)?;
    (annotation(secret, ROTATED_AUTHORITY) != Some(request)).then_some(request)
}

/// The request for new serving certificates, obeyed or not.
pub(super) fn leaf_request(secret: &Secret) -> Option<&str> {
    annotation(secret, ROTATE_LEAF)
}

fn annotation<'a>(secret: &'a Secret, key: &str) -> Option<&'a str> {
    let annotations = secret.metadata.annotations.as_ref()?;
    annotations.get(key).map(String::as_str)
}

/// The Secret with an authority in it. Here as below everything else stays, the version that was read
/// above all: it makes the write fail if another replica was faster.
pub(super) fn with_authority(secret: &Secret, authority: &Authority) -> Secret {
    changed(
        secret,
        &[
            (BUNDLE, Some(&authority.bundle)),
            (KEY, Some(&authority.key)),
            (SUCCESSOR_KEY, None),
        ],
    )
}

/// The Secret with a successor, which is trusted and issues nothing yet; an open request is obeyed
/// by it.
pub(super) fn with_successor(secret: &Secret, successor: &Authority) -> Secret {
    let mut announced = changed(
        secret,
        &[
            (BUNDLE, Some(&successor.bundle)),
            (SUCCESSOR_KEY, Some(&successor.key)),
        ],
    );
    if let Some(request) = open_request(secret) {
        let annotations = announced.metadata.annotations.get_or_insert_default();
        annotations.insert(ROTATED_AUTHORITY.to_owned(), request.to_owned());
    }
    announced
}

/// The Secret with another bundle.
pub(super) fn with_bundle(secret: &Secret, bundle: &str) -> Secret {
    changed(secret, &[(BUNDLE, Some(bundle))])
}

fn changed(secret: &Secret, values: &[(&str, Option<&str>)]) -> Secret {
    let mut changed = secret.clone();
    let data = changed.data.get_or_insert_with(BTreeMap::new);
    for (key, value) in values {
        match value {
            Some(text) => data.insert((*key).to_owned(), ByteString(text.as_bytes().to_vec())),
            None => data.remove(*key),
        };
    }
    changed
}

#[cfg(test)]
mod tests {
    use time::OffsetDateTime;

    use super::*;

    fn secret(pairs: &[(&str, &str)]) -> Secret {
        let entry =
            |(key, text): &(&str, &str)| ((*key).to_owned(), ByteString(text.as_bytes().to_vec()));
        Secret {
            data: Some(pairs.iter().map(entry).collect()),
            ..Secret::default()
        }
    }

    #[test]
    fn a_secret_without_either_key_is_empty() {
        for empty in [
            Secret::default(),
            secret(&[]),
            secret(&[("ca.crt", ""), ("ca.key", "")]),
            secret(&[("other", "x")]),
        ] {
            assert!(matches!(Contents::of(&empty), Contents::Empty), "{empty:?}");
        }
    }

    #[test]
    fn what_is_written_is_read_back() {
        let authority = Authority::generate(OffsetDateTime::UNIX_EPOCH).unwrap();
        let filled = with_authority(&secret(&[("other", "x")]), &authority);
        let Contents::Complete(again) = Contents::of(&filled) else {
            panic!("{filled:?}");
        };
        assert_eq!(again.authority.bundle, authority.bundle);
        assert!(again.successor.is_none());
        assert!(filled.data.unwrap().contains_key("other"));
    }

    #[test]
    fn half_an_authority_is_broken() {
        let authority = Authority::generate(OffsetDateTime::UNIX_EPOCH).unwrap();
        for (pairs, part) in [
            (
                vec![("ca.crt", authority.bundle.as_str())],
                "ca.key is missing",
            ),
            (
                vec![("ca.key", authority.key.as_str())],
                "ca.crt is missing",
            ),
            (vec![("ca.crt", "x"), ("ca.key", "y")], "PEM certificate"),
            (
                vec![
                    ("ca.crt", authority.bundle.as_str()),
                    ("ca.key", authority.key.as_str()),
                    ("next.key", "z"),
                ],
                "next.key: the key",
            ),
        ] {
            let Contents::Broken(error) = Contents::of(&secret(&pairs)) else {
                panic!("{pairs:?}");
            };
            assert!(error.to_string().contains(part), "{error}");
        }
    }

    #[test]
    fn a_successor_is_announced_and_then_takes_the_place() {
        let now = OffsetDateTime::UNIX_EPOCH;
        let first = Authority::generate(now).unwrap();
        let mut filled = with_authority(&secret(&[]), &first);
        let annotations = filled.metadata.annotations.get_or_insert_default();
        annotations.insert(ROTATE_AUTHORITY.to_owned(), "today".to_owned());
        assert_eq!(open_request(&filled), Some("today"));

        let successor = first.successor(now).unwrap();
        let announced = with_successor(&filled, &successor);
        assert_eq!(open_request(&announced), None);
        let Contents::Complete(stored) = Contents::of(&announced) else {
            panic!("{announced:?}");
        };
        assert_eq!(stored.authority.certificate.der, first.certificate.der);
        assert_eq!(stored.authority.bundle, successor.bundle);
        let next = stored.successor.unwrap();
        assert_eq!(next.certificate.der, successor.certificate.der);

        let promoted = with_authority(&announced, &next);
        let Contents::Complete(stored) = Contents::of(&promoted) else {
            panic!("{promoted:?}");
        };
        assert_eq!(stored.authority.certificate.der, successor.certificate.der);
        assert_eq!(stored.authority.bundle, successor.bundle);
        assert!(stored.successor.is_none());
    }

    #[test]
    fn a_request_is_open_until_its_value_was_obeyed() {
        for (request, obeyed, open) in [
            (None, None, None),
            (None, Some("a"), None),
            (Some("a"), None, Some("a")),
            (Some("a"), Some("a"), None),
            (Some("b"), Some("a"), Some("b")),
        ] {
            let mut asked = secret(&[]);
            let annotations = asked.metadata.annotations.get_or_insert_default();
            for (key, value) in [(ROTATE_AUTHORITY, request), (ROTATED_AUTHORITY, obeyed)] {
                if let Some(value) = value {
                    annotations.insert(key.to_owned(), value.to_owned());
                }
            }
            assert_eq!(open_request(&asked), open);
        }
    }
}

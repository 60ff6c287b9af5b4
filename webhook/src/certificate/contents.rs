//! An authority in a Secret's data.

use std::collections::BTreeMap;

use k8s_openapi::{ByteString, api::core::v1::Secret};

use super::authority::{Authority, ParseError};

/// The bundle of trusted authorities.
const BUNDLE: &str = "ca.crt";
/// The private key of the first of them.
const KEY: &str = "ca.key";

/// What a Secret holds.
#[derive(Debug)]
pub(super) enum Contents {
    /// Neither key: the chart made it so.
    Empty,
    /// An authority.
    Complete(Box<Authority>),
    /// Something that is none.
    Broken(BrokenError),
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
}

impl Contents {
    /// Reads the data.
    pub(super) fn of(secret: &Secret) -> Self {
        match read(secret) {
            Ok(None) => Self::Empty,
            Ok(Some(authority)) => Self::Complete(Box::new(authority)),
            Err(error) => Self::Broken(error),
        }
    }
}

fn read(secret: &Secret) -> Result<Option<Authority>, BrokenError> {
    let value = |key| {
        let data = secret.data.as_ref().and_then(|data| data.get(key));
        data.filter(|bytes| !bytes.0.is_empty())
    };
    let (bundle, key) = match (value(BUNDLE), value(KEY)) {
        (None, None) => return Ok(None),
        (Some(bundle), Some(key)) => (bundle, key),
        (Some(_), None) => {
            let (present, missing) = (BUNDLE, KEY);
            return Err(BrokenError::Half { present, missing });
        }
        (None, Some(_)) => {
            let (present, missing) = (KEY, BUNDLE);
            return Err(BrokenError::Half { present, missing });
        }
    };
    let text = |name, bytes: &ByteString| {
        String::from_utf8(bytes.0.clone()).map_err(|_| BrokenError::NotText(name))
    };
    Ok(Some(Authority::parse(
        &text(BUNDLE, bundle)?,
        &text(KEY, key)?,
    )?))
}

/// The Secret with an authority in it; everything else stays, the version that was read above all:
/// it makes the write fail if another replica was faster.
pub(super) fn with_authority(secret: &Secret, authority: &Authority) -> Secret {
    let mut filled = secret.clone();
    let data = filled.data.get_or_insert_with(BTreeMap::new);
    for (key, text) in [(BUNDLE, &authority.bundle), (KEY, &authority.key)] {
        data.insert(key.to_owned(), ByteString(text.clone().into_bytes()));
    }
    filled
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
        assert_eq!(again.bundle, authority.bundle);
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
        ] {
            let Contents::Broken(error) = Contents::of(&secret(&pairs)) else {
                panic!("{pairs:?}");
            };
            assert!(error.to_string().contains(part), "{error}");
        }
    }
}

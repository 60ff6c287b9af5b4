//! Metadata of what is configured, which access logs seldom ask for.

use std::{
    fmt,
    sync::{Arc, OnceLock},
};

use fairlead_xds::{envoy::config::core, prost::Message};

use super::{Metadata, metadata};

/// The metadata of a cluster, a listener or a filter chain: small as long as no log asks for it.
#[derive(Clone)]
pub struct KeptMetadata(Arc<Kept>);

struct Kept {
    encoded: Box<[u8]>,
    decoded: OnceLock<Metadata>,
}

impl KeptMetadata {
    /// Keeps what the message has of it; none if that is nothing.
    pub fn of(message: Option<&core::v3::Metadata>) -> Option<Self> {
        let message = message.filter(|message| !message.filter_metadata.is_empty())?;
        let kept = core::v3::Metadata {
            filter_metadata: message.filter_metadata.clone(),
            ..core::v3::Metadata::default()
        };
        Some(Self(Arc::new(Kept {
            encoded: kept.encode_to_vec().into(),
            decoded: OnceLock::new(),
        })))
    }

    /// The values.
    pub fn values(&self) -> &Metadata {
        self.0.decoded.get_or_init(|| {
            // It was encoded above.
            core::v3::Metadata::decode(&*self.0.encoded)
                .map(|message| metadata(&message))
                .unwrap_or_default()
        })
    }
}

#[cfg(test)]
impl From<Metadata> for KeptMetadata {
    fn from(values: Metadata) -> Self {
        Self(Arc::new(Kept {
            encoded: Box::default(),
            decoded: OnceLock::from(values),
        }))
    }
}

impl fmt::Debug for KeptMetadata {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("KeptMetadata").field(self.values()).finish()
    }
}

#[cfg(test)]
mod tests {
    use fairlead_xds::google::protobuf::{Struct, Value, value::Kind};

    use super::*;

    #[test]
    fn values_are_there_when_they_are_asked_for() {
        assert!(KeptMetadata::of(None).is_none());
        let empty = core::v3::Metadata::default();
        assert!(KeptMetadata::of(Some(&empty)).is_none());
        let value = Value {
            kind: Some(Kind::StringValue("value".to_owned())),
        };
        let own = Struct {
            fields: [("key".to_owned(), value)].into(),
        };
        let message = core::v3::Metadata {
            filter_metadata: [("own".to_owned(), own)].into(),
            ..core::v3::Metadata::default()
        };
        let kept = KeptMetadata::of(Some(&message)).unwrap();
        assert_eq!(kept.values()["own"]["key"], "value");
    }
}

//! The bootstrap in force, for operators.

use std::{
    fmt,
    io::Write,
    sync::{Arc, Mutex, PoisonError},
    time::SystemTime,
};

use fairlead_xds::{
    bootstrap::{Pieces, pieces},
    prost::bytes::Bytes,
};
use flate2::{
    Compression,
    write::{DeflateDecoder, DeflateEncoder},
};

/// A bootstrap that is seldom looked at: encoded and compressed, it takes a hundredth of the memory that
/// it takes decoded.
pub struct KeptBootstrap(Mutex<(Arc<[u8]>, SystemTime)>);

/// It may hold keys.
impl fmt::Debug for KeptBootstrap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeptBootstrap").finish_non_exhaustive()
    }
}

impl KeptBootstrap {
    /// Keeps this one.
    pub fn new(bootstrap: &Pieces) -> Self {
        Self(Mutex::new((packed(bootstrap), SystemTime::now())))
    }

    /// Keeps another one from now on.
    pub fn replace(&self, bootstrap: &Pieces) {
        let next = (packed(bootstrap), SystemTime::now());
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = next;
    }

    /// When this one came.
    pub fn since(&self) -> SystemTime {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).1
    }

    /// Its listeners, clusters and secrets one by one as they are encoded, and the rest of it.
    pub fn pieces(&self) -> Pieces {
        pieces(&self.encoded()).expect("what is kept was a bootstrap")
    }

    /// Its encoded form.
    pub fn encoded(&self) -> Bytes {
        let packed = self
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .0
            .clone();
        let mut decoder = DeflateDecoder::new(Vec::new());
        let unpacked = decoder
            .write_all(&packed)
            .and_then(|()| decoder.finish())
            .expect("what is kept was compressed here");
        unpacked.into()
    }
}

fn packed(bootstrap: &Pieces) -> Arc<[u8]> {
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::fast());
    // In small parts: a buffer for all of it would leave a hole of its size in the heap.
    let packed = bootstrap
        .encoded()
        .try_for_each(|part| encoder.write_all(&part))
        .and_then(|()| encoder.finish())
        .expect("a vector takes whatever is written");
    packed.into()
}

#[cfg(test)]
mod tests {
    use fairlead_xds::{
        envoy::config::{
            bootstrap::v3::{Bootstrap, bootstrap::StaticResources},
            cluster::v3::Cluster,
        },
        prost::Message,
    };

    use super::*;

    fn bootstrap(clusters: usize) -> Bootstrap {
        let clusters = (0..clusters).map(|index| Cluster {
            name: format!("outbound|80||service-{index}.shop.svc.cluster.local"),
            ..Cluster::default()
        });
        Bootstrap {
            static_resources: Some(StaticResources {
                clusters: clusters.collect(),
                ..StaticResources::default()
            }),
            ..Bootstrap::default()
        }
    }

    fn in_pieces(bootstrap: &Bootstrap) -> Pieces {
        pieces(&bootstrap.encode_to_vec().into()).expect("a bootstrap")
    }

    #[test]
    fn what_is_kept_comes_back_whole_and_in_pieces() {
        let kept = KeptBootstrap::new(&Pieces::default());
        assert_eq!(kept.pieces(), Pieces::default());
        let next = bootstrap(1_000);
        kept.replace(&in_pieces(&next));
        assert_eq!(Bootstrap::decode(kept.encoded()), Ok(next));
        assert_eq!(kept.pieces().clusters.len(), 1_000);
    }

    #[test]
    fn what_is_kept_of_a_cluster_is_less_than_its_name() {
        let kept = KeptBootstrap::new(&in_pieces(&bootstrap(1_000)));
        assert!(kept.0.lock().expect("nothing panics here").0.len() < 20_000);
    }
}

//! Which cluster a connection is sent to.

use fairlead_xds::envoy::{
    config::core::v3::Metadata as MetadataMessage,
    extensions::filters::network::tcp_proxy::v3::{
        TcpProxy as Message,
        tcp_proxy::{ClusterSpecifier, WeightedCluster, weighted_cluster::ClusterWeight},
    },
};

use crate::{cluster::metadata::Metadata, compile::At};

/// The filter whose metadata balancers look at.
const LOAD_BALANCER: &str = "envoy.lb";

/// What connections may be sent to.
#[derive(Clone, Debug)]
pub struct Clusters {
    chosen_by: ChosenBy,
    metadata_match: Metadata,
}

#[derive(Clone, Debug)]
enum ChosenBy {
    /// Nothing: there is one. Its name may be empty where another filter says the cluster.
    Name(Box<str>),
    /// Chance.
    Weight {
        clusters: Box<[Weighted]>,
        total: u64,
    },
}

#[derive(Clone, Debug)]
struct Weighted {
    name: Box<str>,
    weight: u32,
    /// With the filter's own; none if the cluster adds nothing to it.
    metadata_match: Option<Box<Metadata>>,
}

/// The cluster of a connection.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ClusterChoice<'a> {
    /// The cluster's name. It is empty if neither the configuration nor another filter said any, and
    /// then there is no such cluster.
    pub name: &'a str,
    /// What its endpoint's metadata must say.
    pub metadata_match: &'a Metadata,
}

impl Clusters {
    pub(super) fn compile(at: &At<'_>, message: &Message) -> Option<Self> {
        let metadata_match = of_load_balancer(message.metadata_match.as_ref());
        let specifier = message.cluster_specifier.as_ref();
        let chosen_by = match at.required("cluster_specifier", specifier)? {
            ClusterSpecifier::Cluster(name) => ChosenBy::Name(name.as_str().into()),
            ClusterSpecifier::WeightedClusters(clusters) => {
                weighted(&at.field("weighted_clusters"), clusters, &metadata_match)?
            }
        };
        Some(Self {
            chosen_by,
            metadata_match,
        })
    }

    /// The names of all, in the order of the configuration.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        let (one, several) = match &self.chosen_by {
            ChosenBy::Name(name) => ((!name.is_empty()).then_some(&**name), &[][..]),
            ChosenBy::Weight { clusters, .. } => (None, &**clusters),
        };
        one.into_iter()
            .chain(several.iter().map(|cluster| &*cluster.name))
    }

    /// As in Envoy, weights go before what another filter said.
    pub(super) fn choose<'a>(
        &'a self,
        of_filter: Option<&'a str>,
        random: u64,
    ) -> ClusterChoice<'a> {
        let (name, own) = match &self.chosen_by {
            ChosenBy::Name(name) => (of_filter.unwrap_or(name), None),
            ChosenBy::Weight { clusters, total } => {
                let cluster = by_weight(clusters, random % total);
                (&*cluster.name, cluster.metadata_match.as_deref())
            }
        };
        ClusterChoice {
            name,
            metadata_match: own.unwrap_or(&self.metadata_match),
        }
    }
}

/// What the metadata says to balancers; nothing if it says nothing to them.
fn of_load_balancer(metadata: Option<&MetadataMessage>) -> Metadata {
    let metadata = metadata.and_then(|metadata| metadata.filter_metadata.get(LOAD_BALANCER));
    metadata.map(Metadata::new).unwrap_or_default()
}

/// The cluster in whose part of the whole the number is.
fn by_weight(clusters: &[Weighted], number: u64) -> &Weighted {
    let mut end = 0;
    let chosen = clusters.iter().find(|cluster| {
        end += u64::from(cluster.weight);
        number < end
    });
    chosen.expect("the number is less than the sum of the weights")
}

fn weighted(at: &At<'_>, message: &WeightedCluster, of_filter: &Metadata) -> Option<ChosenBy> {
    let WeightedCluster { clusters: asked } = message;
    if asked.is_empty() {
        return at.field("clusters").fault("is empty");
    }
    let clusters = at.each("clusters", asked, |at, message| {
        let ClusterWeight {
            name,
            weight,
            metadata_match,
        } = message;
        let mut sound = true;
        if name.is_empty() {
            at.field("name").fault::<()>("is empty");
            sound = false;
        }
        if *weight == 0 {
            at.field("weight").fault::<()>("must be at least 1");
            sound = false;
        }
        let own = of_load_balancer(metadata_match.as_ref());
        sound.then(|| Weighted {
            name: name.as_str().into(),
            weight: *weight,
            metadata_match: (!own.is_empty()).then(|| of_filter.merged(&own).into()),
        })
    });
    // The weights of all, each of 32 bits, are as many as fit into memory: no overflow.
    let total = clusters
        .iter()
        .map(|cluster| u64::from(cluster.weight))
        .sum();
    (clusters.len() == asked.len()).then(|| ChosenBy::Weight {
        clusters: clusters.into(),
        total,
    })
}

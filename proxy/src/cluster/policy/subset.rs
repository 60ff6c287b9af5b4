//! Subsets: endpoints that have the metadata that a route asks for.

use std::collections::BTreeSet;

use fairlead_xds::{
    envoy::{
        config::cluster::v3::cluster::{
            LbSubsetConfig, lb_subset_config::LbSubsetSelector as LegacySelector,
        },
        extensions::load_balancing_policies::subset::v3::{
            Subset,
            subset::{
                LbSubsetFallbackPolicy, LbSubsetMetadataFallbackPolicy, LbSubsetSelector,
                lb_subset_selector::LbSubsetSelectorFallbackPolicy,
            },
        },
    },
    google::protobuf,
};

use crate::{cluster::metadata::Metadata, compile::At};

/// How subsets are made, and what is done without one.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct SubsetConfig {
    /// What is done where no subset has the metadata.
    pub fallback: Fallback,
    /// The metadata of the default subset.
    pub default_subset: Metadata,
    /// By which keys there are subsets.
    pub selectors: Box<[Selector]>,
    /// A route may ask for more keys than a selector has.
    pub allow_redundant_keys: bool,
    /// Localities have their weights in subsets, too.
    pub locality_weight_aware: bool,
    /// The weight of a locality shrinks with the part of it that is in the subset.
    pub scale_locality_weight: bool,
    /// Any endpoint is chosen where even the fallback has none.
    pub panic_mode_any: bool,
    /// A list in an endpoint's metadata is each of its values.
    pub list_as_any: bool,
    /// Routes say in `fallback_list` what else is tried.
    pub fallback_list: bool,
}

/// What is done where no subset has the metadata.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Fallback {
    /// Nobody is chosen.
    #[default]
    No,
    /// Any endpoint is.
    Any,
    /// One of the default subset is.
    Default,
}

/// By which keys there are subsets.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Selector {
    /// The keys, sorted.
    pub keys: Box<[Box<str>]>,
    /// A subset has one endpoint only.
    pub single_host: bool,
    /// What is done where no subset has the metadata, if otherwise than elsewhere.
    pub fallback: Option<SelectorFallback>,
}

/// As [`Fallback`], and more.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum SelectorFallback {
    /// As everywhere, but said here.
    To(Fallback),
    /// The route's metadata is looked for again, with these keys only.
    Keys(Box<[Box<str>]>),
}

/// What both spellings have, but for their selectors.
struct Parts<'a> {
    fallback_policy: i32,
    default_subset: Option<&'a protobuf::Struct>,
    allow_redundant_keys: bool,
    locality_weight_aware: bool,
    scale_locality_weight: bool,
    panic_mode_any: bool,
    list_as_any: bool,
    metadata_fallback_policy: i32,
}

type Compiled = Option<Option<Box<SubsetConfig>>>;

/// `lb_subset_config`.
pub(super) fn legacy(at: &At<'_>, message: &LbSubsetConfig, locality_weighted: bool) -> Compiled {
    let LbSubsetConfig {
        fallback_policy,
        default_subset,
        subset_selectors,
        locality_weight_aware,
        scale_locality_weight,
        panic_mode_any,
        list_as_any,
        metadata_fallback_policy,
    } = message;
    let parts = Parts {
        fallback_policy: *fallback_policy,
        default_subset: default_subset.as_ref(),
        allow_redundant_keys: false,
        locality_weight_aware: *locality_weight_aware,
        scale_locality_weight: *scale_locality_weight,
        panic_mode_any: *panic_mode_any,
        list_as_any: *list_as_any,
        metadata_fallback_policy: *metadata_fallback_policy,
    };
    let selectors = at.each("subset_selectors", subset_selectors, |at, message| {
        // The numbers are the same in both spellings.
        let LegacySelector {
            keys,
            single_host_per_subset,
            fallback_policy,
            fallback_keys_subset,
        } = message;
        let message = LbSubsetSelector {
            keys: keys.clone(),
            single_host_per_subset: *single_host_per_subset,
            fallback_policy: *fallback_policy,
            fallback_keys_subset: fallback_keys_subset.clone(),
        };
        selector(at, &message)
    });
    if selectors.len() != subset_selectors.len() {
        whole(at, &parts, Vec::new(), locality_weighted);
        return None;
    }
    // Without selectors there are no subsets in this spelling.
    let enabled = !selectors.is_empty();
    let compiled = whole(at, &parts, selectors, locality_weighted)?;
    Some(compiled.filter(|_| enabled))
}

/// The extension.
pub(super) fn extension(at: &At<'_>, message: &Subset, locality_weighted: bool) -> Compiled {
    let Subset {
        fallback_policy,
        default_subset,
        subset_selectors,
        allow_redundant_keys,
        locality_weight_aware,
        scale_locality_weight,
        panic_mode_any,
        list_as_any,
        metadata_fallback_policy,
        // Compiled by the caller.
        subset_lb_policy: _,
    } = message;
    let parts = Parts {
        fallback_policy: *fallback_policy,
        default_subset: default_subset.as_ref(),
        allow_redundant_keys: *allow_redundant_keys,
        locality_weight_aware: *locality_weight_aware,
        scale_locality_weight: *scale_locality_weight,
        panic_mode_any: *panic_mode_any,
        list_as_any: *list_as_any,
        metadata_fallback_policy: *metadata_fallback_policy,
    };
    let selectors = at.each("subset_selectors", subset_selectors, selector);
    if selectors.len() != subset_selectors.len() {
        whole(at, &parts, Vec::new(), locality_weighted);
        return None;
    }
    whole(at, &parts, selectors, locality_weighted)
}

fn whole(
    at: &At<'_>,
    parts: &Parts<'_>,
    selectors: Vec<Selector>,
    locality_weighted: bool,
) -> Compiled {
    let number = parts.fallback_policy;
    let fallback = match LbSubsetFallbackPolicy::try_from(number) {
        Ok(LbSubsetFallbackPolicy::NoFallback) => Some(Fallback::No),
        Ok(LbSubsetFallbackPolicy::AnyEndpoint) => Some(Fallback::Any),
        Ok(LbSubsetFallbackPolicy::DefaultSubset) => Some(Fallback::Default),
        Err(_) => at
            .field("fallback_policy")
            .fault(format!("{number} is no known policy")),
    };
    let number = parts.metadata_fallback_policy;
    let fallback_list = match LbSubsetMetadataFallbackPolicy::try_from(number) {
        Ok(LbSubsetMetadataFallbackPolicy::MetadataNoFallback) => Some(false),
        Ok(LbSubsetMetadataFallbackPolicy::FallbackList) => Some(true),
        Err(_) => at
            .field("metadata_fallback_policy")
            .fault(format!("{number} is no known policy")),
    };
    if parts.locality_weight_aware && !locality_weighted {
        return at
            .field("locality_weight_aware")
            .fault("needs load balancing by locality_weighted_lb_config");
    }
    let (fallback, fallback_list) = (fallback?, fallback_list?);
    Some(Some(Box::new(SubsetConfig {
        fallback,
        default_subset: parts.default_subset.map(Metadata::new).unwrap_or_default(),
        selectors: selectors.into(),
        allow_redundant_keys: parts.allow_redundant_keys,
        locality_weight_aware: parts.locality_weight_aware,
        scale_locality_weight: parts.scale_locality_weight,
        panic_mode_any: parts.panic_mode_any,
        list_as_any: parts.list_as_any,
        fallback_list,
    })))
}

fn selector(at: &At<'_>, message: &LbSubsetSelector) -> Option<Selector> {
    use LbSubsetSelectorFallbackPolicy as Policy;
    let LbSubsetSelector {
        keys,
        single_host_per_subset,
        fallback_policy,
        fallback_keys_subset,
    } = message;
    let sorted = |keys: &[String]| -> BTreeSet<Box<str>> {
        keys.iter().map(|key| key.as_str().into()).collect()
    };
    let keys = sorted(keys);
    if keys.is_empty() {
        return at.field("keys").fault("is empty");
    }
    if *single_host_per_subset && keys.len() != 1 {
        return at
            .field("single_host_per_subset")
            .fault("needs a selector of exactly one key");
    }
    let policy = Policy::try_from(*fallback_policy);
    let at_keys = at.field("fallback_keys_subset");
    if policy != Ok(Policy::KeysSubset) && !fallback_keys_subset.is_empty() {
        return at_keys.fault("needs the fallback policy KEYS_SUBSET");
    }
    let fallback = match policy {
        Ok(Policy::NotDefined) => None,
        Ok(Policy::NoFallback) => Some(SelectorFallback::To(Fallback::No)),
        Ok(Policy::AnyEndpoint) => Some(SelectorFallback::To(Fallback::Any)),
        Ok(Policy::DefaultSubset) => Some(SelectorFallback::To(Fallback::Default)),
        Ok(Policy::KeysSubset) => {
            let fewer = sorted(fallback_keys_subset);
            if fewer.is_empty() {
                return at_keys.fault("is empty, though the fallback policy is KEYS_SUBSET");
            }
            if let Some(other) = fewer.iter().find(|key| !keys.contains(*key)) {
                return at_keys.fault(format!("'{other}' is not one of the keys"));
            }
            if fewer == keys {
                return at_keys.fault("has all of the keys; at least one must be missing");
            }
            Some(SelectorFallback::Keys(fewer.into_iter().collect()))
        }
        Err(_) => {
            return at
                .field("fallback_policy")
                .fault(format!("{fallback_policy} is no known policy"));
        }
    };
    Some(Selector {
        keys: keys.into_iter().collect(),
        single_host: *single_host_per_subset,
        fallback,
    })
}

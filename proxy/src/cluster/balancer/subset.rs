//! The choice among endpoints that have the metadata that a route asks for.

use std::{collections::BTreeSet, sync::Arc};

use super::{
    Choice, Chosen, SubsetUse,
    group::{Group, Localities},
};
use crate::cluster::{
    endpoint::Endpoint,
    endpoint_set::EndpointSet,
    metadata::{Metadata, Value},
    policy::{BalancerConfig, Fallback, Selector, SelectorFallback, SubsetConfig},
};

/// The key whose value is a list of what else is tried.
const FALLBACK_LIST: &str = "fallback_list";

/// The subsets of a cluster.
#[derive(Debug)]
pub(super) struct Subsets {
    by_selector: Box<[BySelector]>,
    /// The default subset, made when needed.
    default: Option<Group>,
    /// Any endpoint is in the default subset.
    default_exists: bool,
}

/// A subset by the selector that makes it and the values that its endpoints have.
pub type SubsetName = (usize, Box<[Value]>);

/// All subsets that the endpoints make.
pub fn names(config: &SubsetConfig, set: &EndpointSet) -> BTreeSet<SubsetName> {
    let selectors = config.selectors.iter().enumerate();
    let names = selectors.flat_map(|(index, selector)| {
        let endpoints = set.endpoints();
        let values = endpoints
            .flat_map(|endpoint| combinations(endpoint, &selector.keys, config.list_as_any));
        values.map(move |values| (index, values))
    });
    names.collect()
}

/// The subsets that one selector makes, sorted by their values.
#[derive(Debug)]
struct BySelector {
    subsets: Box<[Subset]>,
}

#[derive(Debug)]
struct Subset {
    /// The values of the selector's keys, in the order of the keys.
    values: Box<[Value]>,
    /// The one endpoint that counts, where there is to be one only.
    single: Option<Arc<Endpoint>>,
    /// Made when needed.
    group: Option<Group>,
}

/// What a search for a subset came to.
enum Found {
    /// The subset of this selector at this place.
    Subset(usize, usize),
    /// A selector has these keys, but no endpoint the values.
    Selector(usize),
    Nothing,
}

impl Subsets {
    pub(super) fn new(config: &SubsetConfig, set: &EndpointSet) -> Self {
        let by_selector = config.selectors.iter();
        let by_selector = by_selector.map(|one| BySelector::new(one, config.list_as_any, set));
        let is_default = |endpoint: &Arc<Endpoint>| {
            let metadata = &endpoint.attributes.metadata;
            config
                .default_subset
                .is_part_of(metadata, config.list_as_any)
        };
        Self {
            by_selector: by_selector.collect(),
            default: None,
            default_exists: set.endpoints().any(is_default),
        }
    }

    /// The endpoint whose turn it is. `whole` is the group of all endpoints, made when needed.
    pub(super) fn choose(
        &mut self,
        config: &BalancerConfig,
        set: &EndpointSet,
        whole: &mut Option<Group>,
        choice: &Choice<'_>,
        rng: &mut fastrand::Rng,
    ) -> Chosen {
        let Some(subsets) = config.subsets.as_deref() else {
            return Chosen::default();
        };
        let mut search = Search {
            config,
            subsets,
            set,
            whole,
            of: self,
        };
        let wanted = choice.metadata_match;
        let listed = wanted.filter(|_| subsets.fallback_list);
        let Some((wanted, Value::List(list))) =
            listed.and_then(|wanted| Some((wanted, wanted.get(FALLBACK_LIST)?)))
        else {
            return search.choose(wanted, choice, rng);
        };
        // Allocates; nobody else asks for it.
        let base = wanted.filtered(|key| key != FALLBACK_LIST);
        let mut chosen = Chosen::default();
        for variant in list {
            let Value::Struct(variant) = variant else {
                continue;
            };
            chosen = search.choose(Some(&base.merged(variant)), choice, rng);
            if chosen.endpoint.is_some() {
                break;
            }
        }
        chosen
    }

    /// Where the subset is that has what is wanted.
    fn find(&self, config: &SubsetConfig, wanted: &Metadata) -> Found {
        let mut found = Found::Nothing;
        for (index, selector) in config.selectors.iter().enumerate() {
            if !selector.is_asked_for(wanted, config.allow_redundant_keys) {
                continue;
            }
            let subsets = &self.by_selector[index].subsets;
            let place = subsets.binary_search_by(|subset| {
                let wanted = selector.keys.iter().map(|key| wanted.get(key));
                subset.values.iter().map(Some).cmp(wanted)
            });
            match place {
                Ok(place) => return Found::Subset(index, place),
                Err(_) if matches!(found, Found::Nothing) => found = Found::Selector(index),
                Err(_) => {}
            }
        }
        found
    }
}

/// One search: what it goes by, and where it looks.
struct Search<'a> {
    config: &'a BalancerConfig,
    subsets: &'a SubsetConfig,
    set: &'a EndpointSet,
    whole: &'a mut Option<Group>,
    of: &'a mut Subsets,
}

impl Search<'_> {
    fn choose(
        &mut self,
        wanted: Option<&Metadata>,
        choice: &Choice<'_>,
        rng: &mut fastrand::Rng,
    ) -> Chosen {
        let found = match wanted {
            Some(wanted) => self.of.find(self.subsets, wanted),
            None => Found::Nothing,
        };
        match found {
            Found::Subset(selector, place) => {
                let mut chosen = self.in_subset(selector, place, choice, rng);
                chosen.subset = SubsetUse::Selected;
                chosen
            }
            Found::Selector(selector) => match &self.subsets.selectors[selector].fallback {
                Some(SelectorFallback::To(fallback)) => self.fall_back(*fallback, choice, rng),
                Some(SelectorFallback::Keys(keys)) => {
                    // Allocates; each step has fewer keys than the one before.
                    let fewer = wanted.map(|wanted| {
                        wanted.filtered(|key| keys.iter().any(|kept| **kept == *key))
                    });
                    self.choose(fewer.as_ref(), choice, rng)
                }
                None => self.fall_back(self.subsets.fallback, choice, rng),
            },
            Found::Nothing => self.fall_back(self.subsets.fallback, choice, rng),
        }
    }

    fn in_subset(
        &mut self,
        selector: usize,
        place: usize,
        choice: &Choice<'_>,
        rng: &mut fastrand::Rng,
    ) -> Chosen {
        let (config, subsets, set) = (self.config, self.subsets, self.set);
        let subset = &mut self.of.by_selector[selector].subsets[place];
        let Subset {
            values,
            single,
            group,
        } = subset;
        let group = group.get_or_insert_with(|| {
            if let Some(endpoint) = single {
                return Group::single(config, set, endpoint);
            }
            let keys = &subsets.selectors[selector].keys;
            Group::part(
                config,
                set,
                |endpoint| has(endpoint, keys, values, subsets.list_as_any),
                localities(config, subsets),
            )
        });
        group.choose(config, choice, rng)
    }

    fn fall_back(
        &mut self,
        fallback: Fallback,
        choice: &Choice<'_>,
        rng: &mut fastrand::Rng,
    ) -> Chosen {
        let (config, subsets, set) = (self.config, self.subsets, self.set);
        let mut chosen = match fallback {
            Fallback::No => return Chosen::default(),
            Fallback::Any => self.any(choice, rng),
            Fallback::Default if self.of.default_exists => {
                let group = self.of.default.get_or_insert_with(|| {
                    let accepts = |endpoint: &Endpoint| {
                        let metadata = &endpoint.attributes.metadata;
                        subsets
                            .default_subset
                            .is_part_of(metadata, subsets.list_as_any)
                    };
                    Group::part(config, set, accepts, localities(config, subsets))
                });
                group.choose(config, choice, rng)
            }
            Fallback::Default => Chosen::default(),
        };
        if chosen.endpoint.is_some() {
            chosen.subset = SubsetUse::Fallback;
        } else if subsets.panic_mode_any {
            chosen = self.any(choice, rng);
            chosen.subset = SubsetUse::FallbackPanic;
        }
        chosen
    }

    fn any(&mut self, choice: &Choice<'_>, rng: &mut fastrand::Rng) -> Chosen {
        let (config, set) = (self.config, self.set);
        let whole = self.whole.get_or_insert_with(|| Group::whole(config, set));
        whole.choose(config, choice, rng)
    }
}

/// How the weights of localities count in subsets.
fn localities(config: &BalancerConfig, subsets: &SubsetConfig) -> Localities {
    match (
        config.locality_weighted && subsets.locality_weight_aware,
        subsets.scale_locality_weight,
    ) {
        (false, _) => Localities::Equal,
        (true, false) => Localities::Weighted,
        (true, true) => Localities::Scaled,
    }
}

impl BySelector {
    fn new(selector: &Selector, list_as_any: bool, set: &EndpointSet) -> Self {
        let mut subsets: Vec<Subset> = Vec::new();
        for endpoint in set.endpoints() {
            for values in combinations(endpoint, &selector.keys, list_as_any) {
                subsets.push(Subset {
                    values,
                    single: selector.single_host.then(|| Arc::clone(endpoint)),
                    group: None,
                });
            }
        }
        // Stable: of several endpoints with the same values the first stays.
        subsets.sort_by(|left, right| left.values.cmp(&right.values));
        subsets.dedup_by(|later, first| later.values == first.values);
        Self {
            subsets: subsets.into(),
        }
    }
}

/// All values that the endpoint has for these keys; none if it lacks a key.
fn combinations(endpoint: &Endpoint, keys: &[Box<str>], list_as_any: bool) -> Vec<Box<[Value]>> {
    let mut combinations: Vec<Vec<Value>> = vec![Vec::with_capacity(keys.len())];
    for key in keys {
        let Some(value) = endpoint.attributes.metadata.get(key) else {
            return Vec::new();
        };
        let choices = match value {
            Value::List(list) if list_as_any => &**list,
            value => std::slice::from_ref(value),
        };
        let longer = combinations.iter().flat_map(|start| {
            choices.iter().map(|choice| {
                let mut longer = start.clone();
                longer.push(choice.clone());
                longer
            })
        });
        combinations = longer.collect();
    }
    combinations.into_iter().map(Vec::into).collect()
}

/// Whether the endpoint has these values.
fn has(endpoint: &Endpoint, keys: &[Box<str>], values: &[Value], list_as_any: bool) -> bool {
    let metadata = &endpoint.attributes.metadata;
    keys.iter().zip(values).all(|(key, value)| {
        metadata.get(key).is_some_and(|found| match found {
            Value::List(list) if list_as_any => list.contains(value),
            found => found == value,
        })
    })
}

impl Selector {
    /// Whether the keys are those of the selector, or more where more are allowed.
    fn is_asked_for(&self, wanted: &Metadata, allow_more: bool) -> bool {
        (allow_more || wanted.len() == self.keys.len())
            && self.keys.iter().all(|key| wanted.get(key).is_some())
    }
}

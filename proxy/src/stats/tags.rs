//! Names → names without what varies, and this as tags: `cluster.a.upstream_cx_total` is
//! `cluster.upstream_cx_total` with `envoy.cluster_name` = `a`.
//!
//! Envoy's own tags are found by the position of a word in the name, those of the configuration by
//! expressions. All look at the whole name; what they name is cut out of it at the end.

use std::ops::Range;

use fancy_regex::Regex;

mod defaults;

pub(super) use self::defaults::DefaultTag;

/// A tag of the configuration.
#[derive(Clone, Debug)]
pub struct Custom {
    /// Its name.
    pub name: Box<str>,
    /// What to cut out is the first group, the value the second or, without one, the first. It may
    /// look ahead, which Envoy's expressions for tags may, too.
    pub regex: Box<Regex>,
}

/// How tags are found.
#[derive(Clone, Debug, Default)]
pub struct Tags {
    /// What every statistic has.
    pub fixed: Box<[(Box<str>, Box<str>)]>,
    /// Envoy's own tags that are looked for.
    pub defaults: Box<[DefaultTag]>,
    /// Tags of the configuration that any name may have.
    pub anywhere: Box<[Custom]>,
    /// Tags of the configuration for names that begin with a certain word.
    pub prefixed: Box<[Custom]>,
}

/// A name in its two parts.
#[derive(Debug, Default)]
pub struct Extracted<'a> {
    /// The tags, in the order they are written in.
    pub tags: Vec<(&'a str, &'a str)>,
    /// What is cut out of the name.
    cuts: Vec<Range<usize>>,
}

impl Tags {
    /// Finds the tags of a name.
    pub fn extract<'a>(&'a self, name: &'a str) -> Extracted<'a> {
        let mut extracted = Extracted::default();
        for (tag, value) in &self.fixed {
            extracted.add(tag, value, 0..0);
        }
        for custom in &self.anywhere {
            extracted.search(custom, name);
        }
        defaults::find(name, &self.defaults, &mut extracted);
        for custom in &self.prefixed {
            extracted.search(custom, name);
        }
        extracted
    }
}

impl<'a> Extracted<'a> {
    /// A tag is found once.
    fn add(&mut self, tag: &'a str, value: &'a str, cut: Range<usize>) {
        if self.tags.iter().all(|(known, _)| *known != tag) {
            self.tags.push((tag, value));
            self.cuts.push(cut);
        }
    }

    fn search(&mut self, custom: &'a Custom, name: &'a str) {
        // An expression that takes too many steps finds nothing.
        let Ok(Some(groups)) = custom.regex.captures(name) else {
            return;
        };
        let Some(cut) = groups.get(1) else {
            return;
        };
        let value = groups.get(2).unwrap_or(cut);
        self.add(&custom.name, value.as_str(), cut.start()..cut.end());
    }

    /// The name without its tags.
    pub fn write_name(&mut self, name: &str, to: &mut String) {
        self.cuts.sort_by_key(|cut| cut.start);
        let mut done = 0;
        for cut in &self.cuts {
            if cut.start > done {
                to.push_str(&name[done..cut.start]);
            }
            done = done.max(cut.end);
        }
        to.push_str(&name[done..]);
    }
}

#[cfg(test)]
mod tests;

//! What a number must be: an amount, a length, a count, a duration.

use std::fmt::Display;

/// The bounds of a number, all of which hold.
#[derive(Debug)]
pub(super) struct Bounds<T> {
    pub(super) constant: Option<T>,
    pub(super) less: Option<T>,
    pub(super) most: Option<T>,
    pub(super) greater: Option<T>,
    pub(super) least: Option<T>,
    pub(super) within: Vec<T>,
    pub(super) without: Vec<T>,
    /// Whether nothing is asked of a zero.
    pub(super) ignore_empty: bool,
}

impl<T> Default for Bounds<T> {
    fn default() -> Self {
        Self {
            constant: None,
            less: None,
            most: None,
            greater: None,
            least: None,
            within: Vec::new(),
            without: Vec::new(),
            ignore_empty: false,
        }
    }
}

/// The bounds in one of the messages that there are for each kind of number.
macro_rules! of {
    ($rules:expr, $convert:expr) => {{
        let rules = $rules;
        $crate::rules::bounds::Bounds {
            ignore_empty: rules.ignore_empty(),
            constant: rules.r#const.map($convert),
            less: rules.lt.map($convert),
            most: rules.lte.map($convert),
            greater: rules.gt.map($convert),
            least: rules.gte.map($convert),
            within: rules.r#in.into_iter().map($convert).collect(),
            without: rules.not_in.into_iter().map($convert).collect(),
        }
    }};
}
pub(super) use of;

impl<T> Bounds<T> {
    pub(super) fn between(least: Option<T>, most: Option<T>) -> Self {
        Self {
            least,
            most,
            ..Self::default()
        }
    }
}

/// What is nothing, and can be exempt.
pub(super) trait Zero {
    fn is_zero(&self) -> bool;
}

impl Zero for i128 {
    fn is_zero(&self) -> bool {
        *self == 0
    }
}

impl Zero for u64 {
    fn is_zero(&self) -> bool {
        *self == 0
    }
}

impl Zero for f64 {
    fn is_zero(&self) -> bool {
        *self == 0.0
    }
}

impl Zero for super::Seconds {
    fn is_zero(&self) -> bool {
        self.nanos == 0
    }
}

impl<T: PartialOrd + Display + Zero> Bounds<T> {
    /// What is wrong with the number; what is no number at all is within no bounds.
    pub(super) fn check(&self, value: &T) -> Option<String> {
        if self.ignore_empty && value.is_zero() {
            return None;
        }
        let fails = |bound: &Option<T>, holds: fn(&T, &T) -> bool| match bound {
            Some(bound) => !holds(value, bound),
            None => false,
        };
        let broken = fails(&self.constant, T::eq)
            || fails(&self.less, T::lt)
            || fails(&self.most, T::le)
            || fails(&self.greater, T::gt)
            || fails(&self.least, T::ge)
            || !self.within.is_empty() && !self.within.contains(value)
            || self.without.contains(value);
        broken.then(|| self.words())
    }

    /// `must be at least 1 and at most 5`.
    fn words(&self) -> String {
        let mut words = Vec::new();
        let bounds = [
            ("", &self.constant),
            ("greater than ", &self.greater),
            ("at least ", &self.least),
            ("less than ", &self.less),
            ("at most ", &self.most),
        ];
        for (word, bound) in bounds {
            words.extend(bound.as_ref().map(|bound| format!("{word}{bound}")));
        }
        let list = |list: &[T]| {
            let list: Vec<_> = list.iter().map(T::to_string).collect();
            list.join(", ")
        };
        if !self.within.is_empty() {
            words.push(format!("one of {}", list(&self.within)));
        }
        if !self.without.is_empty() {
            words.push(format!("none of {}", list(&self.without)));
        }
        format!("must be {}", words.join(" and "))
    }
}

//! Envoy's messages → the proxy's own compact configuration, or every fault at once.
//!
//! Each module that carries out a part of the configuration compiles the messages of this part; this
//! one names where a fault is and keeps all of them.

pub mod values;

use std::{cell::RefCell, fmt};

use fairlead_xds::{google::protobuf, prost};

/// What is wrong with a message, and where.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Fault {
    /// The field, from the resource down: `listeners[0].filter_chains[1].filters[0].typed_config`.
    pub path: String,
    /// What is wrong, and what is accepted.
    pub message: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path, self.message)
    }
}

/// What was found in the messages so far.
#[derive(Debug, Default)]
pub struct Findings {
    faults: RefCell<Vec<Fault>>,
    unsupported: RefCell<Vec<Fault>>,
}

impl Findings {
    /// The place of a whole message.
    pub fn at(&self, path: impl Into<String>) -> At<'_> {
        At {
            findings: self,
            path: path.into(),
        }
    }

    /// The faults, in the order they were found; with any of them nothing may be run.
    pub fn faults(&self) -> Vec<Fault> {
        self.faults.borrow().clone()
    }

    /// What is asked for, is not done, and enforces nothing: to be warned of and counted.
    pub fn unsupported(&self) -> Vec<Fault> {
        self.unsupported.borrow().clone()
    }
}

/// A place in a message.
#[derive(Clone, Debug)]
pub struct At<'a> {
    findings: &'a Findings,
    path: String,
}

impl<'a> At<'a> {
    /// A field of the message here.
    #[must_use]
    pub fn field(&self, name: &str) -> Self {
        let separator = if self.path.is_empty() { "" } else { "." };
        self.with(format!("{}{separator}{name}", self.path))
    }

    /// An element of the list here.
    #[must_use]
    pub fn index(&self, index: usize) -> Self {
        self.with(format!("{}[{index}]", self.path))
    }

    fn with(&self, path: String) -> Self {
        Self {
            findings: self.findings,
            path,
        }
    }

    /// The field's name, from the resource down.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Keeps a fault, and returns nothing in the place of what cannot be made.
    pub fn fault<T>(&self, message: impl Into<String>) -> Option<T> {
        self.findings.faults.borrow_mut().push(self.told(message));
        None
    }

    /// Keeps that something is asked for that the proxy does not do and may leave undone.
    pub fn unsupported(&self, message: impl Into<String>) {
        let told = self.told(message);
        self.findings.unsupported.borrow_mut().push(told);
    }

    fn told(&self, message: impl Into<String>) -> Fault {
        Fault {
            path: self.path.clone(),
            message: message.into(),
        }
    }

    /// The field of that name, which must be there.
    pub fn required<T>(&self, name: &str, value: Option<T>) -> Option<T> {
        if value.is_none() {
            return self.field(name).fault("is missing");
        }
        value
    }

    /// The message in `any`, which is known to be of this type.
    pub fn decode<M: prost::Message + Default>(&self, any: &protobuf::Any) -> Option<M> {
        M::decode(&*any.value).map_or_else(
            |error| self.fault(format!("is no {}: {error}", any.type_url)),
            Some,
        )
    }

    /// The elements of the list of that name that are sound.
    pub fn each<'t, T, U>(
        &self,
        name: &str,
        list: &'t [T],
        compile: impl Fn(&At<'a>, &'t T) -> Option<U>,
    ) -> Vec<U> {
        let here = self.field(name);
        let elements = list.iter().enumerate();
        elements
            .filter_map(|(index, element)| compile(&here.index(index), element))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_is_named_by_its_path() {
        let findings = Findings::default();
        let listener = findings.at("").field("listeners").index(0);
        let name = listener.required("name", None::<&str>);
        assert_eq!(name, None);
        let even = listener.each("ports", &[2, 3, 4], |at, port| match port % 2 {
            0 => Some(*port),
            _ => at.fault("is odd"),
        });
        assert_eq!(even, [2, 4]);
        let faults = findings.faults();
        let faults: Vec<_> = faults.iter().map(Fault::to_string).collect();
        assert_eq!(
            faults,
            [
                "listeners[0].name: is missing",
                "listeners[0].ports[1]: is odd"
            ]
        );
    }
}

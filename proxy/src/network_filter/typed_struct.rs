//! A configuration as a structure of JSON, with the name of what it stands for.

use fairlead_xds::{
    google::protobuf::{Any, Struct},
    prost,
};

use crate::compile::At;

/// `xds.type.v3.TypedStruct`, and the older `udpa.type.v1.TypedStruct`, which has the same fields.
///
/// By hand: the crate of Envoy's messages has neither.
#[derive(Clone, PartialEq, prost::Message)]
#[prost(prost_path = "prost")]
struct TypedStruct {
    #[prost(string, tag = "1")]
    type_url: String,
    #[prost(message, optional, tag = "2")]
    value: Option<Struct>,
}

/// The type of a configuration.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct TypeName {
    /// Without the host before it: `envoy.extensions.filters.network.echo.v3.Echo`.
    pub(super) name: String,
    /// Whether it is a structure that stands for the message.
    pub(super) is_structure: bool,
}

/// The type of what is in `any`, or in the structure there.
pub(super) fn type_name(at: &At<'_>, any: &Any) -> Option<TypeName> {
    let name = name_of(&any.type_url);
    if !matches!(name, "xds.type.v3.TypedStruct" | "udpa.type.v1.TypedStruct") {
        return Some(TypeName {
            name: name.to_owned(),
            is_structure: false,
        });
    }
    let TypedStruct { type_url, value: _ } = at.decode(any)?;
    Some(TypeName {
        name: name_of(&type_url).to_owned(),
        is_structure: true,
    })
}

fn name_of(type_url: &str) -> &str {
    type_url.rsplit('/').next().unwrap_or(type_url)
}

#[cfg(test)]
pub(super) mod tests {
    use fairlead_xds::prost::Message;

    use super::*;
    use crate::compile::{Fault, Findings};

    /// A structure of that type, as Istio writes them.
    pub(in crate::network_filter) fn structure(of: &str, type_url: &str) -> Any {
        let structure = TypedStruct {
            type_url: format!("type.googleapis.com/{type_url}"),
            value: Some(Struct::default()),
        };
        Any {
            type_url: format!("type.googleapis.com/{of}"),
            value: structure.encode_to_vec(),
        }
    }

    #[test]
    fn the_type_is_that_of_the_structure_inside() {
        let findings = Findings::default();
        let plain = Any {
            type_url: "type.googleapis.com/a.B".to_owned(),
            value: Vec::new(),
        };
        for (any, is_structure) in [
            (plain, false),
            (structure("xds.type.v3.TypedStruct", "a.B"), true),
            (structure("udpa.type.v1.TypedStruct", "a.B"), true),
        ] {
            let name = "a.B".to_owned();
            let expected = TypeName { name, is_structure };
            assert_eq!(type_name(&findings.at("x"), &any), Some(expected));
        }
    }

    #[test]
    fn a_structure_that_is_none_is_a_fault() {
        let findings = Findings::default();
        let broken = Any {
            type_url: "xds.type.v3.TypedStruct".to_owned(),
            value: vec![0xff],
        };
        assert_eq!(type_name(&findings.at("x"), &broken), None);
        let fault = findings.faults().first().map(Fault::to_string).unwrap();
        assert!(
            fault.starts_with("x: is no xds.type.v3.TypedStruct: "),
            "{fault}"
        );
    }
}

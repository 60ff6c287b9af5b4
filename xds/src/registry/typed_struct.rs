//! Configuration that is written as JSON values beside the name of its type.

use prost::Message;

use crate::{
    descriptors::MessageType,
    google::protobuf::{Any, Struct},
    json::{self, Layout, Secrets},
    read::{self, Fault, Format, UnknownFields},
    registry::message_name,
};

/// The two names of the same message, which no package of messages has.
const NAMES: [&str; 2] = ["xds.type.v3.TypedStruct", "udpa.type.v1.TypedStruct"];

/// Values of a type that they name.
#[derive(Clone, PartialEq, Message)]
pub(super) struct TypedStruct {
    #[prost(string, tag = "1")]
    pub(super) type_url: String,
    #[prost(message, optional, tag = "2")]
    value: Option<Struct>,
}

/// What `any` holds, if it is a `TypedStruct` of either name.
pub(super) fn inner(any: &Any) -> Option<TypedStruct> {
    if !NAMES.contains(&message_name(&any.type_url)) {
        return None;
    }
    TypedStruct::decode(&*any.value).ok()
}

/// The message that a `TypedStruct` describes; anything else stays as it is.
///
/// If the type is not known, the answer has its name and no content.
///
/// # Errors
///
/// All faults of the values, each with its path in the `TypedStruct`.
pub fn unwrapped(any: Any) -> Result<Any, Vec<Fault>> {
    let Some(inner) = inner(&any) else {
        return Ok(any);
    };
    let name = message_name(&inner.type_url);
    let mut value = Vec::new();
    if MessageType::named(name).is_some() {
        let content = inner.value.unwrap_or_default();
        value = encode(name, &content).map_err(|faults| {
            let faults = faults.into_iter();
            faults.map(below_value).collect::<Vec<_>>()
        })?;
    }
    Ok(Any {
        type_url: inner.type_url,
        value,
    })
}

/// The message that `any` describes, if it is a `TypedStruct` of a type that is known, without faults.
pub(crate) fn described(any: &Any) -> Option<Any> {
    let inner = inner(any)?;
    let name = message_name(&inner.type_url);
    let value = encode(name, &inner.value.unwrap_or_default()).ok()?;
    Some(Any {
        type_url: inner.type_url,
        value,
    })
}

fn encode(name: &str, content: &Struct) -> Result<Vec<u8>, Vec<Fault>> {
    let fault = |message: String| {
        vec![Fault {
            path: String::new(),
            message,
        }]
    };
    let text = json::message_to_json(content, Layout::Compact, Secrets::Print)
        .map_err(|error| fault(error.to_string()))?;
    let refuse = UnknownFields::Refuse;
    read::read_encoded(name, text.as_bytes(), Format::Json, refuse).map(|read| read.message)
}

fn below_value(fault: Fault) -> Fault {
    let separator = if fault.path.is_empty() { "" } else { "." };
    Fault {
        path: format!("value{separator}{}", fault.path),
        message: fault.message,
    }
}

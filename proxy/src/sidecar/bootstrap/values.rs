//! Plain values in the forms that messages have them.

use std::{net::IpAddr, time};

use fairlead_xds::{
    envoy::config::core::v3::{
        Address, SocketAddress, address::Address as Kind, socket_address::PortSpecifier,
    },
    google::protobuf::{Any, BoolValue, Duration, ListValue, Struct, UInt32Value, value},
    prost::{Message, Name},
};
use serde_json::Value;

pub(super) fn truth(value: bool) -> Option<BoolValue> {
    Some(BoolValue { value })
}

pub(super) fn number(value: u32) -> Option<UInt32Value> {
    Some(UInt32Value { value })
}

pub(super) fn duration(duration: time::Duration) -> Duration {
    Duration {
        seconds: i64::try_from(duration.as_secs()).unwrap_or(i64::MAX),
        // Less than a billion.
        nanos: duration.subsec_nanos().cast_signed(),
    }
}

pub(super) fn address(ip: IpAddr, port: u16) -> Address {
    Address {
        address: Some(Kind::SocketAddress(socket_address(ip, port))),
    }
}

pub(super) fn socket_address(ip: IpAddr, port: u16) -> SocketAddress {
    SocketAddress {
        address: ip.to_string(),
        port_specifier: Some(PortSpecifier::PortValue(port.into())),
        ..SocketAddress::default()
    }
}

pub(super) fn any<M: Message + Name>(message: &M) -> Any {
    Any {
        type_url: M::type_url(),
        value: message.encode_to_vec(),
    }
}

/// The members of an object; none of anything else.
pub(super) fn fields(value: &Value) -> Struct {
    let members = value.as_object().into_iter().flatten();
    Struct {
        fields: members
            .map(|(key, value)| (key.clone(), of_json(value)))
            .collect(),
    }
}

fn of_json(json: &Value) -> fairlead_xds::google::protobuf::Value {
    let kind = match json {
        Value::Null => value::Kind::NullValue(0),
        Value::Bool(truth) => value::Kind::BoolValue(*truth),
        // A number of JSON is a double in any case.
        Value::Number(number) => value::Kind::NumberValue(number.as_f64().unwrap_or_default()),
        Value::String(text) => value::Kind::StringValue(text.clone()),
        Value::Array(values) => value::Kind::ListValue(ListValue {
            values: values.iter().map(of_json).collect(),
        }),
        Value::Object(_) => value::Kind::StructValue(fields(json)),
    };
    fairlead_xds::google::protobuf::Value { kind: Some(kind) }
}

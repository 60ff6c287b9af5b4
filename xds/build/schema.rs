//! The parts of protobuf's own descriptors that the tables are made of.
//!
//! The options that Envoy adds are read by their numbers: `validate.rules` and `validate.required` of
//! protoc-gen-validate, `envoy.annotations.disallowed_by_default`, `udpa.annotations.sensitive`.

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct FileSet {
    #[prost(message, repeated, tag = "1")]
    pub(crate) file: Vec<File>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct File {
    #[prost(string, tag = "2")]
    pub(crate) package: String,
    #[prost(message, repeated, tag = "4")]
    pub(crate) message: Vec<Message>,
    #[prost(message, repeated, tag = "5")]
    pub(crate) r#enum: Vec<Enum>,
    #[prost(string, tag = "12")]
    pub(crate) syntax: String,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Message {
    #[prost(string, tag = "1")]
    pub(crate) name: String,
    #[prost(message, repeated, tag = "2")]
    pub(crate) field: Vec<Field>,
    #[prost(message, repeated, tag = "3")]
    pub(crate) nested: Vec<Message>,
    #[prost(message, repeated, tag = "4")]
    pub(crate) r#enum: Vec<Enum>,
    #[prost(message, optional, tag = "7")]
    pub(crate) options: Option<MessageOptions>,
    #[prost(message, repeated, tag = "8")]
    pub(crate) oneof: Vec<Oneof>,
}

#[derive(Clone, Copy, PartialEq, prost::Message)]
pub(crate) struct MessageOptions {
    #[prost(bool, tag = "7")]
    pub(crate) map_entry: bool,
    #[prost(bool, tag = "1071")]
    pub(crate) unchecked: bool,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Field {
    #[prost(string, tag = "1")]
    pub(crate) name: String,
    #[prost(uint32, tag = "3")]
    pub(crate) number: u32,
    #[prost(uint32, tag = "4")]
    pub(crate) label: u32,
    #[prost(uint32, tag = "5")]
    pub(crate) r#type: u32,
    #[prost(string, tag = "6")]
    pub(crate) type_name: String,
    #[prost(message, optional, tag = "8")]
    pub(crate) options: Option<FieldOptions>,
    #[prost(uint32, optional, tag = "9")]
    pub(crate) oneof: Option<u32>,
    #[prost(string, optional, tag = "10")]
    pub(crate) json_name: Option<String>,
    #[prost(bool, tag = "17")]
    pub(crate) proto3_optional: bool,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct FieldOptions {
    #[prost(bool, optional, tag = "2")]
    pub(crate) packed: Option<bool>,
    #[prost(bool, tag = "3")]
    pub(crate) deprecated: bool,
    /// The encoded rules, which the tables keep as they are.
    #[prost(bytes = "vec", tag = "1071")]
    pub(crate) rules: Vec<u8>,
    #[prost(bool, tag = "76569463")]
    pub(crate) sensitive: bool,
    #[prost(bool, tag = "189503207")]
    pub(crate) disallowed: bool,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Oneof {
    #[prost(string, tag = "1")]
    pub(crate) name: String,
    #[prost(message, optional, tag = "2")]
    pub(crate) options: Option<OneofOptions>,
}

#[derive(Clone, Copy, PartialEq, prost::Message)]
pub(crate) struct OneofOptions {
    #[prost(bool, tag = "1071")]
    pub(crate) required: bool,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Enum {
    #[prost(string, tag = "1")]
    pub(crate) name: String,
    #[prost(message, repeated, tag = "2")]
    pub(crate) value: Vec<EnumValue>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct EnumValue {
    #[prost(string, tag = "1")]
    pub(crate) name: String,
    #[prost(int32, tag = "2")]
    pub(crate) number: i32,
}

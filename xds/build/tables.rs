//! Descriptors → tables of 32-bit words that `src/descriptors.rs` reads in place.
//!
//! Five tables follow a header that says where each starts, in bytes: messages, fields, oneofs, enums,
//! values of enums; then the texts. A text is named by its place: two bytes of length, then the text.
//! Messages and enums are in the order of their names, fields in the order of their numbers.

use std::collections::{BTreeMap, HashMap};

use crate::schema::{Enum, Field, FieldOptions, File, FileSet, Message};

/// No oneof, no type, no rules.
const NONE: u32 = u32::MAX;

const LABEL_REPEATED: u32 = 3;
const TYPE_STRING: u32 = 9;
const TYPE_GROUP: u32 = 10;
const TYPE_MESSAGE: u32 = 11;
const TYPE_BYTES: u32 = 12;
const TYPE_ENUM: u32 = 14;

/// Where `TypedStruct` is, which the package does not have; Istio writes the older name.
const TYPED_STRUCTS: [&str; 2] = ["udpa.type.v1", "xds.type.v3"];

#[derive(Default)]
pub(crate) struct Tables {
    messages: Vec<u32>,
    fields: Vec<u32>,
    oneofs: Vec<u32>,
    enums: Vec<u32>,
    values: Vec<u32>,
    texts: Vec<u8>,
    places: HashMap<Vec<u8>, u32>,
}

/// Everything of the files by full name.
#[derive(Default)]
struct Types {
    messages: BTreeMap<String, (Message, bool)>,
    enums: BTreeMap<String, Enum>,
}

impl Tables {
    pub(crate) fn of(files: &FileSet) -> Result<Self, String> {
        let mut types = Types::default();
        for file in files.file.iter().chain(&TYPED_STRUCTS.map(typed_struct)) {
            let optional = file.syntax != "proto3";
            for message in &file.message {
                types.add(&file.package, message, optional);
            }
            for r#enum in &file.r#enum {
                types.add_enum(&file.package, r#enum);
            }
        }
        let mut tables = Self::default();
        for (name, (message, optional)) in &types.messages {
            tables.message(name, message, *optional, &types)?;
        }
        for (name, r#enum) in &types.enums {
            tables.r#enum(name, r#enum)?;
        }
        Ok(tables)
    }

    pub(crate) fn into_bytes(self) -> Vec<u8> {
        let tables = [
            self.messages,
            self.fields,
            self.oneofs,
            self.enums,
            self.values,
        ];
        let mut starts = Vec::new();
        let mut words = Vec::new();
        let header = 4 * (tables.len() + 1);
        for table in tables {
            starts.push(word(header + 4 * words.len()));
            words.extend(table);
        }
        starts.push(word(header + 4 * words.len()));
        let words = starts.into_iter().chain(words);
        let mut bytes: Vec<u8> = words.flat_map(u32::to_le_bytes).collect();
        bytes.extend(self.texts);
        bytes
    }

    fn message(
        &mut self,
        name: &str,
        message: &Message,
        optional: bool,
        types: &Types,
    ) -> Result<(), String> {
        let options = message.options.unwrap_or_default();
        let name = self.text(name.as_bytes())?;
        let first_field = word(self.fields.len() / 7);
        let first_oneof = word(self.oneofs.len() / 2);
        let mut fields: Vec<_> = message.field.iter().collect();
        fields.sort_by_key(|field| field.number);
        for field in fields {
            self.field(field, optional, types)?;
        }
        // The oneofs of optional fields come last, and are none.
        let synthetic = message.field.iter().filter(|field| field.proto3_optional);
        let oneofs = message.oneof.len() - synthetic.count();
        for oneof in &message.oneof[..oneofs] {
            let name = self.text(oneof.name.as_bytes())?;
            let required = oneof.options.is_some_and(|options| options.required);
            self.oneofs.extend([name, u32::from(required)]);
        }
        self.messages.extend([
            name,
            first_field,
            word(message.field.len()),
            first_oneof,
            word(oneofs),
            u32::from(options.map_entry) | u32::from(options.unchecked) << 1,
        ]);
        Ok(())
    }

    fn field(&mut self, field: &Field, optional: bool, types: &Types) -> Result<(), String> {
        if field.r#type == TYPE_GROUP {
            return Err(format!("the field {} is a group", field.name));
        }
        let plain = FieldOptions::default();
        let options = field.options.as_ref().unwrap_or(&plain);
        let name = self.text(field.name.as_bytes())?;
        let json_name = match &field.json_name {
            Some(name) => self.text(name.as_bytes())?,
            None => self.text(camel_case(&field.name).as_bytes())?,
        };
        let repeated = field.label == LABEL_REPEATED;
        let scalar = !matches!(field.r#type, TYPE_STRING | TYPE_MESSAGE | TYPE_BYTES);
        let packed = repeated && scalar && options.packed.unwrap_or(!optional);
        let present =
            !repeated && (optional || field.oneof.is_some() || field.r#type == TYPE_MESSAGE);
        let flags = [
            repeated,
            packed,
            present,
            options.deprecated,
            options.disallowed,
            options.sensitive,
        ];
        let flags = flags.iter().enumerate();
        let flags = flags.map(|(bit, set)| u32::from(*set) << (8 + bit));
        let rules = match &*options.rules {
            [] => NONE,
            rules => self.text(rules)?,
        };
        self.fields.extend([
            name,
            json_name,
            field.number,
            flags.fold(field.r#type, |word, flag| word | flag),
            types.index(field)?,
            field
                .oneof
                .filter(|_| !field.proto3_optional)
                .unwrap_or(NONE),
            rules,
        ]);
        Ok(())
    }

    fn r#enum(&mut self, name: &str, r#enum: &Enum) -> Result<(), String> {
        let name = self.text(name.as_bytes())?;
        let first = word(self.values.len() / 2);
        for value in &r#enum.value {
            let name = self.text(value.name.as_bytes())?;
            self.values.extend([name, value.number.cast_unsigned()]);
        }
        self.enums.extend([name, first, word(r#enum.value.len())]);
        Ok(())
    }

    /// The place of a text, which is kept once.
    fn text(&mut self, text: &[u8]) -> Result<u32, String> {
        if let Some(place) = self.places.get(text) {
            return Ok(*place);
        }
        let length = u16::try_from(text.len())
            .map_err(|_| format!("a text of {} bytes is too long", text.len()))?;
        let place = word(self.texts.len());
        self.texts.extend(length.to_le_bytes());
        self.texts.extend(text);
        self.places.insert(text.to_owned(), place);
        Ok(place)
    }
}

impl Types {
    fn add(&mut self, scope: &str, message: &Message, optional: bool) {
        let name = format!("{scope}.{}", message.name);
        for nested in &message.nested {
            self.add(&name, nested, optional);
        }
        for r#enum in &message.r#enum {
            self.add_enum(&name, r#enum);
        }
        self.messages.insert(name, (message.clone(), optional));
    }

    fn add_enum(&mut self, scope: &str, r#enum: &Enum) {
        self.enums
            .insert(format!("{scope}.{}", r#enum.name), r#enum.clone());
    }

    /// The place of the field's message or enum in its table.
    fn index(&self, field: &Field) -> Result<u32, String> {
        let name = field.type_name.trim_start_matches('.');
        let index = match field.r#type {
            TYPE_MESSAGE => self.messages.keys().position(|key| key == name),
            TYPE_ENUM => self.enums.keys().position(|key| key == name),
            _ => return Ok(NONE),
        };
        let index = index.ok_or_else(|| format!("{} is of no known type {name}", field.name))?;
        Ok(word(index))
    }
}

fn typed_struct(package: &str) -> File {
    let field = |name: &str, number, r#type, type_name: &str| Field {
        name: name.to_owned(),
        number,
        label: 1,
        r#type,
        type_name: type_name.to_owned(),
        ..Field::default()
    };
    File {
        package: package.to_owned(),
        message: vec![Message {
            name: "TypedStruct".to_owned(),
            field: vec![
                field("type_url", 1, TYPE_STRING, ""),
                field("value", 2, TYPE_MESSAGE, ".google.protobuf.Struct"),
            ],
            ..Message::default()
        }],
        syntax: "proto3".to_owned(),
        ..File::default()
    }
}

fn camel_case(name: &str) -> String {
    let mut upper = false;
    let mut camel = String::new();
    for character in name.chars() {
        match character {
            '_' => upper = true,
            _ if upper => {
                camel.push(character.to_ascii_uppercase());
                upper = false;
            }
            _ => camel.push(character),
        }
    }
    camel
}

/// What is counted here is never near the limit: the descriptors are a few megabytes.
fn word(number: usize) -> u32 {
    u32::try_from(number).expect("fewer than four billion")
}

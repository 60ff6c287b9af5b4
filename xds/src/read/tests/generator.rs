//! Texts that are made up along the descriptors, mostly sound.

use crate::descriptors::{Field, Kind, MessageType, WellKnown};

/// A source of choices that are the same for the same seed.
pub(crate) struct Generator(u64);

impl Generator {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed | 1)
    }

    /// JSON for a message.
    pub(crate) fn text(&mut self, message: MessageType) -> String {
        self.message(message, 0)
    }

    /// A number below `end`.
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 33).expect("31 bits") % end
    }

    fn pick<'a>(&mut self, from: &[&'a str]) -> &'a str {
        from[self.below(from.len())]
    }

    fn message(&mut self, message: MessageType, depth: usize) -> String {
        match message.well_known() {
            None => {}
            Some(WellKnown::Duration) => {
                return self
                    .pick(&["\"1s\"", "\"0.25s\"", "\"-3.000000001s\"", "\"1.5m\""])
                    .into();
            }
            Some(WellKnown::Timestamp) => {
                return self
                    .pick(&[
                        "\"2026-11-21T08:30:00Z\"",
                        "\"1970-01-01T00:00:00.5+01:00\"",
                    ])
                    .into();
            }
            Some(WellKnown::Empty) => return "{}".into(),
            Some(WellKnown::Wrapper(field)) => return self.scalar(field.kind()),
            Some(WellKnown::Struct) => return format!("{{\"a\":{}}}", self.value(depth)),
            Some(WellKnown::ListValue) => return format!("[{}]", self.value(depth)),
            Some(WellKnown::Value) => return self.value(depth),
            Some(WellKnown::Any) => {
                return self
                    .pick(&[
                        r#"{"@type":"type.googleapis.com/google.protobuf.Duration","value":"1s"}"#,
                        r#"{"name":"a","@type":"type.googleapis.com/envoy.config.cluster.v3.Cluster"}"#,
                        r#"{"value":{"a":[1]},"@type":"type.googleapis.com/google.protobuf.Struct"}"#,
                        r#"{"@type":"type.googleapis.com/a.Unknown"}"#,
                    ])
                    .into();
            }
        }
        if depth > 4 {
            return "{}".into();
        }
        let fields: Vec<_> = message.fields().collect();
        let mut entries = Vec::new();
        for _ in 0..self.below(4) {
            if fields.is_empty() {
                break;
            }
            let field = fields[self.below(fields.len())];
            let name = match self.below(2) {
                0 => field.name().to_owned(),
                _ => camel(field.name()),
            };
            entries.push(format!("\"{name}\":{}", self.field(field, depth)));
        }
        format!("{{{}}}", entries.join(","))
    }

    fn field(&mut self, field: Field, depth: usize) -> String {
        if self.below(20) == 0 {
            return "null".into();
        }
        if let Some((key, value)) = field.map_entry() {
            let key = match key.kind() {
                Kind::String => "k".to_owned(),
                _ => "1".to_owned(),
            };
            return format!("{{\"{key}\":{}}}", self.single(value, depth));
        }
        if field.is_repeated() {
            let count = self.below(3);
            let elements: Vec<_> = (0..count).map(|_| self.single(field, depth)).collect();
            return format!("[{}]", elements.join(","));
        }
        self.single(field, depth)
    }

    fn single(&mut self, field: Field, depth: usize) -> String {
        match field.kind() {
            Kind::Message(message) => self.message(message, depth + 1),
            kind => self.scalar(kind),
        }
    }

    fn scalar(&mut self, kind: Kind) -> String {
        match kind {
            Kind::Bool => self.pick(&["true", "false"]).into(),
            Kind::String => self
                .pick(&["\"\"", "\"a\"", "\"ä<>\\n\"", "\"x-y\""])
                .into(),
            Kind::Bytes => self
                .pick(&["\"\"", "\"AQI=\"", "\"AQI\"", "\"_-8=\""])
                .into(),
            Kind::Double | Kind::Float => self
                .pick(&[
                    "0",
                    "1",
                    "-2.5",
                    "1e10",
                    "0.1",
                    "\"7\"",
                    "\"NaN\"",
                    "\"Infinity\"",
                ])
                .into(),
            Kind::Enum(r#enum) => {
                let values: Vec<_> = r#enum.values().collect();
                let (name, number) = values[self.below(values.len())];
                match self.below(2) {
                    0 => format!("\"{name}\""),
                    _ => number.to_string(),
                }
            }
            _ => self
                .pick(&[
                    "0",
                    "1",
                    "80",
                    "\"443\"",
                    "2147483647",
                    "4294967295",
                    "-1",
                    "2.0",
                ])
                .into(),
        }
    }

    fn value(&mut self, depth: usize) -> String {
        match self.below(if depth > 4 { 4 } else { 6 }) {
            0 => "null".into(),
            1 => "true".into(),
            2 => "-1.5".into(),
            3 => "\"a\"".into(),
            4 => format!("[{},{}]", self.value(depth + 1), self.value(depth + 1)),
            _ => format!("{{\"b\":{}}}", self.value(depth + 1)),
        }
    }
}

fn camel(name: &str) -> String {
    let mut parts = name.split('_');
    let mut camel = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let mut characters = part.chars();
        camel.extend(characters.next().map(|first| first.to_ascii_uppercase()));
        camel.push_str(characters.as_str());
    }
    camel
}

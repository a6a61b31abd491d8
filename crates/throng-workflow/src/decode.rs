//! From the tree of a file to typed values, with every mistake reported and the JSON Schema made from the same declarations.
//!
//! Decoding never stops at a mistake: it reports it, puts a default in the place and goes on, so that one run shows
//! everything that is wrong. A value decoded while problems were reported must not be used for anything but finding more.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use crate::node::{Key, Kind, Node};
use crate::problem::{Mark, Problems, nearest};

/// A type that can be read from a node of the file.
pub trait Decode: Default + JsonSchema {
    /// Whether a key of this type may be left out.
    const OPTIONAL: bool = false;

    /// Reads the value. A mistake is reported, and a default returned.
    fn decode(node: &Node, problems: &mut Problems) -> Self;
}

/// A value and where it stands.
#[derive(Clone, Debug, Default)]
pub struct At<T> {
    /// The value.
    pub value: T,
    /// Where it stands in the file.
    pub mark: Mark,
}

impl<T> std::ops::Deref for At<T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T: Decode> Decode for At<T> {
    const OPTIONAL: bool = T::OPTIONAL;
    fn decode(node: &Node, problems: &mut Problems) -> Self {
        Self {
            value: T::decode(node, problems),
            mark: node.mark,
        }
    }
}

/// The schema of a wrapper is the schema of what it wraps.
macro_rules! schema_of_inner {
    ($wrapper:ident) => {
        impl<T: JsonSchema> JsonSchema for $wrapper<T> {
            fn inline_schema() -> bool {
                T::inline_schema()
            }
            fn schema_name() -> Cow<'static, str> {
                T::schema_name()
            }
            fn schema_id() -> Cow<'static, str> {
                T::schema_id()
            }
            fn json_schema(generator: &mut SchemaGenerator) -> Schema {
                T::json_schema(generator)
            }
        }
    };
}
schema_of_inner!(At);

impl<T: Decode> Decode for Option<T> {
    const OPTIONAL: bool = true;
    fn decode(node: &Node, problems: &mut Problems) -> Self {
        match node.kind {
            Kind::Null => None,
            _ => Some(T::decode(node, problems)),
        }
    }
}

impl<T: Decode> Decode for Box<T> {
    const OPTIONAL: bool = T::OPTIONAL;
    fn decode(node: &Node, problems: &mut Problems) -> Self {
        Box::new(T::decode(node, problems))
    }
}

impl<T: Decode> Decode for Vec<T> {
    const OPTIONAL: bool = true;
    fn decode(node: &Node, problems: &mut Problems) -> Self {
        match &node.kind {
            Kind::List(items) => items.iter().map(|item| T::decode(item, problems)).collect(),
            _ => {
                let found = crate::problem::describe(node);
                let message = format!("expected a list, found {found}");
                match &node.kind {
                    Kind::Text(text) if !node.from_environment && !text.contains(',') => {
                        problems.add_with_help(node.mark, message, format!("write `[{text}]`"));
                    }
                    _ => problems.add(node.mark, message),
                }
                problems.lose(node.mark);
                Vec::new()
            }
        }
    }
}

/// One value, or a list of them.
#[derive(Clone, Debug)]
pub struct OneOrMany<T>(pub Vec<T>);

impl<T> Default for OneOrMany<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T: Decode> Decode for OneOrMany<T> {
    const OPTIONAL: bool = true;
    fn decode(node: &Node, problems: &mut Problems) -> Self {
        match &node.kind {
            Kind::List(_) => Self(Vec::decode(node, problems)),
            _ => Self(vec![T::decode(node, problems)]),
        }
    }
}

impl<T: JsonSchema> JsonSchema for OneOrMany<T> {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        format!("OneOrMany_{}", T::schema_name()).into()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let one = generator.subschema_for::<T>();
        json_schema!({ "anyOf": [one, { "type": "array", "items": one }] })
    }
}

/// A map whose keys are names that the author chooses, in the order of the file.
#[derive(Clone, Debug)]
pub struct Named<T>(pub Vec<(At<String>, T)>);

impl<T> Default for Named<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T> Named<T> {
    /// The names.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|(name, _)| name.value.as_str())
    }

    /// The value with this name.
    pub fn get(&self, name: &str) -> Option<&T> {
        self.0
            .iter()
            .find(|(key, _)| key.value == name)
            .map(|(_, value)| value)
    }
}

impl<T: Decode> Decode for Named<T> {
    const OPTIONAL: bool = true;
    fn decode(node: &Node, problems: &mut Problems) -> Self {
        match &node.kind {
            Kind::Map(entries) => Self(
                entries
                    .iter()
                    .map(|(key, value)| (key.into(), T::decode(value, problems)))
                    .collect(),
            ),
            _ => {
                problems.wrong_kind(node, "a map of names");
                problems.lose(node.mark);
                Self::default()
            }
        }
    }
}

impl<T: JsonSchema> JsonSchema for Named<T> {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        format!("Named_{}", T::schema_name()).into()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let value = generator.subschema_for::<T>();
        json_schema!({ "type": "object", "additionalProperties": value })
    }
}

impl From<&Key> for At<String> {
    fn from(key: &Key) -> Self {
        Self {
            value: key.text.clone(),
            mark: key.mark,
        }
    }
}

/// The keys of one map while it is being read.
pub struct Fields<'a> {
    /// By the keys that they are taken for: a misspelt one is reported and then read as what it was meant to be, so that it
    /// is not missed elsewhere, too.
    entries: Vec<(&'a str, &'a Node)>,
    mark: Mark,
}

impl<'a> Fields<'a> {
    /// Opens a map that may only have the `known` keys; everything else is reported.
    pub fn open(
        node: &'a Node,
        what: &str,
        known: &[&'static str],
        problems: &mut Problems,
    ) -> Self {
        let entries: &[(Key, Node)] = match &node.kind {
            Kind::Map(entries) => entries,
            _ => {
                problems.wrong_kind(node, &format!("{what} with the keys {}", known.join(", ")));
                problems.lose(node.mark);
                // An empty list of keys would add a "missing key" for each required one.
                return Self {
                    entries: Vec::new(),
                    mark: Mark {
                        line: u32::MAX,
                        ..Mark::default()
                    },
                };
            }
        };
        let mut read: Vec<(&str, &Node)> = Vec::with_capacity(entries.len());
        for (key, value) in entries {
            if known.contains(&key.text.as_str()) {
                read.push((&key.text, value));
                continue;
            }
            problems.unknown(key.mark, "key", &key.text, known.iter().copied());
            let meant = nearest(&key.text, known.iter().copied());
            match meant.filter(|meant| node.get(meant).is_none()) {
                Some(meant) => {
                    let meant = known.iter().find(|word| **word == meant);
                    read.extend(meant.map(|meant| (*meant, value)));
                }
                None => problems.lose(key.mark),
            }
        }
        Self {
            entries: read,
            mark: node.mark,
        }
    }

    /// Reads one key. A missing one is a problem unless it may be left out.
    pub fn take<T: Decode>(
        &self,
        key: &str,
        default: Option<T>,
        what: &str,
        problems: &mut Problems,
    ) -> T {
        match self.entries.iter().find(|(found, _)| *found == key) {
            Some((_, node)) if T::OPTIONAL || default.is_none() || node.kind != Kind::Null => {
                T::decode(node, problems)
            }
            _ => default.unwrap_or_else(|| {
                if !T::OPTIONAL && self.mark.line != u32::MAX {
                    problems.add(
                        Mark {
                            length: 1,
                            ..self.mark
                        },
                        format!("{what} needs the key `{key}`"),
                    );
                }
                T::default()
            }),
        }
    }
}

/// The schema of a number or a boolean, which may also be a text with `${NAME}` in it.
pub(crate) fn or_environment(schema: Schema) -> Schema {
    let plain =
        |kind: &serde_json::Value| matches!(kind.as_str(), Some("integer" | "number" | "boolean"));
    let is_plain = match schema.get("type") {
        Some(serde_json::Value::Array(kinds)) => kinds.iter().any(plain),
        Some(kind) => plain(kind),
        None => false,
    };
    if is_plain {
        json_schema!({ "anyOf": [schema, { "type": "string", "pattern": "\\$\\{" }] })
    } else {
        schema
    }
}

/// Declares a map of the file: its struct, how it is read and its schema, from one list of keys.
///
/// `"key" field: Type = default;` — a key without a default is required unless its type is optional by nature.
macro_rules! record {
    ($(#[doc = $doc:literal])* $name:ident ($what:literal) {
        $( $(#[doc = $field_doc:literal])* $key:literal $field:ident : $type:ty $(= $default:expr)? ; )*
    }) => {
        $(#[doc = $doc])*
        #[derive(Clone, Debug, Default)]
        pub struct $name {
            /// Where it stands in the file.
            pub mark: $crate::problem::Mark,
            $( $(#[doc = $field_doc])* pub $field: $type, )*
        }

        impl $crate::decode::Decode for $name {
            fn decode(node: &$crate::node::Node, problems: &mut $crate::problem::Problems) -> Self {
                let fields = $crate::decode::Fields::open(node, $what, &[$($key),*], problems);
                Self {
                    mark: node.mark,
                    $( $field: fields.take($key, record!(@default $($default)?), $what, problems), )*
                }
            }
        }

        impl schemars::JsonSchema for $name {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($name).into()
            }
            fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
                let mut properties = serde_json::Map::new();
                let mut required: Vec<&str> = Vec::new();
                $(
                    let mut property =
                        $crate::decode::or_environment(generator.subschema_for::<$type>());
                    property.insert("description".to_owned(), concat!($($field_doc),*).trim().into());
                    properties.insert($key.to_owned(), property.into());
                    let default: Option<$type> = record!(@default $($default)?);
                    if default.is_none() && !<$type as $crate::decode::Decode>::OPTIONAL {
                        required.push($key);
                    }
                )*
                schemars::json_schema!({
                    "type": "object",
                    "description": concat!($($doc),*).trim(),
                    "properties": properties,
                    "required": required,
                    "additionalProperties": false,
                })
            }
        }
    };
    (@default) => { None };
    (@default $default:expr) => { Some($default) };
}
pub(crate) use record;

/// Declares a choice between words.
macro_rules! words {
    ($(#[doc = $doc:literal])* $name:ident { $( $(#[doc = $word_doc:literal])* $variant:ident = $word:literal, )* } default $first:ident) => {
        $(#[doc = $doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $name { $( $(#[doc = $word_doc])* $variant, )* }

        impl Default for $name {
            fn default() -> Self {
                Self::$first
            }
        }

        impl $name {
            /// The word as the file has it.
            pub fn word(self) -> &'static str {
                match self { $( Self::$variant => $word, )* }
            }
        }

        impl $crate::decode::Decode for $name {
            fn decode(node: &$crate::node::Node, problems: &mut $crate::problem::Problems) -> Self {
                const WORDS: &[&str] = &[$($word),*];
                match &node.kind {
                    $( $crate::node::Kind::Text(text) if text == $word => Self::$variant, )*
                    $crate::node::Kind::Text(text) if !node.from_environment => {
                        problems.unknown(node.mark, "word", text, WORDS.iter().copied());
                        Self::default()
                    }
                    _ => {
                        problems.wrong_kind(node, &format!("one of {}", WORDS.join(", ")));
                        Self::default()
                    }
                }
            }
        }

        impl schemars::JsonSchema for $name {
            fn inline_schema() -> bool {
                true
            }
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($name).into()
            }
            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                schemars::json_schema!({ "anyOf": [{ "type": "string", "enum": [$($word),*] }, { "type": "string", "pattern": "\\$\\{" }] })
            }
        }
    };
}
pub(crate) use words;

//! A tool's parameters: their JSON Schema for `tools/list`, and reading the arguments of a call.
//!
//! Types are taken as leniently as the real server takes them (a number in a string is a number), and what is wrong is said
//! in the same words, because those words are what a load generator groups errors by.

use std::fmt::Write as _;

use serde_json::{Map, Value, json};

/// What a parameter may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Text,
    TextOrNull,
    Integer,
    IntegerOrNull,
    Boolean,
    /// One of these words.
    Choice(&'static [&'static str]),
}

/// What stands in for an argument that is not given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Presence {
    Required,
    Null,
    Number(i64),
    Flag(bool),
    Word(&'static str),
}

/// One parameter of a tool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Parameter {
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    pub(super) presence: Presence,
}

impl Parameter {
    pub(super) const fn required(name: &'static str, kind: Kind) -> Self {
        Self {
            name,
            kind,
            presence: Presence::Required,
        }
    }

    pub(super) const fn optional(name: &'static str, kind: Kind, presence: Presence) -> Self {
        Self {
            name,
            kind,
            presence,
        }
    }
}

impl Presence {
    fn value(self) -> Option<Value> {
        match self {
            Self::Required => None,
            Self::Null => Some(Value::Null),
            Self::Number(number) => Some(number.into()),
            Self::Flag(flag) => Some(flag.into()),
            Self::Word(word) => Some(word.into()),
        }
    }
}

/// The `inputSchema` of a tool.
pub(super) fn input_schema(tool: &str, parameters: &[Parameter]) -> Map<String, Value> {
    let mut properties = Map::new();
    for parameter in parameters {
        let mut property = match parameter.kind {
            Kind::Text => json!({"type": "string"}),
            Kind::TextOrNull => json!({"anyOf": [{"type": "string"}, {"type": "null"}]}),
            Kind::Integer => json!({"type": "integer"}),
            Kind::IntegerOrNull => json!({"anyOf": [{"type": "integer"}, {"type": "null"}]}),
            Kind::Boolean => json!({"type": "boolean"}),
            Kind::Choice(words) => json!({"type": "string", "enum": words}),
        };
        if let Some(default) = parameter.presence.value() {
            property["default"] = default;
        }
        property["title"] = title(parameter.name).into();
        properties.insert(parameter.name.to_owned(), property);
    }
    let mut schema = Map::new();
    schema.insert("type".to_owned(), "object".into());
    schema.insert("title".to_owned(), format!("{tool}Arguments").into());
    schema.insert("properties".to_owned(), properties.into());
    let required: Vec<_> = parameters
        .iter()
        .filter(|parameter| parameter.presence == Presence::Required)
        .map(|parameter| parameter.name)
        .collect();
    if !required.is_empty() {
        schema.insert("required".to_owned(), required.into());
    }
    schema
}

/// `note_id` as a title: `Note Id`.
fn title(name: &str) -> String {
    let words = name.split('_').map(|word| {
        let mut characters = word.chars();
        characters
            .next()
            .map(|first| first.to_uppercase().chain(characters).collect::<String>())
            .unwrap_or_default()
    });
    words.collect::<Vec<_>>().join(" ")
}

/// The arguments of a call, checked: every parameter has a value of its kind.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Arguments(Map<String, Value>);

impl Arguments {
    /// Checks the arguments against the parameters; all that is wrong in one message.
    pub(super) fn read(
        tool: &str,
        parameters: &[Parameter],
        mut given: Map<String, Value>,
    ) -> Result<Self, String> {
        let mut values = Map::new();
        let mut faults = Vec::new();
        for parameter in parameters {
            let value = match given.get_mut(parameter.name) {
                Some(value) => coerce(parameter.kind, value.take()),
                None => parameter
                    .presence
                    .value()
                    .ok_or(("Field required", "missing")),
            };
            match value {
                Ok(value) => {
                    values.insert(parameter.name.to_owned(), value);
                }
                Err(fault) => faults.push((parameter.name, fault)),
            }
        }
        if faults.is_empty() {
            return Ok(Self(values));
        }
        let plural = if faults.len() == 1 { "" } else { "s" };
        let mut message = format!(
            "{} validation error{plural} for {tool}Arguments",
            faults.len()
        );
        for (name, (text, kind)) in faults {
            let _ = write!(message, "\n{name}\n  {text} [type={kind}]");
        }
        Err(message)
    }

    /// A text; empty where it is null.
    pub(super) fn text(&self, name: &str) -> &str {
        self.0.get(name).and_then(Value::as_str).unwrap_or_default()
    }

    /// A text, or `None` where it is null.
    pub(super) fn text_or_null(&self, name: &str) -> Option<&str> {
        self.0.get(name).and_then(Value::as_str)
    }

    /// A number; 0 where it is null.
    pub(super) fn integer(&self, name: &str) -> i64 {
        self.0.get(name).and_then(Value::as_i64).unwrap_or_default()
    }

    pub(super) fn flag(&self, name: &str) -> bool {
        self.0
            .get(name)
            .and_then(Value::as_bool)
            .unwrap_or_default()
    }
}

type Fault = (&'static str, &'static str);

fn coerce(kind: Kind, value: Value) -> Result<Value, Fault> {
    const NO_TEXT: Fault = ("Input should be a valid string", "string_type");
    const NO_INTEGER: Fault = ("Input should be a valid integer", "int_type");
    const NO_NUMBER: Fault = (
        "Input should be a valid integer, unable to parse string as an integer",
        "int_parsing",
    );
    const NO_FLAG: Fault = ("Input should be a valid boolean", "bool_type");
    const NO_CHOICE: Fault = ("Input should be one of the listed values", "literal_error");
    match (kind, value) {
        (Kind::Text | Kind::TextOrNull, value @ Value::String(_))
        | (Kind::TextOrNull | Kind::IntegerOrNull, value @ Value::Null)
        | (Kind::Boolean, value @ Value::Bool(_)) => Ok(value),
        (Kind::Text | Kind::TextOrNull, _) => Err(NO_TEXT),
        (Kind::Integer | Kind::IntegerOrNull, Value::String(text)) => text
            .trim()
            .parse::<i64>()
            .map(Value::from)
            .or(Err(NO_NUMBER)),
        (Kind::Integer | Kind::IntegerOrNull, Value::Number(number)) => number
            .as_i64()
            .or_else(|| number.as_f64().and_then(whole))
            .map(Value::from)
            .ok_or(NO_INTEGER),
        (Kind::Integer | Kind::IntegerOrNull, _) => Err(NO_INTEGER),
        (Kind::Boolean, Value::String(text)) => match text.to_lowercase().as_str() {
            "true" | "1" | "yes" | "on" => Ok(true.into()),
            "false" | "0" | "no" | "off" => Ok(false.into()),
            _ => Err(NO_FLAG),
        },
        (Kind::Boolean, Value::Number(number)) => match number.as_i64() {
            Some(0) => Ok(false.into()),
            Some(1) => Ok(true.into()),
            _ => Err(NO_FLAG),
        },
        (Kind::Boolean, _) => Err(NO_FLAG),
        (Kind::Choice(words), Value::String(text)) if words.contains(&text.as_str()) => {
            Ok(text.into())
        }
        (Kind::Choice(_), _) => Err(NO_CHOICE),
    }
}

/// A float without a fraction, within what a float holds exactly.
fn whole(number: f64) -> Option<i64> {
    (number.fract() == 0.0 && number.abs() < 9e15).then_some(number as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PARAMETERS: &[Parameter] = &[
        Parameter::required("note_id", Kind::Integer),
        Parameter::required("category", Kind::TextOrNull),
        Parameter::optional("share_type", Kind::Integer, Presence::Number(0)),
        Parameter::optional("shared_with_me", Kind::Boolean, Presence::Flag(false)),
    ];

    fn read(given: Value) -> Result<Arguments, String> {
        let Value::Object(given) = given else {
            panic!("arguments are an object");
        };
        Arguments::read("tool", PARAMETERS, given)
    }

    #[test]
    fn arguments_are_read_leniently_and_completed() {
        let arguments =
            read(json!({"note_id": "7", "category": null, "shared_with_me": "true", "odd": 1}));
        let arguments = arguments.unwrap();
        assert_eq!(arguments.integer("note_id"), 7);
        assert_eq!(arguments.text_or_null("category"), None);
        assert_eq!(arguments.integer("share_type"), 0);
        assert!(arguments.flag("shared_with_me"));
    }

    #[test]
    fn all_faults_are_named() {
        let message = read(json!({"note_id": "x"})).unwrap_err();
        assert_eq!(
            message,
            "2 validation errors for toolArguments\nnote_id\n  Input should be a valid integer, unable to parse \
             string as an integer [type=int_parsing]\ncategory\n  Field required [type=missing]"
        );
        let message = read(json!({"note_id": 1.5, "category": "c"})).unwrap_err();
        assert!(message.starts_with("1 validation error for"), "{message}");
    }

    #[test]
    fn the_schema_names_types_defaults_and_what_is_required() {
        let schema = input_schema("tool", PARAMETERS);
        assert_eq!(schema["required"], json!(["note_id", "category"]));
        assert_eq!(
            schema["properties"]["share_type"],
            json!({"type": "integer", "default": 0, "title": "Share Type"})
        );
    }
}

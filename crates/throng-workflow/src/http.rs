//! What a scenario file may say of HTTP: TLS, forgery protection, captures from an answer, bodies.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde_json::Value;

use crate::decode::{At, Decode, record, words};
use crate::node::{Kind, Node};
use crate::path::Path;
use crate::problem::{Mark, Problems};
use crate::scalar::{Pattern, schema};
use crate::template::{self, Segment, Template};

record! {
    /// Whose certificates are believed.
    Tls ("tls") {
        /// Whether the certificate is verified at all; `false` for test systems with certificates of their own making.
        "verify" verify: bool = true;
        /// A PEM file of further authorities, relative to the scenario file.
        "ca" ca: Option<At<String>>;
    }
}

record! {
    /// Protection against cross-site request forgery by double submit: a cookie that a header repeats.
    Csrf ("csrf") {
        /// The cookie.
        "cookie" cookie: String;
        /// The header that repeats its value. It is read from the user's cookies when the request is sent. With it goes `Origin`,
        /// as from a browser.
        "header" header: At<String>;
        /// The methods that need it; POST, PUT, PATCH and DELETE when left out.
        "methods" methods: Vec<At<String>>;
    }
}

/// Methods that write (RFC 9110, section 9.2.1).
pub const UNSAFE: [&str; 4] = ["POST", "PUT", "PATCH", "DELETE"];

impl Csrf {
    /// Whether requests of this method carry the header.
    pub fn covers(&self, method: &str) -> bool {
        match self.methods.as_slice() {
            [] => UNSAFE.contains(&method),
            given => given.iter().any(|given| given.value == method),
        }
    }
}

words! {
    /// What is done with a redirect.
    Redirects {
        /// It is the answer.
        Keep = "keep",
        /// It is followed, up to ten times, as a browser does.
        Follow = "follow",
    } default Keep
}

/// A text with placeholders that may be written as a number or a boolean, too.
#[derive(Clone, Debug, Default)]
pub struct Plain(pub Template);

schema!(Plain, "Plain", {
    "type": ["string", "number", "boolean"],
    "description": "a text with placeholders such as {note} or {bob.name}, a number or a boolean"
});

impl Decode for Plain {
    fn decode(node: &Node, problems: &mut Problems) -> Self {
        let literal = |text: String| {
            Self(Template {
                segments: vec![Segment::Text(text)],
                mark: node.mark,
                named: None,
            })
        };
        match &node.kind {
            Kind::Text(text) => Self(template::parse(text, node.mark, problems)),
            Kind::Number(number) => literal(number.to_string()),
            Kind::Bool(value) => literal(value.to_string()),
            _ => {
                problems.wrong_kind(node, "a text, a number or a boolean");
                Self::default()
            }
        }
    }
}

/// Any JSON value, as it stands: braces are braces.
#[derive(Clone, Debug, Default)]
pub struct RawJson(pub Value);

schema!(RawJson, "RawJson", { "type": ["object", "boolean"], "description": "a JSON Schema" });

impl Decode for RawJson {
    fn decode(node: &Node, _: &mut Problems) -> Self {
        Self(raw(node))
    }
}

/// Knobs of the embedded sandbox. What they mean is the sandbox's to say, which this crate doesn't know.
#[derive(Clone, Debug, Default)]
pub struct Knobs(pub Value);

schema!(Knobs, "Knobs", { "type": "object", "description": "knobs of the embedded sandbox" });

impl Decode for Knobs {
    fn decode(node: &Node, problems: &mut Problems) -> Self {
        if !matches!(node.kind, Kind::Map(_)) {
            problems.wrong_kind(node, "a map of knobs, such as { token_lifetime_s: 2 }");
        }
        Self(raw(node))
    }
}

/// Any JSON, braces as they stand.
pub(crate) fn raw(node: &Node) -> Value {
    match &node.kind {
        Kind::Null => Value::Null,
        Kind::Bool(value) => (*value).into(),
        Kind::Number(number) => Value::Number(number.clone()),
        Kind::Text(text) => text.as_str().into(),
        Kind::List(items) => items.iter().map(raw).collect(),
        Kind::Map(entries) => entries
            .iter()
            .map(|(key, value)| (key.text.clone(), raw(value)))
            .collect::<serde_json::Map<_, _>>()
            .into(),
    }
}

/// What is kept of an answer.
#[derive(Clone, Debug)]
pub enum Capture {
    /// The value at a path of the body.
    Path(Path),
    /// A header's value.
    Header(At<String>),
    /// The first group of the first match in the body.
    Regex(At<Pattern>),
    /// The value of a cookie, as the user has it after the answer.
    Cookie(At<String>),
}

impl Default for Capture {
    fn default() -> Self {
        Self::Path(Path::default())
    }
}

record! {
    /// What is kept of an answer, other than by a path.
    CaptureFrom ("a value to save") {
        /// The value of this header.
        "header" header: Option<At<String>>;
        /// The first group of the first match of this regular expression in the body.
        "regex" regex: Option<At<Pattern>>;
        /// The value of this cookie.
        "cookie" cookie: Option<At<String>>;
    }
}

impl Decode for Capture {
    fn decode(node: &Node, problems: &mut Problems) -> Self {
        if !matches!(node.kind, Kind::Map(_)) {
            return Self::Path(Path::decode(node, problems));
        }
        let before = problems.len();
        let given = CaptureFrom::decode(node, problems);
        match (given.header, given.regex, given.cookie) {
            (Some(header), None, None) => Self::Header(header),
            (None, Some(regex), None) => {
                if regex.0.captures_len() < 2 && problems.len() == before {
                    problems.add_with_help(
                        regex.mark,
                        "this has no group, so that it is not said what to save",
                        "put what is wanted in parentheses: `name=\"token\" value=\"([^\"]+)\"`",
                    );
                }
                Self::Regex(regex)
            }
            (None, None, Some(cookie)) => Self::Cookie(cookie),
            _ => {
                if problems.len() == before {
                    problems.add(
                        node.mark,
                        "a value to save needs a JSONPath, or exactly one of header, regex, cookie",
                    );
                }
                Self::default()
            }
        }
    }
}

impl JsonSchema for Capture {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        "Capture".into()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let path = generator.subschema_for::<Path>();
        let from = generator.subschema_for::<CaptureFrom>();
        json_schema!({ "anyOf": [path, from] })
    }
}

record! {
    /// A part of a multipart body.
    PartMap ("a part") {
        /// A file whose content it is, relative to the scenario file; read before the run.
        "file" file: Option<At<String>>;
        /// Its content.
        "content" content: Option<Template>;
        /// The file name that it goes under; with `file`, that file's name when left out.
        "filename" filename: Option<Template>;
        /// Its media type.
        "type" media_type: Option<At<String>>;
    }
}

/// A part of a multipart body: a text, or more than that.
#[derive(Clone, Debug, Default)]
pub struct Part(pub PartMap);

impl Decode for Part {
    fn decode(node: &Node, problems: &mut Problems) -> Self {
        if !matches!(node.kind, Kind::Map(_)) {
            return Self(PartMap {
                mark: node.mark,
                content: Some(Plain::decode(node, problems).0),
                ..PartMap::default()
            });
        }
        let before = problems.len();
        let part = PartMap::decode(node, problems);
        if part.file.is_some() == part.content.is_some() && problems.len() == before {
            problems.add(
                Mark {
                    length: 1,
                    ..node.mark
                },
                "a part needs exactly one of file and content",
            );
        }
        Self(part)
    }
}

impl JsonSchema for Part {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        "Part".into()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let text = generator.subschema_for::<Plain>();
        let map = generator.subschema_for::<PartMap>();
        json_schema!({ "anyOf": [text, map] })
    }
}

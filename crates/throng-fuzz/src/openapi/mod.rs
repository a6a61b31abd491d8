//! An API's OpenAPI document, 3.0 or 3.1: its operations, what they take and what they may answer.
//!
//! It is walked as plain JSON with `$ref` followed inside the document; a reference to another file is not. What the
//! document leaves out is taken to be unknown, never to be forbidden.

mod error;
mod load;
mod plain;
mod schema;

use http::Method;
use serde_json::Value;

pub use error::DocumentError;
pub use plain::plain;
pub(crate) use schema::Validators;

/// An OpenAPI document, taken apart.
#[derive(Debug)]
pub struct Document {
    root: Value,
    version: Version,
    operations: Vec<Operation>,
    /// What could not be understood and was left out, in words.
    notes: Vec<String>,
}

/// The two dialects, which differ in their schemas.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// OpenAPI 3.0: schemas are a dialect of their own (`nullable`, boolean `exclusiveMinimum`).
    V3_0,
    /// OpenAPI 3.1 and later: schemas are JSON Schema 2020-12.
    V3_1,
}

/// One method of one path.
#[derive(Debug, Clone)]
pub struct Operation {
    /// `METHOD template`, as it is reported: without the prefix that the scenario gives to all paths.
    pub name: String,
    /// The method.
    pub method: Method,
    /// The path's template from the origin on, `{name}` for a parameter; with the server's own base path.
    pub path: String,
    /// `operationId`.
    pub id: Option<String>,
    /// The parameters of the path, the query and headers; those of cookies are left out.
    pub parameters: Vec<Parameter>,
    /// What a body may be, by media type; empty where none is documented.
    pub bodies: Vec<Content>,
    /// Whether a body must be there.
    pub body_required: bool,
    /// The documented answers.
    pub responses: Vec<Response>,
    /// Whether a login is declared to be needed: a security requirement, and no empty alternative beside it.
    pub secured: bool,
}

/// A parameter of an operation.
#[derive(Debug, Clone)]
pub struct Parameter {
    /// Its name.
    pub name: String,
    /// Where it stands.
    pub place: Place,
    /// Whether it must be there.
    pub required: bool,
    /// Its schema; `true` where none is given.
    pub schema: Value,
}

/// Where a parameter stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// In the path.
    Path,
    /// In the query.
    Query,
    /// A header.
    Header,
}

/// A body of one media type.
#[derive(Debug, Clone)]
pub struct Content {
    /// The media type as in the document, in lower case and without parameters; may hold `*`.
    pub media_type: String,
    /// The schema of the body, where one is given.
    pub schema: Option<Value>,
}

/// A documented answer.
#[derive(Debug, Clone)]
pub struct Response {
    /// Which statuses it stands for.
    pub status: StatusPattern,
    /// The bodies that it may have; empty where none is documented.
    pub content: Vec<Content>,
}

/// The key of a documented answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum StatusPattern {
    /// `404`
    Exact(u16),
    /// `4XX`, by its first digit.
    Class(u16),
    /// `default`
    Default,
}

impl StatusPattern {
    /// Whether it stands for this status.
    pub fn covers(self, status: u16) -> bool {
        match self {
            Self::Exact(exact) => exact == status,
            Self::Class(class) => status / 100 == class,
            Self::Default => true,
        }
    }
}

impl Document {
    /// The whole document.
    pub fn root(&self) -> &Value {
        &self.root
    }

    /// Its dialect.
    pub fn version(&self) -> Version {
        self.version
    }

    /// All operations in the order of the document.
    pub fn operations(&self) -> &[Operation] {
        &self.operations
    }

    /// What could not be understood and was left out, in words.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// The operation of that name: `METHOD template` with or without the scenario's prefix, or its `operationId`.
    pub fn operation(&self, name: &str) -> Option<&Operation> {
        self.operations
            .iter()
            .find(|operation| operation.is_called(name))
    }

    /// Whether it says of any operation that a login is needed.
    pub fn knows_logins(&self) -> bool {
        self.operations.iter().any(|operation| operation.secured)
    }

    /// Whether some operation has the path of this name (see [`Document::operation`]), by whatever method.
    pub fn has_path(&self, name: &str) -> bool {
        let path = name.split_once(' ').map_or(name, |(_, path)| path.trim());
        self.operations.iter().any(|operation| {
            let shown = operation.name.split_once(' ').map(|(_, path)| path);
            operation.path == path || shown == Some(path)
        })
    }

    /// What a value stands for: follows `$ref` inside the document. A reference that leads nowhere, or in a circle, is given
    /// back as it is.
    pub fn resolve<'a>(&'a self, value: &'a Value) -> &'a Value {
        load::resolve(&self.root, value)
    }

    /// The schemas of an object: its properties, of its own and of all parts of `allOf`, each resolved once. Empty for
    /// anything but an object.
    pub fn properties<'a>(&'a self, schema: &'a Value) -> Vec<(&'a str, &'a Value)> {
        let mut found = Vec::new();
        self.collect_properties(schema, &mut found, &mut Vec::new());
        found
    }

    fn collect_properties<'a>(
        &'a self,
        schema: &'a Value,
        found: &mut Vec<(&'a str, &'a Value)>,
        seen: &mut Vec<&'a Value>,
    ) {
        /// As many parts of `allOf` are looked at.
        const MOST: usize = 500;
        let schema = self.resolve(schema);
        // A schema may be part of itself, and of many others.
        if seen.len() >= MOST || seen.iter().any(|known| std::ptr::eq(*known, schema)) {
            return;
        }
        seen.push(schema);
        if let Some(properties) = schema["properties"].as_object() {
            for (name, property) in properties {
                if !found.iter().any(|(known, _)| known == name) {
                    found.push((name, property));
                }
            }
        }
        for part in schema["allOf"].as_array().into_iter().flatten() {
            self.collect_properties(part, found, seen);
        }
    }

    /// The schema without the alternatives that are `null`, and resolved.
    pub(crate) fn not_null<'a>(&'a self, schema: &'a Value) -> &'a Value {
        let schema = self.resolve(schema);
        for word in ["anyOf", "oneOf"] {
            let Some(parts) = schema[word].as_array() else {
                continue;
            };
            let mut rest = parts
                .iter()
                .map(|part| self.resolve(part))
                .filter(|part| part["type"] != "null");
            if let (Some(only), None) = (rest.next(), rest.next()) {
                return only;
            }
        }
        schema
    }
}

impl Operation {
    /// Whether it goes by this name (see [`Document::operation`]).
    pub fn is_called(&self, name: &str) -> bool {
        let name = name.trim();
        if self.name == name || self.id.as_deref() == Some(name) {
            return true;
        }
        name.split_once(' ').is_some_and(|(method, path)| {
            method.eq_ignore_ascii_case(self.method.as_str()) && path.trim() == self.path
        })
    }

    /// The documented answer of a status: the exact one, else that of its class, else the default one. With its position.
    pub fn response(&self, status: u16) -> Option<(usize, &Response)> {
        self.responses
            .iter()
            .enumerate()
            .filter(|(_, response)| response.status.covers(status))
            .min_by_key(|(_, response)| response.status)
    }

    /// The documented answers of success.
    pub fn successes(&self) -> impl Iterator<Item = &Response> {
        self.responses.iter().filter(|response| {
            matches!(
                response.status,
                StatusPattern::Exact(200..=299) | StatusPattern::Class(2)
            )
        })
    }

    /// Whether this exact status is documented.
    pub fn documents(&self, status: u16) -> bool {
        self.responses
            .iter()
            .any(|response| response.status == StatusPattern::Exact(status))
    }

    /// The JSON schema of its success, where there is one.
    pub(crate) fn answer_schema(&self) -> Option<&Value> {
        self.successes()
            .flat_map(|response| &response.content)
            .find(|content| content.is_json())
            .and_then(|content| content.schema.as_ref())
    }

    /// Its body, JSON before a form before anything else.
    pub fn body(&self) -> Option<&Content> {
        let rank = |content: &&Content| {
            (
                !content.is_json(),
                content.media_type != "application/x-www-form-urlencoded",
            )
        };
        self.bodies.iter().min_by_key(rank)
    }

    /// Whether it answers with events, as far as documented.
    pub fn is_stream(&self) -> bool {
        self.successes()
            .flat_map(|response| &response.content)
            .any(|content| content.media_type == "text/event-stream")
    }

    /// Whether its method only reads (RFC 9110, section 9.2.1).
    pub fn is_safe(&self) -> bool {
        self.method.is_safe()
    }

    /// The names of the path's parameters, in the order of the path.
    pub(crate) fn path_parameters(&self) -> impl Iterator<Item = &str> {
        self.path
            .split('{')
            .skip(1)
            .filter_map(|rest| rest.split_once('}').map(|(name, _)| name))
    }
}

impl Content {
    /// `application/json`, or anything that ends in `+json`.
    pub fn is_json(&self) -> bool {
        is_json(&self.media_type)
    }

    /// Whether a media type (in lower case, without parameters) is this one.
    pub fn covers(&self, media_type: &str) -> bool {
        match self.media_type.as_str() {
            "*/*" => true,
            pattern => match pattern.strip_suffix("/*") {
                Some(kind) => media_type.split('/').next() == Some(kind),
                None => pattern == media_type,
            },
        }
    }
}

/// Whether a media type without parameters is JSON.
pub(crate) fn is_json(media_type: &str) -> bool {
    media_type == "application/json" || media_type.ends_with("+json")
}

/// A media type without its parameters, in lower case.
pub(crate) fn essence(content_type: &str) -> String {
    content_type
        .split(';')
        .next()
        .unwrap_or_default()
        .trim()
        .to_ascii_lowercase()
}

//! Single requests with something random about them: values that fit, that nearly fit and garbage; wrong methods and paths;
//! other users, nobody, wrong tokens.

use std::collections::HashMap;

use http::Method;
use proptest::strategy::{SBoxedStrategy, Strategy as _};
use serde_json::Value;

use super::{
    Kind, Probe, Relations, Role, Step,
    plain_request::{plain_request, with_new_names},
    relations::{cleared_up, prelude},
};
use crate::{
    draw::Draw,
    openapi::{Document, Operation, Parameter, Place},
    request::{Body, Csrf, Octets, Part, Request, Who, percent_encoded, scalar},
    value::{Schemas, Values, garbage, garbage_body, odd_text, text},
};

/// Types of bodies that are sent where JSON is documented.
const OTHER_TYPES: [&str; 8] = [
    "application/json; charset=utf-16",
    "text/plain",
    "application/xml",
    "multipart/form-data",
    "application/x-www-form-urlencoded",
    "application/octet-stream",
    "application/json; charset=nonsense",
    "",
];
/// Methods that are tried where they are not documented.
const METHODS: [&str; 7] = [
    "GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PROPFIND",
];
/// Texts for a place in a URL, percent-encoded: what parsers and databases stumble over.
const ODD_IN_URL: [&str; 16] = [
    "%00",
    "%FF",
    "%C0%80",
    "%ED%A0%80",
    "%25",
    "%27",
    "%22",
    "%0A",
    "%F0%9F%A6%8D",
    "%7B%7D",
    "-1",
    "0",
    "2147483648",
    "9223372036854775808",
    "1e400",
    "NaN",
];
/// The longest text of a header, in bytes: what is longer is refused by most servers before anybody looks at it.
const LONGEST_HEADER: usize = 2_000;
/// The longest text in a URL, in bytes.
const LONGEST_IN_URL: usize = 3_000;
/// The largest body, in bytes.
const LARGEST_BODY: usize = 400_000;

/// Makes single requests. Strategies are built once for each schema.
pub(crate) struct Singles {
    schemas: Schemas,
    /// By operation; those that are sent.
    sent: Vec<usize>,
    bodies: HashMap<usize, Strategies>,
    parameters: HashMap<(usize, usize), Strategies>,
    garbage: Values,
    texts: SBoxedStrategy<String>,
    odd: SBoxedStrategy<String>,
    /// What no strategy could be made for, in words.
    pub(crate) notes: Vec<String>,
}

struct Strategies {
    valid: Option<Values>,
    near: Option<Values>,
    raw: SBoxedStrategy<bytes::Bytes>,
}

/// How the values of a request come to be.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Mood {
    Valid,
    Near,
    Garbage,
}

impl Singles {
    pub(crate) fn new(document: &Document, relations: &Relations) -> Self {
        let operations = document.operations().iter().enumerate();
        // What has more to be got wrong is sent more often.
        let sent = operations
            .filter(|(index, _)| !relations.skipped(*index))
            .flat_map(|(index, operation)| {
                // A stream takes its time, and says little.
                let times = match operation.is_stream() {
                    true => 1,
                    false => {
                        2 + operation.parameters.len().min(3) + 3 * operation.bodies.len().min(1)
                    }
                };
                std::iter::repeat_n(index, times)
            })
            .collect();
        Self {
            schemas: Schemas::new(document.root()),
            sent,
            bodies: HashMap::new(),
            parameters: HashMap::new(),
            garbage: garbage(),
            texts: text(0, Some(64)),
            odd: odd_text(1, 40),
            notes: Vec::new(),
        }
    }

    /// Probe `number`.
    pub(crate) fn probe(
        &mut self,
        document: &Document,
        relations: &Relations,
        users: usize,
        number: u64,
        draw: &mut Draw,
    ) -> Option<Probe> {
        let index = *draw.pick(&self.sent)?;
        let operation = &document.operations()[index];
        let mut steps = Vec::new();
        let mut request = plain_request(document, operation, Who::Own);
        let unknown = draw.percent(30);
        if !unknown && let Some(bound) = prelude(relations, document, index, &mut steps, 3) {
            request.path_values.extend(bound);
        } else {
            steps.clear();
            self.random_path(index, operation, &mut request, draw);
        }
        let mood = match draw.below(100) {
            0..40 => Mood::Valid,
            40..75 => Mood::Near,
            _ => Mood::Garbage,
        };
        self.fill(document, index, operation, mood, &mut request, draw);
        if Some(index) == relations.logout() {
            // It would end the session that the others go by.
            request.who = Who::Fresh;
        } else {
            sender(operation, users, &mut request, draw);
        }
        match draw.below(100) {
            0..5 => astray(document, &mut request, draw),
            5..8 => other_method(document, &mut request, draw),
            _ => {}
        }
        if users == 0 {
            request.who = Who::Nobody;
            for step in &mut steps {
                step.request.who = Who::Nobody;
            }
        }
        steps.push(Step::new(request, Role::Act));
        cleared_up(relations, document, &mut steps);
        if users == 0 {
            for step in &mut steps {
                step.request.who = Who::Nobody;
            }
        }
        Some(Probe {
            number,
            kind: Kind::Single,
            watched: Vec::new(),
            steps,
        })
    }

    fn fill(
        &mut self,
        document: &Document,
        index: usize,
        operation: &Operation,
        mood: Mood,
        request: &mut Request,
        draw: &mut Draw,
    ) {
        for (position, parameter) in operation.parameters.iter().enumerate() {
            if parameter.place == Place::Path {
                continue;
            }
            let left_out = if parameter.required {
                mood != Mood::Valid && draw.percent(10)
            } else {
                draw.percent(50)
            };
            let pairs = match parameter.place {
                Place::Header => &mut request.headers,
                _ => &mut request.query,
            };
            pairs.retain(|(name, _)| *name != parameter.name);
            if left_out {
                continue;
            }
            for value in self.parameter((index, position), parameter, mood, draw) {
                let pairs = match parameter.place {
                    Place::Header => &mut request.headers,
                    _ => &mut request.query,
                };
                let value = match (parameter.place, value) {
                    (Place::Header, Part::Text(text) | Part::Encoded(text)) => {
                        Part::Text(header_text(&text))
                    }
                    (_, value) => value,
                };
                pairs.push((parameter.name.clone(), value));
            }
        }
        if mood == Mood::Garbage && draw.percent(15) {
            let value = self.any_text(draw);
            request.query.push(("throng".to_owned(), Part::Text(value)));
        }
        if mood == Mood::Garbage && draw.percent(10) {
            let value = header_text(&self.any_text(draw));
            request
                .headers
                .push(("x-throng".to_owned(), Part::Text(value)));
        }
        if operation.bodies.is_empty() {
            if mood == Mood::Garbage && !operation.is_safe() && draw.percent(20) {
                let body = draw.value(&self.garbage).unwrap_or(Value::Null);
                request.body = Body::Json(body);
            }
            return;
        }
        request.body = self.body(document, index, operation, mood, draw);
    }

    fn body(
        &mut self,
        document: &Document,
        index: usize,
        operation: &Operation,
        mood: Mood,
        draw: &mut Draw,
    ) -> Body {
        let Some(content) = operation.body() else {
            return Body::None;
        };
        let schema = content.schema.clone().unwrap_or(Value::Bool(true));
        if !self.bodies.contains_key(&index) {
            let keys = document.properties(&schema);
            let keys: Vec<String> = keys.iter().map(|(key, _)| (*key).to_owned()).collect();
            let made = strategies(
                &self.schemas,
                &schema,
                &keys,
                &operation.name,
                &mut self.notes,
            );
            self.bodies.insert(index, made);
        }
        let known = &self.bodies[&index];
        let drawn = match mood {
            Mood::Valid => known.valid.as_ref().and_then(|values| draw.value(values)),
            Mood::Near => known.near.as_ref().and_then(|values| draw.value(values)),
            Mood::Garbage => None,
        };
        if let Some(mut value) = drawn {
            if content.is_json() {
                if draw.percent(50) {
                    // Else most of what fits would be refused for a name that is taken, or be it that it's too short.
                    with_new_names(document, &schema, &mut value, true);
                }
                return Body::Json(value);
            }
            return Body::Form(pairs(&value));
        }
        match draw.below(100) {
            0..5 => Body::None,
            5..30 => Body::Json(draw.value(&self.garbage).unwrap_or(Value::Null)),
            _ => {
                let mut bytes = draw.value(&known.raw).unwrap_or_default();
                bytes.truncate(LARGEST_BODY);
                let usual = if content.is_json() {
                    "application/json"
                } else {
                    &content.media_type
                };
                let content_type = if draw.percent(70) {
                    usual
                } else {
                    draw.pick(&OTHER_TYPES).copied().unwrap_or(usual)
                };
                Body::Raw {
                    content_type: content_type.to_owned(),
                    bytes: Octets(bytes),
                }
            }
        }
    }

    /// The values of a parameter: several for a list.
    fn parameter(
        &mut self,
        key: (usize, usize),
        parameter: &Parameter,
        mood: Mood,
        draw: &mut Draw,
    ) -> Vec<Part> {
        if !self.parameters.contains_key(&key) {
            let made = strategies(
                &self.schemas,
                &parameter.schema,
                &[],
                &parameter.name,
                &mut self.notes,
            );
            self.parameters.insert(key, made);
        }
        let known = &self.parameters[&key];
        let mood = if draw.percent(60) { mood } else { Mood::Valid };
        let drawn = match mood {
            Mood::Valid => known.valid.as_ref().and_then(|values| draw.value(values)),
            Mood::Near => known.near.as_ref().and_then(|values| draw.value(values)),
            Mood::Garbage => None,
        };
        match drawn {
            Some(Value::Array(items)) => items.iter().map(in_url).collect(),
            Some(value) => vec![in_url(&value)],
            None if draw.percent(50) => {
                let odd = draw.pick(&ODD_IN_URL).copied().unwrap_or("%00");
                vec![Part::Encoded(odd.to_owned())]
            }
            None => vec![Part::Text(shortened(&self.any_text(draw), LONGEST_IN_URL))],
        }
    }

    fn any_text(&self, draw: &mut Draw) -> String {
        let from = if draw.percent(50) {
            &self.texts
        } else {
            &self.odd
        };
        draw.value(from).unwrap_or_default()
    }

    /// Values of the path that nothing has, or that nothing can have.
    fn random_path(
        &mut self,
        index: usize,
        operation: &Operation,
        request: &mut Request,
        draw: &mut Draw,
    ) {
        let mood = if draw.percent(50) {
            Mood::Valid
        } else {
            Mood::Garbage
        };
        for (position, parameter) in operation.parameters.iter().enumerate() {
            if parameter.place != Place::Path {
                continue;
            }
            let parts = self.parameter((index, position), parameter, mood, draw);
            let part = parts.into_iter().next().filter(routable);
            let part = part.unwrap_or_else(|| Part::text("0"));
            request.path_values.insert(parameter.name.clone(), part);
        }
    }
}

/// Whether a text in a path leads to where it should: not a segment less, or one more.
fn routable(part: &Part) -> bool {
    let text = match part {
        Part::Text(text) => percent_encoded(text.as_bytes()),
        Part::Encoded(text) => text.clone(),
        Part::Bound { .. } => return true,
    };
    let upper = text.to_ascii_uppercase();
    !matches!(text.as_str(), "" | "." | "..")
        && !["/", "\\", "%2F", "%5C", "?", "#"]
            .iter()
            .any(|bad| upper.contains(bad))
}

fn strategies(
    schemas: &Schemas,
    schema: &Value,
    keys: &[String],
    name: &str,
    notes: &mut Vec<String>,
) -> Strategies {
    let mut noted = |made: Result<Values, crate::value::SchemaError>| match made {
        Ok(values) => Some(values),
        Err(error) => {
            notes.push(format!("{name}: {error}"));
            None
        }
    };
    Strategies {
        valid: noted(schemas.valid(schema)),
        near: noted(schemas.near_valid(schema)),
        raw: garbage_body(keys).sboxed(),
    }
}

fn in_url(value: &Value) -> Part {
    let text = match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    Part::Text(shortened(&text, LONGEST_IN_URL))
}

fn shortened(text: &str, longest: usize) -> String {
    let mut length = 0;
    text.chars()
        .take_while(|c| {
            length += c.len_utf8();
            length <= longest
        })
        .collect()
}

/// A text that may stand in a header: HTTP allows no control characters, and neither end may be blank.
fn header_text(text: &str) -> String {
    let kept: String = text.chars().filter(|c| !c.is_control()).collect();
    shortened(kept.trim(), LONGEST_HEADER)
}

fn pairs(value: &Value) -> Vec<(String, String)> {
    let Some(members) = value.as_object() else {
        return Vec::new();
    };
    let text = |value: &Value| scalar(value).unwrap_or_else(|| value.to_string());
    members
        .iter()
        .flat_map(|(name, value)| match value {
            Value::Array(items) => items
                .iter()
                .map(|item| (name.clone(), text(item)))
                .collect(),
            other => vec![(name.clone(), text(other))],
        })
        .collect()
}

fn sender(operation: &Operation, users: usize, request: &mut Request, draw: &mut Draw) {
    request.who = match draw.below(100) {
        0..12 => Who::Nobody,
        12..20 if users > 1 => Who::Other(1),
        _ => Who::Own,
    };
    if operation.method.is_safe() {
        return;
    }
    request.csrf = match draw.below(100) {
        0..6 => Csrf::Missing,
        6..10 if users > 1 => Csrf::Others,
        _ => Csrf::Right,
    };
}

/// A path that no operation has: one segment more, less or other.
fn astray(document: &Document, request: &mut Request, draw: &mut Draw) {
    let mut segments: Vec<&str> = request.path.split('/').collect();
    match draw.below(3) {
        0 => segments.push("throng"),
        1 if segments.len() > 2 => {
            segments.pop();
        }
        _ => {
            if let Some(last) = segments.last_mut() {
                *last = "throng";
            }
        }
    }
    let path = segments.join("/");
    let mut operations = document.operations().iter();
    let known = operations.any(|operation| leads_to(&operation.path, &path));
    if path.len() < 2 || known {
        return;
    }
    request.path = path;
    request.operation = None;
}

/// Whether a path may be one of a template's: where either has a parameter, anything is.
fn leads_to(template: &str, path: &str) -> bool {
    let segments = |path: &str| -> Vec<String> {
        let bare = path.trim_end_matches('/');
        bare.split('/').map(str::to_owned).collect()
    };
    let (template, path) = (segments(template), segments(path));
    template.len() == path.len()
        && template
            .iter()
            .zip(&path)
            .all(|(one, other)| one == other || one.contains('{') || other.contains('{'))
}

/// A method that the path does not have.
fn other_method(document: &Document, request: &mut Request, draw: &mut Draw) {
    let method = draw.pick(&METHODS).copied().unwrap_or("PATCH");
    let known = document
        .operations()
        .iter()
        .any(|operation| operation.path == request.path && operation.method.as_str() == method);
    // A HEAD or OPTIONS is often answered by the framework, and well.
    if known || method == Method::OPTIONS.as_str() {
        return;
    }
    request.method = method.to_owned();
    request.operation = None;
    if method == "GET" {
        request.body = Body::None;
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_leads_elsewhere_is_no_path_value() {
        for bad in ["", ".", "..", "a/b"] {
            assert!(bad == "a/b" || !routable(&Part::text(bad)), "{bad}");
        }
        assert!(!routable(&Part::Encoded("a%2fb".to_owned())));
        assert!(!routable(&Part::text("a/b")));
        assert!(routable(&Part::text("a b")));
    }

    #[test]
    fn a_path_is_astray_only_if_no_template_has_it() {
        for (template, path, expected) in [
            ("/things/{id}", "/things/throng", true),
            ("/things/{id}", "/things/", false),
            ("/things/", "/things", true),
            ("/things/{id}/parts", "/things/{id}/throng", false),
            ("/things/special", "/things/{id}", true),
        ] {
            assert_eq!(leads_to(template, path), expected, "{template} {path}");
        }
    }

    #[test]
    fn a_form_takes_any_value() {
        let made = pairs(&json!({ "a": 1, "b": ["x", null], "c": "" }));
        let shown: Vec<String> = made.iter().map(|(k, v)| format!("{k}={v}")).collect();
        assert_eq!(shown, ["a=1", "b=x", "b=null", "c=\"\""]);
    }
}

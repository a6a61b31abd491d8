//! A request as plain data: what the generator makes, the shrinker changes, the corpus keeps and curl repeats.
//!
//! It holds no secrets: who sends it is a role ([`Who`]), whose cookies and token are filled in when it is sent.

use std::collections::BTreeMap;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;

use crate::answer::Answer;

/// Stands in any text of a request for a text that is new each time the probe is sent, of letters and digits.
pub(crate) const UNIQUE: &str = "{unique}";
/// A second such text, another one.
pub(crate) const UNIQUE_TOO: &str = "{unique2}";

/// One request.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Request {
    /// The name of the operation that it is meant for; `None` for a path or method that no operation has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operation: Option<String>,
    /// The method.
    pub method: String,
    /// The path's template from the origin on.
    pub path: String,
    /// The values of the path's parameters.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub path_values: BTreeMap<String, Part>,
    /// The query; a name may stand in it several times.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub query: Vec<(String, Part)>,
    /// Headers beside those that the role brings.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub headers: Vec<(String, Part)>,
    /// The body.
    #[serde(default, skip_serializing_if = "Body::is_none")]
    pub body: Body,
    /// Who sends it.
    pub who: Who,
    /// Which token against forgery goes along, where the target wants one.
    #[serde(default)]
    pub csrf: Csrf,
}

/// A value of a path, a query or a header.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Part {
    /// This text, to be percent-encoded where it stands in a URL.
    Text(String),
    /// In a URL: this, which is percent-encoded already, rightly or not.
    Encoded(String),
    /// The value at a JSON pointer in the answer to an earlier request of the same probe.
    Bound {
        /// That request's position, from 0.
        step: usize,
        /// Where in its answer (RFC 6901).
        pointer: String,
    },
}

/// A body.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Body {
    /// None.
    #[default]
    None,
    /// JSON, sent as `application/json`.
    Json(Value),
    /// A form (application/x-www-form-urlencoded).
    Form(Vec<(String, String)>),
    /// Any bytes.
    Raw {
        /// The value of `Content-Type`; none is sent where it is empty.
        content_type: String,
        /// The bytes.
        bytes: Octets,
    },
}

/// Bytes that are kept as text where they are UTF-8, else in base64.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Octets(pub Bytes);

/// Who sends a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Who {
    /// Nobody is logged in.
    Nobody,
    /// The first user.
    Own,
    /// A further user, from 1.
    Other(u8),
    /// The first user in a session that was opened for this probe.
    Fresh,
    /// What the session of [`Who::Fresh`] was known by when it was opened, whatever has been made of it since.
    Kept,
}

/// Which token against forgery goes along with a request that needs one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Csrf {
    /// The right one.
    #[default]
    Right,
    /// None.
    Missing,
    /// The one of another session.
    Others,
}

impl Body {
    /// Whether there is none.
    pub fn is_none(&self) -> bool {
        matches!(self, Self::None)
    }
}

impl Part {
    /// A text.
    pub fn text(text: impl Into<String>) -> Self {
        Self::Text(text.into())
    }
}

/// What is filled in when a request is sent.
pub(crate) struct Fill<'a> {
    /// Stands for [`UNIQUE`].
    pub(crate) unique: &'a str,
    /// The answers to the requests before.
    pub(crate) answers: &'a [Option<Answer>],
}

/// Why a request could not be put together.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unsendable {
    /// An earlier answer does not have what it needs: the probe ends here, and nothing is wrong.
    #[error("the answer to request {0} has no such value")]
    Unbound(usize),
    /// No HTTP library would send this: a mistake of the generator.
    #[error("{0}")]
    Invalid(String),
}

/// A request with everything filled in, but for who sends it.
#[derive(Debug)]
pub(crate) struct Filled {
    pub(crate) method: Method,
    /// Path and query, percent-encoded.
    pub(crate) target: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Request {
    /// Fills in what only the run knows.
    pub(crate) fn fill(&self, fill: &Fill<'_>) -> Result<Filled, Unsendable> {
        let invalid = |what: &str| Unsendable::Invalid(what.to_owned());
        let method =
            Method::from_bytes(self.method.as_bytes()).map_err(|_| invalid("invalid method"))?;
        let mut headers = HeaderMap::new();
        for (name, value) in &self.headers {
            let name =
                HeaderName::from_bytes(name.as_bytes()).map_err(|_| invalid("invalid header"))?;
            let value = HeaderValue::from_bytes(fill.part(value)?.as_bytes())
                .map_err(|_| invalid("invalid header value"))?;
            headers.append(name, value);
        }
        let (content_type, body) = self.body.filled(fill);
        if let Some(kind) = content_type.filter(|_| !headers.contains_key(header::CONTENT_TYPE)) {
            let kind = HeaderValue::from_str(&kind).map_err(|_| invalid("invalid content type"))?;
            headers.insert(header::CONTENT_TYPE, kind);
        }
        Ok(Filled {
            method,
            target: self.target(fill)?,
            headers,
            body,
        })
    }

    fn target(&self, fill: &Fill<'_>) -> Result<String, Unsendable> {
        let mut target = String::with_capacity(self.path.len() + 40);
        let mut rest = self.path.as_str();
        while let Some((before, after)) = rest.split_once('{') {
            let Some((name, after)) = after.split_once('}') else {
                break;
            };
            target.push_str(before);
            match self.path_values.get(name) {
                Some(part) => target.push_str(&fill.encoded(part)?),
                None => target.push_str(&percent_encoded(name.as_bytes())),
            }
            rest = after;
        }
        target.push_str(rest);
        for (index, (name, value)) in self.query.iter().enumerate() {
            target.push(if index == 0 { '?' } else { '&' });
            target.push_str(&percent_encoded(fill.text(name).as_bytes()));
            target.push('=');
            target.push_str(&fill.encoded(value)?);
        }
        Ok(target)
    }

    fn parts(&self) -> impl Iterator<Item = &Part> {
        let pairs = self.query.iter().chain(&self.headers);
        self.path_values.values().chain(pairs.map(|(_, part)| part))
    }

    pub(crate) fn parts_mut(&mut self) -> impl Iterator<Item = &mut Part> {
        let pairs = self.query.iter_mut().chain(&mut self.headers);
        self.path_values
            .values_mut()
            .chain(pairs.map(|(_, part)| part))
    }

    /// Whether its path and query are texts once they are percent-decoded: UTF-8, which not all of bytes are.
    pub(crate) fn is_text(&self) -> bool {
        let query = self.query.iter().map(|(_, part)| part);
        self.path_values
            .values()
            .chain(query)
            .all(|part| match part {
                Part::Encoded(text) => decodes(text),
                Part::Text(_) | Part::Bound { .. } => true,
            })
    }

    /// How large it is, for telling which of two is the simpler: members, items and characters of all that it holds.
    pub(crate) fn weight(&self) -> usize {
        let part = |part: &Part| match part {
            Part::Text(text) | Part::Encoded(text) => 1 + text.chars().count(),
            Part::Bound { .. } => 1,
        };
        let body = match &self.body {
            Body::None => 0,
            Body::Json(value) => 1 + weight(value),
            Body::Form(pairs) => pairs.iter().map(|(k, v)| 1 + k.len() + v.len()).sum(),
            Body::Raw { bytes, .. } => 2 + bytes.0.len(),
        };
        body + self.parts().map(part).sum::<usize>() + usize::from(self.csrf != Csrf::Right)
    }
}

fn weight(value: &Value) -> usize {
    match value {
        Value::Null | Value::Bool(false) => 1,
        Value::Bool(true) => 2,
        Value::Number(number) => 1 + number.to_string().len(),
        Value::String(text) => 1 + text.chars().count(),
        Value::Array(items) => 1 + items.iter().map(weight).sum::<usize>(),
        Value::Object(members) => {
            let member = |(name, value): (&String, &Value)| 1 + name.len() + weight(value);
            1 + members.iter().map(member).sum::<usize>()
        }
    }
}

impl Fill<'_> {
    pub(crate) fn text(&self, text: &str) -> String {
        if !text.contains("{unique") {
            return text.to_owned();
        }
        text.replace(UNIQUE_TOO, &format!("{}x", self.unique))
            .replace(UNIQUE, self.unique)
    }

    fn part(&self, part: &Part) -> Result<String, Unsendable> {
        match part {
            Part::Text(text) | Part::Encoded(text) => Ok(self.text(text)),
            Part::Bound { step, pointer } => {
                let answer = self.answers.get(*step).and_then(Option::as_ref);
                let value = answer
                    .and_then(Answer::json)
                    .and_then(|json| json.pointer(pointer).and_then(scalar));
                value.ok_or(Unsendable::Unbound(*step))
            }
        }
    }

    fn encoded(&self, part: &Part) -> Result<String, Unsendable> {
        let text = self.part(part)?;
        Ok(match part {
            Part::Encoded(_) => text,
            _ => percent_encoded(text.as_bytes()),
        })
    }

    fn value(&self, value: &Value) -> Value {
        match value {
            Value::String(text) => Value::String(self.text(text)),
            Value::Array(items) => items.iter().map(|item| self.value(item)).collect(),
            Value::Object(members) => members
                .iter()
                .map(|(name, value)| (self.text(name), self.value(value)))
                .collect(),
            other => other.clone(),
        }
    }
}

impl Body {
    /// Its type and bytes.
    fn filled(&self, fill: &Fill<'_>) -> (Option<String>, Bytes) {
        match self {
            Self::None => (None, Bytes::new()),
            Self::Json(value) => (
                Some("application/json".to_owned()),
                fill.value(value).to_string().into(),
            ),
            Self::Form(pairs) => {
                let pairs = pairs.iter().map(|(k, v)| (fill.text(k), fill.text(v)));
                let form = url::form_urlencoded::Serializer::new(String::new())
                    .extend_pairs(pairs)
                    .finish();
                let kind = "application/x-www-form-urlencoded".to_owned();
                (Some(kind), form.into())
            }
            Self::Raw {
                content_type,
                bytes,
            } => {
                let bytes = match std::str::from_utf8(&bytes.0) {
                    Ok(text) if text.contains("{unique") => fill.text(text).into(),
                    _ => bytes.0.clone(),
                };
                (
                    Some(content_type.clone()).filter(|kind| !kind.is_empty()),
                    bytes,
                )
            }
        }
    }
}

/// A value that may stand in a path.
pub(crate) fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(text) if !text.is_empty() => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

fn decodes(text: &str) -> bool {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let pair = (*first == b'%').then(|| after.get(..2)).flatten();
        let code = pair
            .and_then(|pair| std::str::from_utf8(pair).ok())
            .and_then(|pair| u8::from_str_radix(pair, 16).ok());
        bytes.push(code.unwrap_or(*first));
        rest = if code.is_some() { &after[2..] } else { after };
    }
    std::str::from_utf8(&bytes).is_ok()
}

/// Everything but unreserved characters (RFC 3986, section 2.3) percent-encoded.
pub(crate) fn percent_encoded(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    let mut out = String::with_capacity(bytes.len());
    for byte in bytes {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(byte) {
            out.push(char::from(*byte));
        } else {
            out.push('%');
            out.push(char::from(DIGITS[usize::from(byte >> 4)]));
            out.push(char::from(DIGITS[usize::from(byte & 15)]));
        }
    }
    out
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Kept {
    Text(String),
    Base64(String),
}

impl Serialize for Octets {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match std::str::from_utf8(&self.0) {
            Ok(text) => Kept::Text(text.to_owned()),
            Err(_) => Kept::Base64(STANDARD.encode(&self.0)),
        }
        .serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Octets {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(match Kept::deserialize(deserializer)? {
            Kept::Text(text) => Self(text.into()),
            Kept::Base64(text) => Self(
                STANDARD
                    .decode(text)
                    .map_err(serde::de::Error::custom)?
                    .into(),
            ),
        })
    }
}

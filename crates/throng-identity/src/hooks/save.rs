//! What is kept of a declared request's answer, for later requests of the same user.

use http::HeaderName;
use regex::Regex;
use serde_json::Value;
use throng_client::{Client, Exchange};

use super::{Hook, HookError, Values, request};
use crate::secret::Secret;

/// Where a value is found in an answer.
#[derive(Debug, Clone)]
pub enum SaveFrom {
    /// A text or number in the JSON body: `/ocs/data/apppassword` (RFC 6901) or `$.ocs.data.apppassword`.
    Path(String),
    /// A header's value.
    Header(HeaderName),
    /// The first group of the first match in the body.
    Regex(Regex),
    /// The value of a cookie, as the client has it after the answer.
    Cookie(String),
}

impl SaveFrom {
    /// The mistake in it, if there is one.
    pub(super) fn problem(&self, hook: &str, name: &str) -> Option<HookError> {
        match self {
            Self::Path(path) if pointer(path).is_none() => Some(HookError::Path {
                hook: hook.to_owned(),
                name: name.to_owned(),
                path: path.clone(),
            }),
            _ => None,
        }
    }

    /// What it looks for, in words.
    fn wanted(&self) -> String {
        match self {
            Self::Path(path) => format!("text or number at {path}"),
            Self::Header(name) => format!("header {name}"),
            Self::Regex(regex) => format!("match of {regex}"),
            Self::Cookie(name) => format!("cookie {name}"),
        }
    }

    fn find(
        &self,
        client: &Client,
        hook: &Hook,
        exchange: &Exchange,
        values: &Values,
    ) -> Option<String> {
        match self {
            Self::Path(path) => {
                let json: Value = serde_json::from_slice(&exchange.body).ok()?;
                match json.pointer(&pointer(path)?)? {
                    Value::String(text) => Some(text.clone()),
                    Value::Number(number) => Some(number.to_string()),
                    _ => None,
                }
            }
            Self::Header(name) => {
                let value = exchange.headers.get(name)?;
                value.to_str().ok().map(str::to_owned)
            }
            Self::Regex(regex) => {
                let body = String::from_utf8_lossy(&exchange.body);
                let group = regex.captures(&body)?.get(1)?;
                Some(group.as_str().to_owned())
            }
            Self::Cookie(name) => {
                let (url, _) = request(hook, values).ok()?;
                client.cookies()?.get(&url, name)
            }
        }
    }
}

/// Adds what a hook saves to `values`.
pub(super) fn save(
    hook: &Hook,
    client: &Client,
    exchange: &Exchange,
    values: &mut Values,
) -> Result<(), HookError> {
    for (name, from) in &hook.save {
        let found = from.find(client, hook, exchange, values);
        let missing = || HookError::Missing {
            hook: hook.name.clone(),
            name: name.clone(),
            wanted: from.wanted(),
        };
        values.insert(name.clone(), Secret::new(found.ok_or_else(missing)?));
    }
    Ok(())
}

/// Whether a text is a path such as `$`, `$.a.b[0]` or `/a/b/0`.
pub fn is_path(path: &str) -> bool {
    path == "$" || pointer(path).is_some()
}

/// What is at such a path; `$` is the value itself.
pub(crate) fn at<'a>(value: &'a Value, path: &str) -> Option<&'a Value> {
    match path {
        "$" => Some(value),
        path => value.pointer(&pointer(path)?),
    }
}

/// `$.a.b[0]` and `/a/b/0` as a JSON pointer.
pub(super) fn pointer(path: &str) -> Option<String> {
    if path.starts_with('/') {
        return Some(path.to_owned());
    }
    let mut pointer = String::new();
    for part in path.strip_prefix("$.")?.split('.') {
        let (name, mut indices) = part.split_at(part.find('[').unwrap_or(part.len()));
        if name.is_empty() {
            return None;
        }
        pointer.push('/');
        pointer.push_str(&name.replace('~', "~0").replace('/', "~1"));
        while !indices.is_empty() {
            let (index, rest) = indices.strip_prefix('[')?.split_once(']')?;
            let index: usize = index.parse().ok()?;
            pointer.push_str(&format!("/{index}"));
            indices = rest;
        }
    }
    Some(pointer)
}

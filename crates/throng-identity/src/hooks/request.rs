//! A declared request with its placeholders filled in.

use http::{HeaderName, HeaderValue, header};
use serde_json::Value;
use url::{Url, form_urlencoded};

use super::{Hook, HookAuth, HookBody, HookError, Values};
use crate::secret::Secret;
use crate::wire;

/// The http(s) address that a template becomes; values in it are percent-encoded.
pub(crate) fn fill_url(hook: &str, template: &str, values: &Values) -> Result<Url, HookError> {
    let url = fill(hook, template, values, percent_encode)?;
    let url = Url::parse(&url)
        .ok()
        .filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
    url.ok_or_else(|| HookError::Url {
        hook: hook.to_owned(),
        url: template.to_owned(),
    })
}

/// The text that a template becomes.
pub(crate) fn fill_text(hook: &str, template: &str, values: &Values) -> Result<String, HookError> {
    fill(hook, template, values, |out, value| out.push_str(value))
}

pub(super) fn request(
    hook: &Hook,
    values: &Values,
) -> Result<(Url, http::Request<bytes::Bytes>), HookError> {
    let text = |template: &str| {
        fill(&hook.name, template, values, |out, value| {
            out.push_str(value)
        })
    };
    let url = fill_url(&hook.name, &hook.url, values)?;
    let declares = |header: HeaderName| {
        let mut names = hook.headers.iter().map(|(name, _)| name);
        names.any(|name| name.eq_ignore_ascii_case(header.as_str()))
    };
    let mut builder = wire::request(hook.method.clone(), &url);
    if !declares(header::ACCEPT) {
        builder = builder.header(header::ACCEPT, "application/json");
    }
    let typed = |builder: http::request::Builder, content: &str| {
        if declares(header::CONTENT_TYPE) {
            builder
        } else {
            builder.header(header::CONTENT_TYPE, content)
        }
    };
    for (name, value) in &hook.headers {
        let bad = || HookError::Header {
            hook: hook.name.clone(),
            header: name.clone(),
        };
        let header = HeaderName::from_bytes(name.as_bytes()).map_err(|_| bad())?;
        let mut value = HeaderValue::from_str(&text(value)?).map_err(|_| bad())?;
        value.set_sensitive(true);
        builder = builder.header(header, value);
    }
    match &hook.auth {
        HookAuth::None => {}
        HookAuth::Basic { user, password } => {
            builder = builder.header(
                header::AUTHORIZATION,
                wire::basic(&text(user)?, &Secret::new(text(password)?)),
            );
        }
        HookAuth::Bearer => {
            builder = builder.header(
                header::AUTHORIZATION,
                wire::sensitive(&format!("Bearer {}", text("{token}")?)),
            );
        }
    }
    let request = match &hook.body {
        HookBody::None => wire::finish(builder, ""),
        HookBody::Json(value) => {
            let body = fill_json(value, &text)?.to_string();
            wire::finish(typed(builder, "application/json"), body)
        }
        HookBody::Form(pairs) => {
            let mut form = form_urlencoded::Serializer::new(String::new());
            for (name, value) in pairs {
                form.append_pair(name, &text(value)?);
            }
            wire::finish(typed(builder, wire::FORM), form.finish())
        }
    };
    Ok((url, request))
}

fn fill_json(
    value: &Value,
    text: &dyn Fn(&str) -> Result<String, HookError>,
) -> Result<Value, HookError> {
    Ok(match value {
        Value::String(template) => Value::String(text(template)?),
        Value::Array(items) => Value::Array(
            items
                .iter()
                .map(|item| fill_json(item, text))
                .collect::<Result<_, _>>()?,
        ),
        Value::Object(map) => {
            let filled = map
                .iter()
                .map(|(key, item)| Ok((key.clone(), fill_json(item, text)?)));
            Value::Object(filled.collect::<Result<_, HookError>>()?)
        }
        other => other.clone(),
    })
}

/// Fills `{word}`; any other brace is text.
fn fill(
    hook: &str,
    template: &str,
    values: &Values,
    put: impl Fn(&mut String, &str),
) -> Result<String, HookError> {
    let mut out = String::with_capacity(template.len());
    let mut rest = template;
    while let Some(at) = rest.find('{') {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        let end = rest[1..]
            .find(|c: char| !(c.is_ascii_alphanumeric() || c == '_'))
            .map_or(rest.len(), |end| end + 1);
        if end == 1 || !rest[end..].starts_with('}') {
            out.push('{');
            rest = &rest[1..];
            continue;
        }
        let key = &rest[1..end];
        let value = values.get(key).ok_or_else(|| HookError::Placeholder {
            hook: hook.to_owned(),
            found: key.to_owned(),
            known: values
                .keys()
                .map(String::as_str)
                .collect::<Vec<_>>()
                .join(", "),
        })?;
        put(&mut out, value.expose());
        rest = &rest[end + 1..];
    }
    out.push_str(rest);
    Ok(out)
}

/// A value as one segment of a path, or one value in a query.
pub(crate) fn percent_encoded(value: &str) -> String {
    let mut out = String::with_capacity(value.len());
    percent_encode(&mut out, value);
    out
}

/// Everything but unreserved characters (RFC 3986 section 2.3), so that a value is one segment or one query value.
fn percent_encode(out: &mut String, value: &str) {
    for byte in value.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                out.push(char::from(byte))
            }
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
}

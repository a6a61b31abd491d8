//! Requests that a scenario declares for each user: registering, logging in, fetching an app password after the login.
//!
//! [`Hook`] is plain data for whoever reads scenario files; [`check`] finds its mistakes before anything is touched, [`run`] makes
//! the requests that follow a login. Those carry no cookies: with the login's session, APIs would demand the page's CSRF token.

use std::collections::BTreeMap;
use std::time::Duration;

use http::{HeaderName, HeaderValue, Method, StatusCode, header};
use serde_json::Value;
use throng_client::{Client, Exchange, TransportError};
use url::{Url, form_urlencoded};

use crate::redact;
use crate::retry::{self, RetryPolicy};
use crate::secret::Secret;
use crate::wire;

/// One request. Texts may have the placeholders `{name}`, `{display_name}`, `{email}`, `{n}`, `{password}`, `{token}` (the access
/// token) and what earlier hooks saved; in the URL their values are percent-encoded.
#[derive(Debug, Clone)]
pub struct Hook {
    /// What it is called in messages.
    pub name: String,
    /// The HTTP method.
    pub method: Method,
    /// Absolute http(s) address.
    pub url: String,
    /// Further headers.
    pub headers: Vec<(String, String)>,
    /// How the request is authenticated.
    pub auth: HookAuth,
    /// What is sent.
    pub body: HookBody,
    /// The statuses that count as success; empty means any 2xx.
    pub expect: Vec<u16>,
    /// Names, and where in the JSON answer their values are: `/ocs/data/apppassword` (RFC 6901) or `$.ocs.data.apppassword`.
    pub save: Vec<(String, String)>,
}

/// How a hook authenticates.
#[derive(Debug, Clone)]
pub enum HookAuth {
    /// Not at all.
    None,
    /// HTTP Basic.
    Basic {
        /// Template of the user name.
        user: String,
        /// Template of the password.
        password: String,
    },
    /// With the user's access token.
    Bearer,
}

/// What a hook sends.
#[derive(Debug, Clone)]
pub enum HookBody {
    /// Nothing.
    None,
    /// JSON; its strings are templates.
    Json(Value),
    /// A form; its values are templates.
    Form(Vec<(String, String)>),
}

/// The values for a user's placeholders.
pub type Values = BTreeMap<String, Secret>;

/// Placeholders that every user has.
const GIVEN: &[&str] = &["name", "display_name", "email", "n", "password"];

/// What is wrong with a hook, or what went wrong when it ran.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HookError {
    /// A placeholder that nothing fills.
    #[error("hook {hook}: unknown placeholder {{{found}}}; known here are {known}")]
    Placeholder {
        /// The hook.
        hook: String,
        /// The placeholder.
        found: String,
        /// Those that may be used, from what earlier hooks saved, too.
        known: String,
    },
    /// The URL, once filled in, is none.
    #[error("hook {hook}: {url:?} is no http(s) address")]
    Url {
        /// The hook.
        hook: String,
        /// The template.
        url: String,
    },
    /// A header that cannot be sent.
    #[error("hook {hook}: header {header:?} cannot be sent")]
    Header {
        /// The hook.
        hook: String,
        /// Its name.
        header: String,
    },
    /// `save` with something that is no path.
    #[error("hook {hook}: save {name}: {path:?} is no path; write /a/b or $.a.b")]
    Path {
        /// The hook.
        hook: String,
        /// The value's name.
        name: String,
        /// The path.
        path: String,
    },
    /// No complete response.
    #[error("hook {hook}: {method} {url}: {source}")]
    Transport {
        /// The hook.
        hook: String,
        /// The method.
        method: Method,
        /// Address without secrets.
        url: String,
        /// What went wrong.
        source: TransportError,
    },
    /// Another status than expected.
    #[error(
        "hook {hook}: {method} {url}: expected {expected}, got {status}; the server said: {said}"
    )]
    Status {
        /// The hook.
        hook: String,
        /// The method.
        method: Method,
        /// Address without secrets.
        url: String,
        /// What would have been right.
        expected: Box<str>,
        /// What came.
        status: StatusCode,
        /// How long the server wants us to wait.
        retry_after: Option<Duration>,
        /// What the body says.
        said: Box<str>,
    },
    /// The answer lacks a value that is to be saved.
    #[error("hook {hook}: the answer has no text or number at {path} (to be saved as {name})")]
    Missing {
        /// The hook.
        hook: String,
        /// The value's name.
        name: String,
        /// Where it was looked for.
        path: String,
    },
}

/// Finds mistakes that need no server, in all hooks at once. They are made in this order; `has_token` is whether there is
/// an access token by then.
pub fn check(hooks: &[Hook], has_token: bool) -> Vec<HookError> {
    let mut problems = Vec::new();
    let mut values: Values = GIVEN
        .iter()
        .chain(has_token.then_some(&"token"))
        .map(|key| ((*key).to_owned(), Secret::new("1")))
        .collect();
    for hook in hooks {
        if let Err(problem) = request(hook, &values) {
            problems.push(problem);
        }
        for (name, path) in &hook.save {
            if pointer(path).is_none() {
                problems.push(HookError::Path {
                    hook: hook.name.clone(),
                    name: name.clone(),
                    path: path.clone(),
                });
            }
            values.insert(name.clone(), Secret::new("1"));
        }
    }
    problems
}

/// Makes the requests one after the other, without cookies; adds what they save to `values`.
pub async fn run(
    hooks: &[Hook],
    client: &Client,
    values: &mut Values,
    policy: &RetryPolicy,
    timeout: Duration,
) -> Result<(), HookError> {
    let client = client.without_cookies();
    for hook in hooks {
        send(hook, &client, values, policy, timeout).await?;
    }
    Ok(())
}

/// Makes one request, again as long as it fails in passing (429, 5xx, no answer); adds what it saves to `values`. Cookies are
/// sent and kept if `client` has a jar. Returns how many attempts it took.
pub async fn send(
    hook: &Hook,
    client: &Client,
    values: &mut Values,
    policy: &RetryPolicy,
    timeout: Duration,
) -> Result<u32, HookError> {
    let mut attempts = policy.start();
    let exchange = loop {
        let (error, asked) = match attempt(hook, client, values, timeout).await {
            Ok(exchange) if hook.expects(exchange.status) => break exchange,
            Ok(exchange) => {
                let error = refused(hook, &exchange, values)?;
                if !is_passing(exchange.status) {
                    return Err(error);
                }
                (error, retry::retry_after(&exchange.headers))
            }
            Err(error @ HookError::Transport { .. }) => (error, None),
            Err(error) => return Err(error),
        };
        match attempts.next_wait(asked) {
            Some(wait) => tokio::time::sleep(wait).await,
            None => return Err(error),
        }
    };
    save(hook, &exchange.body, values)?;
    Ok(attempts.made())
}

/// Makes one request once; whatever status comes is an answer.
pub(crate) async fn attempt(
    hook: &Hook,
    client: &Client,
    values: &Values,
    timeout: Duration,
) -> Result<Exchange, HookError> {
    let (url, request) = request(hook, values)?;
    client
        .send(request, timeout)
        .await
        .map_err(|source| HookError::Transport {
            hook: hook.name.clone(),
            method: hook.method.clone(),
            url: redact::url(&url),
            source,
        })
}

/// The error that an answer with another status than expected is.
pub(crate) fn refused(
    hook: &Hook,
    exchange: &Exchange,
    values: &Values,
) -> Result<HookError, HookError> {
    let (url, _) = request(hook, values)?;
    Ok(HookError::Status {
        hook: hook.name.clone(),
        method: hook.method.clone(),
        url: redact::url(&url),
        expected: expectation(hook).into(),
        status: exchange.status,
        retry_after: retry::retry_after(&exchange.headers),
        said: said(exchange, values).into(),
    })
}

/// What an answer says, without the values that must not be shown.
pub(crate) fn said(exchange: &Exchange, values: &Values) -> String {
    let secrets: Vec<&Secret> = hidden(values).collect();
    wire::said(exchange, &secrets)
}

/// A further attempt may succeed.
pub(crate) fn is_passing(status: StatusCode) -> bool {
    status == StatusCode::TOO_MANY_REQUESTS || status.is_server_error()
}

/// The values that must not be shown; names, numbers and addresses may.
fn hidden(values: &Values) -> impl Iterator<Item = &Secret> {
    values
        .iter()
        .filter(|(key, _)| !matches!(&***key, "name" | "display_name" | "email" | "n"))
        .map(|(_, value)| value)
}

impl Hook {
    /// Whether a status counts as success.
    pub(crate) fn expects(&self, status: StatusCode) -> bool {
        if self.expect.is_empty() {
            status.is_success()
        } else {
            self.expect.contains(&status.as_u16())
        }
    }
}

fn expectation(hook: &Hook) -> String {
    if hook.expect.is_empty() {
        return "2xx".to_owned();
    }
    hook.expect
        .iter()
        .map(u16::to_string)
        .collect::<Vec<_>>()
        .join(" or ")
}

fn request(hook: &Hook, values: &Values) -> Result<(Url, http::Request<bytes::Bytes>), HookError> {
    let text = |template: &str| fill(hook, template, values, |out, value| out.push_str(value));
    let url = fill(hook, &hook.url, values, percent_encode)?;
    let url = Url::parse(&url)
        .ok()
        .filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
    let url = url.ok_or_else(|| HookError::Url {
        hook: hook.name.clone(),
        url: hook.url.clone(),
    })?;
    let mut builder =
        wire::request(hook.method.clone(), &url).header(header::ACCEPT, "application/json");
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
            wire::finish(
                builder.header(header::CONTENT_TYPE, "application/json"),
                body,
            )
        }
        HookBody::Form(pairs) => {
            let mut form = form_urlencoded::Serializer::new(String::new());
            for (name, value) in pairs {
                form.append_pair(name, &text(value)?);
            }
            wire::finish(
                builder.header(header::CONTENT_TYPE, wire::FORM),
                form.finish(),
            )
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
    hook: &Hook,
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
            hook: hook.name.clone(),
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

fn save(hook: &Hook, body: &[u8], values: &mut Values) -> Result<(), HookError> {
    if hook.save.is_empty() {
        return Ok(());
    }
    let json: Value = serde_json::from_slice(body).unwrap_or(Value::Null);
    for (name, path) in &hook.save {
        let found = pointer(path).and_then(|pointer| match json.pointer(&pointer)? {
            Value::String(text) => Some(text.clone()),
            Value::Number(number) => Some(number.to_string()),
            _ => None,
        });
        let missing = || HookError::Missing {
            hook: hook.name.clone(),
            name: name.clone(),
            path: path.clone(),
        };
        values.insert(name.clone(), Secret::new(found.ok_or_else(missing)?));
    }
    Ok(())
}

/// `$.a.b[0]` and `/a/b/0` as a JSON pointer.
fn pointer(path: &str) -> Option<String> {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn hook(url: &str) -> Hook {
        Hook {
            name: "h".to_owned(),
            method: Method::GET,
            url: url.to_owned(),
            headers: Vec::new(),
            auth: HookAuth::None,
            body: HookBody::None,
            expect: Vec::new(),
            save: Vec::new(),
        }
    }

    #[test]
    fn mistakes_are_found_before_anything_runs() {
        let good = Hook {
            save: vec![(
                "app_password".to_owned(),
                "$.ocs.data.apppassword".to_owned(),
            )],
            ..hook("http://h/{name}")
        };
        let uses = Hook {
            auth: HookAuth::Basic {
                user: "{name}".into(),
                password: "{app_password}".into(),
            },
            ..hook("http://h")
        };
        assert!(check(&[good.clone(), uses.clone()], true).is_empty());
        assert!(matches!(
            check(&[uses, good], true)[..],
            [HookError::Placeholder { .. }]
        ));
        assert!(matches!(
            check(&[hook("/relative")], true)[..],
            [HookError::Url { .. }]
        ));
        let bad = Hook {
            save: vec![("x".into(), "a.b".into())],
            headers: vec![("a b".into(), "v".into())],
            ..hook("http://h")
        };
        assert!(matches!(
            check(&[bad], true)[..],
            [HookError::Header { .. }, HookError::Path { .. }]
        ));
    }

    #[test]
    fn values_are_encoded_where_they_go() {
        let values: Values = [("name", "a/b ü"), ("password", "p\"w")]
            .map(|(k, v)| (k.to_owned(), Secret::new(v)))
            .into();
        let body = serde_json::json!({"who": "{name}", "list": ["{password}", 1], "text": "{ not one } {}"});
        let hook = Hook {
            method: Method::POST,
            body: HookBody::Json(body),
            ..hook("http://h/u/{name}?q={password}")
        };
        let (url, request) = request(&hook, &values).unwrap();
        assert_eq!(url.as_str(), "http://h/u/a%2Fb%20%C3%BC?q=p%22w");
        let sent: Value = serde_json::from_slice(request.body()).unwrap();
        assert_eq!(
            sent,
            serde_json::json!({"who": "a/b ü", "list": ["p\"w", 1], "text": "{ not one } {}"})
        );
    }

    #[test]
    fn paths_become_pointers() {
        for (path, want) in [
            ("/a/b", Some("/a/b")),
            ("$.a.b", Some("/a/b")),
            ("$.a[0][12].b/c", Some("/a/0/12/b~1c")),
            ("$", None),
            ("$.", None),
            ("$.a[x]", None),
            ("a.b", None),
        ] {
            assert_eq!(pointer(path).as_deref(), want, "{path}");
        }
    }
}

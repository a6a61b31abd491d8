//! Requests that a scenario declares for each user: registering, logging in, fetching an app password after the login.
//!
//! [`Hook`] is plain data for whoever reads scenario files; [`check`] finds its mistakes before anything is touched, [`run`] makes
//! the requests that follow a login. Those carry no cookies: with the login's session, APIs would demand the page's CSRF token.

mod request;
mod save;

use std::collections::BTreeMap;
use std::time::Duration;

use http::{Method, StatusCode};
use serde_json::Value;
use throng_client::{Client, DoubleSubmit, Exchange, TransportError};

pub use self::save::SaveFrom;

use self::request::request;
pub(crate) use self::request::{fill_text, fill_url, percent_encoded};
pub(crate) use self::save::at;
pub use self::save::is_path;
use crate::login::FormPage;
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
    /// Names, and where in the answer their values are.
    pub save: Vec<(String, SaveFrom)>,
    /// The cookie that a header repeats, if the client keeps cookies and has it.
    pub csrf: Option<DoubleSubmit>,
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

/// Placeholders whose values are no secrets.
const SHOWN: &[&str] = &[
    "name",
    "display_name",
    "given_name",
    "family_name",
    "email",
    "n",
    "directory_admin",
    "directory_client",
];

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
    #[error("hook {hook}: the answer has no {wanted} (to be saved as {name})")]
    Missing {
        /// The hook.
        hook: String,
        /// The value's name.
        name: String,
        /// What was looked for.
        wanted: String,
    },
}

impl HookError {
    /// A further attempt may succeed.
    pub fn is_passing(&self) -> bool {
        match self {
            Self::Transport { .. } => true,
            Self::Status { status, .. } => is_passing(*status),
            _ => false,
        }
    }
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
        for (name, from) in &hook.save {
            problems.extend(from.problem(&hook.name, name));
            values.insert(name.clone(), Secret::new("1"));
        }
    }
    problems
}

/// Finds mistakes in a form's page that need no server.
pub fn check_page(page: &FormPage) -> Vec<HookError> {
    let values = GIVEN
        .iter()
        .map(|key| ((*key).to_owned(), Secret::new("1")));
    let values: Values = values.collect();
    page.filled(&values).err().into_iter().collect()
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
    save::save(hook, client, &exchange, values)?;
    Ok(attempts.made())
}

/// Makes one request once; whatever status comes is an answer.
pub(crate) async fn attempt(
    hook: &Hook,
    client: &Client,
    values: &Values,
    timeout: Duration,
) -> Result<Exchange, HookError> {
    let (url, mut request) = request(hook, values)?;
    if let Some(csrf) = &hook.csrf
        && let Some(token) = client.cookies().and_then(|jar| jar.get(&url, &csrf.cookie))
        && !request.headers().contains_key(&csrf.header)
    {
        let token = wire::sensitive(&token);
        request.headers_mut().insert(csrf.header.clone(), token);
    }
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
        .filter(|(key, _)| !SHOWN.contains(&key.as_str()))
        .map(|(_, value)| value)
}

impl Hook {
    /// A request with nothing but these: no headers, no body, any 2xx is good, nothing is saved.
    pub fn new(name: &str, method: Method, url: String) -> Self {
        Self {
            name: name.to_owned(),
            method,
            url,
            headers: Vec::new(),
            auth: HookAuth::None,
            body: HookBody::None,
            expect: Vec::new(),
            save: Vec::new(),
            csrf: None,
        }
    }

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

#[cfg(test)]
mod tests {
    use super::save::pointer;
    use super::*;

    fn hook(url: &str) -> Hook {
        Hook::new("h", Method::GET, url.to_owned())
    }

    #[test]
    fn mistakes_are_found_before_anything_runs() {
        let good = Hook {
            save: vec![(
                "app_password".to_owned(),
                SaveFrom::Path("$.ocs.data.apppassword".to_owned()),
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
            save: vec![("x".into(), SaveFrom::Path("a.b".into()))],
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

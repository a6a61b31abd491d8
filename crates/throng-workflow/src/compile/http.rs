//! HTTP steps: method, path, headers and body, put together as far as they are known before the run.

mod body;
mod keys;

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use throng_client::content::ACCEPT_ENCODING;
use throng_client::{Base, DoubleSubmit};
use url::Url;

use self::body::body;
use self::keys::{check_listening, check_statuses, only_one, refuse_framing};
pub(super) use self::keys::{check_target, refuse_http};
use super::value::{Cutter, Values};
use crate::decode::{At, Named, OneOrMany};
use crate::encode;
use crate::http::{Capture, Csrf, Plain, Redirects, UNSAFE};
use crate::model::{Step, Target};
use crate::problem::Problems;
use crate::program::{Action, Content, Form, Listen, Pieces, Request, SaveFrom};
use crate::template::{Segment, Template};

/// How long `listen` listens.
const DEFAULT_WINDOW: Duration = Duration::from_secs(10);
const EVENT_STREAM: HeaderValue = HeaderValue::from_static("text/event-stream");
const ANYTHING: HeaderValue = HeaderValue::from_static("*/*");

/// What the whole target says for each of its requests.
#[derive(Debug)]
pub(super) struct HttpTarget {
    /// Where the target is; `None` where its URL is none.
    base: Option<Base>,
    /// The value of an `Origin` header from a page of the target.
    origin: Option<HeaderValue>,
    /// Path of the target's URL and the prefix: starts with `/` or is empty.
    prefix: String,
    headers: HeaderMap,
    double_submit: Option<(Arc<DoubleSubmit>, Csrf)>,
    compression: bool,
    follow: bool,
}

impl HttpTarget {
    pub(super) fn new(target: &Target, problems: &mut Problems) -> Self {
        // A URL that is none is reported where the file is checked.
        let url = Url::parse(&target.url).ok();
        let of_url = url.as_ref().map_or("", Url::path);
        if let Some(prefix) = target.prefix.as_ref().filter(|p| p.contains(['?', '#'])) {
            problems.add(prefix.mark, "a prefix is a path, without `?` and `#`");
        }
        let of_file = target.prefix.as_ref().map_or("", |prefix| &prefix.value);
        let prefix = format!(
            "{}/{}",
            of_url.trim_end_matches('/'),
            of_file.trim_matches('/')
        );
        let double_submit = target.csrf.as_ref().map(|csrf| {
            let header = header_name(&csrf.header, problems);
            for method in &csrf.methods {
                if method.value.parse::<Method>().is_err() || method.value != method.to_uppercase()
                {
                    problems.unknown(method.mark, "method", method, UNSAFE);
                }
            }
            let cookie = csrf.cookie.clone();
            (Arc::new(DoubleSubmit { cookie, header }), csrf.clone())
        });
        let mut headers = HeaderMap::new();
        for (name, value) in &target.headers.0 {
            let name_of = header_name(name, problems);
            refuse_framing(name, problems);
            match HeaderValue::from_str(value) {
                // It may well come from the environment and be a secret.
                Ok(mut value) => {
                    value.set_sensitive(true);
                    headers.insert(name_of, value);
                }
                Err(_) => problems.add(name.mark, "this value cannot be in a header"),
            }
        }
        Self {
            base: Base::new(&target.url).ok(),
            origin: url
                .as_ref()
                .and_then(|url| HeaderValue::from_str(&url.origin().ascii_serialization()).ok()),
            prefix: encode::path(prefix.trim_end_matches('/')),
            headers,
            double_submit,
            compression: target.compression,
            follow: target.follow_redirects,
        }
    }

    /// What an HTTP step does, and the name of its endpoint: method and route.
    pub(super) fn action(
        &self,
        name: &At<String>,
        step: &Step,
        values: &mut Values<'_>,
    ) -> (Action, String) {
        for (key, mark) in [
            ("call", step.call.as_ref().map(|call| call.mark)),
            ("resource", step.resource.as_ref().map(|uri| uri.mark)),
        ] {
            if let Some(mark) = mark {
                values.problems.add_with_help(
                    mark,
                    format!(
                        "`{key}` is for targets with `protocol: mcp`, and this one speaks http"
                    ),
                    "say `get: /path`, `post: /path`, ... or `listen: /path`",
                );
                return (nothing(), String::new());
            }
        }
        let Some((method, template)) = only_one(name, step, values.problems) else {
            return (nothing(), String::new());
        };
        check_listening(step, values.problems);
        let listens = step.listen.is_some();
        let request = self.request(method.clone(), template, step, values);
        let endpoint = format!("{method} {}", route(template));
        let action = if listens {
            Action::Listen(Box::new(Listen {
                request,
                until: None,
                events: step.events.as_ref().map(|events| events.value),
                within: step
                    .within
                    .as_ref()
                    .map_or(DEFAULT_WINDOW, |within| within.value.0),
            }))
        } else {
            Action::Request(Box::new(request))
        };
        (action, endpoint)
    }

    fn request(
        &self,
        method: Method,
        template: &Template,
        step: &Step,
        values: &mut Values<'_>,
    ) -> Request {
        let (base, path) = self.path(template, &step.query, values);
        // They may well be keys, and are the target's.
        let elsewhere = base.as_ref().is_some_and(|base| {
            let target = self.base.as_ref();
            target.is_none_or(|target| target.origin() != base.origin())
        });
        let mut headers = if elsewhere {
            HeaderMap::new()
        } else {
            self.headers.clone()
        };
        let streams = step.listen.is_some();
        headers
            .entry(header::ACCEPT)
            .or_insert(if streams { EVENT_STREAM } else { ANYTHING });
        // Events come one by one; a compressor would hold them back.
        if self.compression && !streams {
            headers
                .entry(header::ACCEPT_ENCODING)
                .or_insert(ACCEPT_ENCODING);
        }
        let body = body(step, &mut headers, values);
        let more = own_headers(step, &mut headers, values);
        check_statuses(step, values.problems);
        let double_submit = self.double_submit.as_ref().and_then(|(csrf, of)| {
            let declared = of.covers(method.as_str());
            // What the step says itself holds: a wrong token on purpose.
            let given = headers.contains_key(&csrf.header)
                || more.iter().any(|(name, _)| *name == csrf.header);
            (declared && !given && base.is_none()).then(|| csrf.clone())
        });
        if let (Some(_), Some(origin)) = (&double_submit, &self.origin)
            && !more.iter().any(|(name, _)| *name == header::ORIGIN)
        {
            // As from a browser: what checks the token often checks this, too, and over https some insist on it (Django).
            let given = headers.entry(header::ORIGIN);
            given.or_insert_with(|| origin.clone());
        }
        Request {
            method,
            base,
            path,
            headers,
            more,
            body,
            expect: step.expect.0.iter().map(|status| status.value).collect(),
            double_submit,
            redirects: step.redirects.unwrap_or(if self.follow && !streams {
                Redirects::Follow
            } else {
                Redirects::Keep
            }),
            cookies: step
                .save
                .0
                .iter()
                .filter_map(|(_, from)| match from {
                    Capture::Cookie(name) => Some(name.value.clone()),
                    _ => None,
                })
                .collect(),
        }
    }

    fn path(
        &self,
        template: &Template,
        query: &Named<OneOrMany<Plain>>,
        values: &mut Values<'_>,
    ) -> (Option<Base>, Content) {
        let mut out = Cutter::default();
        let text = match template.segments.first() {
            Some(Segment::Text(text)) => text.as_str(),
            _ => "",
        };
        let mut base = None;
        let fragment =
            |segment: &Segment| matches!(segment, Segment::Text(text) if text.contains('#'));
        if template.segments.iter().any(fragment) {
            values.problems.add_with_help(
                template.mark,
                "what comes after `#` is never sent",
                "leave it out, or write `%23` where the path has a `#`",
            );
        }
        if text.starts_with('/') {
            out.fixed(&self.prefix);
            values.url_path(template, &mut out);
        } else if let Some((origin, rest)) = split_origin(text) {
            match Base::new(origin) {
                _ if origin.contains('@') => values.problems.add_with_help(
                    template.mark,
                    "a URL has no place for a user name and password",
                    "say `headers: { Authorization: ... }`",
                ),
                Ok(elsewhere) => base = Some(elsewhere),
                Err(error) => values
                    .problems
                    .add(template.mark, format!("this is not a URL: {error}")),
            }
            let mut relative = template.clone();
            relative.segments[0] = Segment::Text(rest.to_owned());
            if rest.is_empty() {
                relative.segments.remove(0);
                out.fixed("/");
            }
            values.url_path(&relative, &mut out);
        } else {
            values.problems.add_with_help(
                template.mark,
                "a path starts with `/`",
                "write it as `/users/{id}`, or a whole URL such as https://other.example/path",
            );
        }
        let has_query = template
            .segments
            .iter()
            .any(|segment| matches!(segment, Segment::Text(text) if text.contains('?')));
        let before = if has_query { "&" } else { "?" };
        pairs(query, Form::Percent, before, values, &mut out);
        (base, out.content())
    }
}

/// What is kept of the answer. Cookies are counted in the order of the file.
pub(super) fn captures(step: &Step, values: &mut Values<'_>) -> Vec<SaveFrom> {
    let mut cookies = 0;
    step.save
        .0
        .iter()
        .map(|(_, from)| match from {
            Capture::Path(path) => SaveFrom::Path(values.path(path)),
            Capture::Header(name) => SaveFrom::Header(values.header_name(name)),
            Capture::Regex(regex) => SaveFrom::Regex(regex.0.clone()),
            Capture::Cookie(name) => {
                cookies += 1;
                SaveFrom::Cookie(cookies - 1, name.value.clone())
            }
        })
        .collect()
}

pub(super) fn nothing() -> Action {
    Action::Resource {
        uri: Pieces::default(),
    }
}

/// The path as a route: values that vary, and those of the environment, are shown by name, and no query.
fn route(template: &Template) -> String {
    let mut out = String::new();
    for segment in template.named.as_ref().unwrap_or(&template.segments) {
        match segment {
            Segment::Text(text) => match text.split_once(['?', '#']) {
                Some((path, _)) => {
                    out.push_str(path);
                    return out;
                }
                None => out.push_str(text),
            },
            Segment::Placeholder(placeholder) => {
                out.push('{');
                out.push_str(&placeholder.name());
                out.push('}');
            }
        }
    }
    out
}

/// `scheme://host:port` and what comes after it.
fn split_origin(text: &str) -> Option<(&str, &str)> {
    let after = ["http://", "https://"]
        .iter()
        .find_map(|scheme| text.starts_with(scheme).then_some(scheme.len()))?;
    let end = text[after..]
        .find(['/', '?', '#'])
        .map_or(text.len(), |at| after + at);
    Some(text.split_at(end))
}

fn header_name(name: &At<String>, problems: &mut Problems) -> HeaderName {
    HeaderName::from_bytes(name.value.as_bytes()).unwrap_or_else(|_| {
        problems.add(name.mark, format!("`{}` is no header name", name.value));
        header::HOST
    })
}

/// The value of a header without placeholders.
fn fixed_header(template: &Template) -> Option<Result<HeaderValue, ()>> {
    let text = template
        .is_literal()
        .then(|| template.fill(|_| None))?
        .ok()?;
    Some(HeaderValue::from_str(&text).map_err(|_| ()))
}

/// The headers that the step itself says: fixed ones go to the others; those that vary are returned.
fn own_headers(
    step: &Step,
    headers: &mut HeaderMap,
    values: &mut Values<'_>,
) -> Vec<(HeaderName, Pieces)> {
    let mut varying = Vec::new();
    for (name, value) in &step.headers.0 {
        let header = values.header_name(name);
        refuse_framing(name, values.problems);
        match fixed_header(&value.0) {
            Some(Ok(value)) => {
                headers.insert(header, value);
            }
            Some(Err(())) => values
                .problems
                .add(name.mark, "this value cannot be in a header"),
            None => {
                headers.remove(&header);
                varying.push((header, values.text(&value.0)));
            }
        }
    }
    varying
}

/// Writes `name=value`, encoded, for each name and each of its values: `before` the first, and `&` between them.
fn pairs(
    named: &Named<OneOrMany<Plain>>,
    form: Form,
    before: &str,
    values: &mut Values<'_>,
    out: &mut Cutter,
) {
    let mut separator = before;
    for (name, given) in &named.0 {
        let mut encoded = Vec::new();
        match form {
            Form::Urlencoded => encode::form(name.value.as_bytes(), &mut encoded),
            _ => encode::percent(name.value.as_bytes(), &mut encoded),
        }
        let encoded = String::from_utf8_lossy(&encoded);
        for value in &given.0 {
            out.fixed(separator);
            separator = "&";
            out.fixed(&encoded);
            out.fixed("=");
            values.encoded(&value.0, form, out);
        }
    }
}

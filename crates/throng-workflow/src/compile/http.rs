//! HTTP steps: method, path, headers and body, put together as far as they are known before the run.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use throng_client::content::ACCEPT_ENCODING;
use throng_client::{Base, DoubleSubmit};
use url::Url;

use super::value::{Cutter, Values};
use crate::decode::{At, Named, OneOrMany};
use crate::encode;
use crate::http::{Capture, Csrf, Part, Plain, Redirects, UNSAFE};
use crate::model::{self, Step, Target};
use crate::problem::{Mark, Problems};
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
        let mut more = Vec::new();
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
                    more.push((header, values.text(&value.0)));
                }
            }
        }
        for status in step
            .expect
            .0
            .iter()
            .filter(|status| !(100..600).contains(&status.value))
        {
            values.problems.add(
                status.mark,
                format!("{} is no status: they go from 100 to 599", status.value),
            );
        }
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
        let mut separator = if has_query { "&" } else { "?" };
        pairs(
            query,
            Form::Percent,
            values,
            |text, out: &mut Cutter, values, value| {
                out.fixed(separator);
                separator = "&";
                out.fixed(text);
                out.fixed("=");
                values.encoded(value, Form::Percent, out);
            },
            &mut out,
        );
        (base, out.content())
    }
}

/// Reports what only HTTP steps may say, in a step that is none. Whether it means to be a request.
pub(super) fn refuse_http(step: &Step, problems: &mut Problems) -> bool {
    let keys = [
        ("get", step.get.as_ref().map(|t| t.mark)),
        ("post", step.post.as_ref().map(|t| t.mark)),
        ("put", step.put.as_ref().map(|t| t.mark)),
        ("patch", step.patch.as_ref().map(|t| t.mark)),
        ("delete", step.delete.as_ref().map(|t| t.mark)),
        ("head", step.head.as_ref().map(|t| t.mark)),
        ("options", step.options.as_ref().map(|t| t.mark)),
        ("listen", step.listen.as_ref().map(|t| t.mark)),
        ("within", step.within.as_ref().map(|at| at.mark)),
        ("events", step.events.as_ref().map(|at| at.mark)),
        ("expect", step.expect.0.first().map(|at| at.mark)),
        ("query", step.query.0.first().map(|(name, _)| name.mark)),
        ("headers", step.headers.0.first().map(|(name, _)| name.mark)),
        ("redirects", step.redirects.map(|_| step.mark)),
    ];
    for (key, mark) in keys.into_iter().chain(bodies(step)) {
        if let Some(mark) = mark {
            problems.add_with_help(
                mark,
                format!("`{key}` is for targets with `protocol: http`, and this one speaks mcp"),
                "say `protocol: http` in `target`, or `call: name_of_a_tool` here",
            );
        }
    }
    for (_, from) in &step.save.0 {
        let mark = match from {
            Capture::Path(_) => continue,
            Capture::Header(at) | Capture::Cookie(at) => at.mark,
            Capture::Regex(at) => at.mark,
        };
        problems.add(mark, "only an HTTP answer has this: save by a JSONPath");
    }
    let until = step.until.as_ref().map(|until| until.condition());
    for check in step.check.0.iter().chain(&until) {
        if let Some(header) = &check.header {
            problems.add(header.mark, "only an HTTP answer has headers");
        } else if !check.status.0.is_empty() {
            problems.add(check.mark, "only an HTTP answer has a status");
        }
    }
    let methods = 8;
    step.call.is_none()
        && step.resource.is_none()
        && keys[..methods].iter().any(|(_, mark)| mark.is_some())
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

/// The method and path of a step that has exactly one.
fn only_one<'s>(
    name: &At<String>,
    step: &'s Step,
    problems: &mut Problems,
) -> Option<(Method, &'s Template)> {
    let given: Vec<_> = [
        ("get", Method::GET, &step.get),
        ("post", Method::POST, &step.post),
        ("put", Method::PUT, &step.put),
        ("patch", Method::PATCH, &step.patch),
        ("delete", Method::DELETE, &step.delete),
        ("head", Method::HEAD, &step.head),
        ("options", Method::OPTIONS, &step.options),
        ("listen", Method::GET, &step.listen),
    ]
    .into_iter()
    .filter_map(|(word, method, path)| Some((word, method, path.as_ref()?)))
    .collect();
    if let [(_, method, path)] = given.as_slice() {
        return Some((method.clone(), path));
    }
    let found = match given.as_slice() {
        [] => "none".to_owned(),
        several => {
            let words: Vec<&str> = several.iter().map(|(word, ..)| *word).collect();
            words.join(" and ")
        }
    };
    problems.add_with_help(
        name.mark,
        format!(
            "`{}` needs exactly one of get, post, put, patch, delete, head, options, listen; found {found}",
            name.value
        ),
        "say what it does: `get: /users/{id}`",
    );
    None
}

fn check_listening(step: &Step, problems: &mut Problems) {
    if step.listen.is_some() && step.redirects == Some(Redirects::Follow) {
        problems.add(
            step.mark,
            "`listen` follows no redirects: say the path where the events are",
        );
    }
    if step.listen.is_none() {
        let window = step.within.as_ref().map(|at| ("within", at.mark));
        let events = step.events.as_ref().map(|at| ("events", at.mark));
        for (key, mark) in window.into_iter().chain(events) {
            problems.add(mark, format!("`{key}` is for `listen`"));
        }
        return;
    }
    let zero = step.events.as_ref().filter(|events| events.value == 0);
    if let Some(events) = zero {
        problems.add(events.mark, "`events` must be more than 0");
    }
    if let Some(within) = step.within.as_ref().filter(|at| at.value.0.is_zero()) {
        problems.add(within.mark, "`within` must be more than 0");
    }
    let Some(until) = &step.until else { return };
    if until.every.mark.line > 0 {
        problems.add(
            until.every.mark,
            "`every` is for polling: events are seen as they come",
        );
    }
    if until.within.mark.line > 0 {
        problems.add_with_help(
            until.within.mark,
            "how long to listen is said beside `listen`, not in `until`",
            "move `within` one level up",
        );
    }
    if let Some(events) = &step.events {
        problems.add(
            events.mark,
            "`events` and `until` both say when to stop listening: leave one of them out",
        );
    }
}

/// Reports a header that the client itself sets: a second one, or another, would break the message's own bounds.
fn refuse_framing(name: &At<String>, problems: &mut Problems) {
    let own = [
        "content-length",
        "transfer-encoding",
        "host",
        "connection",
        "upgrade",
        "te",
        "trailer",
    ];
    if own.contains(&name.to_ascii_lowercase().as_str()) {
        problems.add(
            name.mark,
            format!("`{}` is made by the client and cannot be given", name.value),
        );
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

/// Calls `put` for each name, encoded, and each of its values.
fn pairs(
    named: &Named<OneOrMany<Plain>>,
    form: Form,
    values: &mut Values<'_>,
    mut put: impl FnMut(&str, &mut Cutter, &mut Values<'_>, &Template),
    out: &mut Cutter,
) {
    for (name, given) in &named.0 {
        let mut encoded = Vec::new();
        match form {
            Form::Urlencoded => encode::form(name.value.as_bytes(), &mut encoded),
            _ => encode::percent(name.value.as_bytes(), &mut encoded),
        }
        let encoded = String::from_utf8_lossy(&encoded);
        for value in &given.0 {
            put(&encoded, out, values, &value.0);
        }
    }
}

/// The keys that give a body, and where they stand.
fn bodies(step: &Step) -> [(&'static str, Option<Mark>); 4] {
    [
        ("json", step.json.as_ref().map(|_| step.mark)),
        (
            "form",
            step.form.as_ref().map(|form| first_mark(form, step.mark)),
        ),
        (
            "multipart",
            step.multipart
                .as_ref()
                .map(|parts| first_mark(parts, step.mark)),
        ),
        ("body", step.body.as_ref().map(|body| body.mark)),
    ]
}

/// The body, and the header that says what it is.
fn body(step: &Step, headers: &mut HeaderMap, values: &mut Values<'_>) -> Content {
    let given: Vec<_> = bodies(step)
        .into_iter()
        .filter_map(|(key, mark)| Some((key, mark?)))
        .collect();
    if let [first, second, ..] = given.as_slice() {
        values.problems.add(
            second.1,
            format!("a request has one body: `{}` or `{}`", first.0, second.0),
        );
    }
    if let Some(at) = step.content_type.as_ref().filter(|_| step.body.is_none()) {
        values.problems.add(
            at.mark,
            "`content_type` is the type of `body`, which is not there",
        );
    }
    let mut out = Cutter::default();
    let kind = if let Some(json) = &step.json {
        values.write_json(json, &mut out);
        "application/json".to_owned()
    } else if let Some(form) = &step.form {
        let mut separator = "";
        pairs(
            form,
            Form::Urlencoded,
            values,
            |name, out: &mut Cutter, values, value| {
                out.fixed(separator);
                separator = "&";
                out.fixed(name);
                out.fixed("=");
                values.encoded(value, Form::Urlencoded, out);
            },
            &mut out,
        );
        "application/x-www-form-urlencoded".to_owned()
    } else if let Some(parts) = &step.multipart {
        multipart(parts, values, &mut out)
    } else if let Some(body) = &step.body {
        values.encoded(body, Form::Text, &mut out);
        let given = step.content_type.as_ref();
        given
            .map_or("text/plain; charset=utf-8", |kind| &kind.value)
            .to_owned()
    } else {
        return Content::Fixed(Bytes::new());
    };
    match HeaderValue::from_str(&kind) {
        Ok(kind) => {
            headers.insert(header::CONTENT_TYPE, kind);
        }
        Err(_) => values.problems.add(
            step.content_type.as_ref().map_or(step.mark, |at| at.mark),
            "this cannot be a media type",
        ),
    }
    out.content()
}

fn first_mark<T>(named: &Named<T>, otherwise: Mark) -> Mark {
    named.0.first().map_or(otherwise, |(name, _)| name.mark)
}

/// Writes a multipart body (RFC 7578); returns its type with the boundary.
fn multipart(parts: &Named<Part>, values: &mut Values<'_>, out: &mut Cutter) -> String {
    // 122 random bits: no content has them by chance.
    let boundary = format!("throng-{:032x}", rand::random::<u128>());
    let quoted = |text: &str| {
        let mut bytes = Vec::new();
        encode::quoted(text.as_bytes(), &mut bytes);
        String::from_utf8_lossy(&bytes).into_owned()
    };
    for (name, Part(part)) in &parts.0 {
        out.fixed(&format!(
            "--{boundary}\r\nContent-Disposition: form-data; name=\"{}\"",
            quoted(name)
        ));
        let own_name = part
            .file
            .as_ref()
            .and_then(|file| std::path::Path::new(&file.value).file_name())
            .and_then(|name| name.to_str());
        if let Some(template) = &part.filename {
            out.fixed("; filename=\"");
            values.encoded(template, Form::Quoted, out);
            out.fixed("\"");
        } else if let Some(own_name) = own_name {
            out.fixed(&format!("; filename=\"{}\"", quoted(own_name)));
        }
        let kind = match (&part.media_type, &part.file) {
            (Some(kind), _) => Some(kind.value.as_str()),
            (None, Some(_)) => Some("application/octet-stream"),
            (None, None) => None,
        };
        if let Some(kind) = kind {
            out.fixed(&format!("\r\nContent-Type: {kind}"));
        }
        out.fixed("\r\n\r\n");
        if let Some(content) = &part.content {
            values.encoded(content, Form::Text, out);
        } else if let Some(file) = &part.file {
            match std::fs::read(values.problems.directory().join(&file.value)) {
                Ok(bytes) => out.raw(bytes.into()),
                Err(error) => values
                    .problems
                    .add(file.mark, format!("cannot read `{}`: {error}", file.value)),
            }
        }
        out.fixed("\r\n");
    }
    out.fixed(&format!("--{boundary}--\r\n"));
    format!("multipart/form-data; boundary={boundary}")
}

/// Whether the target's own keys fit its protocol.
pub(super) fn check_target(target: &Target, problems: &mut Problems) {
    if target.protocol == model::Protocol::Http {
        return;
    }
    if let Some(prefix) = &target.prefix {
        problems.add(prefix.mark, "`prefix` is for targets with `protocol: http`");
    }
    if let Some(csrf) = &target.csrf {
        problems.add(
            csrf.header.mark,
            "`csrf` is for targets with `protocol: http`",
        );
    }
    if let Some(openapi) = &target.openapi {
        problems.add(
            openapi.mark,
            "`openapi` is for targets with `protocol: http`",
        );
    }
}

//! Which keys a target and its steps may say: what fits the protocol, and what fits together.

use http::Method;

use super::body::bodies;
use crate::decode::At;
use crate::http::{Capture, Redirects};
use crate::model::{Protocol, Step, Target};
use crate::problem::Problems;
use crate::template::Template;

/// Whether the target's own keys fit its protocol.
pub(in crate::compile) fn check_target(target: &Target, problems: &mut Problems) {
    if target.protocol == Protocol::Http {
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

/// Reports what only HTTP steps may say, in a step that is none. Whether it means to be a request.
pub(in crate::compile) fn refuse_http(step: &Step, problems: &mut Problems) -> bool {
    let requests = requests(step).map(|(key, _, path)| (key, path.map(|path| path.mark)));
    let others = [
        ("within", step.within.as_ref().map(|at| at.mark)),
        ("events", step.events.as_ref().map(|at| at.mark)),
        ("expect", step.expect.0.first().map(|at| at.mark)),
        ("query", step.query.0.first().map(|(name, _)| name.mark)),
        ("headers", step.headers.0.first().map(|(name, _)| name.mark)),
        ("redirects", step.redirects.map(|_| step.mark)),
    ];
    for (key, mark) in requests.into_iter().chain(others).chain(bodies(step)) {
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
    step.call.is_none()
        && step.resource.is_none()
        && requests.iter().any(|(_, mark)| mark.is_some())
}

/// The keys that make a step a request, with the method that each means and the path that the step gives it.
fn requests(step: &Step) -> [(&'static str, Method, Option<&Template>); 8] {
    [
        ("get", Method::GET, step.get.as_ref()),
        ("post", Method::POST, step.post.as_ref()),
        ("put", Method::PUT, step.put.as_ref()),
        ("patch", Method::PATCH, step.patch.as_ref()),
        ("delete", Method::DELETE, step.delete.as_ref()),
        ("head", Method::HEAD, step.head.as_ref()),
        ("options", Method::OPTIONS, step.options.as_ref()),
        ("listen", Method::GET, step.listen.as_ref()),
    ]
}

/// The method and path of a step that has exactly one.
pub(super) fn only_one<'s>(
    name: &At<String>,
    step: &'s Step,
    problems: &mut Problems,
) -> Option<(Method, &'s Template)> {
    let given: Vec<_> = requests(step)
        .into_iter()
        .filter_map(|(word, method, path)| Some((word, method, path?)))
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

/// Reports expected statuses that are none.
pub(super) fn check_statuses(step: &Step, problems: &mut Problems) {
    let statuses = step.expect.0.iter();
    for status in statuses.filter(|status| !(100..600).contains(&status.value)) {
        problems.add(
            status.mark,
            format!("{} is no status: they go from 100 to 599", status.value),
        );
    }
}

/// Reports keys of `listen` where there is none, and those that don't fit it.
pub(super) fn check_listening(step: &Step, problems: &mut Problems) {
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
pub(super) fn refuse_framing(name: &At<String>, problems: &mut Problems) {
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

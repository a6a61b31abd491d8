//! Requests as they can be made again by hand: what was new in this try stays open, so that whoever repeats it puts in what is
//! new then.
//!
//! A request is put together a second time, with marks where `{uid}`, what an earlier answer gave and what the login saved go.
//! A mark is a number that nobody else uses: it passes through every filter and encoding as it is, and is found again behind them.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, OnceLock};
use std::time::Duration;

use http::header;
use regex::Regex;
use serde_json::Value;
use throng_client::content;

use super::driver::{Driver, HttpReply, HttpTask};
use super::scope::{Execution, Scope, lock};
use crate::http::Redirects;
use crate::program::{Action, ActorField, Piece, Pieces, Request, SaveFrom, Source, Step};

/// The first mark; fewer than a thousand million follow.
const FIRST: u64 = 6_918_273_645_000_000_000;
/// What all marks begin with, and how long they are.
const START: &str = "6918273645";
const LENGTH: usize = 19;
/// Largest answer that is looked through for a member, in bytes.
const LARGEST_ANSWER: usize = 8 << 20;

/// A request as it can be made again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    /// Scheme, host and port, where it doesn't go to the target.
    pub origin: Option<String>,
    /// Path and query, percent-encoded.
    pub path: Vec<Span>,
    /// The headers that the step itself has; without a value where that must not be shown.
    pub headers: Vec<(String, Option<Vec<Span>>)>,
    /// The body.
    pub body: Vec<Span>,
    /// Whether redirects are followed.
    pub follows: bool,
    /// For how long it listens at most, where it does.
    pub listens: Option<Duration>,
    /// Whether something in it is of this try alone, and could not be left open.
    pub stale: bool,
}

/// A part of a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Span {
    /// The same each time.
    Text(String),
    /// Bytes that are no text, the same each time.
    Bytes(Vec<u8>),
    /// What `{uid}` stands for.
    Uid,
    /// What an answer gave: which of [`super::Played::answers`], and where it is there.
    Answer(usize, Captured),
    /// What the requests of the login saved, by the index of [`crate::accounts::Login::saved`].
    Login(usize),
}

/// Where something is in an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Captured {
    /// The first member of this name in the body's text.
    Member(String),
    /// This header.
    Header(String),
    /// This cookie, as the user has it after the answer.
    Cookie(String),
}

/// What is known of a value besides itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// It's an example's.
    Given,
    /// An answer gave it.
    Marked(u64),
    /// An answer gave it, and there is no simple way to say where.
    Stale,
}

/// The marks of one execution.
#[derive(Debug, Default)]
pub(super) struct Marks {
    spans: Mutex<Vec<Span>>,
    uid: OnceLock<u64>,
    /// A request is being put together with marks. All branches of an execution run in one task, and nothing is awaited meanwhile.
    on: AtomicBool,
    /// A value was put in that is of this try alone.
    stale: AtomicBool,
}

impl Marks {
    pub(super) fn on(&self) -> bool {
        self.on.load(Ordering::Relaxed)
    }

    pub(super) fn uid(&self) -> String {
        let mark = *self.uid.get_or_init(|| self.add(Span::Uid));
        mark.to_string()
    }

    pub(super) fn login(&self, index: usize) -> String {
        self.add(Span::Login(index)).to_string()
    }

    /// What stands for a value; `None` where it's put in itself.
    pub(super) fn stand_in(&self, origin: Origin, value: &Value) -> Option<Value> {
        match (origin, value) {
            (Origin::Given, _) => None,
            (Origin::Marked(mark), Value::Number(_)) => Some(Value::from(mark)),
            (Origin::Marked(mark), _) => Some(Value::from(mark.to_string())),
            (Origin::Stale, _) => {
                self.stale.store(true, Ordering::Relaxed);
                None
            }
        }
    }

    /// What was found in the answer number `call`.
    pub(super) fn origin(
        &self,
        call: usize,
        from: &SaveFrom,
        found: &Value,
        http: Option<&HttpReply>,
    ) -> Origin {
        let text = match found {
            Value::String(text) if is_plain(text) => text.clone(),
            Value::Number(number) if !number.is_f64() => number.to_string(),
            _ => return Origin::Stale,
        };
        let captured = match from {
            SaveFrom::Path(program) => {
                let member = last_member(&program.path.source);
                let seen = http.and_then(|http| first_member(http, member));
                (seen == Some(text)).then(|| Captured::Member(member.to_owned()))
            }
            SaveFrom::Header(name) => Some(Captured::Header(name.as_str().to_owned())),
            SaveFrom::Cookie(_, name) => Some(Captured::Cookie(name.clone())),
            SaveFrom::Regex(_) => None,
        };
        match captured {
            Some(captured) => Origin::Marked(self.add(Span::Answer(call, captured))),
            None => Origin::Stale,
        }
    }

    fn add(&self, span: Span) -> u64 {
        let mut spans = lock(&self.spans);
        spans.push(span);
        FIRST + spans.len() as u64 - 1
    }

    /// A text in parts.
    fn cut(&self, text: &str) -> Vec<Span> {
        let spans = lock(&self.spans);
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some(at) = rest.find(START) {
            let mark = rest
                .get(at..at + LENGTH)
                .and_then(|mark| mark.parse::<u64>().ok());
            let index = mark.and_then(|mark| usize::try_from(mark - FIRST).ok());
            push_text(&mut parts, &rest[..at]);
            let length = match index.and_then(|index| spans.get(index)) {
                Some(span) => {
                    parts.push(span.clone());
                    LENGTH
                }
                None => {
                    push_text(&mut parts, START);
                    START.len()
                }
            };
            rest = &rest[at + length..];
        }
        push_text(&mut parts, rest);
        parts
    }
}

fn push_text(parts: &mut Vec<Span>, text: &str) {
    match parts.last_mut() {
        _ if text.is_empty() => {}
        Some(Span::Text(before)) => before.push_str(text),
        _ => parts.push(Span::Text(text.to_owned())),
    }
}

impl<D: Driver> Execution<'_, D> {
    /// The request of a step, with marks in it; `None` where it is none. `conceal` strikes out what only the user may know.
    pub(super) fn pattern(
        &self,
        step: &Step,
        marks: &Marks,
        scope: &Scope<'_>,
        conceal: impl Fn(String) -> String,
    ) -> Option<Pattern> {
        let (request, listens) = match &step.action {
            Action::Request(request) => (&**request, None),
            Action::Listen(listen) => (&listen.request, Some(listen.within)),
            Action::Call { .. } | Action::Resource { .. } | Action::Token(_) => return None,
        };
        marks.stale.store(false, Ordering::Relaxed);
        marks.on.store(true, Ordering::Relaxed);
        let marked = self.request(request, scope);
        marks.on.store(false, Ordering::Relaxed);
        let mut stale = marks.stale.load(Ordering::Relaxed);
        let task = match marked {
            Ok(task) => task,
            // A mark where only something else may stand.
            Err(_) => {
                stale = true;
                self.request(request, scope).ok()?
            }
        };
        let mut shown = |bytes: &[u8]| match std::str::from_utf8(bytes) {
            Ok(text) => {
                let concealed = conceal(text.to_owned());
                stale |= concealed != text;
                marks.cut(&concealed)
            }
            Err(_) => {
                let text = String::from_utf8_lossy(bytes).into_owned();
                let concealed = conceal(text.clone());
                if concealed == text {
                    return vec![Span::Bytes(bytes.to_vec())];
                }
                stale = true;
                marks.cut(&concealed)
            }
        };
        let (path, body) = (shown(&task.path), shown(&task.body));
        Some(Pattern {
            origin: request.base.as_ref().map(|base| base.origin().to_owned()),
            path,
            headers: headers(request, &task, marks, stale, &conceal),
            body,
            follows: matches!(request.redirects, Redirects::Follow),
            listens,
            stale,
        })
    }
}

fn headers(
    request: &Request,
    task: &HttpTask<'_>,
    marks: &Marks,
    stale: bool,
    conceal: &impl Fn(String) -> String,
) -> Vec<(String, Option<Vec<Span>>)> {
    let ordinary = [
        header::CONTENT_TYPE,
        header::ACCEPT,
        header::ACCEPT_ENCODING,
        // What curl makes itself.
        header::USER_AGENT,
    ];
    let fixed = request.headers.iter().map(|(name, value)| {
        let text = String::from_utf8_lossy(value.as_bytes()).into_owned();
        let concealed = conceal(text.clone());
        (name, (concealed == text).then(|| marks.cut(&text)), value)
    });
    let more = request.more.iter().zip(&task.more);
    let more = more.map(|((name, pieces), (_, value))| {
        let text = String::from_utf8_lossy(value.as_bytes()).into_owned();
        // Whatever its name says: an example's value is no secret, and neither is a mark.
        let open = is_made_up(pieces) && !stale;
        let shown = open || conceal(text.clone()) == text;
        (name, shown.then(|| marks.cut(&text)), value)
    });
    fixed
        .chain(more)
        // Whatever the target's `headers` say may come from the environment; they go with every request.
        .filter(|(name, _, value)| !value.is_sensitive() && !ordinary.contains(name))
        .map(|(name, value, _)| (name.as_str().to_owned(), value))
        .collect()
}

/// Whether there is nothing in a text that comes from the file or from a login.
fn is_made_up(pieces: &Pieces) -> bool {
    pieces.0.iter().all(|piece| match piece {
        Piece::Value { source, .. } => !matches!(
            source,
            Source::Actor(_, ActorField::Saved(_)) | Source::List(_)
        ),
        Piece::Fixed(text) => text.len() <= 1,
        Piece::Raw(_) => false,
    })
}

/// Whether a text stands in addresses and in JSON as it is.
fn is_plain(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.~:@".contains(&byte);
    !text.is_empty() && text.bytes().all(plain)
}

/// The name that a path ends with.
fn last_member(path: &str) -> &str {
    let path = path.trim_end_matches([']', '\'', '"']);
    let other = |c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == '-');
    path.rsplit(other).next().unwrap_or_default()
}

/// The first text or number of a name in a body, found as `grep` finds it: by its text.
fn first_member(http: &HttpReply, name: &str) -> Option<String> {
    let body = content::decode(&http.headers, &http.body, LARGEST_ANSWER).ok()?;
    let pattern = format!(r#""{}" *: *("[^"\n]*"|-?[0-9.]+)"#, regex::escape(name));
    let found = Regex::new(&pattern).ok()?;
    let text = String::from_utf8_lossy(&body);
    let value = found.captures(&text)?.get(1)?.as_str();
    Some(value.trim_matches('"').to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_found_again() {
        let marks = Marks::default();
        let uid = marks.uid();
        let from = Captured::Member("id".to_owned());
        let id = Origin::Marked(marks.add(Span::Answer(0, from.clone())));
        let number = marks.stand_in(id, &Value::from(7)).expect("a mark");
        let text = format!("/a/{number}?b={}&c=6918273645", uid);
        let expected = [
            Span::Text("/a/".to_owned()),
            Span::Answer(0, from),
            Span::Text("?b=".to_owned()),
            Span::Uid,
            Span::Text("&c=6918273645".to_owned()),
        ];
        assert_eq!(marks.cut(&text), expected);
        let unknown = "6918273645999999999";
        assert_eq!(marks.cut(unknown), [Span::Text(unknown.to_owned())]);
    }

    #[test]
    fn what_differs_and_cannot_be_left_open_is_known() {
        let marks = Marks::default();
        let value = Value::from(7);
        assert_eq!(marks.stand_in(Origin::Given, &value), None);
        assert!(!marks.stale.load(Ordering::Relaxed));
        assert_eq!(marks.stand_in(Origin::Stale, &value), None);
        assert!(marks.stale.load(Ordering::Relaxed));
    }

    #[test]
    fn the_last_member_of_a_path() {
        for (path, expected) in [
            ("$.id", "id"),
            ("$.a[0].script_id", "script_id"),
            ("$['a']['b-c']", "b-c"),
            ("$", ""),
        ] {
            assert_eq!(last_member(path), expected, "{path}");
        }
    }
}

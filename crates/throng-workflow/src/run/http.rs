//! HTTP steps: put together before their start; what is kept of their answers; what listening came to.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::HeaderValue;
use serde_json::Value;
use throng_client::content;
use throng_metrics::{Event, Failure, FailureKind, StreamEnd, StreamSample, UserId, WaitSample};

use super::block::Branch;
use super::check::Verdict;
use super::driver::{Driver, HttpReply, HttpTask, ListenTask, Reply, Streamed};
use super::failure::{failure_with, shown};
use super::render::Missing;
use super::scope::{Execution, Scope};
use crate::program::{Action, Content, Listen, Request, SaveFrom, Step};

/// Largest body that a regular expression is held against, decoded, in bytes.
const LARGEST_TEXT: usize = 64 << 20;

impl<D: Driver> Execution<'_, D> {
    /// Puts a request together.
    pub(super) fn request<'s>(
        &self,
        request: &'s Request,
        scope: &Scope<'_>,
    ) -> Result<HttpTask<'s>, Missing> {
        let mut more = Vec::with_capacity(request.more.len() + 2);
        for (name, pieces) in &request.more {
            let value = HeaderValue::from_maybe_shared(Bytes::from(self.render(pieces, scope)?))
                .map_err(|_| format!("the value of the header `{name}` came out as none"))?;
            more.push((name.clone(), value));
        }
        Ok(HttpTask {
            request,
            path: self.content(&request.path, scope)?,
            more,
            body: self.content(&request.body, scope)?,
        })
    }

    /// Puts listening together.
    pub(super) fn listening<'s>(
        &self,
        listen: &'s Listen,
        scope: &Scope<'_>,
        ends: &'s (dyn Fn(&Value) -> bool + Send + Sync),
    ) -> Result<ListenTask<'s>, Missing> {
        if let Some(until) = &listen.until {
            // What its condition lacks shows now, not at the first event.
            self.judge(until, &Value::Null, None, scope)?;
        }
        Ok(ListenTask {
            listen,
            request: self.request(&listen.request, scope)?,
            ends: listen.until.is_some().then_some(ends),
            open: Arc::default(),
            permit: Default::default(),
        })
    }

    /// Whether an event is what a step listens for.
    pub(super) fn ends(&self, step: &Step, event: &Value, scope: &Scope<'_>) -> bool {
        let Action::Listen(listen) = &step.action else {
            return false;
        };
        listen.until.as_ref().is_some_and(|until| {
            matches!(self.judge(until, event, None, scope), Ok(Verdict::Holds(_)))
        })
    }

    fn content(&self, content: &Content, scope: &Scope<'_>) -> Result<Bytes, Missing> {
        match content {
            Content::Fixed(bytes) => Ok(bytes.clone()),
            Content::Made(pieces) => self.render(pieces, scope).map(Bytes::from),
        }
    }

    /// The value to keep of an answer, if it is there.
    pub(super) fn capture(
        &self,
        from: &SaveFrom,
        value: &Value,
        http: Option<&HttpReply>,
        scope: &Scope<'_>,
    ) -> Result<Option<Value>, Missing> {
        Ok(match from {
            SaveFrom::Path(program) => self.path(program, scope)?.first(value).cloned(),
            SaveFrom::Header(name) => http.and_then(|http| {
                let value = http.headers.get(name)?;
                Some(
                    String::from_utf8_lossy(value.as_bytes())
                        .into_owned()
                        .into(),
                )
            }),
            SaveFrom::Regex(regex) => http.and_then(|http| {
                let body = content::decode(&http.headers, &http.body, LARGEST_TEXT).ok()?;
                let text = String::from_utf8_lossy(&body);
                Some(regex.captures(&text)?.get(1)?.as_str().into())
            }),
            SaveFrom::Cookie(at, _) => http.and_then(|http| {
                let cookie = http.cookies.get(*at)?.as_deref()?;
                Some(cookie.into())
            }),
        })
    }

    /// Records a stream, and moves the clock on by its length: nobody was waiting for the server meanwhile.
    pub(super) fn streamed(
        &self,
        step: &Step,
        user: UserId,
        started: Duration,
        received: u32,
        stream: Streamed,
        branch: &mut Branch<'_>,
    ) {
        let awaited = matches!(&step.action, Action::Listen(listen) if listen.until.is_some());
        if awaited {
            self.cx.record(Event::Wait(WaitSample {
                step: step.id,
                user,
                started,
                waited: stream.lasted,
                // Nothing was polled: it was seen as it came.
                resolution: Duration::ZERO,
                attempts: 1,
                met: stream.end == StreamEnd::Met,
            }));
        }
        branch.clock.waited(stream.lasted);
        self.cx.record(Event::Stream(Box::new(StreamSample {
            step: step.id,
            user,
            started,
            first_event: stream.first_event,
            gaps: stream.gaps,
            events: stream.events,
            bytes: received.into(),
            reconnects: stream.reconnects,
            end: stream.end,
        })));
    }
}

/// Why an answer has no text that a regular expression could be held against.
pub(super) fn undecodable(http: &HttpReply) -> Option<Failure> {
    let error = content::decode(&http.headers, &http.body, LARGEST_TEXT).err()?;
    let cause = "the body cannot be decoded";
    Some(failure_with(FailureKind::Http, cause, &error.to_string()))
}

/// What the end of a stream makes of the result: what was waited for must have come.
pub(super) fn heard(
    action: &Action,
    stream: &Streamed,
    result: Result<Reply, Failure>,
) -> Result<Reply, Failure> {
    let Action::Listen(listen) = action else {
        return result;
    };
    let reply = result?;
    let cause = match stream.end {
        _ if listen.until.is_none() => return Ok(reply),
        StreamEnd::Met => return Ok(reply),
        StreamEnd::Window => {
            let within = listen.within;
            format!("what was waited for did not come within {within:?}")
        }
        StreamEnd::Closed | StreamEnd::Broken => {
            "the stream ended before what was waited for came".to_owned()
        }
    };
    let message = match (stream.events, &reply.value) {
        (0, _) => format!("{cause}; there was no event"),
        (events, last) => {
            let last = shown(last);
            format!("{cause}; there were {events} events, the last: {last}")
        }
    };
    Err(failure_with(FailureKind::Check, cause, &message))
}

impl fmt::Display for SaveFrom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Path(program) => write!(f, "at {}", program.path.source),
            Self::Header(name) => write!(f, "in the header `{name}`"),
            Self::Regex(regex) => write!(f, "that matches /{regex}/"),
            Self::Cookie(_, name) => write!(f, "in the cookie `{name}`"),
        }
    }
}

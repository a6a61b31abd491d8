//! Server-sent events: the course of one execution, and a user's notifications.
//!
//! Lines end in CR LF and streams of executions have `data:` lines only, as the real server sends them.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::{Body, Bytes};
use axum::response::Response;
use futures_util::{Stream, stream};
use http::header;
use serde_json::{Value, json};
use tokio::sync::watch;

use super::call::Call;
use super::execution::{Event, Execution, Status};
use super::executions::own;
use super::interpreter::Ending;
use super::personal::notification;
use super::reply::{self, Refusal};
use super::world::User;
use crate::timestamp::rfc3339_now;

pub(super) fn execution(call: &Call, user: &User) -> Result<Response, Refusal> {
    let execution = own(call, user)?;
    let course = Course::new(execution, call.app.config.execution_ping);
    Ok(event_stream(stream::unfold(
        course,
        |mut course| async move { course.next().await.map(|frame| (Ok(frame), course)) },
    )))
}

pub(super) fn notifications(call: &Call, user: Arc<User>) -> Response {
    let inbox = Inbox {
        wakes: user.submitted.subscribe(),
        user,
        told: Instant::now(),
        ready: VecDeque::new(),
        ping: Ping::new(call.app.config.notification_ping),
    };
    event_stream(stream::unfold(inbox, |mut inbox| async move {
        let frame = inbox.next().await;
        Some((Ok(frame), inbox))
    }))
}

fn event_stream(
    frames: impl Stream<Item = Result<Bytes, Infallible>> + Send + 'static,
) -> Response {
    let mut response = Response::new(Body::from_stream(frames));
    reply::set(
        &mut response,
        header::CONTENT_TYPE,
        "text/event-stream; charset=utf-8",
    );
    reply::set(&mut response, header::CACHE_CONTROL, "no-store");
    response
}

/// The comments that keep a silent stream open.
struct Ping {
    every: Duration,
    due: Instant,
}

impl Ping {
    fn new(every: Duration) -> Self {
        Self {
            every,
            due: Instant::now() + every,
        }
    }

    /// Waits for the next one.
    async fn due(&mut self) -> String {
        tokio::time::sleep_until(self.due.into()).await;
        self.due += self.every;
        format!(": ping - {}\r\n\r\n", rfc3339_now())
    }
}

/// Waits for an instant, for ever where there is none.
async fn until(instant: Option<Instant>) {
    match instant {
        Some(instant) => tokio::time::sleep_until(instant.into()).await,
        None => std::future::pending().await,
    }
}

/// One reader of an execution's events.
struct Course {
    execution: Arc<Execution>,
    changes: watch::Receiver<Option<Duration>>,
    /// Events up to this age have been told.
    told: Duration,
    ready: VecDeque<String>,
    over: bool,
    ping: Ping,
}

impl Course {
    /// Begins with the status; what an ended execution closes its stream with is told once more.
    fn new(execution: Arc<Execution>, ping: Duration) -> Self {
        let changes = execution.watch();
        let told = execution.age();
        let status = execution.status(told);
        let mut course = Self {
            execution,
            changes,
            told,
            ready: VecDeque::new(),
            over: false,
            ping: Ping::new(ping),
        };
        course.tell(&json!({
            "event_type": "status",
            "execution_id": course.execution.id,
            "timestamp": course.execution.timestamp(told),
            "event_id": null,
            "status": status.name(),
            "result": null,
        }));
        let last = course.execution.events().last().copied();
        if let Some(last) = last.filter(|last| last.at <= told && last.closes()) {
            course.tell_event(last);
        }
        course
    }

    fn tell(&mut self, data: &Value) {
        self.ready.push_back(format!("data: {data}\r\n\r\n"));
    }

    fn tell_event(&mut self, event: Event) {
        let status = self.execution.status(event.at);
        let result = match status {
            Status::Ended(Ending::Completed) if event.closes() => self.execution.result(event.at),
            _ => Value::Null,
        };
        self.tell(&json!({
            "event_type": event.kind,
            "execution_id": self.execution.id,
            "timestamp": self.execution.timestamp(event.at),
            "event_id": self.execution.event_id(event),
            "status": status.name(),
            "result": result,
        }));
        self.over = event.closes();
    }

    /// The next frame; `None` after the last.
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            if let Some(frame) = self.ready.pop_front() {
                return Some(frame.into());
            }
            if self.over {
                return None;
            }
            // The age first: a cancellation that the events do not show yet is then later than it.
            let age = self.execution.age();
            let events = self.execution.events();
            let told = std::mem::replace(&mut self.told, age);
            for event in events
                .iter()
                .filter(|event| told < event.at && event.at <= age)
            {
                self.tell_event(*event);
            }
            if !self.ready.is_empty() {
                continue;
            }
            let next = events.iter().find(|event| event.at > age);
            let next = next.map(|event| self.execution.at(event.at));
            tokio::select! {
                () = until(next) => {}
                // It cannot fail: the execution that sends it is held here.
                _ = self.changes.changed() => {}
                ping = self.ping.due() => self.ready.push_back(ping),
            }
        }
    }
}

/// One reader of a user's notifications.
struct Inbox {
    user: Arc<User>,
    wakes: watch::Receiver<u64>,
    /// What ended up to then has been told.
    told: Instant,
    ready: VecDeque<String>,
    ping: Ping,
}

impl Inbox {
    /// The next frame; there is always one more.
    async fn next(&mut self) -> Bytes {
        loop {
            if let Some(frame) = self.ready.pop_front() {
                return frame.into();
            }
            let now = Instant::now();
            let told = std::mem::replace(&mut self.told, now);
            let read = self.user.read();
            let mut next = None;
            for execution in self.user.executions() {
                let Some(ends) = execution.ends().map(|age| execution.at(age)) else {
                    continue;
                };
                if ends > now {
                    next = Some(next.map_or(ends, |next| ends.min(next)));
                } else if ends > told
                    && let Some(data) = notification(&execution, read)
                {
                    self.ready
                        .push_front(format!("event: notification\r\ndata: {data}\r\n\r\n"));
                }
            }
            if !self.ready.is_empty() {
                continue;
            }
            tokio::select! {
                () = until(next) => {}
                // It cannot fail: the user that sends it is held here.
                _ = self.wakes.changed() => {}
                ping = self.ping.due() => self.ready.push_back(ping),
            }
        }
    }
}

//! The server's own stream (GET), where it tells what concerns no call. Only with sessions.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;

use super::{
    CallError, Era, Session,
    trace::Trace,
    wire::{self, Message},
};
use crate::{error::Phase, exchange::EventStream};

/// A notification from the server.
#[derive(Debug, Clone)]
pub struct Notification {
    /// The method, for instance `notifications/resources/updated`.
    pub method: String,
    /// The parameters, JSON.
    pub params: Option<Bytes>,
    /// The id of its event, from which the stream can be resumed.
    pub event_id: Option<Arc<str>>,
    /// When it was there.
    pub received: Instant,
}

/// The server's stream, being listened to.
pub struct Listener<'s> {
    session: &'s Session,
    events: EventStream,
}

impl Session {
    /// Listens to the server; `last_event_id` resumes an earlier stream. Waits at most `timeout` for it to open.
    ///
    /// # Errors
    /// If the server offers no such stream (HTTP 405), or the stateless era knows none.
    pub async fn listen(
        &self,
        last_event_id: Option<&str>,
        timeout: Duration,
    ) -> Result<Listener<'_>, CallError> {
        if self.negotiated.era == Era::Stateless {
            return Err(CallError::protocol(
                "this protocol version has no stream to listen to",
            ));
        }
        let mut trace = Trace::new();
        match tokio::time::timeout(timeout, self.resume(last_event_id, &mut trace)).await {
            Ok(Ok(events)) => Ok(Listener {
                session: self,
                events,
            }),
            Ok(Err(error)) => Err(error),
            Err(_elapsed) => Err(CallError::Timeout {
                after: timeout,
                phase: Phase::Head,
            }),
        }
    }
}

impl Listener<'_> {
    /// The next notification, or `None` at the end of the stream; waits at most `timeout`. Requests of the server are
    /// answered meanwhile.
    ///
    /// # Errors
    /// If the stream breaks, the time runs out, or something comes that is no message.
    pub async fn next(&mut self, timeout: Duration) -> Result<Option<Notification>, CallError> {
        match tokio::time::timeout(timeout, self.next_untimed()).await {
            Ok(result) => result,
            Err(_elapsed) => Err(CallError::Timeout {
                after: timeout,
                phase: Phase::Body,
            }),
        }
    }

    /// The id to resume from.
    pub fn last_event_id(&self) -> Option<&str> {
        self.events.parser().last_event_id()
    }

    async fn next_untimed(&mut self) -> Result<Option<Notification>, CallError> {
        loop {
            let event = match self.events.next().await {
                Ok(Some(event)) => event,
                Ok(None) => return Ok(None),
                Err(failure) => return Err(self.events.exchange().fail(failure).into()),
            };
            if event.data.is_empty() {
                continue;
            }
            match wire::parse(&event.data) {
                Ok(Message::Notification { method, params }) => {
                    return Ok(Some(Notification {
                        method,
                        params,
                        event_id: event.id,
                        received: event.received,
                    }));
                }
                Ok(message) => self.session.heed(message).await?,
                Err(reason) => {
                    return Err(CallError::protocol(format_args!(
                        "an event is no JSON-RPC message: {reason}"
                    )));
                }
            }
        }
    }
}

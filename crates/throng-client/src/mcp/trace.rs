//! The course of a call, from which its times and bytes are told at the end.

use std::time::Instant;

use http::HeaderValue;

use super::{Call, CallError};
use crate::{
    client::Progress,
    exchange::{OpenExchange, Timings},
};

/// The course of a call, kept outside of the future that performs it.
pub(crate) struct Trace {
    started: Instant,
    pub(crate) progress: Progress,
    ended: Option<Instant>,
    pub(crate) response_event: Option<Instant>,
    /// Of exchanges before the current one.
    sent: u32,
    received: u32,
    pub(crate) resumed: u32,
    /// Whether an exchange before the current one was sent twice.
    resent: bool,
    pub(crate) session_id: Option<HeaderValue>,
}

impl Trace {
    pub(crate) fn new() -> Self {
        let started = Instant::now();
        Self {
            started,
            progress: Progress::new(started),
            ended: None,
            response_event: None,
            sent: 0,
            received: 0,
            resumed: 0,
            resent: false,
            session_id: None,
        }
    }

    /// Another exchange follows in the same call.
    pub(crate) fn next_exchange(&mut self) {
        let (sent, received) = self.progress.traffic();
        self.sent = self.sent.saturating_add(sent);
        self.received = self.received.saturating_add(received);
        self.resent |= self.progress.resent;
        self.progress = Progress::new(self.started);
        self.ended = None;
    }

    /// Takes over what the exchange knows, now that it is over.
    pub(crate) fn take(&mut self, exchange: &OpenExchange) {
        self.progress = exchange.progress.clone();
        self.progress.fix_traffic();
        self.ended = exchange.ended;
    }

    pub(crate) fn into_call<T>(self, result: Result<T, CallError>) -> Call<T> {
        let (sent, received) = self.progress.traffic();
        // A stream that the server leaves open has no end of its own.
        let ended = self
            .ended
            .or(self.response_event)
            .unwrap_or_else(Instant::now);
        Call {
            timings: Some(Timings {
                started: self.started,
                ..self.progress.timings(ended)
            }),
            response_event: self.response_event,
            sent: self.sent.saturating_add(sent),
            received: self.received.saturating_add(received),
            resumed: self.resumed,
            resent: self.resent || self.progress.resent,
            result,
        }
    }
}

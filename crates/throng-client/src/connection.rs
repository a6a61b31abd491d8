//! One connection, driven by whoever waits for its response.
//!
//! An HTTP/1.1 connection has no task of its own: the exchange polls it. That saves two wake-ups and a task per
//! connection; the price is that a close by the server shows only when the connection is used next. While its user
//! pauses, only the socket is kept: hyper's buffers and channels (20 KB) are made anew for the next exchange, which costs
//! some 1.3 us of processor time. A user who does not pause keeps them. An HTTP/2 connection answers pings and serves
//! several exchanges at once, so it has a task and stays whole.

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker},
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::{
    body::{Body as _, Frame, Incoming},
    client::conn::{http1, http2},
};
use hyper_util::rt::{TokioExecutor, TokioIo};

use crate::{
    error::TransportFailure,
    stream::{Stream, Traffic},
};

type Io = TokioIo<Stream>;

/// A connection, of either version.
pub(crate) enum Connection {
    Http1(Box<Http1>),
    Http2(Http2),
}

/// A connection that was unused for so long was so because its user paused.
const PAUSE: Duration = Duration::from_millis(5);
/// After a pause, so many exchanges are expected to be followed by another one.
const EXCHANGES_PER_PAUSE: u8 = 32;

/// A connection between two exchanges.
pub(crate) enum Idle {
    /// Its user pauses now and then: only the socket is kept.
    Http1Socket(Stream, Habit),
    /// Its user does not pause.
    Http1(Box<Http1>),
    Http2(Http2),
}

/// Whether the user of a connection pauses between exchanges.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Habit {
    /// Exchanges that may still be followed by a pause.
    pause_expected: u8,
    unused_since: Instant,
    /// The last answer was a 5xx.
    after_failure: bool,
}

impl Habit {
    /// Of a user of whom nothing is known: expected to pause.
    fn new() -> Self {
        Self {
            pause_expected: EXCHANGES_PER_PAUSE,
            unused_since: Instant::now(),
            after_failure: false,
        }
    }

    /// The connection is taken into use.
    fn observe(&mut self, now: Instant) {
        self.pause_expected = if now.duration_since(self.unused_since) >= PAUSE {
            EXCHANGES_PER_PAUSE
        } else {
            self.pause_expected.saturating_sub(1)
        };
    }
}

/// An HTTP/1.1 connection: one exchange at a time.
pub(crate) struct Http1 {
    sender: http1::SendRequest<Full<Bytes>>,
    driver: http1::Connection<Io, Full<Bytes>>,
    traffic: Arc<Traffic>,
    habit: Habit,
    /// The driver has ended and must not be polled again.
    ended: bool,
}

/// A share of an HTTP/2 connection.
#[derive(Clone)]
pub(crate) struct Http2 {
    sender: http2::SendRequest<Full<Bytes>>,
    traffic: Arc<Traffic>,
}

/// Makes a connection of a new socket. Nothing is sent or awaited.
pub(crate) async fn handshake_http1(stream: Stream) -> Result<Connection, TransportFailure> {
    let http1 = Http1::new(stream, Habit::new()).await;
    let http1 = http1.map_err(TransportFailure::from_hyper)?;
    Ok(Connection::Http1(Box::new(http1)))
}

pub(crate) async fn handshake_http2(stream: Stream) -> Result<Connection, TransportFailure> {
    let traffic = stream.traffic();
    let (sender, driver) = http2::Builder::new(TokioExecutor::new())
        .handshake(TokioIo::new(stream))
        .await
        .map_err(TransportFailure::from_hyper)?;
    // Ends when the last share of the sender is dropped or the peer closes; the failure itself reaches every exchange
    // that is under way on it.
    #[expect(
        clippy::disallowed_methods,
        reason = "it ends with the connection, whose users see its failure"
    )]
    tokio::spawn(async move {
        if let Err(error) = driver.await {
            tracing::debug!(%error, "an HTTP/2 connection ended");
        }
    });
    Ok(Connection::Http2(Http2 { sender, traffic }))
}

impl Connection {
    pub(crate) fn traffic(&self) -> &Arc<Traffic> {
        match self {
            Connection::Http1(connection) => &connection.traffic,
            Connection::Http2(connection) => &connection.traffic,
        }
    }

    /// Notes whether the server failed to serve the request.
    pub(crate) fn answered(&mut self, failure: bool) {
        if let Connection::Http1(connection) = self {
            connection.habit.after_failure = failure;
        }
    }

    /// What is kept of the connection until its next exchange; nothing if it cannot have another.
    pub(crate) fn idle(self, now: Instant) -> Option<Idle> {
        match self {
            Connection::Http1(mut connection) => {
                connection.habit.unused_since = now;
                if connection.habit.pause_expected == 0 {
                    return (!connection.ended).then_some(Idle::Http1(connection));
                }
                // Ready means that request and response are over and done with, on the wire too.
                let mut nobody = Context::from_waker(Waker::noop());
                let Poll::Ready(true) = connection.poll_ready(&mut nobody) else {
                    return None;
                };
                let parts = connection.driver.into_parts();
                // What comes after a response belongs to no request.
                parts
                    .read_buf
                    .is_empty()
                    .then(|| Idle::Http1Socket(parts.io.into_inner(), connection.habit))
            }
            Connection::Http2(connection) => {
                (!connection.is_closed()).then_some(Idle::Http2(connection))
            }
        }
    }

    /// The next frame of `body`; drives the connection meanwhile.
    pub(crate) fn poll_frame(
        &mut self,
        body: &mut Incoming,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        match self {
            Connection::Http1(connection) => connection.poll_frame(body, cx),
            Connection::Http2(_) => Pin::new(body).poll_frame(cx),
        }
    }
}

impl Idle {
    /// Takes the connection into use; nothing if it has been closed meanwhile.
    pub(crate) async fn wake(self, now: Instant) -> Option<Connection> {
        let mut http1 = match self {
            Idle::Http1Socket(stream, habit) => Box::new(Http1::new(stream, habit).await.ok()?),
            Idle::Http1(http1) => http1,
            Idle::Http2(http2) => {
                return (!http2.is_closed()).then_some(Connection::Http2(http2));
            }
        };
        http1.habit.observe(now);
        let open = std::future::poll_fn(|cx| http1.poll_ready(cx)).await;
        open.then_some(Connection::Http1(http1))
    }
}

impl Http1 {
    async fn new(stream: Stream, habit: Habit) -> Result<Self, hyper::Error> {
        let traffic = stream.traffic();
        let (sender, driver) = http1::Builder::new()
            .handshake(TokioIo::new(stream))
            .await?;
        Ok(Self {
            sender,
            driver,
            traffic,
            habit,
            ended: false,
        })
    }

    /// Whether the last answer was a 5xx.
    pub(crate) fn after_failure(&self) -> bool {
        self.habit.after_failure
    }

    /// Waits until the connection can take a request; `false` if it turned out to be closed.
    pub(crate) fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<bool> {
        if self.drive(cx) {
            return Poll::Ready(false);
        }
        // Readiness comes from the driver, which has just been polled: nobody else could wake us.
        let mut nobody = Context::from_waker(Waker::noop());
        self.sender
            .poll_ready(&mut nobody)
            .map(|result| result.is_ok())
    }

    pub(crate) async fn send(
        &mut self,
        request: Request<Full<Bytes>>,
    ) -> Result<Response<Incoming>, hyper::Error> {
        let mut response = std::pin::pin!(self.sender.send_request(request));
        let (driver, ended) = (&mut self.driver, &mut self.ended);
        std::future::poll_fn(move |cx| {
            if !*ended && Pin::new(&mut *driver).poll(cx).is_ready() {
                *ended = true;
            }
            // As above: the response is put there by the driver alone, so no second wake-up is wanted.
            response
                .as_mut()
                .poll(&mut Context::from_waker(Waker::noop()))
        })
        .await
    }

    fn poll_frame(
        &mut self,
        body: &mut Incoming,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let mut nobody = Context::from_waker(Waker::noop());
        // Asking an empty body first tells the driver that its next piece is wanted.
        if let ready @ Poll::Ready(_) = Pin::new(&mut *body).poll_frame(&mut nobody) {
            return ready;
        }
        self.drive(cx);
        Pin::new(body).poll_frame(&mut nobody)
    }

    /// Polls the driver; whether it has ended. What it ended with reaches the response or its body.
    fn drive(&mut self, cx: &mut Context<'_>) -> bool {
        if !self.ended && Pin::new(&mut self.driver).poll(cx).is_ready() {
            self.ended = true;
        }
        self.ended
    }
}

impl Http2 {
    pub(crate) fn is_closed(&self) -> bool {
        self.sender.is_closed()
    }

    pub(crate) async fn send(
        &mut self,
        request: Request<Full<Bytes>>,
    ) -> Result<Response<Incoming>, hyper::Error> {
        self.sender.ready().await?;
        self.sender.send_request(request).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_who_pauses_now_and_then_is_told_from_one_who_does_not() {
        let mut habit = Habit::new();
        let mut now = habit.unused_since;
        let mut after = |habit: &mut Habit, unused: Duration| {
            now += unused;
            habit.observe(now);
            habit.unused_since = now;
            habit.pause_expected > 0
        };
        for _ in 1..EXCHANGES_PER_PAUSE {
            assert!(after(&mut habit, Duration::from_micros(50)));
        }
        for _ in 0..100 {
            assert!(!after(&mut habit, Duration::from_micros(50)));
        }
        assert!(after(&mut habit, PAUSE));
        assert!(after(&mut habit, Duration::ZERO));
    }
}

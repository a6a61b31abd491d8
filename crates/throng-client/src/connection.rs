//! One connection, driven by whoever waits for its response.
//!
//! An HTTP/1.1 connection has no task of its own: the exchange polls it. That saves two wake-ups and a task per
//! connection; the price is that a close by the server shows only when the connection is used next. An HTTP/2
//! connection answers pings and serves several exchanges at once, so it has a task.

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker},
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

/// An HTTP/1.1 connection: one exchange at a time.
pub(crate) struct Http1 {
    sender: http1::SendRequest<Full<Bytes>>,
    driver: http1::Connection<Io, Full<Bytes>>,
    traffic: Arc<Traffic>,
    /// The driver has ended and must not be polled again.
    ended: bool,
}

/// A share of an HTTP/2 connection.
#[derive(Clone)]
pub(crate) struct Http2 {
    sender: http2::SendRequest<Full<Bytes>>,
    traffic: Arc<Traffic>,
}

pub(crate) async fn handshake_http1(stream: Stream) -> Result<Connection, TransportFailure> {
    let traffic = stream.traffic();
    let (sender, driver) = http1::Builder::new()
        .handshake(TokioIo::new(stream))
        .await
        .map_err(TransportFailure::from_hyper)?;
    Ok(Connection::Http1(Box::new(Http1 {
        sender,
        driver,
        traffic,
        ended: false,
    })))
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

    /// Whether the connection is known to be unusable.
    pub(crate) fn is_closed(&self) -> bool {
        match self {
            Connection::Http1(connection) => connection.ended || connection.sender.is_closed(),
            Connection::Http2(connection) => connection.sender.is_closed(),
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

impl Http1 {
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
    pub(crate) async fn send(
        &mut self,
        request: Request<Full<Bytes>>,
    ) -> Result<Response<Incoming>, hyper::Error> {
        self.sender.ready().await?;
        self.sender.send_request(request).await
    }
}

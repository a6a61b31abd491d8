//! A connection of either version of HTTP.
//!
//! An HTTP/1.1 connection serves one exchange at a time, which polls it. An HTTP/2 connection answers pings and serves several
//! exchanges at once, so it has a task; a share of it is kept.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::Method;
use http_body_util::Full;
use hyper::{
    body::{Body as _, Incoming},
    client::conn::http2,
};
use hyper_util::rt::{TokioExecutor, TokioIo};

use crate::{
    cookies::Sent,
    error::TransportFailure,
    http1::{Broken, Head, Http1},
    request::{Outgoing, to_http2},
    stream::{Stream, Traffic},
};

/// A connection, of either version.
pub(crate) enum Connection {
    Http1(Box<Http1>),
    Http2(Http2),
}

/// A share of an HTTP/2 connection.
#[derive(Clone)]
pub(crate) struct Http2 {
    sender: http2::SendRequest<Full<Bytes>>,
    traffic: Arc<Traffic>,
}

/// The body of a response.
pub(crate) enum Body {
    /// The connection itself knows what is left of it.
    Http1,
    Http2(Incoming),
}

/// Why no head of a response came.
pub(crate) enum Unanswered {
    Http1(Broken),
    Http2(hyper::Error),
    /// It could not be sent as given.
    Request(TransportFailure),
}

impl From<Unanswered> for TransportFailure {
    fn from(unanswered: Unanswered) -> Self {
        match unanswered {
            Unanswered::Http1(broken) => broken.into(),
            Unanswered::Http2(error) => Self::from_hyper(error),
            Unanswered::Request(failure) => failure,
        }
    }
}

/// Makes a connection of a new socket. Nothing is sent or awaited.
pub(crate) fn over_http1(stream: Stream) -> Connection {
    Connection::Http1(Box::new(Http1::new(stream)))
}

pub(crate) async fn handshake_http2(stream: Stream) -> Result<Connection, TransportFailure> {
    let traffic = stream.traffic().clone();
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
            Connection::Http1(connection) => connection.traffic(),
            Connection::Http2(connection) => &connection.traffic,
        }
    }

    /// Whether it can have another exchange.
    pub(crate) fn reusable(&self) -> bool {
        match self {
            Connection::Http1(connection) => connection.reusable(),
            Connection::Http2(connection) => !connection.is_closed(),
        }
    }

    /// Whether it has been closed while it was unused.
    pub(crate) fn poll_gone(&mut self, cx: &mut Context<'_>) -> bool {
        match self {
            Connection::Http1(connection) => connection.poll_gone(cx),
            Connection::Http2(connection) => connection.is_closed(),
        }
    }

    /// Sends a request and waits for the head of its response. `cookies` are those that go with it.
    pub(crate) async fn send(
        &mut self,
        outgoing: &dyn Outgoing,
        cookies: Option<&Sent>,
    ) -> Result<(Head, Body), Unanswered> {
        match self {
            Connection::Http1(connection) => connection
                .send(outgoing, cookies)
                .await
                .map(|head| (head, Body::Http1))
                .map_err(Unanswered::Http1),
            // Its future is large, and HTTP/1.1 shall not carry it.
            Connection::Http2(connection) => Box::pin(connection.send(outgoing, cookies)).await,
        }
    }

    /// The next piece of `body`; nothing at its end.
    pub(crate) fn poll_piece(
        &mut self,
        body: &mut Body,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, TransportFailure>>> {
        match (self, body) {
            (_, Body::Http2(body)) => loop {
                match ready!(Pin::new(&mut *body).poll_frame(cx)) {
                    None => return Poll::Ready(None),
                    Some(Err(error)) => {
                        return Poll::Ready(Some(Err(TransportFailure::from_hyper(error))));
                    }
                    Some(Ok(frame)) => {
                        // Trailers carry nothing that anybody here asks for.
                        if let Ok(data) = frame.into_data() {
                            return Poll::Ready(Some(Ok(data)));
                        }
                    }
                }
            },
            (Connection::Http1(connection), Body::Http1) => connection
                .poll_piece(cx)
                .map(|piece| piece.map(|piece| piece.map_err(TransportFailure::from))),
            (Connection::Http2(_), Body::Http1) => Poll::Ready(None),
        }
    }

    /// Whether `body` is known to have ended.
    pub(crate) fn has_ended(&self, body: &Body) -> bool {
        match (self, body) {
            (_, Body::Http2(body)) => body.is_end_stream(),
            (Connection::Http1(connection), Body::Http1) => connection.body_ended(),
            (Connection::Http2(_), Body::Http1) => true,
        }
    }

    /// Whether a request that failed without a byte of an answer on this reused connection goes to a new one: where it was
    /// never written, or the server gave up the connection before it, or it may be repeated by what it is (RFC 9110, section
    /// 9.2.2). Any other may have been acted on, and a client that sent it again would do twice what was asked for once.
    pub(crate) fn is_replaceable(
        &self,
        unanswered: &Unanswered,
        method: &Method,
        unwritten: bool,
    ) -> bool {
        match (self, unanswered) {
            (_, Unanswered::Request(_)) | (_, Unanswered::Http1(Broken::Malformed(_))) => false,
            // One exchange at a time: whatever failed is the connection. A server that gives up on a failure closes without a
            // word, and its kernel resets what arrives after that. Else a reset is the answer to this request, while an
            // orderly close may have crossed it on its way.
            (Connection::Http1(connection), Unanswered::Http1(broken)) => {
                unwritten
                    || connection.after_failure()
                    || (method.is_idempotent() && !broken.is_reset())
            }
            // A reset of one stream is an answer; only the end of the whole connection is not.
            (Connection::Http2(connection), Unanswered::Http2(error)) => {
                !error.is_parse()
                    && !error.is_user()
                    && connection.is_closed()
                    && (unwritten || error.is_canceled() || method.is_idempotent())
            }
            _ => false,
        }
    }
}

impl Unanswered {
    /// Whether nothing of it can have left.
    pub(crate) fn is_canceled(&self) -> bool {
        matches!(self, Self::Http2(error) if error.is_canceled())
    }
}

impl Http2 {
    pub(crate) fn is_closed(&self) -> bool {
        self.sender.is_closed()
    }

    async fn send(
        &mut self,
        outgoing: &dyn Outgoing,
        cookies: Option<&Sent>,
    ) -> Result<(Head, Body), Unanswered> {
        let request = to_http2(outgoing, cookies).map_err(Unanswered::Request)?;
        let sent = async {
            self.sender.ready().await?;
            self.sender.send_request(request).await
        };
        let response = sent.await.map_err(Unanswered::Http2)?;
        let (parts, body) = response.into_parts();
        let head = Head {
            status: parts.status,
            version: parts.version,
            headers: parts.headers,
        };
        Ok((head, Body::Http2(body)))
    }
}

//! An HTTP/1.1 connection (RFC 9112), driven by whoever waits for its response: it has no task, no channel and no buffer of
//! its own.
//!
//! A request is put together in a buffer of the thread and handed to the socket at once; what comes back is read into
//! another one of the thread, so that a connection holds bytes only while part of a message is on its way. With many users
//! that is what keeps a request's memory in the processor's cache. The price of having no task is that a close by the server
//! shows only when the connection is used next.
//!
//! [`request`] writes heads, [`head`] reads them, [`body`] finds where a body ends. Reuse, time limits and redirects are the
//! client's business.

mod body;
mod head;
mod request;
#[cfg(test)]
mod tests;

use std::{
    cell::RefCell,
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::{Buf as _, Bytes, BytesMut};
use http::Method;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

pub(crate) use head::Head;

use crate::{
    cookies::Sent,
    request::Outgoing,
    stream::{Stream, Traffic},
};
use body::Decoder;

/// Read from a socket at once, in bytes. A piece of a body is at most so long.
const PIECE: usize = 64 << 10;
/// A body up to this length goes out in one piece with its head; a longer one is not worth the copy.
const COPIED_BODY: usize = 16 << 10;

thread_local! {
    static READ: RefCell<Box<[u8]>> = RefCell::new(vec![0; PIECE].into());
    static WRITE: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// Why a connection cannot go on.
#[derive(Debug)]
pub(crate) enum Broken {
    /// The socket failed.
    Io(io::Error),
    /// The server closed it before its answer was complete.
    Closed,
    /// What came is not HTTP/1.1.
    Malformed(Malformed),
}

impl Broken {
    /// Whether the server reset it.
    pub(crate) fn is_reset(&self) -> bool {
        matches!(self, Self::Io(error) if error.kind() == io::ErrorKind::ConnectionReset)
    }
}

/// What the server sent is not HTTP/1.1.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Malformed {
    #[error("{0} in the head of the response")]
    Head(#[from] httparse::Error),
    #[error("a header that is none: {0}")]
    Header(#[from] http::Error),
    #[error("the head of the response is longer than {limit} bytes")]
    LongHead { limit: usize },
    #[error("contradictory or invalid Content-Length")]
    Length,
    #[error("Transfer-Encoding in an HTTP/1.0 response")]
    Encoding,
    #[error("a chunk of the body is malformed")]
    Chunk,
    #[error("the trailers of the body are malformed or too long")]
    Trailers,
}

impl From<Malformed> for Broken {
    fn from(malformed: Malformed) -> Self {
        Self::Malformed(malformed)
    }
}

/// A connection: one exchange at a time.
pub(crate) struct Http1<S = Stream> {
    stream: S,
    /// Received, and not taken yet.
    unread: Bytes,
    unsent: Unsent,
    /// What is left of the response's body.
    decoder: Decoder,
    /// Whether it can have another exchange after this one, for all that is known.
    sound: bool,
    /// The last answer was a 5xx.
    after_failure: bool,
}

/// What the socket has not taken yet of a request.
#[derive(Default)]
struct Unsent {
    /// The head, or the whole request.
    first: Bytes,
    body: Bytes,
    /// What was written may still be in a buffer of the stream.
    unflushed: bool,
}

impl Unsent {
    fn is_empty(&self) -> bool {
        self.first.is_empty() && self.body.is_empty() && !self.unflushed
    }
}

impl Http1 {
    pub(crate) fn traffic(&self) -> &Arc<Traffic> {
        self.stream.traffic()
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Http1<S> {
    pub(crate) fn new(stream: S) -> Self {
        Self {
            stream,
            unread: Bytes::new(),
            unsent: Unsent::default(),
            decoder: Decoder::NONE,
            sound: true,
            after_failure: false,
        }
    }

    /// Whether the last answer was a 5xx.
    pub(crate) fn after_failure(&self) -> bool {
        self.after_failure
    }

    /// Whether it can have another exchange: request and response are over, and nothing came after the response, which would
    /// belong to no request.
    pub(crate) fn reusable(&self) -> bool {
        self.sound && self.decoder.is_done() && self.unread.is_empty() && self.unsent.is_empty()
    }

    /// Whether the server has closed it, or sent what nobody asked for.
    pub(crate) fn poll_gone(&mut self, cx: &mut Context<'_>) -> bool {
        self.poll_fill(cx).is_ready()
    }

    /// Sends a request and waits for the head of its response. `cookies` are those that go with it.
    pub(crate) async fn send(
        &mut self,
        outgoing: &dyn Outgoing,
        cookies: Option<&Sent>,
    ) -> Result<Head, Broken> {
        let method = outgoing.method();
        let mut begun = false;
        let mut unwritable = None;
        std::future::poll_fn(|cx| {
            let written = if begun {
                self.poll_write_rest(cx)
            } else {
                begun = true;
                self.poll_write(outgoing, cookies, cx)
            };
            if let Poll::Ready(Err(error)) = written {
                self.give_up_writing();
                unwritable = Some(error);
            }
            // A server that refuses a request may close before it has read it all. Its answer may still be on its way up here;
            // if there is none, the end of the connection is.
            let head = ready!(self.poll_head(method, cx));
            Poll::Ready(head.map_err(|broken| unwritable.take().map_or(broken, Broken::Io)))
        })
        .await
    }

    /// The next piece of the body; nothing at its end.
    pub(crate) fn poll_piece(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, Broken>>> {
        if !self.unsent.is_empty() && matches!(self.poll_write_rest(cx), Poll::Ready(Err(_))) {
            // The answer has come all the same, and it may be complete.
            self.give_up_writing();
        }
        loop {
            match self.decoder.decode(&mut self.unread) {
                Ok(Some(piece)) => return Poll::Ready(Some(Ok(piece))),
                Ok(None) if self.decoder.is_done() => return Poll::Ready(None),
                Ok(None) => {}
                Err(malformed) => return Poll::Ready(Some(Err(malformed.into()))),
            }
            match ready!(self.poll_fill(cx)) {
                Ok(0) if self.decoder.ends_with_connection() => {
                    self.decoder = Decoder::NONE;
                    return Poll::Ready(None);
                }
                Ok(0) => return Poll::Ready(Some(Err(Broken::Closed))),
                Ok(_) => {}
                Err(error) => return Poll::Ready(Some(Err(Broken::Io(error)))),
            }
        }
    }

    fn give_up_writing(&mut self) {
        self.unsent = Unsent::default();
        self.sound = false;
    }

    /// Whether the body has ended.
    pub(crate) fn body_ended(&self) -> bool {
        self.decoder.is_done()
    }

    /// Puts the request together and hands it to the socket, which usually takes it whole.
    fn poll_write(
        &mut self,
        outgoing: &dyn Outgoing,
        cookies: Option<&Sent>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        let body = outgoing.body();
        let written = WRITE.with_borrow_mut(|out| {
            out.clear();
            self.sound &= request::write(out, outgoing, &body, cookies);
            let rest = if body.len() <= COPIED_BODY {
                out.extend_from_slice(&body);
                Bytes::new()
            } else {
                body
            };
            self.unsent = Unsent {
                first: Bytes::new(),
                body: rest,
                unflushed: true,
            };
            let taken = match Pin::new(&mut self.stream).poll_write(cx, out) {
                Poll::Ready(Ok(0)) => Err(io::ErrorKind::WriteZero.into()),
                Poll::Ready(taken) => taken,
                Poll::Pending => Ok(0),
            }?;
            if taken < out.len() {
                self.unsent.first = Bytes::copy_from_slice(&out[taken..]);
            }
            io::Result::Ok(())
        });
        match written {
            Ok(()) => self.poll_write_rest(cx),
            Err(error) => Poll::Ready(Err(error)),
        }
    }

    fn poll_write_rest(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Unsent {
            first,
            body,
            unflushed,
        } = &mut self.unsent;
        for part in [first, body] {
            while !part.is_empty() {
                match ready!(Pin::new(&mut self.stream).poll_write(cx, part))? {
                    0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                    taken => advance(part, taken),
                }
            }
        }
        if *unflushed {
            ready!(Pin::new(&mut self.stream).poll_flush(cx))?;
            *unflushed = false;
        }
        Poll::Ready(Ok(()))
    }

    fn poll_head(&mut self, method: &Method, cx: &mut Context<'_>) -> Poll<Result<Head, Broken>> {
        loop {
            while let Some((head, length)) = head::parse(&self.unread)? {
                advance(&mut self.unread, length);
                if head.is_interim() {
                    continue;
                }
                let (decoder, keeps) = Decoder::of(method, &head)?;
                self.decoder = decoder;
                self.sound &= keeps && head.keeps_alive();
                self.after_failure = head.status.is_server_error();
                return Poll::Ready(Ok(head));
            }
            match ready!(self.poll_fill(cx)) {
                Ok(0) => return Poll::Ready(Err(Broken::Closed)),
                Ok(_) => {}
                Err(error) => return Poll::Ready(Err(Broken::Io(error))),
            }
        }
    }

    /// Adds what has come to `unread`; 0 at the end of the stream.
    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        READ.with_borrow_mut(|space| {
            let mut read = ReadBuf::new(space);
            ready!(Pin::new(&mut self.stream).poll_read(cx, &mut read))?;
            let come = read.filled();
            self.unread = if self.unread.is_empty() {
                Bytes::copy_from_slice(come)
            } else {
                let mut whole = BytesMut::with_capacity(self.unread.len() + come.len());
                whole.extend_from_slice(&self.unread);
                whole.extend_from_slice(come);
                whole.freeze()
            };
            Poll::Ready(Ok(come.len()))
        })
    }
}

/// Takes the first bytes away. When all are, their memory goes, too: an empty remainder would hold it as long as the connection
/// has nothing to do.
fn advance(bytes: &mut Bytes, by: usize) {
    if by == bytes.len() {
        *bytes = Bytes::new();
    } else {
        bytes.advance(by);
    }
}

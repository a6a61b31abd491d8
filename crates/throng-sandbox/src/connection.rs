//! Listening and connections: what every embedded target stands on, over plain TCP or TLS.
//!
//! Connections are served by hyper directly and not by `axum::serve`, for three reasons: the peer
//! address and `TCP_NODELAY` are set here, connections must be closable in the ways that real
//! servers close them (with a reset, or silently after an answer), and a stopped sandbox must drop
//! its open connections at once, as a dying server does.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use hyper::service::Service as _;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;

use crate::server::SandboxError;

/// How long a client may take for the TLS handshake.
const HANDSHAKE_LIMIT: Duration = Duration::from_secs(10);

pub(crate) async fn bind(
    listen: IpAddr,
    port: u16,
) -> Result<(TcpListener, SocketAddr), SandboxError> {
    let address = SocketAddr::new(listen, port);
    let failed = |source| SandboxError::Bind { address, source };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    Ok((listener, address))
}

/// The address that a request came from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Peer(pub(crate) IpAddr);

/// Put into a response's extensions to have the connection reset instead.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ResetConnection;

/// Put into a response's extensions to have the connection closed after it without saying so.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CloseSilently;

/// The error by which a handler's answer turns into a connection reset.
#[derive(Debug, thiserror::Error)]
#[error("planted connection reset")]
struct PlantedReset;

/// Accepts and serves until `stop`; then all connections are dropped.
pub(crate) async fn serve(
    listener: TcpListener,
    app: Router,
    tls: Option<TlsAcceptor>,
    stop: CancellationToken,
) {
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        while connections.try_join_next().is_some() {}
        match accepted {
            Ok((stream, peer)) => {
                connections.spawn(accept(stream, peer, app.clone(), tls.clone()));
            }
            Err(error) => {
                // Most likely out of descriptors: without a pause this would spin.
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        }
    }
    connections.shutdown().await;
}

async fn accept(stream: TcpStream, peer: SocketAddr, app: Router, tls: Option<TlsAcceptor>) {
    // Without this the tail of a streamed reply waits 40 ms for a delayed acknowledgement.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "cannot set TCP_NODELAY");
    }
    let transport = match tls {
        None => Transport::Plain(stream),
        Some(tls) => match tokio::time::timeout(HANDSHAKE_LIMIT, tls.accept(stream)).await {
            Ok(Ok(stream)) => Transport::Tls(Box::new(stream)),
            Ok(Err(error)) => {
                tracing::debug!(%error, "a TLS handshake failed");
                return;
            }
            Err(_) => {
                tracing::debug!("a TLS handshake took too long");
                return;
            }
        },
    };
    serve_connection(transport, peer, app).await;
}

async fn serve_connection(transport: Transport, peer: SocketAddr, app: Router) {
    let ending = Arc::new(Ending::default());
    let stream = ControlledStream {
        transport,
        ending: Arc::clone(&ending),
        written: false,
    };
    let app = TowerToHyperService::new(app);
    let service =
        hyper::service::service_fn(move |request: http::Request<hyper::body::Incoming>| {
            let app = app.clone();
            let ending = Arc::clone(&ending);
            async move {
                let mut request = request.map(Body::new);
                request.extensions_mut().insert(Peer(peer.ip()));
                let response = match app.call(request).await {
                    Ok(response) => response,
                    Err(never) => match never {},
                };
                if response.extensions().get::<ResetConnection>().is_some() {
                    ending.reset.store(true, Ordering::Relaxed);
                    return Err(PlantedReset);
                }
                if response.extensions().get::<CloseSilently>().is_some() {
                    ending.close_next.store(true, Ordering::Relaxed);
                }
                Ok(response)
            }
        });
    let served = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new())
        .serve_connection(TokioIo::new(stream), service)
        .await;
    if let Err(error) = served {
        tracing::debug!(error, "a connection ended badly");
    }
}

/// How a connection is to end, told by the answers and carried out by the stream.
#[derive(Debug, Default)]
struct Ending {
    /// Close with a reset.
    reset: AtomicBool,
    /// Close when what is written next has gone out.
    close_next: AtomicBool,
    /// It has: nothing more is read.
    closed: AtomicBool,
    /// Who waits for the client's next request.
    reader: Mutex<Option<Waker>>,
}

enum Transport {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

/// A stream that is closed as its answers ask for.
struct ControlledStream {
    transport: Transport,
    ending: Arc<Ending>,
    /// Whether anything has been written since the answer after which to close.
    written: bool,
}

impl ControlledStream {
    fn wrote(&mut self, polled: &Poll<io::Result<usize>>) {
        if matches!(polled, Poll::Ready(Ok(1..))) && self.ending.close_next.load(Ordering::Relaxed)
        {
            self.written = true;
        }
    }
}

impl Drop for ControlledStream {
    fn drop(&mut self) {
        let stream = match &self.transport {
            Transport::Plain(stream) => stream,
            Transport::Tls(stream) => stream.get_ref().0,
        };
        if self.ending.reset.load(Ordering::Relaxed)
            && let Err(error) = stream.set_zero_linger()
        {
            tracing::debug!(%error, "cannot reset a connection, closing it instead");
        }
    }
}

impl AsyncRead for ControlledStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.ending.closed.load(Ordering::Relaxed) {
            // Nothing read means that the stream has ended: hyper closes its side, too.
            return Poll::Ready(Ok(()));
        }
        let waker = cx.waker().clone();
        *self
            .ending
            .reader
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = Some(waker);
        match &mut self.transport {
            Transport::Plain(stream) => Pin::new(stream).poll_read(cx, buffer),
            Transport::Tls(stream) => Pin::new(stream).poll_read(cx, buffer),
        }
    }
}

impl AsyncWrite for ControlledStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &[u8],
    ) -> Poll<io::Result<usize>> {
        let polled = match &mut self.transport {
            Transport::Plain(stream) => Pin::new(stream).poll_write(cx, buffer),
            Transport::Tls(stream) => Pin::new(stream).poll_write(cx, buffer),
        };
        self.wrote(&polled);
        polled
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffers: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = match &mut self.transport {
            Transport::Plain(stream) => Pin::new(stream).poll_write_vectored(cx, buffers),
            Transport::Tls(stream) => Pin::new(stream).poll_write_vectored(cx, buffers),
        };
        self.wrote(&polled);
        polled
    }

    fn is_write_vectored(&self) -> bool {
        match &self.transport {
            Transport::Plain(stream) => stream.is_write_vectored(),
            Transport::Tls(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = match &mut self.transport {
            Transport::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Transport::Tls(stream) => Pin::new(stream).poll_flush(cx),
        };
        if self.written && matches!(polled, Poll::Ready(Ok(()))) {
            self.ending.closed.store(true, Ordering::Relaxed);
            let reader = self
                .ending
                .reader
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .take();
            if let Some(reader) = reader {
                reader.wake();
            }
        }
        polled
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.transport {
            Transport::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Transport::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}

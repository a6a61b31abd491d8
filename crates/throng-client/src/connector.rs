//! How connections are made: addresses, TCP options, TLS, HTTP version. Shared by all identities of a run.

use std::{
    collections::HashMap,
    io,
    net::SocketAddr,
    path::PathBuf,
    sync::{Arc, Mutex, OnceLock, PoisonError},
    time::{Duration, Instant},
};

use http::HeaderValue;
use rustls::{
    ClientConfig,
    pki_types::{CertificateDer, ServerName},
};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

pub use crate::tls::Trust;
use crate::{
    connection::{Connection, handshake_http2, over_http1},
    error::{Phase, TransportFailure},
    request::Origin,
    stream::Stream,
    tls,
};

/// How long resolved addresses are kept.
const ADDRESSES_KEPT: Duration = Duration::from_secs(60);

/// What a [`Connector`] is made from.
#[derive(Debug, Clone)]
pub struct ConnectorOptions {
    /// The HTTP version to speak.
    pub version: HttpVersion,
    /// Whose certificates are believed.
    pub trust: Trust,
    /// Time allowed for resolving, connecting and the TLS handshake together. The time allowed for the exchange bounds
    /// it too.
    pub connect_timeout: Duration,
    /// Largest response body accepted, in bytes; of an event stream, the largest event.
    pub max_body: usize,
    /// The `User-Agent` sent where the request names none.
    pub user_agent: Option<HeaderValue>,
}

impl Default for ConnectorOptions {
    /// HTTP/1.1 unless TLS negotiates HTTP/2, the system's authorities, 10 s to connect, bodies up to 64 MiB.
    fn default() -> Self {
        Self {
            version: HttpVersion::Auto,
            trust: Trust::Native,
            connect_timeout: Duration::from_secs(10),
            max_body: 64 << 20,
            user_agent: Some(HeaderValue::from_static(concat!(
                "throng/",
                env!("CARGO_PKG_VERSION")
            ))),
        }
    }
}

/// The HTTP version to speak.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum HttpVersion {
    /// Over TLS what the server prefers (ALPN, RFC 7301), HTTP/1.1 over plain TCP.
    #[default]
    Auto,
    /// HTTP/1.1 always.
    Http1,
    /// HTTP/2 always; over plain TCP with prior knowledge (RFC 9113, section 3.3).
    Http2,
}

/// Why a [`Connector`] cannot be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectorError {
    /// A file of certificate authorities cannot be used.
    #[error("cannot read certificate authorities from {}: {reason}", path.display())]
    Authority {
        /// The file named.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
}

/// Makes connections. Cheap to clone; all clones share addresses and TLS configuration, never connections.
#[derive(Debug, Clone)]
pub struct Connector {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    options: ConnectorOptions,
    authorities: Vec<CertificateDer<'static>>,
    tls: OnceLock<Result<Arc<ClientConfig>, String>>,
    addresses: Mutex<HashMap<(Arc<str>, u16), Resolved>>,
}

#[derive(Debug, Clone)]
struct Resolved {
    at: Instant,
    addresses: Arc<[SocketAddr]>,
}

impl Connector {
    /// A connector with these options.
    ///
    /// # Errors
    /// If a PEM file of [`Trust`] cannot be read or holds no certificate.
    pub fn new(options: ConnectorOptions) -> Result<Self, ConnectorError> {
        let authorities = tls::read_authorities(&options.trust)?;
        Ok(Self {
            shared: Arc::new(Shared {
                options,
                authorities,
                tls: OnceLock::new(),
                addresses: Mutex::default(),
            }),
        })
    }

    /// The options this connector was made from.
    pub fn options(&self) -> &ConnectorOptions {
        &self.shared.options
    }

    /// Connects to `origin`, at most [`ConnectorOptions::connect_timeout`] long.
    pub(crate) async fn connect(&self, origin: &Origin) -> Result<Connection, TransportFailure> {
        let after = self.shared.options.connect_timeout;
        match tokio::time::timeout(after, self.connect_untimed(origin)).await {
            Ok(result) => result,
            Err(_elapsed) => Err(TransportFailure::Timeout {
                after,
                phase: Phase::Connect,
            }),
        }
    }

    async fn connect_untimed(&self, origin: &Origin) -> Result<Connection, TransportFailure> {
        let tcp = self.connect_tcp(origin).await?;
        // Small requests must not wait for the acknowledgement of the one before (Nagle's algorithm).
        tcp.set_nodelay(true).map_err(TransportFailure::Connect)?;
        let stream = if origin.is_tls() {
            Stream::tls(self.handshake_tls(origin, tcp).await?)
        } else {
            Stream::plain(tcp)
        };
        let http2 = match self.shared.options.version {
            HttpVersion::Auto => stream.alpn() == Some(b"h2"),
            HttpVersion::Http1 => false,
            HttpVersion::Http2 => true,
        };
        if http2 {
            handshake_http2(stream).await
        } else {
            Ok(over_http1(stream))
        }
    }

    async fn connect_tcp(&self, origin: &Origin) -> Result<TcpStream, TransportFailure> {
        let addresses = self.resolve(origin).await?;
        let mut failure = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
        for (position, address) in addresses.iter().enumerate() {
            match TcpStream::connect(address).await {
                Ok(stream) => {
                    if position > 0 {
                        self.prefer(origin, &addresses, position);
                    }
                    return Ok(stream);
                }
                Err(error) => failure = error,
            }
        }
        Err(TransportFailure::Connect(failure))
    }

    async fn handshake_tls(
        &self,
        origin: &Origin,
        tcp: TcpStream,
    ) -> Result<tokio_rustls::client::TlsStream<TcpStream>, TransportFailure> {
        let invalid = |error: String| TransportFailure::Tls(io::Error::other(error));
        let config = self
            .shared
            .tls
            .get_or_init(|| {
                let shared = &self.shared;
                tls::configure(
                    &shared.options.trust,
                    &shared.authorities,
                    shared.options.version,
                )
                .map(Arc::new)
            })
            .clone()
            .map_err(invalid)?;
        let name = ServerName::try_from(origin.host().to_owned())
            .map_err(|error| invalid(error.to_string()))?;
        TlsConnector::from(config).connect(name, tcp).await.map_err(
            |error| match tls::is_untrusted(&error) {
                true => TransportFailure::Certificate(error),
                false => TransportFailure::Tls(error),
            },
        )
    }

    async fn resolve(&self, origin: &Origin) -> Result<Arc<[SocketAddr]>, TransportFailure> {
        let key = (origin.host_shared(), origin.port());
        if let Some(known) = self.addresses().get(&key)
            && known.at.elapsed() < ADDRESSES_KEPT
        {
            return Ok(known.addresses.clone());
        }
        let addresses: Arc<[SocketAddr]> = tokio::net::lookup_host((origin.host(), origin.port()))
            .await
            .map_err(TransportFailure::Resolve)?
            .collect();
        let resolved = Resolved {
            at: Instant::now(),
            addresses: addresses.clone(),
        };
        self.addresses().insert(key, resolved);
        Ok(addresses)
    }

    /// Puts the address that answered first (`localhost` is often both `::1` and `127.0.0.1`, and one of them deaf).
    fn prefer(&self, origin: &Origin, addresses: &[SocketAddr], position: usize) {
        let mut reordered = addresses.to_vec();
        reordered[..=position].rotate_right(1);
        let resolved = Resolved {
            at: Instant::now(),
            addresses: reordered.into(),
        };
        self.addresses()
            .insert((origin.host_shared(), origin.port()), resolved);
    }

    fn addresses(&self) -> std::sync::MutexGuard<'_, HashMap<(Arc<str>, u16), Resolved>> {
        self.shared
            .addresses
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

//! Starting and stopping it: the certificate, the listener, the handle.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;

use axum::extract::Request;
use rcgen::{CertificateParams, KeyPair, SanType};
use rustls::ServerConfig;
use rustls::pki_types::PrivateKeyDer;
use serde::{Deserialize, Serialize};
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use super::config::Integr8scodeConfig;
use super::csrf::Signer;
use super::dispatch::{self, App, Scheme, Shared};
use super::limits::{Lockout, RateLimiter};
use super::openapi;
use super::world::World;
use crate::connection::{bind, serve};
use crate::control;
use crate::frame::Frame;
use crate::journal::{self, Journal, Server};
use crate::knobs::LiveKnobs;
use crate::server::SandboxError;

/// Where a running Integr8sCode sandbox is, for the process that started it. One line of JSON.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Integr8scodeReady {
    /// Its origin, without a slash at the end.
    pub url: String,
    /// Where its OpenAPI document is.
    pub openapi: String,
    /// Its certificate as PEM, which is also what to trust; none over plain HTTP.
    pub certificate: Option<String>,
    /// The names of the planted bugs.
    pub bugs: Vec<String>,
}

/// A running Integr8sCode sandbox. Dropping it stops it.
pub struct Integr8scodeSandbox {
    ready: Integr8scodeReady,
    frame: Frame,
    task: Option<JoinHandle<()>>,
}

impl Integr8scodeSandbox {
    /// Binds the listener and starts to serve; when this returns, requests are answered.
    ///
    /// # Errors
    ///
    /// A port in use, no certificate, invalid knobs.
    pub async fn start(config: Integr8scodeConfig) -> Result<Self, SandboxError> {
        let knobs = LiveKnobs::new(config.knobs.clone()).map_err(SandboxError::Knobs)?;
        let (listener, address) = bind(config.listen, config.port).await?;
        let (tls, certificate, scheme) = if config.tls {
            let (tls, certificate) = self_signed(address.ip())?;
            (Some(tls), Some(certificate), "https")
        } else {
            (None, None, "http")
        };
        let url = origin(scheme, address);
        let ready = Integr8scodeReady {
            openapi: format!("{url}/api/v1/openapi.json"),
            certificate,
            bugs: config
                .bugs
                .iter()
                .map(|bug| bug.name().to_owned())
                .collect(),
            url,
        };
        let frame = Frame {
            journal: Journal::new(config.journal_capacity),
            knobs,
            stop: CancellationToken::new(),
        };
        let app = App::new(Shared {
            document: openapi::document(&config, &ready.url),
            config,
            world: World::default(),
            signer: Signer::new(),
            limiter: RateLimiter::default(),
            lockout: Lockout::default(),
            started: Instant::now(),
        });
        let routes = dispatch::router(app.clone());
        let routes = journal::layered(routes, Server::Integr8scode, &frame);
        let users = move || Ok(app.world.usernames());
        let routes = control::router(frame.clone(), users)
            .fallback_service(routes)
            .layer(axum::middleware::map_request(
                move |mut request: Request| async move {
                    request.extensions_mut().insert(Scheme(scheme));
                    request
                },
            ));
        #[expect(
            clippy::disallowed_methods,
            reason = "the handle of the sandbox keeps it"
        )]
        let task = tokio::spawn(serve(listener, routes, tls, frame.stop.clone()));
        Ok(Self {
            ready,
            frame,
            task: Some(task),
        })
    }

    /// Its origin, `https://127.0.0.1:PORT`, without a slash at the end.
    pub fn url(&self) -> &str {
        &self.ready.url
    }

    /// Its certificate as PEM; none over plain HTTP.
    pub fn certificate(&self) -> Option<&str> {
        self.ready.certificate.as_deref()
    }

    /// Where it is, for another process.
    pub fn ready(&self) -> Integr8scodeReady {
        self.ready.clone()
    }

    /// The journal, shared with the running sandbox.
    pub fn journal(&self) -> Journal {
        self.frame.journal.clone()
    }

    /// The knobs, shared with the running sandbox: a change takes effect with the next request.
    pub fn knobs(&self) -> LiveKnobs {
        self.frame.knobs.clone()
    }

    /// Waits until the sandbox is told to stop (`POST /__sandbox/stop`).
    pub async fn stopped(&self) {
        self.frame.stop.cancelled().await;
    }

    /// Stops it and waits until the listener is closed and all connections are dropped.
    pub async fn stop(mut self) {
        self.frame.stop.cancel();
        if let Some(task) = self.task.take()
            && let Err(error) = task.await
        {
            // It can only be a panic or an abort: either way the listener is gone.
            tracing::error!(%error, "the listener of the sandbox ended badly");
        }
    }
}

impl Drop for Integr8scodeSandbox {
    fn drop(&mut self) {
        self.frame.stop.cancel();
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}

/// An address that is no destination stands for this machine.
fn origin(scheme: &str, address: SocketAddr) -> String {
    if address.ip().is_unspecified() {
        format!("{scheme}://localhost:{}", address.port())
    } else {
        format!("{scheme}://{address}")
    }
}

/// A certificate for this machine's names and the address listened on, and what serves it.
fn self_signed(listen: IpAddr) -> Result<(TlsAcceptor, String), SandboxError> {
    let failed = |error: &dyn std::error::Error| SandboxError::Tls(error.to_string());
    let key = KeyPair::generate().map_err(|error| failed(&error))?;
    let names = [
        "localhost".to_owned(),
        "127.0.0.1".to_owned(),
        "::1".to_owned(),
    ];
    let mut params = CertificateParams::new(names).map_err(|error| failed(&error))?;
    let listening = SanType::IpAddress(listen);
    if !params.subject_alt_names.contains(&listening) {
        params.subject_alt_names.push(listening);
    }
    let certificate = params.self_signed(&key).map_err(|error| failed(&error))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let secret = PrivateKeyDer::try_from(key.serialize_der())
        .map_err(|error| SandboxError::Tls(error.to_owned()))?;
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| failed(&error))?
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], secret)
        .map_err(|error| failed(&error))?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok((TlsAcceptor::from(Arc::new(config)), certificate.pem()))
}

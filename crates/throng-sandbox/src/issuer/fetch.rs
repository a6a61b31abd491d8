//! Requests to the provider: each on a connection of its own, which is rare enough.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{Request, StatusCode, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use url::{Url, form_urlencoded};

use super::IssuerError;
use crate::secret::Secret;

/// For a whole request.
const LIMIT: Duration = Duration::from_secs(10);
/// More than any metadata or key set has.
const MOST_BYTES: usize = 1 << 20;

/// How the provider is reached.
pub(super) struct Fetch {
    /// None where everything of the provider is plain.
    tls: Option<TlsConnector>,
}

impl Fetch {
    /// For the provider at `base`, over https with the certificates that this machine believes.
    pub(super) fn new(base: &Url) -> Result<Self, IssuerError> {
        if base.scheme() != "https" {
            return Ok(Self { tls: None });
        }
        let found = rustls_native_certs::load_native_certs();
        let mut roots = rustls::RootCertStore::empty();
        let (added, _) = roots.add_parsable_certificates(found.certs);
        if added == 0 {
            let why = found.errors.first().map(ToString::to_string);
            return Err(IssuerError::Certificates(
                why.unwrap_or_else(|| "there are none".to_owned()),
            ));
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| IssuerError::Certificates(error.to_string()))?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Self {
            tls: Some(TlsConnector::from(Arc::new(config))),
        })
    }

    /// A document in JSON.
    pub(super) async fn get(&self, url: &Url) -> Result<Value, IssuerError> {
        self.ask(url, Request::get(path(url)), Bytes::new()).await
    }

    /// The answer in JSON to a form, sent as this client (RFC 6749 section 2.3.1).
    pub(super) async fn post(
        &self,
        url: &Url,
        form: &[(&str, &str)],
        (id, secret): (&str, &Secret),
    ) -> Result<Value, IssuerError> {
        let encoded =
            |text: &str| -> String { form_urlencoded::byte_serialize(text.as_bytes()).collect() };
        let pair = format!("{}:{}", encoded(id), encoded(secret.expose()));
        let body = form_urlencoded::Serializer::new(String::new())
            .extend_pairs(form)
            .finish();
        let request = Request::post(path(url))
            .header(
                header::AUTHORIZATION,
                format!("Basic {}", STANDARD.encode(pair)),
            )
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded");
        self.ask(url, request, body.into()).await
    }

    async fn ask(
        &self,
        url: &Url,
        request: http::request::Builder,
        body: Bytes,
    ) -> Result<Value, IssuerError> {
        let failed = |problem: String| IssuerError::Unreachable {
            url: url.to_string(),
            problem,
        };
        let answer = tokio::time::timeout(LIMIT, self.exchange(url, request, body)).await;
        let (status, body) = answer
            .map_err(|_| failed(format!("no answer within {LIMIT:?}")))?
            .map_err(failed)?;
        if status != StatusCode::OK {
            return Err(failed(status.to_string()));
        }
        serde_json::from_slice(&body).map_err(|_| failed(format!("{status} but no JSON")))
    }

    async fn exchange(
        &self,
        url: &Url,
        request: http::request::Builder,
        body: Bytes,
    ) -> Result<(StatusCode, Bytes), String> {
        let host = url.host_str().ok_or("it has no host")?;
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        let port = url.port_or_known_default().ok_or("it has no port")?;
        let request = request
            .header(
                header::HOST,
                &url[url::Position::BeforeHost..url::Position::AfterPort],
            )
            .header(header::ACCEPT, "application/json")
            .body(Full::new(body))
            .map_err(|error| error.to_string())?;
        let stream = TcpStream::connect((bare, port));
        let stream = stream.await.map_err(|error| error.to_string())?;
        if url.scheme() == "http" {
            return converse(stream, request).await;
        }
        let tls = self
            .tls
            .as_ref()
            .ok_or("an https address of a provider at an http one")?;
        let name = ServerName::try_from(bare.to_owned()).map_err(|error| error.to_string())?;
        let stream = tls.connect(name, stream).await;
        converse(stream.map_err(|error| error.to_string())?, request).await
    }
}

fn path(url: &Url) -> &str {
    &url[url::Position::BeforePath..url::Position::AfterQuery]
}

async fn converse(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    request: Request<Full<Bytes>>,
) -> Result<(StatusCode, Bytes), String> {
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|error| error.to_string())?;
    let exchange = async {
        let response = sender.send_request(request).await;
        let response = response.map_err(|error| error.to_string())?;
        let status = response.status();
        let body = Limited::new(response.into_body(), MOST_BYTES)
            .collect()
            .await;
        let body = body.map_err(|error| error.to_string())?.to_bytes();
        Ok((status, body))
    };
    tokio::pin!(exchange);
    let mut connection = std::pin::pin!(connection);
    tokio::select! {
        biased;
        done = &mut exchange => done,
        ended = &mut connection => match ended {
            // Closed after the answer, which is then there.
            Ok(()) => exchange.await,
            Err(error) => Err(error.to_string()),
        },
    }
}

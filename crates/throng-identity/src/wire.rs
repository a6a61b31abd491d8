//! The few shapes of HTTP request that talking to a provider or a directory takes.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{HeaderValue, Method, Request, StatusCode, header};
use throng_client::{Client, Exchange, TransportError};
use url::Url;

use crate::redact;
use crate::secret::Secret;

/// Redirects followed when fetching a document. Browsers allow 20; a metadata document needs one or two.
const REDIRECTS: usize = 8;

/// The content type of a form.
pub(crate) const FORM: &str = "application/x-www-form-urlencoded";

/// Why a document could not be fetched.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// No complete response.
    #[error("GET {url}: {source}")]
    Transport {
        /// Address, without secrets.
        url: String,
        /// What went wrong.
        source: TransportError,
    },
    /// A redirect that leads nowhere.
    #[error("GET {url}: answered {status} without a usable Location")]
    Location {
        /// Address, without secrets.
        url: String,
        /// The status.
        status: StatusCode,
    },
    /// More redirects than sensible.
    #[error("GET {url}: more than {REDIRECTS} redirects")]
    Redirects {
        /// The address first asked for.
        url: String,
    },
}

/// A request with an absolute URL; headers and body follow.
pub(crate) fn request(method: Method, url: &Url) -> http::request::Builder {
    Request::builder().method(method).uri(url.as_str())
}

/// A request without body that asks for JSON.
pub(crate) fn get_json(url: &Url) -> Request<Bytes> {
    finish(
        request(Method::GET, url).header(header::ACCEPT, "application/json"),
        Bytes::new(),
    )
}

/// Ends a request. The parts are URLs and header values already checked, so this cannot fail.
pub(crate) fn finish(builder: http::request::Builder, body: impl Into<Bytes>) -> Request<Bytes> {
    builder
        .body(body.into())
        .expect("a parsed URL and valid header values make a valid request")
}

/// `Basic` credentials (RFC 7617), marked sensitive.
pub(crate) fn basic(user: &str, password: &Secret) -> HeaderValue {
    let text = STANDARD.encode(format!("{user}:{}", password.expose()));
    sensitive(&format!("Basic {text}"))
}

/// A header value that never shows in `Debug`. Characters that no header may carry become `?`.
pub(crate) fn sensitive(text: &str) -> HeaderValue {
    let mut value = HeaderValue::from_str(text).unwrap_or_else(|_| {
        let ascii: String = text
            .chars()
            .map(|c| {
                if c.is_ascii_graphic() || c == ' ' {
                    c
                } else {
                    '?'
                }
            })
            .collect();
        HeaderValue::from_str(&ascii).expect("visible ASCII is a valid header value")
    });
    value.set_sensitive(true);
    value
}

/// Fetches a document, following redirects. Returns the answer and where it came from.
pub(crate) async fn fetch(
    client: &Client,
    url: &Url,
    timeout: Duration,
) -> Result<(Exchange, Url), FetchError> {
    let mut at = url.clone();
    for _ in 0..=REDIRECTS {
        let exchange = client
            .send(get_json(&at), timeout)
            .await
            .map_err(|source| FetchError::Transport {
                url: redact::url(&at),
                source,
            })?;
        if !exchange.status.is_redirection() || exchange.status == StatusCode::NOT_MODIFIED {
            return Ok((exchange, at));
        }
        let next =
            location(&exchange, &at).filter(|next| matches!(next.scheme(), "http" | "https"));
        at = next.ok_or_else(|| FetchError::Location {
            url: redact::url(&at),
            status: exchange.status,
        })?;
    }
    Err(FetchError::Redirects {
        url: redact::url(url),
    })
}

/// The `Location` of a redirect, resolved against where it came from.
pub(crate) fn location(exchange: &Exchange, at: &Url) -> Option<Url> {
    let text = std::str::from_utf8(exchange.headers.get(header::LOCATION)?.as_bytes()).ok()?;
    at.join(text).ok()
}

/// What an error answer says, on one line and without secrets: the fields that error bodies of OAuth, OCS and others have, else
/// the visible text of a page.
pub(crate) fn said(exchange: &Exchange, secrets: &[&Secret]) -> String {
    let body = String::from_utf8_lossy(&exchange.body);
    if let Ok(value) = serde_json::from_slice::<serde_json::Value>(&exchange.body) {
        let pick = |pointers: &[&str]| {
            let texts: Vec<&str> = pointers
                .iter()
                .filter_map(|p| value.pointer(p)?.as_str())
                .filter(|t| !t.is_empty())
                .collect();
            (!texts.is_empty()).then(|| texts.join(": "))
        };
        let text = pick(&["/error", "/error_description"])
            .or_else(|| pick(&["/ocs/meta/message"]))
            .or_else(|| pick(&["/message"]))
            .or_else(|| pick(&["/error/message"]))
            .or_else(|| pick(&["/detail"]))
            .or_else(|| pick(&["/errorMessage"]))
            .unwrap_or_else(|| body.into_owned());
        return redact::text(&text, secrets);
    }
    if body.contains('<') {
        let nowhere = Url::parse("http://page.invalid/").expect("a constant");
        let document = crate::pages::Document::parse(&nowhere, &body);
        return redact::text(&document.says(), secrets);
    }
    redact::text(&body, secrets)
}

/// Reads an optional absolute URL of a metadata document.
pub(crate) fn optional_url<'de, D: serde::Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Url>, D::Error> {
    let text: Option<String> = serde::Deserialize::deserialize(deserializer)?;
    let parse = |text: String| {
        Url::parse(&text)
            .map_err(|error| serde::de::Error::custom(format!("{text:?} is no URL: {error}")))
    };
    text.map(parse).transpose()
}

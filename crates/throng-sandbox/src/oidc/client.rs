//! Clients: finding and authenticating them, and metadata documents as client ids.

use std::time::Duration;

use axum::body::Body;
use http::{HeaderMap, Uri, header};
use http_body_util::{BodyExt as _, Limited};
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use tokio::net::TcpStream;

use super::assertion::{self, KeySet};
use super::error::OAuthError;
use crate::auth::basic;
use crate::secret::{Secret, digest};
use crate::state::AppState;
use crate::store::unix_now;

/// The largest metadata document that is read; the draft recommends 5 KB.
const DOCUMENT_LIMIT: usize = 5 * 1024;
/// How long fetching a metadata document may take.
const DOCUMENT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a metadata document is believed, in seconds.
const DOCUMENT_LIFETIME_S: i64 = 3600;

/// A client as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Client {
    pub(crate) id: String,
    /// The secret's digest; public clients have none.
    pub(crate) secret: Option<[u8; 32]>,
    pub(crate) name: String,
    pub(crate) redirect_uris: Vec<String>,
    /// The scopes it may ask for; empty for any.
    pub(crate) scope: String,
    /// Whether its access tokens are JWTs even without a resource.
    pub(crate) jwt: bool,
    /// The resource that it protects itself, whose tokens it may introspect.
    pub(crate) resource_url: String,
    /// The digest of what authorizes reading and deleting the registration (RFC 7592).
    pub(crate) registration_token: Option<[u8; 32]>,
    /// Seconds since 1970.
    pub(crate) issued_at: i64,
    /// Seconds since 1970; 0 for never.
    pub(crate) expires_at: i64,
}

impl Client {
    /// Whether a redirect URI is one of the client's. The port of a loopback address may be any
    /// (RFC 8252 section 7.3), everything else must be equal.
    pub(crate) fn may_redirect_to(&self, uri: &str) -> bool {
        self.redirect_uris.iter().any(|known| {
            known == uri
                || without_loopback_port(known)
                    .is_some_and(|known| without_loopback_port(uri).is_some_and(|uri| uri == known))
        })
    }

    /// The asked scopes that the client may have, in the order asked.
    pub(crate) fn allowed_scope(&self, asked: &str) -> String {
        let allowed: Vec<&str> = self.scope.split_whitespace().collect();
        let scopes: Vec<&str> = asked
            .split_whitespace()
            .filter(|scope| allowed.is_empty() || allowed.contains(scope))
            .collect();
        scopes.join(" ")
    }
}

/// The parts of an `http` URL on a loopback host but for its port.
fn without_loopback_port(uri: &str) -> Option<(String, String, Option<String>)> {
    let parsed = url::Url::parse(uri).ok()?;
    let host = parsed.host_str()?;
    let loopback = ["127.0.0.1", "[::1]", "localhost"].contains(&host);
    (parsed.scheme() == "http" && loopback && parsed.fragment().is_none()).then(|| {
        (
            host.to_owned(),
            parsed.path().to_owned(),
            parsed.query().map(str::to_owned),
        )
    })
}

/// The client of this id, if it has not expired. A URL as an id is fetched as a metadata document
/// unless it is known already.
pub(super) async fn find(state: &AppState, id: &str) -> Result<Option<Client>, OAuthError> {
    let known = state
        .store
        .client(id)?
        .filter(|client| client.expires_at == 0 || client.expires_at > unix_now());
    if known.is_some() || !(id.starts_with("http://") || id.starts_with("https://")) {
        return Ok(known);
    }
    let fetched = tokio::time::timeout(DOCUMENT_TIMEOUT, fetch_document(id)).await;
    let document = match fetched {
        Ok(Ok(document)) => document,
        Ok(Err(error)) => {
            tracing::debug!(client_id = id, %error, "cannot use a client-id metadata document");
            return Ok(None);
        }
        Err(elapsed) => {
            tracing::debug!(client_id = id, %elapsed, "a client-id metadata document took too long");
            return Ok(None);
        }
    };
    let now = unix_now();
    let client = Client {
        id: id.to_owned(),
        secret: None,
        name: document.client_name.unwrap_or_else(|| id.to_owned()),
        redirect_uris: document.redirect_uris,
        scope: String::new(),
        jwt: false,
        resource_url: String::new(),
        registration_token: None,
        issued_at: now,
        expires_at: now + DOCUMENT_LIFETIME_S,
    };
    state.store.put_client(&client)?;
    Ok(Some(client))
}

/// What is read of a client-id metadata document (draft-ietf-oauth-client-id-metadata-document).
#[derive(Deserialize)]
struct MetadataDocument {
    client_id: String,
    client_name: Option<String>,
    redirect_uris: Vec<String>,
    client_secret: Option<serde::de::IgnoredAny>,
    token_endpoint_auth_method: Option<String>,
}

#[derive(Debug, thiserror::Error)]
enum DocumentError {
    #[error("the sandbox fetches metadata documents from loopback addresses over http only")]
    NotLoopback,
    #[error("cannot fetch the metadata document")]
    Connect(#[from] std::io::Error),
    #[error("cannot fetch the metadata document")]
    Http(#[from] hyper::Error),
    #[error("cannot read the metadata document: {0}")]
    Body(Box<dyn std::error::Error + Send + Sync>),
    #[error("the metadata document was answered with status {0}")]
    Status(u16),
    #[error("the metadata document is not valid: {0}")]
    Json(#[from] serde_json::Error),
    #[error("the metadata document is not valid: {0}")]
    Invalid(&'static str),
}

/// Fetches a document from a loopback server: the sandbox has no business in other networks.
async fn fetch_document(id: &str) -> Result<MetadataDocument, DocumentError> {
    let url = url::Url::parse(id).map_err(|_| DocumentError::Invalid("the id is no URL"))?;
    let address = match url.host() {
        Some(url::Host::Ipv4(address)) if address.is_loopback() => address.to_string(),
        Some(url::Host::Ipv6(address)) if address.is_loopback() => address.to_string(),
        Some(url::Host::Domain("localhost")) => "localhost".to_owned(),
        _ => return Err(DocumentError::NotLoopback),
    };
    if url.scheme() != "http" || url.path() == "/" || url.fragment().is_some() {
        return Err(DocumentError::NotLoopback);
    }
    let stream = TcpStream::connect((address, url.port_or_known_default().unwrap_or(80))).await?;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let request = async move {
        let path = &url[url::Position::BeforePath..url::Position::AfterQuery];
        let request = http::Request::get(path.parse::<Uri>().unwrap_or_default())
            .header(header::HOST, url.authority())
            .header(header::ACCEPT, "application/json")
            .body(Body::empty())
            .map_err(|_| DocumentError::Invalid("the id is no URL"))?;
        let response = sender.send_request(request).await?;
        if response.status() != http::StatusCode::OK {
            return Err(DocumentError::Status(response.status().as_u16()));
        }
        let body = Limited::new(response.into_body(), DOCUMENT_LIMIT)
            .collect()
            .await;
        Ok(body.map_err(DocumentError::Body)?.to_bytes())
    };
    // The connection is driven here, beside the request, so that nothing outlives this function.
    let (bytes, _) = tokio::join!(request, connection);
    let document: MetadataDocument = serde_json::from_slice(&bytes?)?;
    if document.client_id != id {
        return Err(DocumentError::Invalid("its client_id is not its URL"));
    }
    if document.redirect_uris.is_empty() {
        return Err(DocumentError::Invalid("it has no redirect_uris"));
    }
    if document.client_secret.is_some()
        || document
            .token_endpoint_auth_method
            .as_ref()
            .is_some_and(|method| method != "none")
    {
        return Err(DocumentError::Invalid("only public clients are supported"));
    }
    Ok(document)
}

/// The client credentials that a form may carry.
#[derive(Clone, Debug, Default, Deserialize)]
pub(super) struct FormCredentials {
    pub(super) client_id: Option<String>,
    pub(super) client_secret: Option<Secret>,
    pub(super) client_assertion_type: Option<String>,
    pub(super) client_assertion: Option<Secret>,
}

/// Authenticates the client of a token, introspection or revocation request, by HTTP Basic or by the
/// form (RFC 6749 section 2.3). Public clients only name themselves.
pub(super) async fn authenticate(
    state: &AppState,
    headers: &HeaderMap,
    form: &FormCredentials,
) -> Result<Client, OAuthError> {
    if let Some(assertion) = &form.client_assertion {
        return authenticate_by_key(state, form, assertion).await;
    }
    let from_header = basic(headers).map(|(id, secret)| {
        (
            form_decoded(&id),
            Secret::new(form_decoded(secret.expose())),
        )
    });
    let used_basic = from_header.is_some();
    let invalid = OAuthError::InvalidClient(used_basic);
    let (id, secret) = match (from_header, &form.client_id) {
        (Some((id, _)), Some(other)) if id != *other => return Err(invalid),
        (Some((id, secret)), _) => (id, Some(secret)),
        (None, Some(id)) => (id.clone(), form.client_secret.clone()),
        (None, None) => return Err(invalid),
    };
    let Some(client) = find(state, &id).await? else {
        return Err(invalid);
    };
    let given = secret
        .as_ref()
        .map(Secret::expose)
        .filter(|secret| !secret.is_empty())
        .map(digest);
    // Who has registered a key is no public client.
    let is_right = client.secret == given
        && (given.is_some() || state.store.client_keys(&client.id)?.is_none());
    if is_right { Ok(client) } else { Err(invalid) }
}

/// `private_key_jwt` (RFC 7523 section 2.2).
async fn authenticate_by_key(
    state: &AppState,
    form: &FormCredentials,
    assertion: &Secret,
) -> Result<Client, OAuthError> {
    let invalid = || OAuthError::InvalidClient(false);
    if form.client_assertion_type.as_deref() != Some(assertion::ASSERTION_TYPE) {
        return Err(invalid());
    }
    let id = assertion::claimed_client(assertion.expose()).ok_or_else(invalid)?;
    if form.client_id.as_ref().is_some_and(|other| *other != id) {
        return Err(invalid());
    }
    let client = find(state, &id).await?.ok_or_else(invalid)?;
    let keys = state.store.client_keys(&id)?.ok_or_else(invalid)?;
    let keys: KeySet = serde_json::from_str(&keys).map_err(|_| invalid())?;
    if assertion::is_good(state, &id, &keys, assertion.expose()) {
        Ok(client)
    } else {
        Err(invalid())
    }
}

/// Ids and secrets in a Basic header are form-encoded (RFC 6749 section 2.3.1).
fn form_decoded(text: &str) -> String {
    let encoded = format!("v={text}");
    url::form_urlencoded::parse(encoded.as_bytes())
        .next()
        .map_or_else(String::new, |(_, value)| value.into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(redirect_uris: &[&str], scope: &str) -> Client {
        Client {
            id: "c".to_owned(),
            secret: None,
            name: String::new(),
            redirect_uris: redirect_uris.iter().map(|&uri| uri.to_owned()).collect(),
            scope: scope.to_owned(),
            jwt: false,
            resource_url: String::new(),
            registration_token: None,
            issued_at: 0,
            expires_at: 0,
        }
    }

    #[test]
    fn redirect_uris_are_compared_exactly_but_for_loopback_ports() {
        let client = client(&["https://app.example/cb", "http://127.0.0.1:1/cb?x=1"], "");
        for (uri, expected) in [
            ("https://app.example/cb", true),
            ("https://app.example:444/cb", false),
            ("https://app.example/cb/", false),
            ("http://127.0.0.1:54321/cb?x=1", true),
            ("http://127.0.0.1:54321/cb", false),
            ("http://127.0.0.2:1/cb?x=1", false),
            ("http://localhost:1/cb?x=1", false),
            ("https://127.0.0.1:1/cb?x=1", false),
        ] {
            assert_eq!(client.may_redirect_to(uri), expected, "{uri}");
        }
    }

    #[test]
    fn a_client_without_scopes_may_have_any() {
        assert_eq!(client(&[], "").allowed_scope("openid  x"), "openid x");
        assert_eq!(client(&[], "openid y").allowed_scope("x openid"), "openid");
    }
}

//! The OAuth client under which all users of a run log in: known beforehand, named by a document, or registered once.
//!
//! Registering (RFC 7591) is rate-limited by providers and capped in number, so a run registers one client and takes it back
//! at its end (RFC 7592) where the provider allows. The ledger entry is the caller's part: written before [`register`].

use std::sync::Arc;
use std::time::Duration;

use http::{Method, StatusCode, header};
use serde::Deserialize;
use throng_client::{Client, Exchange, TransportError};
use url::Url;

use crate::assertion::AssertionKey;
use crate::discovery::Authorization;
use crate::redact;
use crate::retry::{self, RetryPolicy};
use crate::secret::Secret;
use crate::wire;

/// Where the run's OAuth client comes from.
#[derive(Debug, Clone)]
pub enum ClientSource {
    /// Known to the provider already.
    PreRegistered {
        /// Its id.
        id: String,
        /// How it proves who it is.
        proof: Proof,
    },
    /// Named by the https URL of its metadata document; falls back to registration where the provider doesn't accept that.
    MetadataDocument(Url),
    /// Registered for this run.
    Dynamic,
}

/// How a client that is registered already proves who it is.
#[derive(Debug, Clone)]
pub enum Proof {
    /// Not at all: it is a public client.
    Public,
    /// By a secret, sent in the way that is named, else in one that the provider supports.
    Secret(Secret, Option<TokenAuth>),
    /// By assertions signed with a key of its own (RFC 7523).
    Key(Arc<AssertionKey>),
}

impl Proof {
    /// A secret, or none for a public client.
    pub fn of(secret: Option<Secret>) -> Self {
        secret.map_or(Self::Public, |secret| Self::Secret(secret, None))
    }
}

/// How a client authenticates at the token endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenAuth {
    /// `client_secret_basic`
    Basic,
    /// `client_secret_post`
    Post,
    /// `none`: a public client names itself in the form.
    Public,
    /// `private_key_jwt`: an assertion signed with [`OAuthClient::key`] (RFC 7523 section 2.2).
    PrivateKeyJwt,
}

/// The OAuth client of a run.
#[derive(Debug, Clone)]
pub struct OAuthClient {
    /// `client_id`
    pub id: String,
    /// `client_secret`, if it has one.
    pub secret: Option<Secret>,
    /// How it authenticates.
    pub auth: TokenAuth,
    /// What it signs assertions with, for [`TokenAuth::PrivateKeyJwt`].
    pub key: Option<Arc<AssertionKey>>,
    /// How to take the registration back; only in memory, never in the ledger.
    pub registration: Option<Registration>,
}

/// A dynamic registration that can be managed (RFC 7592).
#[derive(Debug, Clone)]
pub struct Registration {
    /// Where it is managed.
    pub uri: Option<Url>,
    /// With which token.
    pub token: Option<Secret>,
    /// Seconds since 1970 after which the provider forgets it; none if it doesn't or doesn't say.
    pub expires_at: Option<u64>,
}

/// What is told to a provider at registration.
#[derive(Debug, Clone)]
pub struct RegistrationRequest {
    /// Shown on consent pages; the ledger's entry has it too.
    pub client_name: String,
    /// Where codes are sent.
    pub redirect_uri: Url,
    /// Scopes that will be asked for.
    pub scopes: Vec<String>,
}

/// Why there is no OAuth client.
#[derive(Debug, thiserror::Error)]
pub enum RegistrationError {
    /// The provider offers none of the ways.
    #[error(
        "{issuer} offers no dynamic registration (no registration_endpoint); give a client with --client-id and --client-secret"
    )]
    NotOffered {
        /// The authorization server.
        issuer: String,
    },
    /// No complete response.
    #[error("POST {url}: {source}")]
    Transport {
        /// The registration endpoint.
        url: String,
        /// What went wrong.
        source: TransportError,
    },
    /// Too many registrations, and the budget for waiting is spent.
    #[error(
        "POST {url}: 429, too many registrations; gave up after {attempts} attempts (give a client with --client-id)"
    )]
    Throttled {
        /// The registration endpoint.
        url: String,
        /// Attempts made.
        attempts: u32,
    },
    /// Refused.
    #[error("POST {url}: {status}, expected 201; the server said: {said}")]
    Refused {
        /// The registration endpoint.
        url: String,
        /// The status.
        status: StatusCode,
        /// What the body says.
        said: String,
    },
    /// The answer is no registration.
    #[error("POST {url}: not a registration: {problem}")]
    Invalid {
        /// The registration endpoint.
        url: String,
        /// What is wrong.
        problem: String,
    },
}

impl RegistrationError {
    /// The provider's answer rules out that a client exists because of us; the ledger's entry can go.
    pub fn nothing_was_created(&self) -> bool {
        match self {
            Self::NotOffered { .. } | Self::Throttled { .. } => true,
            Self::Refused { status, .. } => status.is_client_error(),
            Self::Transport { .. } | Self::Invalid { .. } => false,
        }
    }
}

/// RFC 7591 section 3.2.1 and RFC 7592 section 3.
#[derive(Deserialize)]
struct Registered {
    client_id: String,
    client_secret: Option<Secret>,
    client_secret_expires_at: Option<u64>,
    token_endpoint_auth_method: Option<String>,
    #[serde(default, deserialize_with = "wire::optional_url")]
    registration_client_uri: Option<Url>,
    registration_access_token: Option<Secret>,
}

/// The client that needs no registration, if the source and the provider allow that.
pub fn known(source: &ClientSource, authorization: &Authorization) -> Option<OAuthClient> {
    match source {
        ClientSource::PreRegistered { id, proof } => Some(proven(id, proof, authorization)),
        ClientSource::MetadataDocument(url) if authorization.accepts_metadata_documents => {
            Some(OAuthClient {
                id: url.to_string(),
                secret: None,
                auth: TokenAuth::Public,
                key: None,
                registration: None,
            })
        }
        ClientSource::MetadataDocument(_) | ClientSource::Dynamic => None,
    }
}

/// A client that is registered already, as it authenticates at this provider.
pub fn proven(id: &str, proof: &Proof, authorization: &Authorization) -> OAuthClient {
    let (secret, auth, key) = match proof {
        Proof::Public => (None, TokenAuth::Public, None),
        Proof::Secret(secret, way) => {
            let offered = || choose_auth(None, true, &authorization.token_auth_methods);
            (Some(secret.clone()), way.unwrap_or_else(offered), None)
        }
        Proof::Key(key) => (None, TokenAuth::PrivateKeyJwt, Some(key.clone())),
    };
    OAuthClient {
        id: id.to_owned(),
        secret,
        auth,
        key,
        registration: None,
    }
}

/// Registers one client. 429 is waited out within the policy, with the server's `Retry-After` or else a backoff.
pub async fn register(
    client: &Client,
    authorization: &Authorization,
    request: &RegistrationRequest,
    policy: &RetryPolicy,
    timeout: Duration,
) -> Result<OAuthClient, RegistrationError> {
    let Some(endpoint) = &authorization.registration_endpoint else {
        return Err(RegistrationError::NotOffered {
            issuer: authorization.issuer.clone(),
        });
    };
    let url = redact::url(endpoint);
    let mut body = body(authorization, request);
    let mut exchange = post(client, endpoint, &body, policy, timeout).await?;
    if refuses_scopes(&exchange) && body["scope"].is_string() {
        // Scopes that belong to the resource are none of a provider's that checks them against its own. Without any, it takes
        // those that it has for such clients (RFC 7591 section 2), and what the authorization request asks for counts.
        tracing::info!(%url, "the provider knows not all scopes, registering without them");
        body.as_object_mut().map(|body| body.remove("scope"));
        exchange = post(client, endpoint, &body, policy, timeout).await?;
    }
    // RFC 7591 says 201; some servers say 200.
    if !matches!(exchange.status, StatusCode::CREATED | StatusCode::OK) {
        return Err(RegistrationError::Refused {
            url,
            status: exchange.status,
            said: wire::said(&exchange, &[]),
        });
    }
    let registered: Registered =
        serde_json::from_slice(&exchange.body).map_err(|error| RegistrationError::Invalid {
            url,
            problem: error.to_string(),
        })?;
    let auth = choose_auth(
        registered.token_endpoint_auth_method.as_deref(),
        registered.client_secret.is_some(),
        &authorization.token_auth_methods,
    );
    Ok(OAuthClient {
        id: registered.client_id,
        secret: registered.client_secret,
        auth,
        key: None,
        registration: Some(Registration {
            uri: registered.registration_client_uri,
            token: registered.registration_access_token,
            // 0 means never (RFC 7591 section 3.2.1).
            expires_at: registered.client_secret_expires_at.filter(|at| *at > 0),
        }),
    })
}

/// One registration request and its answer, whatever that is, but for 429 and 503, which are waited out.
async fn post(
    client: &Client,
    endpoint: &Url,
    body: &serde_json::Value,
    policy: &RetryPolicy,
    timeout: Duration,
) -> Result<Exchange, RegistrationError> {
    let (url, body) = (redact::url(endpoint), body.to_string());
    let mut attempts = policy.start();
    loop {
        let builder = wire::request(Method::POST, endpoint)
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::ACCEPT, "application/json");
        // A registration may have been made although its answer was lost: not repeated, it would be a second one.
        let exchange = client
            .send(wire::finish(builder, body.clone()), timeout)
            .await
            .map_err(|source| RegistrationError::Transport {
                url: url.clone(),
                source,
            })?;
        let throttled = exchange.status == StatusCode::TOO_MANY_REQUESTS;
        if !throttled && exchange.status != StatusCode::SERVICE_UNAVAILABLE {
            return Ok(exchange);
        }
        match attempts.next_wait(retry::retry_after(&exchange.headers)) {
            Some(wait) => {
                tracing::info!(%url, wait = ?wait, "registration is throttled, waiting");
                tokio::time::sleep(wait).await;
            }
            None if throttled => {
                return Err(RegistrationError::Throttled {
                    url,
                    attempts: attempts.made(),
                });
            }
            None => return Ok(exchange),
        }
    }
}

/// Whether a registration may have been refused for its scopes (RFC 7591 section 3.2.2 has no error of its own for that).
fn refuses_scopes(exchange: &Exchange) -> bool {
    #[derive(Deserialize)]
    struct Refusal {
        error: String,
    }
    exchange.status == StatusCode::BAD_REQUEST
        && serde_json::from_slice::<Refusal>(&exchange.body).is_ok_and(|refusal| {
            matches!(&*refusal.error, "invalid_client_metadata" | "invalid_scope")
        })
}

fn body(authorization: &Authorization, request: &RegistrationRequest) -> serde_json::Value {
    let methods = &authorization.token_auth_methods;
    let method = ["none", "client_secret_post", "client_secret_basic"]
        .into_iter()
        .find(|method| methods.iter().any(|m| m == method))
        .unwrap_or("client_secret_basic");
    let mut body = serde_json::json!({
        "client_name": request.client_name,
        "redirect_uris": [request.redirect_uri.as_str()],
        "grant_types": ["authorization_code", "refresh_token"],
        "response_types": ["code"],
        "token_endpoint_auth_method": method,
        // A redirect to the loopback address without a server behind it is what a native application has.
        "application_type": "native",
        // Nextcloud's provider: access tokens that the resource can check by itself, and whom they are for.
        "token_type": "jwt",
    });
    if let Some(resource) = &authorization.resource {
        body["resource_url"] = resource.as_str().into();
    }
    if !request.scopes.is_empty() {
        body["scope"] = request.scopes.join(" ").into();
    }
    body
}

fn choose_auth(told: Option<&str>, has_secret: bool, supported: &[String]) -> TokenAuth {
    if !has_secret {
        return TokenAuth::Public;
    }
    match told {
        Some("client_secret_post") => TokenAuth::Post,
        Some("client_secret_basic") => TokenAuth::Basic,
        Some("none") => TokenAuth::Public,
        // RFC 8414: omitted means client_secret_basic.
        _ if supported.is_empty() || supported.iter().any(|m| m == "client_secret_basic") => {
            TokenAuth::Basic
        }
        _ if supported.iter().any(|m| m == "client_secret_post") => TokenAuth::Post,
        // A secret that nothing can be done with.
        _ if supported.iter().all(|m| m == "none") => TokenAuth::Public,
        _ => TokenAuth::Basic,
    }
}

/// What became of a registration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unregistered {
    /// Deleted, or gone already.
    Deleted,
    /// Still there, and there is no way to delete it: the provider offers none. It may expire by itself.
    NotPossible {
        /// Why, for the report.
        why: String,
    },
    /// Still there, although it could have been deleted.
    Left {
        /// Why, for the report.
        why: String,
    },
}

/// Takes a registration back (RFC 7592 section 2.3). Repeated within the policy while the server is unreachable or says 429 or 5xx.
pub async fn unregister(
    client: &Client,
    registration: &Registration,
    policy: &RetryPolicy,
    timeout: Duration,
) -> Unregistered {
    let (Some(uri), Some(token)) = (&registration.uri, &registration.token) else {
        let until = registration.expires_at.map_or(String::new(), |at| {
            format!("; it expires at {at} (seconds since 1970)")
        });
        return Unregistered::NotPossible {
            why: format!("the provider offers no deletion of registrations{until}"),
        };
    };
    let mut attempts = policy.start();
    loop {
        let builder = wire::request(Method::DELETE, uri).header(
            header::AUTHORIZATION,
            wire::sensitive(&format!("Bearer {}", token.expose())),
        );
        let url = redact::url(uri);
        let (why, asked) = match client.send(wire::finish(builder, ""), timeout).await {
            Ok(exchange) => match exchange.status {
                status if status.is_success() => return Unregistered::Deleted,
                // 401 is what RFC 7592 wants for a client that is gone, together with its token.
                StatusCode::NOT_FOUND | StatusCode::UNAUTHORIZED | StatusCode::GONE => {
                    return Unregistered::Deleted;
                }
                status if status == StatusCode::TOO_MANY_REQUESTS || status.is_server_error() => (
                    format!("DELETE {url}: {status}"),
                    retry::retry_after(&exchange.headers),
                ),
                status => {
                    let why = format!(
                        "DELETE {url}: {status}, {}",
                        wire::said(&exchange, &[token])
                    );
                    return Unregistered::Left { why };
                }
            },
            Err(error) => (format!("DELETE {url}: {error}"), None),
        };
        match attempts.next_wait(asked) {
            Some(wait) => tokio::time::sleep(wait).await,
            None => return Unregistered::Left { why },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn authentication_follows_what_the_provider_says() {
        let supported = |list: &[&str]| list.iter().map(|m| (*m).to_owned()).collect::<Vec<_>>();
        for (told, secret, methods, want) in [
            (None, false, vec![], TokenAuth::Public),
            (Some("client_secret_post"), true, vec![], TokenAuth::Post),
            (Some("none"), true, vec![], TokenAuth::Public),
            (None, true, vec![], TokenAuth::Basic),
            (None, true, vec!["client_secret_post"], TokenAuth::Post),
            (None, true, vec!["none"], TokenAuth::Public),
            (
                None,
                true,
                vec!["client_secret_post", "client_secret_basic"],
                TokenAuth::Basic,
            ),
        ] {
            assert_eq!(
                choose_auth(told, secret, &supported(&methods)),
                want,
                "{told:?} {secret} {methods:?}"
            );
        }
    }
}

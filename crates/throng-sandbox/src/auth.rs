//! Who asks: Basic authentication with a login password or an app password, as Nextcloud's APIs take it.
//!
//! Browser sessions are not for APIs and live in [`crate::nextcloud`]; OAuth access tokens are for the
//! MCP server and live in [`crate::oidc`].

use axum::extract::FromRequestParts;
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::request::Parts;
use http::{HeaderMap, StatusCode, header};
use serde_json::json;

use crate::connection::Peer;
use crate::journal::Note;
use crate::ocs::Ocs;
use crate::secret::Secret;
use crate::state::AppState;
use crate::store::{Account, StoreError};

/// By what a request was authenticated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Proof {
    /// The login password.
    Password,
    /// This app password.
    AppPassword(Secret),
}

/// The authenticated user of an API request. As an extractor it answers 401 by itself, in the manner
/// of the API asked (OCS envelope, Sabre XML, JSON), and tells the journal who the user is.
#[derive(Clone, Debug)]
pub(crate) struct Authenticated {
    pub(crate) account: Account,
    pub(crate) proof: Proof,
}

/// Like [`Authenticated`], but of an administrator: anyone else gets 403.
#[derive(Clone, Debug)]
pub(crate) struct Administrator(pub(crate) Account);

impl FromRequestParts<AppState> for Authenticated {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, Response> {
        let Some(credentials) = Credentials::read(&parts.headers) else {
            return Err(unauthorized(parts));
        };
        let peer = parts.extensions.get::<Peer>().copied();
        if let Some(peer) = peer {
            state
                .login
                .throttle
                .wait(peer.0, state.config.throttle)
                .await;
        }
        match credentials.check(state) {
            Ok(Some(authenticated)) => {
                if let Some(note) = parts.extensions.get::<Note>() {
                    note.user(&authenticated.account.id);
                }
                if let Some(peer) = peer {
                    state
                        .login
                        .throttle
                        .succeeded(peer.0, &authenticated.account.id);
                }
                Ok(authenticated)
            }
            Ok(None) => {
                if let Some(peer) = peer {
                    state.login.throttle.failed(peer.0, &credentials.user);
                }
                Err(unauthorized(parts))
            }
            Err(error) => Err(error.into_response()),
        }
    }
}

impl FromRequestParts<AppState> for Administrator {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, Response> {
        let Authenticated { account, .. } = Authenticated::from_request_parts(parts, state).await?;
        if account.admin {
            return Ok(Self(account));
        }
        Err(match Ocs::of(parts) {
            Some(ocs) => ocs.error(
                StatusCode::FORBIDDEN,
                403,
                "Logged in account must be an admin or sub admin",
            ),
            None => StatusCode::FORBIDDEN.into_response(),
        })
    }
}

/// A user id and a password of either kind.
struct Credentials {
    user: String,
    password: Secret,
}

impl Credentials {
    /// Reads `Authorization: Basic` (RFC 7617).
    fn read(headers: &HeaderMap) -> Option<Self> {
        let (user, password) = basic(headers)?;
        Some(Self { user, password })
    }

    fn check(&self, state: &AppState) -> Result<Option<Authenticated>, StoreError> {
        let password = self.password.expose();
        // App passwords are what API clients mostly use, and the cheaper look-up.
        if let Some(account) = state.store.check_app_password(&self.user, password)? {
            let proof = Proof::AppPassword(self.password.clone());
            return Ok(Some(Authenticated { account, proof }));
        }
        let account = state.store.check_password(&self.user, password)?;
        Ok(account.map(|account| Authenticated {
            account,
            proof: Proof::Password,
        }))
    }
}

/// The user and password of an `Authorization: Basic` header.
pub(crate) fn basic(headers: &HeaderMap) -> Option<(String, Secret)> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, encoded) = value.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let decoded = String::from_utf8(STANDARD.decode(encoded.trim()).ok()?).ok()?;
    let (user, password) = decoded.split_once(':')?;
    Some((user.to_owned(), Secret::new(password)))
}

/// The token of an `Authorization: Bearer` header (RFC 6750).
pub(crate) fn bearer(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

/// The 401 of the API that was asked.
fn unauthorized(parts: &Parts) -> Response {
    let path = parts.uri.path();
    if let Some(ocs) = Ocs::of(parts) {
        let mut response = ocs.error(
            StatusCode::UNAUTHORIZED,
            997,
            "Current user is not logged in",
        );
        response.headers_mut().insert(
            header::WWW_AUTHENTICATE,
            http::HeaderValue::from_static("Basic realm=\"Authorisation Required\""),
        );
        return response;
    }
    if path.starts_with("/remote.php/") {
        let body = "<?xml version=\"1.0\" encoding=\"utf-8\"?>\n\
            <d:error xmlns:d=\"DAV:\" xmlns:s=\"http://sabredav.org/ns\">\n  \
            <s:exception>Sabre\\DAV\\Exception\\NotAuthenticated</s:exception>\n  \
            <s:message>No public access to this resource., Username or password was incorrect</s:message>\n\
            </d:error>\n";
        let headers = [
            (header::CONTENT_TYPE, "application/xml; charset=utf-8"),
            (
                header::WWW_AUTHENTICATE,
                "Basic realm=\"Nextcloud\", charset=\"UTF-8\"",
            ),
        ];
        return (StatusCode::UNAUTHORIZED, headers, body).into_response();
    }
    let headers = [(header::WWW_AUTHENTICATE, "Basic realm=\"Nextcloud\"")];
    let body = axum::Json(json!({ "message": "Current user is not logged in" }));
    (StatusCode::UNAUTHORIZED, headers, body).into_response()
}

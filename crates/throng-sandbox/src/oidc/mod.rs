//! The OpenID Connect provider: Nextcloud's app `oidc`, under `/apps/oidc/`.
//!
//! It authenticates nobody itself: the login form and browser sessions are Nextcloud's
//! ([`crate::nextcloud`]). The MCP server asks [`verify_access_token`] and knows nothing else of it.

mod assertion;
mod authorize;
mod client;
mod consent;
mod discovery;
mod error;
mod introspect;
mod issue;
mod keys;
mod machine;
mod registration;
mod store;
mod token;

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use axum::Router;

use crate::issuer::IssuerError;
use crate::secret::digest;
use crate::state::AppState;
use crate::store::{StoreError, unix_now};

pub(crate) use authorize::AuthorizationRequest;
pub(crate) use consent::FreshConsent;
pub use keys::KeyError;
pub(crate) use store::SCHEMA;

/// The provider's state beside the database.
pub(crate) struct Provider {
    pub(crate) key: keys::SigningKey,
    codes: Mutex<HashMap<[u8; 32], issue::Code>>,
    /// Revoked access tokens that are taken until then, by their digests.
    lingering: Mutex<HashMap<[u8; 32], Instant>>,
    registrations: registration::Limiter,
}

impl Provider {
    /// Reads the signing key from the data directory, or makes one. Slow: a key takes about 0.2 s.
    pub(crate) fn new(data: Option<&Path>) -> Result<Self, KeyError> {
        Ok(Self {
            key: keys::SigningKey::load_or_generate(data)?,
            codes: Mutex::default(),
            lingering: Mutex::default(),
            registrations: registration::Limiter::default(),
        })
    }

    /// Lets a token that was revoked be taken for so long.
    fn linger(&self, token: [u8; 32], lag: Duration) {
        let mut lingering = self
            .lingering
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        if lingering.len() == lingering.capacity() {
            lingering.retain(|_, until| now < *until);
        }
        lingering.insert(token, now + lag);
    }

    fn lingers(&self, token: &str) -> bool {
        let lingering = self
            .lingering
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let until = lingering.get(&digest(token));
        until.is_some_and(|until| Instant::now() < *until)
    }

    /// The authorization codes given out, by their digests.
    fn codes(&self) -> MutexGuard<'_, HashMap<[u8; 32], issue::Code>> {
        self.codes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// All routes of the provider, written without `/index.php`.
pub(crate) fn router(state: AppState) -> Router {
    Router::new()
        .merge(discovery::router())
        .merge(registration::router())
        .merge(authorize::router())
        .merge(consent::router())
        .merge(token::router())
        .merge(introspect::router())
        .with_state(state)
}

/// Whom an access token speaks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Principal {
    /// The user's id.
    pub(crate) user: String,
    /// The client that the token was issued to.
    pub(crate) client_id: String,
    /// The scopes granted.
    pub(crate) scopes: Vec<String>,
    /// When the token ends, in seconds since 1970.
    pub(crate) expires_at: i64,
}

/// Why an access token is not accepted.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TokenError {
    /// Not one of ours, or its user or client is gone.
    #[error("the access token is unknown")]
    Unknown,
    /// Its time is over.
    #[error("the access token has expired")]
    Expired,
    /// It was revoked, or its grant was.
    #[error("the access token was revoked")]
    Revoked,
    /// It was issued for another resource.
    #[error("the access token is for another audience")]
    WrongAudience,
    /// It comes from another issuer.
    #[error("the access token is of another issuer")]
    WrongIssuer,
    /// It says nothing of the user.
    #[error("the access token names no user")]
    NoUser,
    /// The outside provider could not be asked.
    #[error("the access token cannot be checked: {0}")]
    Issuer(IssuerError),
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Checks an access token for a resource, which is the URL of the MCP endpoint; its origin alone is
/// accepted as an audience, too, as the real MCP server does.
///
/// The whole token is looked up by its digest, so a JWT's signature needs no checking here.
///
/// # Errors
///
/// See [`TokenError`].
pub(crate) fn verify_access_token(
    state: &AppState,
    token: &str,
    resource: &str,
) -> Result<Principal, TokenError> {
    let token = known_token(state, token, state.oidc.lingers(token))?;
    let origin = resource.strip_suffix("/mcp").unwrap_or(resource);
    let audience = token.audience.trim_end_matches('/');
    if audience != resource && audience != origin {
        return Err(TokenError::WrongAudience);
    }
    Ok(Principal {
        user: token.user,
        client_id: token.client_id,
        scopes: token.scope.split_whitespace().map(str::to_owned).collect(),
        expires_at: token.expires_at,
    })
}

/// An access token that is known, not revoked and not over, for whatever audience.
fn valid_token(state: &AppState, token: &str) -> Result<store::StoredToken, TokenError> {
    known_token(state, token, false)
}

/// The same for one who may not know yet that it was revoked.
fn known_token(
    state: &AppState,
    token: &str,
    even_revoked: bool,
) -> Result<store::StoredToken, TokenError> {
    let token = state
        .store
        .access_token(token)?
        .ok_or(TokenError::Unknown)?;
    if token.revoked && !even_revoked {
        return Err(TokenError::Revoked);
    }
    if token.expires_at <= unix_now() {
        return Err(TokenError::Expired);
    }
    Ok(token)
}

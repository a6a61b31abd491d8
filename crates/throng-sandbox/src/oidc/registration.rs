//! Dynamic client registration (RFC 7591) with its limits, and reading and deleting a registration
//! (RFC 7592).

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::extract::rejection::JsonRejection;
use axum::extract::{Extension, Path, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use http::{HeaderMap, StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};

use super::assertion::KeySet;
use super::client::{Client, FormCredentials, authenticate};
use super::error::OAuthError;
use crate::auth::bearer;
use crate::connection::Peer;
use crate::secret::{digest, random_alphanumeric};
use crate::state::AppState;
use crate::store::unix_now;

/// The registrations of each address within the last minute.
#[derive(Debug, Default)]
pub(super) struct Limiter(Mutex<HashMap<IpAddr, VecDeque<Instant>>>);

impl Limiter {
    /// Counts an attempt; false where the address has had `limit` within the last minute.
    fn admit(&self, address: IpAddr, limit: u32, now: Instant) -> bool {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let recent = all.entry(address).or_default();
        while recent
            .front()
            .is_some_and(|at| now.duration_since(*at) >= Duration::from_secs(60))
        {
            recent.pop_front();
        }
        if recent.len() >= limit as usize {
            return false;
        }
        recent.push_back(now);
        true
    }
}

pub(super) fn router() -> Router<AppState> {
    Router::new()
        .route("/apps/oidc/register", post(register))
        .route(
            "/apps/oidc/register/{client_id}",
            get(read).delete(unregister),
        )
}

/// What is read of a registration; other members are ignored, as RFC 7591 asks.
#[derive(Deserialize)]
struct Registration {
    client_name: Option<String>,
    #[serde(default)]
    redirect_uris: Vec<String>,
    scope: Option<String>,
    token_type: Option<String>,
    resource_url: Option<String>,
    token_endpoint_auth_method: Option<String>,
    jwks: Option<Value>,
}

async fn register(
    State(state): State<AppState>,
    Extension(peer): Extension<Peer>,
    registration: Result<Json<Registration>, JsonRejection>,
) -> Result<Response, OAuthError> {
    if !state.config.dynamic_registration {
        return Ok(StatusCode::NOT_FOUND.into_response());
    }
    if let Some(limit) = state.config.registrations_per_minute
        && !state
            .oidc
            .registrations
            .admit(peer.0, limit, Instant::now())
    {
        return Ok(StatusCode::TOO_MANY_REQUESTS.into_response());
    }
    let Ok(Json(registration)) = registration else {
        let text = "The registration is no JSON object with valid members.";
        return Err(OAuthError::Refused("invalid_client_metadata", text));
    };
    if registration.redirect_uris.is_empty() {
        let text = "Your redirect_uris are missing.";
        return Err(OAuthError::Refused("invalid_redirect_uri", text));
    }
    let usable = |uri: &String| {
        url::Url::parse(uri).is_ok_and(|uri| uri.fragment().is_none() && !uri.cannot_be_a_base())
    };
    if !registration.redirect_uris.iter().all(usable) {
        let text = "A redirect URI must be an absolute URL without a fragment.";
        return Err(OAuthError::Refused("invalid_redirect_uri", text));
    }
    let jwt = match registration
        .token_type
        .as_deref()
        .map(str::to_ascii_lowercase)
        .as_deref()
    {
        None | Some("opaque" | "bearer") => false,
        Some("jwt") => true,
        Some(_) => {
            let text = "The token_type is neither opaque nor jwt.";
            return Err(OAuthError::Refused("invalid_client_metadata", text));
        }
    };

    let method = registration
        .token_endpoint_auth_method
        .as_deref()
        .unwrap_or("client_secret_post");
    let secret = match method {
        "none" => None,
        "private_key_jwt" if is_key_set(registration.jwks.as_ref()) => None,
        "client_secret_post" | "client_secret_basic" => Some(random_alphanumeric(64)),
        _ => {
            let text = "The token_endpoint_auth_method is not supported.";
            return Err(OAuthError::Refused("invalid_client_metadata", text));
        }
    };
    let registration_token = random_alphanumeric(64);
    let now = unix_now();
    let lifetime = i64::try_from(state.config.client_lifetime_s).unwrap_or(i64::MAX / 2);
    let client = Client {
        id: random_alphanumeric(64),
        secret: secret.as_deref().map(digest),
        name: registration.client_name.unwrap_or_default(),
        redirect_uris: registration.redirect_uris,
        scope: registration.scope.unwrap_or_default(),
        jwt,
        resource_url: registration.resource_url.unwrap_or_default(),
        registration_token: Some(digest(&registration_token)),
        issued_at: now,
        expires_at: now.saturating_add(lifetime),
    };
    if !state
        .store
        .register_client(&client, state.config.client_limit)?
    {
        let text = "Maximum number of dynamic registered clients exceeded.";
        return Err(OAuthError::Refused("max_num_clients_exceeded", text));
    }
    if let Some(keys) = registration.jwks.filter(|_| method == "private_key_jwt") {
        state.store.put_client_keys(&client.id, &keys.to_string())?;
    }
    let mut body = describe(&state, &client);
    body["token_endpoint_auth_method"] = method.into();
    body["registration_access_token"] = registration_token.into();
    if let Some(secret) = secret {
        body["client_secret"] = secret.into();
    }
    Ok((StatusCode::CREATED, Json(body)).into_response())
}

/// Whether these are keys that a client could prove itself by.
fn is_key_set(keys: Option<&Value>) -> bool {
    keys.is_some_and(|keys| serde_json::from_value::<KeySet>(keys.clone()).is_ok())
}

/// A client's registration without its secrets.
fn describe(state: &AppState, client: &Client) -> Value {
    json!({
        "client_id": client.id,
        "client_name": client.name,
        "redirect_uris": client.redirect_uris,
        "token_endpoint_auth_method":
            if client.secret.is_some() { "client_secret_post" } else { "none" },
        "grant_types": ["authorization_code", "refresh_token"],
        "response_types": ["code"],
        "id_token_signed_response_alg": "RS256",
        "application_type": "web",
        "client_id_issued_at": client.issued_at,
        "client_secret_expires_at": client.expires_at,
        "scope": client.scope,
        "token_type": if client.jwt { "jwt" } else { "opaque" },
        "resource_url": client.resource_url,
        "registration_client_uri": format!("{}/apps/oidc/register/{}", state.url, client.id),
    })
}

/// The client whose registration a request may read or delete: by the registration access token, or
/// by the client's own id and secret.
async fn registered(state: &AppState, id: &str, headers: &HeaderMap) -> Result<Client, OAuthError> {
    if let Some(token) = bearer(headers) {
        let client = state.store.client(id)?;
        return client
            .filter(|client| client.registration_token == Some(digest(token)))
            .ok_or(OAuthError::InvalidToken);
    }
    let client = authenticate(state, headers, &FormCredentials::default()).await?;
    if client.id == id && client.registration_token.is_some() {
        Ok(client)
    } else {
        Err(OAuthError::InvalidClient(true))
    }
}

async fn read(
    State(state): State<AppState>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Response, OAuthError> {
    let client = registered(&state, &id, &headers).await?;
    Ok(Json(describe(&state, &client)).into_response())
}

async fn unregister(
    State(state): State<AppState>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<StatusCode, OAuthError> {
    let client = registered(&state, &id, &headers).await?;
    state.store.delete_client(&client.id)?;
    Ok(StatusCode::NO_CONTENT)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    #[test]
    fn the_limit_is_per_address_and_minute() {
        let limiter = Limiter::default();
        let here = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let there = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2));
        let begin = Instant::now();
        let after = |seconds| begin + Duration::from_secs(seconds);
        assert!(limiter.admit(here, 2, begin));
        assert!(limiter.admit(here, 2, after(30)));
        assert!(!limiter.admit(here, 2, after(59)));
        assert!(limiter.admit(there, 2, after(59)));
        assert!(limiter.admit(here, 2, after(60)));
        assert!(!limiter.admit(here, 2, after(61)));
    }
}

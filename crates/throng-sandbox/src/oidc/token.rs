//! The token endpoint: codes and refresh tokens for access tokens (RFC 6749, RFC 7636, RFC 8707). What needs neither is in
//! [`super::machine`].

use axum::extract::rejection::FormRejection;
use axum::extract::{Extension, Form, State};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Json, Router};
use http::{HeaderMap, header};
use serde::Deserialize;
use serde_json::{Value, json};

use super::authorize::within;
use super::client::{Client, FormCredentials, authenticate};
use super::error::OAuthError;
use super::issue::{CodeUse, access_token, id_token};
use super::machine;
use super::store::{Grant, NewTokens, Refreshed};
use crate::journal::Note;
use crate::secret::{Secret, digest, random_alphanumeric};
use crate::state::AppState;

pub(super) fn router() -> Router<AppState> {
    Router::new().route("/apps/oidc/token", post(token))
}

#[derive(Deserialize)]
pub(super) struct TokenRequest {
    grant_type: Option<String>,
    code: Option<Secret>,
    redirect_uri: Option<String>,
    code_verifier: Option<Secret>,
    refresh_token: Option<Secret>,
    pub(super) scope: Option<String>,
    pub(super) resource: Option<String>,
    pub(super) audience: Option<String>,
    pub(super) subject_token: Option<Secret>,
    pub(super) subject_token_type: Option<String>,
    pub(super) requested_token_type: Option<String>,
    pub(super) assertion: Option<Secret>,
    client_id: Option<String>,
    client_secret: Option<Secret>,
    client_assertion_type: Option<String>,
    client_assertion: Option<Secret>,
}

async fn token(
    State(state): State<AppState>,
    Extension(note): Extension<Note>,
    headers: HeaderMap,
    form: Result<Form<TokenRequest>, FormRejection>,
) -> Result<Response, OAuthError> {
    let Ok(Form(request)) = form else {
        return Err(OAuthError::Refused(
            "invalid_request",
            "The request is no form.",
        ));
    };
    let credentials = FormCredentials {
        client_id: request.client_id.clone(),
        client_secret: request.client_secret.clone(),
        client_assertion_type: request.client_assertion_type.clone(),
        client_assertion: request.client_assertion.clone(),
    };
    let [credentials_alone, exchange, assertion] = machine::GRANTS;
    if request.grant_type.as_deref() == Some(credentials_alone) {
        let (client, account) =
            machine::client_with_account(&state, &headers, &credentials).await?;
        return machine::client_credentials(&state, &note, (&client, account), &request);
    }
    let client = authenticate(&state, &headers, &credentials).await?;
    match request.grant_type.as_deref() {
        Some(grant) if grant == exchange => machine::exchange(&state, &note, &client, &request),
        Some(grant) if grant == assertion => machine::assert(&state, &note, &client, &request),
        Some("authorization_code") => exchange_code(&state, &note, &client, &request),
        Some("refresh_token") => refresh(&state, &note, &client, &request),
        Some(_) => Err(OAuthError::Refused(
            "unsupported_grant_type",
            "The grant type is not supported.",
        )),
        None => Err(OAuthError::Refused(
            "invalid_request",
            "The grant_type is missing.",
        )),
    }
}

fn exchange_code(
    state: &AppState,
    note: &Note,
    client: &Client,
    request: &TokenRequest,
) -> Result<Response, OAuthError> {
    let invalid = |text| Err(OAuthError::Refused("invalid_grant", text));
    let Some(value) = &request.code else {
        return Err(OAuthError::Refused(
            "invalid_request",
            "The code is missing.",
        ));
    };
    let key = digest(value.expose());
    let Some(code) = state.oidc.present_code(&key) else {
        return invalid("Could not find the authorization code, or it has expired.");
    };
    note.user(&code.user);
    match code.use_ {
        CodeUse::Unused => {}
        CodeUse::Presented => return invalid("The authorization code was used before."),
        CodeUse::Granted(grant) => {
            state.store.revoke_grant(grant)?;
            return invalid("The authorization code was used before; its tokens are revoked.");
        }
    }
    if code.client_id != client.id {
        return invalid("The authorization code belongs to another client.");
    }
    if request.redirect_uri.as_deref() != Some(code.redirect_uri.as_str()) {
        return invalid("The redirect_uri is not the one of the authorization request.");
    }
    match (&code.challenge, &request.code_verifier) {
        (None, None) => {}
        (Some(challenge), Some(verifier)) if challenge.is_met_by(verifier.expose()) => {}
        (Some(_), Some(_)) => return invalid("The code_verifier does not fit the code_challenge."),
        (Some(_), None) => return invalid("The code_verifier is missing."),
        // A verifier without a challenge: somebody took the challenge out (RFC 9700 section 4.8.2).
        (None, Some(_)) => return invalid("There was no code_challenge."),
    }
    let resource = match (&code.resource, &request.resource) {
        (Some(asked), Some(now)) if asked != now => {
            let text = "The resource is not the one of the authorization request.";
            return Err(OAuthError::Refused("invalid_target", text));
        }
        (asked, now) => asked.clone().or_else(|| now.clone()),
    };
    let grant = Grant {
        id: 0,
        client_id: client.id.clone(),
        user: code.user,
        scope: code.scope,
        resource: resource.unwrap_or_default(),
        auth_time: code.auth_time,
    };
    let scope = grant.scope.clone();
    let (grant, body) = issue(state, client, grant, &scope, code.nonce.as_deref(), None)?;
    state.oidc.code_granted(&key, grant);
    Ok(answer(body))
}

fn refresh(
    state: &AppState,
    note: &Note,
    client: &Client,
    request: &TokenRequest,
) -> Result<Response, OAuthError> {
    let invalid = |text| Err(OAuthError::Refused("invalid_grant", text));
    if !state.knobs.refresh() {
        let text = "Refresh tokens are switched off.";
        return Err(OAuthError::Refused("unsupported_grant_type", text));
    }
    let Some(value) = &request.refresh_token else {
        return Err(OAuthError::Refused(
            "invalid_request",
            "The refresh_token is missing.",
        ));
    };
    let key = digest(value.expose());
    let Some(grant) = state.store.grant_of_refresh_token(&key)? else {
        return invalid("The refresh token is unknown or was revoked.");
    };
    if grant.client_id != client.id {
        return invalid("The refresh token belongs to another client.");
    }
    note.user(&grant.user);
    if let Some(resource) = &request.resource
        && *resource != grant.resource
    {
        let text = "The resource is not the one of the authorization request.";
        return Err(OAuthError::Refused("invalid_target", text));
    }
    let scope = match &request.scope {
        None => grant.scope.clone(),
        Some(asked) => {
            let scope = within(asked, &grant.scope);
            if scope.split(' ').count() != asked.split_whitespace().count() {
                let text = "The scope is more than was granted.";
                return Err(OAuthError::Refused("invalid_scope", text));
            }
            scope
        }
    };
    let (_, body) = issue(state, client, grant, &scope, None, Some(key))?;
    Ok(answer(body))
}

/// Makes and keeps the tokens of a grant, and gives back its id and what is answered: a new grant for a code, the old one for a
/// refresh token, which is used up by it.
pub(super) fn issue(
    state: &AppState,
    client: &Client,
    grant: Grant,
    scope: &str,
    nonce: Option<&str>,
    refreshing: Option<[u8; 32]>,
) -> Result<(i64, Value), OAuthError> {
    let invalid = |text| Err(OAuthError::Refused("invalid_grant", text));
    let Some(account) = state.store.account(&grant.user)? else {
        return invalid("The user is gone.");
    };
    let has = |word: &str| scope.split_whitespace().any(|scope| scope == word);
    let offline = grant
        .scope
        .split_whitespace()
        .any(|scope| scope == "offline_access");
    let access = access_token(state, &grant, scope, client.jwt)?;
    let id = has("openid")
        .then(|| id_token(state, &grant, &account, scope, &access, nonce))
        .transpose()?;
    let next = (offline && state.knobs.refresh()).then(|| random_alphanumeric(128));
    let tokens = NewTokens {
        access: digest(&access.value),
        refresh: next.as_deref().map(digest),
        scope,
        audience: &access.audience,
        issued_at: access.issued_at,
        expires_at: access.expires_at,
    };
    let grant_id = match refreshing {
        None => state.store.keep_grant(&grant, &tokens)?,
        Some(used) => match state.store.rotate(&grant, &used, &tokens)? {
            Refreshed::Done => grant.id,
            Refreshed::Reused => {
                return invalid("The refresh token was used before; its tokens are revoked.");
            }
            Refreshed::Gone => return invalid("The refresh token is unknown or was revoked."),
        },
    };
    let mut body = json!({
        "access_token": access.value,
        "token_type": "Bearer",
        "expires_in": access.expires_in,
        "scope": scope,
    });
    if let Some(id) = id {
        body["id_token"] = id.into();
    }
    if let Some(next) = next {
        body["refresh_token"] = next.into();
    }
    Ok((grant_id, body))
}

/// The answer with tokens, which nobody may keep.
pub(super) fn answer(body: Value) -> Response {
    let headers = [
        (header::CACHE_CONTROL, "no-store"),
        (header::PRAGMA, "no-cache"),
    ];
    (headers, Json(body)).into_response()
}

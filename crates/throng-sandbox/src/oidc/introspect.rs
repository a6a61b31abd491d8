//! What may be asked about a token (introspection, userinfo), its end (revocation), and the logout.

use axum::extract::rejection::FormRejection;
use axum::extract::{Extension, Form, Query, State};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use http::{HeaderMap, StatusCode};
use serde::Deserialize;
use serde_json::json;

use super::client::{self, FormCredentials, authenticate};
use super::error::OAuthError;
use super::issue::add_profile;
use super::{TokenError, valid_token};
use crate::auth::bearer;
use crate::journal::Note;
use crate::nextcloud::Browser;
use crate::secret::{Secret, digest};
use crate::state::AppState;

pub(super) fn router() -> Router<AppState> {
    Router::new()
        .route("/apps/oidc/introspect", post(introspect))
        .route("/apps/oidc/revoke", post(revoke))
        .route("/apps/oidc/userinfo", get(userinfo).post(userinfo))
        .route("/apps/oidc/logout", get(logout).post(logout))
}

#[derive(Deserialize)]
struct AboutToken {
    token: Option<Secret>,
    client_id: Option<String>,
    client_secret: Option<Secret>,
}

impl AboutToken {
    /// The token that an authenticated client asks about, and the client.
    async fn read(
        state: &AppState,
        headers: &HeaderMap,
        form: Result<Form<Self>, FormRejection>,
    ) -> Result<(Secret, client::Client), OAuthError> {
        let Ok(Form(form)) = form else {
            return Err(OAuthError::Refused(
                "invalid_request",
                "The request is no form.",
            ));
        };
        let credentials = FormCredentials {
            client_id: form.client_id,
            client_secret: form.client_secret,
            ..FormCredentials::default()
        };
        let client = authenticate(state, headers, &credentials).await?;
        match form.token {
            Some(token) => Ok((token, client)),
            None => Err(OAuthError::Refused(
                "invalid_request",
                "The token is missing.",
            )),
        }
    }
}

/// RFC 7662, for access tokens. A client learns about its own tokens and about those for the resource
/// that it registered as its own; anything else is inactive to it.
async fn introspect(
    State(state): State<AppState>,
    Extension(note): Extension<Note>,
    headers: HeaderMap,
    form: Result<Form<AboutToken>, FormRejection>,
) -> Result<Response, OAuthError> {
    let (token, client) = AboutToken::read(&state, &headers, form).await?;
    if client.secret.is_none() {
        return Err(OAuthError::InvalidClient(false));
    }
    let inactive = || Json(json!({ "active": false })).into_response();
    let token = match valid_token(&state, token.expose()) {
        Ok(token) => token,
        Err(TokenError::Store(error)) => return Err(error.into()),
        Err(_) => return Ok(inactive()),
    };
    let protects = !client.resource_url.is_empty() && client.resource_url == token.audience;
    if token.client_id != client.id && !protects {
        return Ok(inactive());
    }
    note.user(&token.user);
    Ok(Json(json!({
        "active": true,
        "scope": token.scope,
        "client_id": token.client_id,
        "username": token.user,
        "token_type": "Bearer",
        "exp": token.expires_at,
        "iat": token.issued_at,
        "sub": token.user,
        "aud": token.audience,
        "iss": state.url,
    }))
    .into_response())
}

/// RFC 7009: an access token alone, or with a refresh token the whole grant. Unknown tokens and those
/// of other clients are none of the asker's business, and are answered 200 as well.
async fn revoke(
    State(state): State<AppState>,
    headers: HeaderMap,
    form: Result<Form<AboutToken>, FormRejection>,
) -> Result<StatusCode, OAuthError> {
    let (token, client) = AboutToken::read(&state, &headers, form).await?;
    let ended = state
        .store
        .revoke_token(&digest(token.expose()), &client.id)?;
    for token in ended {
        if let Some(lag) = state.knobs.draw_revocation_lag() {
            state.oidc.linger(token, lag);
        }
    }
    Ok(StatusCode::OK)
}

/// OpenID Connect Core section 5.3.
async fn userinfo(
    State(state): State<AppState>,
    Extension(note): Extension<Note>,
    headers: HeaderMap,
) -> Result<Response, OAuthError> {
    let token = bearer(&headers).ok_or(OAuthError::InvalidToken)?;
    let token = match valid_token(&state, token) {
        Ok(token) => token,
        Err(TokenError::Store(error)) => return Err(error.into()),
        Err(_) => return Err(OAuthError::InvalidToken),
    };
    let account = state.store.account(&token.user)?;
    let account = account.ok_or(OAuthError::InvalidToken)?;
    note.user(&account.id);
    let mut claims = json!({ "sub": account.id });
    add_profile(&mut claims, &account, &token.scope);
    Ok(Json(claims).into_response())
}

#[derive(Deserialize)]
struct LogoutQuery {
    client_id: Option<String>,
    post_logout_redirect_uri: Option<String>,
    state: Option<String>,
}

/// OpenID Connect RP-Initiated Logout 1.0, for clients that name themselves with `client_id`: the
/// browser is sent back only to one of that client's own redirect URIs.
async fn logout(
    State(state): State<AppState>,
    Query(query): Query<LogoutQuery>,
    headers: HeaderMap,
) -> Response {
    let mut target = format!("{}/login?clear=1", state.url);
    if let (Some(id), Some(uri)) = (&query.client_id, &query.post_logout_redirect_uri) {
        match client::find(&state, id).await {
            Ok(Some(client)) if client.may_redirect_to(uri) => {
                if let Ok(mut uri) = url::Url::parse(uri) {
                    if let Some(value) = &query.state {
                        uri.query_pairs_mut().append_pair("state", value);
                    }
                    target = uri.into();
                }
            }
            Ok(_) => {}
            Err(error) => return error.into_response(),
        }
    }
    match Browser::find(&state, &headers) {
        Ok(Some(browser)) => {
            let cookies = state.login.sessions.end(&browser.session);
            cookies.on(Redirect::to(&target))
        }
        Ok(None) => Redirect::to(&target).into_response(),
        Err(error) => error.into_response(),
    }
}

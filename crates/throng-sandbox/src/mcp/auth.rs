//! Who calls the MCP server, and what it says to those who may not (RFC 6750, RFC 9728).

use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::{Method, StatusCode, header};
use serde::Deserialize;
use serde_json::{Value, json};

use super::config::{McpAuth, ScopeErrors};
use super::tools;
use crate::auth::bearer;
use crate::journal::Note;
use crate::oidc::{Principal, TokenError, verify_access_token};
use crate::state::AppState;
use crate::store::StoreError;

/// Who calls. In the request's extensions of everything under `/mcp`.
#[derive(Clone, Debug)]
pub(super) struct Caller {
    pub(super) user: Arc<str>,
    pub(super) scopes: Scopes,
}

/// What a caller was granted.
#[derive(Clone, Debug)]
pub(super) enum Scopes {
    /// Everything: the server is open.
    All,
    Granted(Arc<[String]>),
}

impl Scopes {
    pub(super) fn contain(&self, scope: &str) -> bool {
        match self {
            Self::All => true,
            Self::Granted(granted) => granted.iter().any(|one| one == scope),
        }
    }
}

/// The layer around `/mcp`: lets authorized requests through with their [`Caller`].
pub(super) async fn authorized(
    State(state): State<AppState>,
    mut request: Request,
    next: Next,
) -> Response {
    // Not the request itself, which cannot be shared while something is waited for.
    let token = bearer(request.headers()).map(str::to_owned);
    let caller = match caller(&state, token.as_deref()).await {
        Ok(caller) => caller,
        Err(response) => {
            let owner = token.and_then(|token| owner(&state, &token));
            if let (Some(note), Some(user)) = (request.extensions().get::<Note>(), owner) {
                note.user(&user);
            }
            return response;
        }
    };
    if let Some(note) = request.extensions().get::<Note>() {
        note.user(&caller.user);
    }
    let challenges =
        state.config.mcp.scope_errors == ScopeErrors::Forbidden || state.knobs.scope_challenges();
    if challenges && request.method() == Method::POST {
        request = match check_scope(&state, &caller, request).await {
            Ok(request) => request,
            Err(response) => return response,
        };
    }
    request.extensions_mut().insert(caller);
    next.run(request).await
}

async fn caller(state: &AppState, token: Option<&str>) -> Result<Caller, Response> {
    if let McpAuth::Open { user } = &state.config.mcp.auth {
        return Ok(Caller {
            user: user.as_str().into(),
            scopes: Scopes::All,
        });
    }
    let Some(token) = token else {
        return Err(unauthorized(state, "Authentication required"));
    };
    let verified = match &state.issuer {
        None => verify_access_token(state, token, &state.mcp_url),
        Some(issuer) => issuer
            .verify(token, &state.mcp_url)
            .await
            .and_then(|principal| Ok(known(state, principal)?)),
    };
    match verified {
        Ok(principal) => Ok(Caller {
            user: principal.user.into(),
            scopes: Scopes::Granted(principal.scopes.into()),
        }),
        Err(TokenError::Store(error)) => Err(error.into_response()),
        Err(error @ TokenError::Issuer(_)) => {
            let message = error.to_string();
            Err((StatusCode::BAD_GATEWAY, message).into_response())
        }
        Err(error) => Err(unauthorized(state, &error.to_string())),
    }
}

/// Whose a token of our own is, good or not.
fn owner(state: &AppState, token: &str) -> Option<String> {
    let token = state.store.access_token(token).ok()??;
    Some(token.user)
}

/// An outside provider's users have an account here from the first time that they are seen.
fn known(state: &AppState, principal: Principal) -> Result<Principal, StoreError> {
    state.store.ensure_known(&principal.user)?;
    Ok(principal)
}

fn unauthorized(state: &AppState, description: &str) -> Response {
    let challenge = format!(
        "Bearer error=\"invalid_token\", error_description=\"{description}\", resource_metadata=\"{}\"",
        metadata_url(state)
    );
    let body = json!({ "error": "invalid_token", "error_description": description });
    let headers = [(header::WWW_AUTHENTICATE, challenge)];
    (StatusCode::UNAUTHORIZED, headers, Json(body)).into_response()
}

/// Refuses a call of a tool whose scope was not granted; gives back the request with its body intact.
async fn check_scope(
    state: &AppState,
    caller: &Caller,
    request: Request,
) -> Result<Request, Response> {
    #[derive(Deserialize)]
    struct Message {
        method: Option<String>,
        params: Option<Params>,
    }
    #[derive(Deserialize)]
    struct Params {
        name: Option<String>,
    }
    let (parts, body) = request.into_parts();
    // The journal's layer has read the whole body already and bounded it: this only takes it over.
    let body = axum::body::to_bytes(body, usize::MAX)
        .await
        .map_err(|error| (StatusCode::BAD_REQUEST, error.to_string()).into_response())?;
    let called = match serde_json::from_slice::<Message>(&body) {
        Ok(Message {
            method: Some(method),
            params: Some(Params { name: Some(name) }),
        }) if method == "tools/call" => tools::find(&name),
        _ => None,
    };
    if let Some(tool) = called
        && !caller.scopes.contain(tool.scope)
    {
        return Err(insufficient_scope(state, tool.scope));
    }
    Ok(Request::from_parts(parts, Body::from(body)))
}

fn insufficient_scope(state: &AppState, scope: &str) -> Response {
    let challenge = format!(
        "Bearer error=\"insufficient_scope\", scope=\"{scope}\", resource_metadata=\"{}\"",
        metadata_url(state)
    );
    let body = json!({ "error": "insufficient_scope", "scopes_required": [scope] });
    let headers = [(header::WWW_AUTHENTICATE, challenge)];
    (StatusCode::FORBIDDEN, headers, Json(body)).into_response()
}

fn origin(state: &AppState) -> &str {
    state.mcp_url.strip_suffix("/mcp").unwrap_or(&state.mcp_url)
}

fn metadata_url(state: &AppState) -> String {
    format!("{}/.well-known/oauth-protected-resource", origin(state))
}

/// The protected-resource metadata (RFC 9728, section 2).
pub(super) async fn protected_resource(State(state): State<AppState>) -> Json<Value> {
    let mut scopes = vec!["email", "openid", "profile"];
    let issuer = match &state.issuer {
        None => {
            // The real server lists it, though the specification wants it to be the authorization server's business.
            scopes.push("offline_access");
            &state.url
        }
        Some(issuer) => issuer.id(),
    };
    scopes.extend(tools::ALL.iter().map(|tool| tool.scope));
    scopes.sort_unstable();
    scopes.dedup();
    Json(json!({
        "resource": state.mcp_url,
        "scopes_supported": scopes,
        "authorization_servers": [issuer],
        "bearer_methods_supported": ["header"],
        "resource_signing_alg_values_supported": ["RS256"],
    }))
}

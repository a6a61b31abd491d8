//! The provider's metadata (OpenID Connect Discovery 1.0, RFC 8414) and its public keys.

use axum::extract::{Extension, State};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use http::{StatusCode, header};
use serde_json::{Value, json};

use super::machine;
use crate::server::ViaIndexPhp;
use crate::state::AppState;

pub(super) fn router() -> Router<AppState> {
    Router::new()
        .route(
            "/.well-known/openid-configuration",
            get(openid_configuration),
        )
        .route("/.well-known/oauth-authorization-server", get(metadata))
        .route("/apps/oidc/openid-configuration", get(metadata))
        .route("/apps/oidc/jwks", get(jwks))
}

/// A Nextcloud without rewritten URLs sends clients on to the path under `/index.php`.
async fn openid_configuration(
    State(state): State<AppState>,
    via_index_php: Option<Extension<ViaIndexPhp>>,
) -> Response {
    if via_index_php.is_some() {
        return metadata(State(state)).await;
    }
    let location = format!("{}/index.php/.well-known/openid-configuration", state.url);
    (
        StatusCode::MOVED_PERMANENTLY,
        [(header::LOCATION, location)],
    )
        .into_response()
}

async fn metadata(State(state): State<AppState>) -> Response {
    public(document(&state))
}

async fn jwks(State(state): State<AppState>) -> Response {
    public(json!({ "keys": [state.oidc.key.jwk()] }))
}

fn public(body: Value) -> Response {
    ([(header::ACCESS_CONTROL_ALLOW_ORIGIN, "*")], Json(body)).into_response()
}

fn document(state: &AppState) -> Value {
    let endpoint = |name: &str| format!("{}/apps/oidc/{name}", state.url);
    let grants: Vec<&str> = ["authorization_code", "refresh_token"]
        .into_iter()
        .chain(machine::GRANTS)
        .collect();
    let client_authentication = ["client_secret_post", "client_secret_basic"];
    let mut document = json!({
        "issuer": state.url,
        "authorization_endpoint": endpoint("authorize"),
        "token_endpoint": endpoint("token"),
        "userinfo_endpoint": endpoint("userinfo"),
        "jwks_uri": endpoint("jwks"),
        "introspection_endpoint": endpoint("introspect"),
        "revocation_endpoint": endpoint("revoke"),
        "end_session_endpoint": endpoint("logout"),
        "scopes_supported": [
            "openid", "profile", "email", "roles", "groups", "offline_access",
        ],
        "response_types_supported": ["code"],
        "response_modes_supported": ["query"],
        "grant_types_supported": grants,
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["RS256"],
        "token_endpoint_auth_methods_supported":
            ["client_secret_post", "client_secret_basic", "none", "private_key_jwt"],
        "token_endpoint_auth_signing_alg_values_supported": ["RS256", "ES256"],
        "introspection_endpoint_auth_methods_supported": client_authentication,
        "revocation_endpoint_auth_methods_supported":
            ["client_secret_post", "client_secret_basic", "none"],
        "code_challenge_methods_supported": ["S256", "plain"],
        "claims_supported": [
            "iss", "sub", "aud", "exp", "iat", "auth_time", "azp", "nonce", "at_hash", "name",
            "preferred_username", "email", "email_verified",
        ],
        "authorization_response_iss_parameter_supported": true,
        "client_id_metadata_document_supported": true,
        "request_parameter_supported": false,
        "request_uri_parameter_supported": false,
    });
    if state.config.dynamic_registration {
        document["registration_endpoint"] = endpoint("register").into();
    }
    document
}

//! Tokens without anybody at a browser: client credentials (RFC 6749 section 4.4), token exchange (RFC 8693), and assertions of
//! who a user is (RFC 7523 section 2.1), which are made here, too, where this provider is the one of an enterprise.
//!
//! Nextcloud's provider has none of this. It stands beside what that one has, and changes nothing of it.

use axum::response::Response;
use http::HeaderMap;
use serde::Deserialize;
use serde_json::{Value, json};

use super::client::{Client, FormCredentials, authenticate};
use super::error::OAuthError;
use super::store::Grant;
use super::token::{TokenRequest, answer, issue};
use super::{TokenError, valid_token};
use crate::auth::basic;
use crate::journal::Note;
use crate::secret::{Secret, digest, random_alphanumeric};
use crate::state::AppState;
use crate::store::unix_now;

const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";
const ID_TOKEN: &str = "urn:ietf:params:oauth:token-type:id_token";
const ID_JAG: &str = "urn:ietf:params:oauth:token-type:id-jag";
/// The `typ` of an identity assertion's header.
const ID_JAG_TYPE: &str = "oauth-id-jag+jwt";

/// How long an identity assertion is good for, in seconds.
const ASSERTION_LIFETIME_S: i64 = 300;

/// The grants that are understood here.
pub(super) const GRANTS: [&str; 3] = [
    "client_credentials",
    "urn:ietf:params:oauth:grant-type:token-exchange",
    "urn:ietf:params:oauth:grant-type:jwt-bearer",
];

/// The client of a request for client credentials: one that is registered, or a user, who is a client by his own name and login
/// password. Says whose account the token is for.
pub(super) async fn client_with_account(
    state: &AppState,
    headers: &HeaderMap,
    form: &FormCredentials,
) -> Result<(Client, String), OAuthError> {
    match authenticate(state, headers, form).await {
        Ok(client) if client.secret.is_none() && state.store.client_keys(&client.id)?.is_none() => {
            let text = "A public client has no credentials of its own.";
            Err(OAuthError::Refused("unauthorized_client", text))
        }
        Ok(client) => {
            let account = format!("service-account-{}", client.id);
            state.store.ensure_user(&account)?;
            // There is nobody who could give the MCP server an app password for it.
            crate::mcp::allow(&state.store, &account)?;
            Ok((client, account))
        }
        Err(error @ OAuthError::InvalidClient(_)) => {
            let from_form = || Some((form.client_id.clone()?, form.client_secret.clone()?));
            let Some((name, password)) = basic(headers).or_else(from_form) else {
                return Err(error);
            };
            let account = state.store.check_password(&name, password.expose())?;
            let Some(account) = account else {
                return Err(error);
            };
            let client = Client {
                id: account.id.clone(),
                // Nobody knows it: what counts is the password, each time.
                secret: Some(digest(&random_alphanumeric(64))),
                name: account.display_name,
                redirect_uris: Vec::new(),
                scope: String::new(),
                jwt: false,
                resource_url: String::new(),
                registration_token: None,
                issued_at: unix_now(),
                expires_at: 0,
            };
            state.store.put_client(&client)?;
            Ok((client, account.id))
        }
        Err(error) => Err(error),
    }
}

/// RFC 6749 section 4.4.
pub(super) fn client_credentials(
    state: &AppState,
    note: &Note,
    (client, account): (&Client, String),
    request: &TokenRequest,
) -> Result<Response, OAuthError> {
    note.user(&account);
    let asked = request.scope.as_deref().unwrap_or_default();
    // Nobody logs in: there is neither an id token nor a refresh token.
    let asked: Vec<&str> = asked
        .split_whitespace()
        .filter(|scope| !["openid", "offline_access"].contains(scope))
        .collect();
    let scope = client.allowed_scope(&asked.join(" "));
    let grant = Grant {
        id: 0,
        client_id: client.id.clone(),
        user: account,
        scope: scope.clone(),
        resource: request.resource.clone().unwrap_or_default(),
        auth_time: unix_now(),
    };
    let (_, body) = issue(state, client, grant, &scope, None, None)?;
    Ok(answer(body))
}

/// Whose token was presented, and since when they are logged in.
struct Presented {
    user: String,
    auth_time: i64,
}

/// RFC 8693.
pub(super) fn exchange(
    state: &AppState,
    note: &Note,
    client: &Client,
    request: &TokenRequest,
) -> Result<Response, OAuthError> {
    let (Some(token), Some(kind)) = (&request.subject_token, &request.subject_token_type) else {
        let text = "The subject_token or its subject_token_type is missing.";
        return Err(OAuthError::Refused("invalid_request", text));
    };
    let presented = match kind.as_str() {
        ACCESS_TOKEN => of_access_token(state, client, token)?,
        ID_TOKEN => of_id_token(state, client, token)?,
        _ => {
            let text =
                "The subject_token_type is neither that of an access token nor of an id token.";
            return Err(OAuthError::Refused("invalid_request", text));
        }
    };
    note.user(&presented.user);
    match request.requested_token_type.as_deref() {
        None | Some(ACCESS_TOKEN) => {
            let asked = request.scope.as_deref().unwrap_or_default();
            let asked: Vec<&str> = asked
                .split_whitespace()
                .filter(|scope| *scope != "offline_access")
                .collect();
            let scope = client.allowed_scope(&asked.join(" "));
            let grant = Grant {
                id: 0,
                client_id: client.id.clone(),
                user: presented.user,
                scope: scope.clone(),
                resource: request.resource.clone().unwrap_or_default(),
                auth_time: presented.auth_time,
            };
            let (_, mut body) = issue(state, client, grant, &scope, None, None)?;
            body["issued_token_type"] = ACCESS_TOKEN.into();
            Ok(answer(body))
        }
        Some(ID_JAG) if kind == ID_TOKEN => assertion(state, client, request, &presented),
        Some(_) => {
            let text = "The requested_token_type cannot be had for this token.";
            Err(OAuthError::Refused("invalid_request", text))
        }
    }
}

/// An identity assertion for another authorization server (draft-ietf-oauth-identity-assertion-authz-grant).
fn assertion(
    state: &AppState,
    client: &Client,
    request: &TokenRequest,
    presented: &Presented,
) -> Result<Response, OAuthError> {
    let Some(audience) = &request.audience else {
        let text = "The audience is missing: the authorization server that the assertion is for.";
        return Err(OAuthError::Refused("invalid_request", text));
    };
    let now = unix_now();
    let mut claims = json!({
        "iss": state.url,
        "sub": presented.user,
        "aud": audience,
        "client_id": client.id,
        "exp": now + ASSERTION_LIFETIME_S,
        "iat": now,
        "auth_time": presented.auth_time,
        "jti": random_alphanumeric(32),
    });
    if let Some(resource) = &request.resource {
        claims["resource"] = resource.as_str().into();
    }
    if let Some(scope) = &request.scope {
        claims["scope"] = scope.as_str().into();
    }
    Ok(answer(json!({
        "access_token": state.oidc.key.sign(ID_JAG_TYPE, &claims)?,
        "issued_token_type": ID_JAG,
        "token_type": "N_A",
        "expires_in": ASSERTION_LIFETIME_S,
    })))
}

/// RFC 7523 section 2.1, for identity assertions of this very provider.
pub(super) fn assert(
    state: &AppState,
    note: &Note,
    client: &Client,
    request: &TokenRequest,
) -> Result<Response, OAuthError> {
    let invalid = |text| Err(OAuthError::Refused("invalid_grant", text));
    let Some(assertion) = &request.assertion else {
        let text = "The assertion is missing.";
        return Err(OAuthError::Refused("invalid_request", text));
    };
    let Some((kind, claims)) = state.oidc.key.verified(assertion.expose()) else {
        return invalid(
            "The assertion is not signed by an identity provider that is trusted here.",
        );
    };
    if kind != ID_JAG_TYPE {
        return invalid("The assertion is no identity assertion (its typ).");
    }
    let text = |name: &str| claims.get(name).and_then(Value::as_str).unwrap_or_default();
    if text("aud").trim_end_matches('/') != state.url {
        return invalid("The assertion is for another authorization server (its aud).");
    }
    if text("client_id") != client.id {
        return invalid("The assertion was given to another client (its client_id).");
    }
    if claims["exp"].as_i64().unwrap_or_default() <= unix_now() {
        return invalid("The assertion has expired.");
    }
    let resource = text("resource").to_owned();
    if let Some(asked) = &request.resource
        && *asked != resource
    {
        let text = "The resource is not the one of the assertion.";
        return Err(OAuthError::Refused("invalid_target", text));
    }
    note.user(text("sub"));
    let asked = request.scope.as_deref().unwrap_or(text("scope"));
    let scope = client.allowed_scope(&super::authorize::within(asked, text("scope")));
    let grant = Grant {
        id: 0,
        client_id: client.id.clone(),
        user: text("sub").to_owned(),
        scope: scope.clone(),
        resource,
        auth_time: claims["auth_time"].as_i64().unwrap_or_default(),
    };
    let (_, body) = issue(state, client, grant, &scope, None, None)?;
    Ok(answer(body))
}

fn of_access_token(
    state: &AppState,
    client: &Client,
    token: &Secret,
) -> Result<Presented, OAuthError> {
    let token = match valid_token(state, token.expose()) {
        Ok(token) => token,
        Err(TokenError::Store(error)) => return Err(error.into()),
        Err(_) => {
            let text = "The subject_token is unknown or no longer valid.";
            return Err(OAuthError::Refused("invalid_grant", text));
        }
    };
    // Whoever has no secret could be anybody who found the token.
    if client.secret.is_none() && token.client_id != client.id {
        let text = "The subject_token was issued to another client.";
        return Err(OAuthError::Refused("invalid_grant", text));
    }
    Ok(Presented {
        user: token.user,
        auth_time: token.issued_at,
    })
}

#[derive(Deserialize)]
struct IdClaims {
    iss: String,
    sub: String,
    aud: String,
    exp: i64,
    auth_time: i64,
}

fn of_id_token(state: &AppState, client: &Client, token: &Secret) -> Result<Presented, OAuthError> {
    let invalid = |text| Err(OAuthError::Refused("invalid_grant", text));
    let verified = state.oidc.key.verified(token.expose());
    let claims = verified
        .filter(|(kind, _)| kind == "JWT")
        .and_then(|(_, claims)| serde_json::from_value::<IdClaims>(claims).ok());
    let Some(claims) = claims.filter(|claims| claims.iss == state.url) else {
        return invalid("The subject_token is no id token of this provider.");
    };
    if claims.aud != client.id {
        return invalid("The subject_token was issued to another client.");
    }
    if claims.exp <= unix_now() {
        return invalid("The subject_token has expired.");
    }
    Ok(Presented {
        user: claims.sub,
        auth_time: claims.auth_time,
    })
}

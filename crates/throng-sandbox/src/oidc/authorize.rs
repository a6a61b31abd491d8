//! The authorization endpoint and the page after the login that leads back to it.
//!
//! OAuth 2.1 with PKCE (RFC 7636), resource indicators (RFC 8707) and the issuer in the response
//! (RFC 9207). Who the user is comes from the browser session; consent is asked in [`super::consent`].

use axum::Router;
use axum::extract::{Extension, Query, State};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::get;
use http::{HeaderMap, StatusCode};
use serde::{Deserialize, Serialize};

use super::client::{self, Client};
use super::issue::{Challenge, Code};
use crate::journal::Note;
use crate::nextcloud::{Browser, Page, login_required};
use crate::ocs::escape;
use crate::secret::digest;
use crate::state::AppState;
use crate::store::StoreError;

pub(super) fn router() -> Router<AppState> {
    Router::new()
        .route("/apps/oidc/authorize", get(authorize))
        .route("/apps/oidc/redirect", get(redirect_page))
}

/// The parameters of an authorization request; unknown ones are ignored (RFC 6749 section 3.1).
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub(crate) struct AuthorizationRequest {
    #[serde(default)]
    pub(super) client_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) state: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) response_type: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) redirect_uri: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) scope: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) nonce: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) resource: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) code_challenge: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) code_challenge_method: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) prompt: Option<String>,
}

impl AuthorizationRequest {
    /// The parameters that are present, in the order in which Nextcloud passes them on.
    fn pairs(&self) -> impl Iterator<Item = (&'static str, &str)> {
        [
            ("client_id", Some(&self.client_id)),
            ("state", self.state.as_ref()),
            ("response_type", self.response_type.as_ref()),
            ("redirect_uri", self.redirect_uri.as_ref()),
            ("scope", self.scope.as_ref()),
            ("nonce", self.nonce.as_ref()),
            ("resource", self.resource.as_ref()),
            ("code_challenge", self.code_challenge.as_ref()),
            ("code_challenge_method", self.code_challenge_method.as_ref()),
            ("prompt", self.prompt.as_ref()),
        ]
        .into_iter()
        .filter_map(|(name, value)| Some((name, value?.as_str())))
    }

    /// The request as a query, for one of the provider's own pages.
    pub(super) fn at(&self, page: &str) -> String {
        let query = url::form_urlencoded::Serializer::new(String::new())
            .extend_pairs(self.pairs())
            .finish();
        format!("/apps/oidc/{page}?{query}")
    }

    fn prompts(&self, value: &str) -> bool {
        self.prompt
            .as_deref()
            .is_some_and(|prompt| prompt.split_whitespace().any(|word| word == value))
    }

    /// Takes one value out of `prompt`, so that what it asks for is done once.
    fn without_prompt(mut self, value: &str) -> Self {
        let rest: Vec<&str> = self
            .prompt
            .iter()
            .flat_map(|prompt| prompt.split_whitespace())
            .filter(|word| *word != value)
            .collect();
        self.prompt = (!rest.is_empty()).then(|| rest.join(" "));
        self
    }

    /// The answer to the client: its redirect URI with these parameters, `state` and `iss`.
    pub(super) fn answer(&self, state: &AppState, parameters: &[(&str, &str)]) -> Response {
        let redirect_uri = self.redirect_uri.as_deref().unwrap_or_default();
        let Ok(mut location) = url::Url::parse(redirect_uri) else {
            return refuse("The redirect URI is no URL.");
        };
        {
            let mut query = location.query_pairs_mut();
            if let Some(value) = &self.state {
                query.append_pair("state", value);
            }
            query.extend_pairs(parameters);
            query.append_pair("iss", &state.url);
        }
        Redirect::to(location.as_str()).into_response()
    }

    fn fail(&self, state: &AppState, error: &str, text: &str) -> Response {
        self.answer(state, &[("error", error), ("error_description", text)])
    }
}

async fn authorize(
    State(state): State<AppState>,
    Extension(note): Extension<Note>,
    Query(request): Query<AuthorizationRequest>,
    headers: HeaderMap,
) -> Response {
    let client = match client::find(&state, &request.client_id).await {
        Ok(Some(client)) => client,
        Ok(None) => {
            return refuse(
                "Your client is not authorized to connect. Please inform the administrator of your client.",
            );
        }
        Err(error) => return error.into_response(),
    };
    // Until the redirect URI is known to be the client's, nothing may be sent there.
    let redirect_uri = request.redirect_uri.as_deref().unwrap_or_default();
    if !client.may_redirect_to(redirect_uri) {
        return refuse(
            "The received redirect URI is not accepted to connect. Please inform the administrator of your client.",
        );
    }
    let challenge = match check(&request, &client) {
        Ok(challenge) => challenge,
        Err((error, text)) => return request.fail(&state, error, text),
    };

    let browser = match Browser::find(&state, &headers) {
        Ok(browser) => browser,
        Err(error) => return error.into_response(),
    };
    let Some(browser) = browser else {
        if request.prompts("none") {
            return request.fail(&state, "login_required", "The user is not logged in.");
        }
        // The login that follows is the one asked for.
        let then = request.without_prompt("login").at("redirect");
        return login_required(&state, &headers, &then);
    };
    note.user(&browser.account.id);
    if request.prompts("login") {
        let then = request.without_prompt("login").at("redirect");
        let cookies = state.login.sessions.end(&browser.session);
        return cookies.on(login_required(&state, &headers, &then));
    }
    match consented_scope(&state, &browser, &client, &request) {
        Ok(Some(scope)) => give_code(&state, &browser, request, scope, challenge),
        Ok(None) if request.prompts("none") => {
            request.fail(&state, "consent_required", "The user has not consented.")
        }
        Ok(None) => {
            state
                .login
                .sessions
                .with(&browser.session, |session| session.pending = Some(request));
            Redirect::to(&format!("{}/apps/oidc/consent", state.url)).into_response()
        }
        Err(error) => error.into_response(),
    }
}

/// Checks everything that is answered to the client by way of its redirect URI.
fn check(
    request: &AuthorizationRequest,
    client: &Client,
) -> Result<Option<Challenge>, (&'static str, &'static str)> {
    if request.response_type.as_deref() != Some("code") {
        return Err((
            "unsupported_response_type",
            "Only the response type code is supported.",
        ));
    }
    if let Some(resource) = &request.resource
        && !url::Url::parse(resource).is_ok_and(|url| url.fragment().is_none())
    {
        return Err((
            "invalid_target",
            "The resource is no absolute URL without a fragment.",
        ));
    }
    let method = request.code_challenge_method.as_deref();
    let challenge = match (&request.code_challenge, method) {
        (None, None) => None,
        (None, Some(_)) => return Err(("invalid_request", "The code_challenge is missing.")),
        (Some(value), Some("S256")) => Some(Challenge::S256(value.clone())),
        (Some(value), None | Some("plain")) => Some(Challenge::Plain(value.clone())),
        (Some(_), Some(_)) => {
            return Err((
                "invalid_request",
                "The code_challenge_method is not supported.",
            ));
        }
    };
    if challenge.is_none() && client.secret.is_none() {
        return Err(("invalid_request", "A public client must use PKCE."));
    }
    Ok(challenge)
}

/// The scope to grant, or `None` where the user has to be asked first.
fn consented_scope(
    state: &AppState,
    browser: &Browser,
    client: &Client,
    request: &AuthorizationRequest,
) -> Result<Option<String>, StoreError> {
    let asked = client.allowed_scope(request.scope.as_deref().unwrap_or("openid profile email"));
    let fresh = state
        .login
        .sessions
        .with(&browser.session, |session| session.consent.take())
        .flatten()
        .filter(|fresh| fresh.client_id == client.id);
    if let Some(fresh) = fresh {
        return Ok(Some(within(&asked, &fresh.scope)));
    }
    if !state.config.consent {
        return Ok(Some(asked));
    }
    if request.prompts("consent") {
        return Ok(None);
    }
    let earlier = state
        .store
        .consented_scope(&browser.account.id, &client.id)?;
    Ok(earlier
        .filter(|earlier| within(&asked, earlier) == asked)
        .map(|_| asked))
}

/// The words of `asked` that are in `allowed`.
pub(super) fn within(asked: &str, allowed: &str) -> String {
    let allowed: Vec<&str> = allowed.split_whitespace().collect();
    let words: Vec<&str> = asked
        .split_whitespace()
        .filter(|word| allowed.contains(word))
        .collect();
    words.join(" ")
}

fn give_code(
    state: &AppState,
    browser: &Browser,
    request: AuthorizationRequest,
    scope: String,
    challenge: Option<Challenge>,
) -> Response {
    let value = crate::secret::random_alphanumeric(128);
    let code = Code::new(
        &request,
        browser.account.id.clone(),
        browser.auth_time,
        scope,
        challenge,
    );
    state.oidc.keep_code(digest(&value), code);
    request.answer(state, &[("code", &value)])
}

/// The page that the login leads to; its script goes on to the authorization endpoint.
async fn redirect_page(
    State(state): State<AppState>,
    Query(request): Query<AuthorizationRequest>,
    browser: Browser,
) -> Response {
    let mut attributes = String::new();
    for (name, value) in request.pairs() {
        let name = name.replace('_', "-");
        attributes += &format!("\n\tdata-{name}=\"{}\"", escape(value));
    }
    Page {
        title: "Nextcloud",
        account: Some(&browser.account),
        scripts: &["/apps/oidc/js/oidc-redirect.js"],
        content: &format!("<div id=\"oidc-redirect\"{attributes}></div>"),
        ..Page::default()
    }
    .render(&state, &browser.session)
}

/// An error that must not be sent to an unproven redirect URI.
fn refuse(text: &str) -> Response {
    let html = format!(
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>Error</title></head>\n\
         <body id=\"body-login\"><div class=\"error\"><h2>Error</h2>\n<p>{text}</p></div></body></html>\n"
    );
    (StatusCode::BAD_REQUEST, axum::response::Html(html)).into_response()
}

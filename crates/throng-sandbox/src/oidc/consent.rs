//! The page that asks the user whether a client may have what it asks for.

use axum::Router;
use axum::extract::{Form, State};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use http::{HeaderMap, StatusCode};
use serde::Deserialize;

use super::authorize::{AuthorizationRequest, within};
use super::client;
use crate::nextcloud::{Browser, CsrfFailed, Page, check_request_token};
use crate::ocs::escape;
use crate::state::AppState;

/// A consent that the next authorization request of this session may use.
#[derive(Clone, Debug)]
pub(crate) struct FreshConsent {
    pub(super) client_id: String,
    pub(super) scope: String,
}

pub(super) fn router() -> Router<AppState> {
    Router::new()
        .route("/apps/oidc/consent", get(page))
        .route("/apps/oidc/consent/grant", post(grant))
        .route("/apps/oidc/consent/deny", post(deny))
}

async fn page(State(state): State<AppState>, browser: Browser) -> Response {
    let pending = state
        .login
        .sessions
        .with(&browser.session, |session| session.pending.clone())
        .flatten();
    let Some(request) = pending else {
        return nothing_pending();
    };
    let client = match client::find(&state, &request.client_id).await {
        Ok(Some(client)) => client,
        Ok(None) => return nothing_pending(),
        Err(error) => return error.into_response(),
    };
    let scope = client.allowed_scope(request.scope.as_deref().unwrap_or("openid profile email"));
    let content = format!(
        "<div id=\"oidc-consent\"\n\tdata-client-name=\"{}\"\n\tdata-scopes=\"{}\"\n\t\
         data-client-id=\"{}\"></div>",
        escape(&client.name),
        escape(&scope),
        escape(&client.id),
    );
    Page {
        title: "Consent",
        account: Some(&browser.account),
        scripts: &["/apps/oidc/js/oidc-consent.js"],
        content: &content,
        ..Page::default()
    }
    .render(&state, &browser.session)
}

#[derive(Deserialize)]
struct Decision {
    #[serde(default)]
    scopes: String,
    requesttoken: Option<String>,
}

/// Why a decision does not count.
enum Undecided {
    Csrf(CsrfFailed),
    NothingPending,
}

impl From<CsrfFailed> for Undecided {
    fn from(failed: CsrfFailed) -> Self {
        Self::Csrf(failed)
    }
}

impl IntoResponse for Undecided {
    fn into_response(self) -> Response {
        match self {
            Self::Csrf(failed) => failed.into_response(),
            Self::NothingPending => nothing_pending(),
        }
    }
}

/// The authorization request that was decided on, if the form came from one of our pages.
fn decided(
    state: &AppState,
    browser: &Browser,
    headers: &HeaderMap,
    form: &Decision,
) -> Result<AuthorizationRequest, Undecided> {
    let token = form.requesttoken.as_deref();
    check_request_token(state, &browser.session, headers, token)?;
    state
        .login
        .sessions
        .with(&browser.session, |session| session.pending.take())
        .flatten()
        .ok_or(Undecided::NothingPending)
}

async fn grant(
    State(state): State<AppState>,
    browser: Browser,
    headers: HeaderMap,
    Form(form): Form<Decision>,
) -> Response {
    let request = match decided(&state, &browser, &headers, &form) {
        Ok(request) => request,
        Err(undecided) => return undecided.into_response(),
    };
    let asked = request.scope.as_deref().unwrap_or("openid profile email");
    let scope = within(asked, &form.scopes);
    let client_id = request.client_id.clone();
    let kept = state
        .store
        .keep_consent(&browser.account.id, &client_id, &scope);
    if let Err(error) = kept {
        return error.into_response();
    }
    state.login.sessions.with(&browser.session, |session| {
        session.consent = Some(FreshConsent { client_id, scope });
    });
    Redirect::to(&format!("{}{}", state.url, request.at("authorize"))).into_response()
}

async fn deny(
    State(state): State<AppState>,
    browser: Browser,
    headers: HeaderMap,
    Form(form): Form<Decision>,
) -> Response {
    match decided(&state, &browser, &headers, &form) {
        Ok(request) => {
            let text = "The user denied the request.";
            let parameters = [("error", "access_denied"), ("error_description", text)];
            request.answer(&state, &parameters)
        }
        Err(undecided) => undecided.into_response(),
    }
}

fn nothing_pending() -> Response {
    let text = "There is no authorization request waiting for your consent.";
    (StatusCode::BAD_REQUEST, text).into_response()
}

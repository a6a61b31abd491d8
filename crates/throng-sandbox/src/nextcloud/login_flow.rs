//! Login Flow v2: an application gets an app password that a person grants in a browser.
//!
//! The application starts a flow and polls; the person opens the flow's page, logs in and grants.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use axum::extract::{Extension, Form, Path, Query, State};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use http::{HeaderMap, StatusCode, header};
use serde::Deserialize;
use serde_json::json;

use super::pages::Page;
use super::session::{Browser, PendingFlow, check_request_token};
use crate::journal::Note;
use crate::ocs::escape;
use crate::secret::{Secret, random_alphanumeric};
use crate::state::AppState;

/// How long a flow may take.
const LIFETIME: Duration = Duration::from_secs(20 * 60);

/// The flows under way, by their login tokens.
#[derive(Debug, Default)]
pub(crate) struct LoginFlows(Mutex<HashMap<Secret, Flow>>);

#[derive(Debug)]
struct Flow {
    poll_token: Secret,
    application: String,
    started: Instant,
    granted: Option<(String, Secret)>,
}

impl LoginFlows {
    fn flows(&self) -> MutexGuard<'_, HashMap<Secret, Flow>> {
        let mut flows = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        flows.retain(|_, flow| flow.started.elapsed() < LIFETIME);
        flows
    }

    /// The application's name, if the flow still waits for a grant.
    fn application(&self, flow: &Secret) -> Option<String> {
        let flows = self.flows();
        let flow = flows.get(flow)?;
        flow.granted.is_none().then(|| flow.application.clone())
    }
}

pub(super) fn router() -> Router<AppState> {
    Router::new()
        .route("/login/v2", post(start))
        .route("/login/v2/poll", post(poll))
        .route("/login/v2/flow/{token}", get(landing))
        .route("/login/v2/flow", get(picker))
        .route("/login/v2/grant", get(grant_page).post(grant))
}

async fn start(State(state): State<AppState>, headers: HeaderMap) -> Response {
    let (poll_token, login_token) = (random_alphanumeric(128), random_alphanumeric(128));
    let application = headers
        .get(header::USER_AGENT)
        .and_then(|value| value.to_str().ok())
        .unwrap_or("unknown")
        .to_owned();
    let flow = Flow {
        poll_token: Secret::new(poll_token.as_str()),
        application,
        started: Instant::now(),
        granted: None,
    };
    state
        .login
        .flows
        .flows()
        .insert(Secret::new(login_token.as_str()), flow);
    Json(json!({
        "poll": { "token": poll_token, "endpoint": format!("{}/login/v2/poll", state.url) },
        "login": format!("{}/login/v2/flow/{login_token}", state.url),
    }))
    .into_response()
}

#[derive(Deserialize)]
struct Poll {
    token: String,
}

/// Gives the app password out once; 404 with an empty list before, after and for unknown tokens.
async fn poll(
    State(state): State<AppState>,
    Extension(note): Extension<Note>,
    Form(poll): Form<Poll>,
) -> Response {
    let mut flows = state.login.flows.flows();
    let finished = flows
        .iter()
        .find(|(_, flow)| flow.granted.is_some() && flow.poll_token.expose() == poll.token)
        .map(|(key, _)| key.clone());
    let granted = finished
        .and_then(|key| flows.remove(&key))
        .and_then(|flow| flow.granted);
    match granted {
        Some((user, password)) => {
            note.user(&user);
            Json(json!({
                "server": state.url,
                "loginName": user,
                "appPassword": password.expose(),
            }))
            .into_response()
        }
        None => (StatusCode::NOT_FOUND, Json(json!([]))).into_response(),
    }
}

async fn landing(
    State(state): State<AppState>,
    Path(token): Path<String>,
    headers: HeaderMap,
) -> Response {
    let flow = Secret::new(token);
    if state.login.flows.application(&flow).is_none() {
        return gone();
    }
    let (session, cookies) = state.login.sessions.open(&headers);
    let pending = PendingFlow {
        flow,
        state: Secret::new(random_alphanumeric(64)),
    };
    state
        .login
        .sessions
        .with(&session, |session| session.login_flow = Some(pending));
    cookies.on(Redirect::to(&format!("{}/login/v2/flow", state.url)))
}

/// The page that asks the person to log in; its link leads to the grant page by way of the login.
async fn picker(State(state): State<AppState>, headers: HeaderMap) -> Response {
    let sessions = &state.login.sessions;
    let Some(session) = sessions.find(&headers) else {
        return gone();
    };
    let pending = sessions.with(&session, |session| session.login_flow.clone());
    let Some(pending) = pending.flatten() else {
        return gone();
    };
    let Some(application) = state.login.flows.application(&pending.flow) else {
        return gone();
    };
    let link = format!("/login/v2/grant?stateToken={}", pending.state.expose());
    let content = format!(
        "<div class=\"picker-window\">\n<h2>Connect to your account</h2>\n\
         <p>Please log in before granting {} access to your Nextcloud account.</p>\n\
         <form id=\"login-form\" action=\"/login/v2/grant\" method=\"get\">\n\
         <input type=\"hidden\" name=\"stateToken\" value=\"{}\">\n\
         <input type=\"submit\" class=\"login primary\" value=\"Log in\">\n</form>\n\
         <a id=\"redirect-link\" href=\"{link}\">Log in</a>\n</div>",
        escape(&application),
        pending.state.expose(),
    );
    Page {
        title: "Connect to your account",
        content: &content,
        ..Page::default()
    }
    .render(&state, &session)
}

#[derive(Deserialize)]
struct GrantQuery {
    #[serde(rename = "stateToken", default)]
    state_token: String,
}

/// The session's flow, if the state token belongs to it and the flow still waits.
fn pending_flow(state: &AppState, browser: &Browser, token: &str) -> Option<(PendingFlow, String)> {
    let pending = state
        .login
        .sessions
        .with(&browser.session, |session| session.login_flow.clone())
        .flatten()
        .filter(|pending| pending.state.expose() == token)?;
    let application = state.login.flows.application(&pending.flow)?;
    Some((pending, application))
}

async fn grant_page(
    State(state): State<AppState>,
    Query(query): Query<GrantQuery>,
    browser: Browser,
) -> Response {
    let Some((pending, application)) = pending_flow(&state, &browser, &query.state_token) else {
        return gone();
    };
    let token = state
        .login
        .sessions
        .with(&browser.session, |session| session.page_token())
        .unwrap_or_default();
    let content = format!(
        "<div class=\"picker-window\">\n<h2>Account access</h2>\n\
         <p>Currently logged in as {} ({}).</p>\n\
         <p>You are about to grant {} access to your Nextcloud account.</p>\n\
         <form method=\"POST\" action=\"/login/v2/grant\">\n\
         <input type=\"hidden\" name=\"requesttoken\" value=\"{}\">\n\
         <input type=\"hidden\" name=\"stateToken\" value=\"{}\">\n\
         <input type=\"submit\" class=\"login primary\" value=\"Grant access\">\n</form>\n</div>",
        escape(&browser.account.display_name),
        escape(&browser.account.id),
        escape(&application),
        escape(&token),
        pending.state.expose(),
    );
    Page {
        title: "Account access",
        account: Some(&browser.account),
        content: &content,
        ..Page::default()
    }
    .render(&state, &browser.session)
}

#[derive(Deserialize)]
struct GrantForm {
    #[serde(rename = "stateToken", default)]
    state_token: String,
    requesttoken: Option<String>,
}

async fn grant(
    State(state): State<AppState>,
    browser: Browser,
    headers: HeaderMap,
    Form(form): Form<GrantForm>,
) -> Response {
    let token = form.requesttoken.as_deref();
    if let Err(failed) = check_request_token(&state, &browser.session, &headers, token) {
        return failed.into_response();
    }
    let Some((pending, application)) = pending_flow(&state, &browser, &form.state_token) else {
        return gone();
    };
    let password = match state
        .store
        .new_app_password(&browser.account.id, &application)
    {
        Ok(password) => password,
        Err(error) => return error.into_response(),
    };
    if let Some(flow) = state.login.flows.flows().get_mut(&pending.flow) {
        flow.granted = Some((browser.account.id.clone(), password));
    }
    state
        .login
        .sessions
        .with(&browser.session, |session| session.login_flow = None);
    Page {
        title: "Account connected",
        account: Some(&browser.account),
        content: "<div class=\"picker-window\"><h2>Account connected</h2>\
                  <p>Your client should now be connected! You can close this window.</p></div>",
        ..Page::default()
    }
    .render(&state, &browser.session)
}

fn gone() -> Response {
    let text = "State token does not match, or the login flow is over";
    (StatusCode::FORBIDDEN, text).into_response()
}

//! The login form and the logout.

use axum::Router;
use axum::extract::{Extension, Form, Query, State};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::get;
use http::{HeaderMap, HeaderValue, header};
use serde::Deserialize;
use serde_json::json;

use super::login_flow::LoginFlows;
use super::pages::Page;
use super::session::{Browser, Sessions, check_request_token};
use super::throttle::Throttle;
use crate::connection::Peer;
use crate::journal::Note;
use crate::secret::Secret;
use crate::state::AppState;

/// Where a login without a `redirect_url` leads.
const HOME: &str = "/apps/dashboard/";

/// What the login keeps in memory.
pub(crate) struct LoginState {
    pub(crate) sessions: Sessions,
    /// Slows down whoever sends wrong passwords.
    pub(crate) throttle: Throttle,
    pub(crate) flows: LoginFlows,
}

impl LoginState {
    pub(crate) fn new() -> Self {
        Self {
            sessions: Sessions::new(),
            throttle: Throttle::default(),
            flows: LoginFlows::default(),
        }
    }
}

pub(super) fn router() -> Router<AppState> {
    Router::new()
        .route("/login", get(form).post(submit))
        .route("/logout", get(logout))
        .route(HOME, get(home))
        .route("/", get(async || Redirect::to(HOME)))
}

#[derive(Deserialize)]
struct FormQuery {
    #[serde(default)]
    user: String,
    redirect_url: Option<String>,
}

async fn form(
    State(state): State<AppState>,
    Extension(peer): Extension<Peer>,
    Query(query): Query<FormQuery>,
    headers: HeaderMap,
) -> Response {
    match Browser::find(&state, &headers) {
        Ok(None) => {}
        Ok(Some(_)) => {
            return Redirect::to(&target(&state, query.redirect_url.as_deref())).into_response();
        }
        Err(error) => return error.into_response(),
    }
    let (session, cookies) = state.login.sessions.open(&headers);
    let errors = state
        .login
        .sessions
        .with(&session, |session| {
            std::mem::take(&mut session.login_errors)
        })
        .unwrap_or_default();
    let delay = if state.config.throttle {
        state.login.throttle.delay(peer.0).as_millis()
    } else {
        0
    };
    let mut states = vec![
        ("core-loginUsername", json!(query.user)),
        ("core-loginAutocomplete", json!(true)),
    ];
    if !errors.is_empty() {
        states.push(("core-loginErrors", json!(errors)));
        states.push(("core-loginMessages", json!([])));
    }
    if let Some(redirect_url) = &query.redirect_url {
        states.push(("core-loginRedirectUrl", json!(redirect_url)));
    }
    states.extend([
        (
            "core-loginThrottleDelay",
            json!(u64::try_from(delay).unwrap_or(u64::MAX)),
        ),
        ("core-loginResetPasswordLink", json!("")),
        ("core-loginCanResetPassword", json!(true)),
        ("core-hideLoginForm", json!(false)),
        ("core-alternativeLogins", json!([])),
    ]);
    let page = Page {
        title: "Login",
        states,
        scripts: &["/dist/core-login.js"],
        content: "<h1 class=\"hidden-visually\">Nextcloud</h1>\n<div id=\"login\"></div>",
        ..Page::default()
    };
    cookies.on(page.render(&state, &session))
}

#[derive(Deserialize)]
struct LoginForm {
    #[serde(default)]
    user: String,
    #[serde(default)]
    password: String,
    #[serde(default)]
    requesttoken: String,
    redirect_url: Option<String>,
}

async fn submit(
    State(state): State<AppState>,
    Extension(peer): Extension<Peer>,
    Extension(note): Extension<Note>,
    headers: HeaderMap,
    Form(form): Form<LoginForm>,
) -> Response {
    let target = target(&state, form.redirect_url.as_deref());
    let password = Secret::new(form.password);
    // Without a session, with a foreign origin or a wrong request token nothing is said about it:
    // the browser is sent on as if it had logged in.
    let Some(session) = state.login.sessions.find(&headers) else {
        return Redirect::to(&target).into_response();
    };
    let foreign = headers
        .get(header::ORIGIN)
        .is_some_and(|origin| !is_own_origin(&state, &headers, origin));
    let token = Some(form.requesttoken.as_str());
    if foreign || check_request_token(&state, &session, &headers, token).is_err() {
        return Redirect::to(&target).into_response();
    }

    state
        .login
        .throttle
        .wait(peer.0, state.config.throttle)
        .await;
    let account = match state.store.check_password(&form.user, password.expose()) {
        Ok(account) => account,
        Err(error) => return error.into_response(),
    };
    let Some(account) = account else {
        state.login.throttle.failed(peer.0, &form.user);
        state.login.sessions.with(&session, |session| {
            session.login_errors = vec!["invalidpassword"];
        });
        let mut query = url::form_urlencoded::Serializer::new(String::new());
        query
            .append_pair("direct", "1")
            .append_pair("user", &form.user);
        if let Some(redirect_url) = &form.redirect_url {
            query.append_pair("redirect_url", redirect_url);
        }
        return Redirect::to(&format!("{}/login?{}", state.url, query.finish())).into_response();
    };
    note.user(&account.id);
    state.login.throttle.succeeded(peer.0, &account.id);
    match state.login.sessions.log_in(&session, &account) {
        Some(cookies) => cookies.on(Redirect::to(&target)),
        // The session was ended by another request while the password was checked.
        None => Redirect::to(&target).into_response(),
    }
}

/// Whether a form was sent from a page of this server, under its public or its other names.
fn is_own_origin(state: &AppState, headers: &HeaderMap, origin: &HeaderValue) -> bool {
    let host = headers
        .get(header::HOST)
        .and_then(|value| value.to_str().ok());
    *origin == state.url.as_str() || host.is_some_and(|host| *origin == format!("http://{host}"))
}

/// The absolute URL that a login leads to. Only paths of this server are followed.
fn target(state: &AppState, redirect_url: Option<&str>) -> String {
    let path = redirect_url
        .filter(|path| path.starts_with('/') && !path.starts_with("//") && !path.contains('\\'))
        .unwrap_or(HOME);
    format!("{}{path}", state.url)
}

#[derive(Deserialize)]
struct LogoutQuery {
    requesttoken: Option<String>,
}

async fn logout(
    State(state): State<AppState>,
    Query(query): Query<LogoutQuery>,
    browser: Browser,
    headers: HeaderMap,
) -> Response {
    let token = query.requesttoken.as_deref();
    if let Err(failed) = check_request_token(&state, &browser.session, &headers, token) {
        return failed.into_response();
    }
    let cookies = state.login.sessions.end(&browser.session);
    cookies.on(Redirect::to(&format!("{}/login?clear=1", state.url)))
}

async fn home(State(state): State<AppState>, browser: Browser) -> Response {
    Page {
        title: "Dashboard",
        account: Some(&browser.account),
        content: "<div id=\"app-dashboard\"></div>",
        ..Page::default()
    }
    .render(&state, &browser.session)
}

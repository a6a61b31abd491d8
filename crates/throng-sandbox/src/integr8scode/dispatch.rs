//! The way of every request: CSRF, rate limit, route, login, handler, in the order of the real server.

use std::ops::Deref;
use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use axum::Router;
use axum::extract::{Request, State};
use axum::response::Response;
use axum::routing::any;
use http::{HeaderName, Method, StatusCode, header};
use serde_json::{Value, json};

use super::bugs::Bug;
use super::call::{Call, Cookies, Sent};
use super::config::Integr8scodeConfig;
use super::csrf::Signer;
use super::limits::{Allowance, Lockout, RateLimiter, client_address};
use super::reply::{self, Refusal};
use super::routes::{self, Operation, PREFIX, ROUTES};
use super::world::{User, World};
use super::{accounts, executions, open, personal, scripts, streams};
use crate::connection::Peer;
use crate::journal::{Note, percent_decoded};
use crate::timestamp::{rfc3339_millis, unix_millis};

/// What every handler can reach; clones share it.
#[derive(Clone)]
pub(super) struct App(Arc<Shared>);

/// The parts of [`App`].
pub(super) struct Shared {
    pub(super) config: Integr8scodeConfig,
    pub(super) world: World,
    pub(super) signer: Signer,
    pub(super) limiter: RateLimiter,
    pub(super) lockout: Lockout,
    pub(super) started: Instant,
    /// The OpenAPI document.
    pub(super) document: Value,
}

impl App {
    pub(super) fn new(shared: Shared) -> Self {
        Self(Arc::new(shared))
    }

    pub(super) fn has(&self, bug: Bug) -> bool {
        self.config.bugs.has(bug)
    }
}

impl Deref for App {
    type Target = Shared;

    fn deref(&self) -> &Shared {
        &self.0
    }
}

/// All routes. Each leads to the same place: axum only names them for the journal.
pub(super) fn router(app: App) -> Router {
    let alerts = app.config.alerts;
    ROUTES
        .iter()
        .filter(|route| route.served(alerts))
        .fold(Router::new(), |router, route| {
            router.route(&format!("{PREFIX}{}", route.path), any(dispatch))
        })
        .fallback(dispatch)
        .with_state(app)
}

async fn dispatch(State(app): State<App>, request: Request) -> Response {
    // Whole before anything else: an answer before the body's end would cost the connection.
    let (request, body) = Sent::read(request).await;
    let cookies = Cookies::parse(request.headers());
    if let Err(refusal) = check_csrf(&app, &request, &cookies) {
        return refusal.into_response();
    }
    let allowance = ask_limiter(&app, &request);
    let mut response = match &allowance {
        Some(allowance) if !allowance.allowed => too_many(allowance),
        _ => match routed(&app, request, body, cookies).await {
            Ok(response) => response,
            Err(refusal) => refusal.into_response(),
        },
    };
    if let Some(allowance) = allowance {
        name_limits(&mut response, &allowance);
    }
    response
}

/// Double submit: where a session's cookie is, the header must repeat the token's cookie, and the token
/// must be one that was made here for this session.
fn check_csrf(app: &App, request: &Request<()>, cookies: &Cookies) -> Result<(), Refusal> {
    let path = request.uri().path();
    let safe = matches!(
        *request.method(),
        Method::GET | Method::HEAD | Method::OPTIONS
    );
    let exempt = path == "/api/v1/auth/login" || path == "/api/v1/auth/register";
    let unchecked = app.has(Bug::CsrfUncheckedRoute) && path == "/api/v1/user/settings/theme";
    if safe || exempt || unchecked || !path.starts_with("/api/") {
        return Ok(());
    }
    let Some(access_token) = cookies.access_token() else {
        return Ok(());
    };
    let header = request
        .headers()
        .get("x-csrf-token")
        .and_then(|value| value.to_str().ok());
    let good = header.is_some_and(|header| {
        Some(header) == cookies.csrf_token() && app.signer.belongs(header, access_token)
    });
    if good {
        Ok(())
    } else {
        Err(Refusal::Plain(
            StatusCode::FORBIDDEN,
            "CSRF validation failed",
        ))
    }
}

fn ask_limiter(app: &App, request: &Request<()>) -> Option<Allowance> {
    if !app.config.rate_limits {
        return None;
    }
    let Peer(peer) = request.extensions().get::<Peer>()?;
    let forwarded = request.headers().get("x-forwarded-for");
    let forwarded = forwarded.and_then(|value| value.to_str().ok());
    let address = client_address(*peer, forwarded);
    app.limiter
        .ask(address, request.uri().path(), Instant::now())
}

fn too_many(allowance: &Allowance) -> Response {
    let seconds = allowance.reset.as_secs() + 1;
    let millis = i64::try_from(allowance.reset.as_millis()).unwrap_or(i64::MAX);
    let body = json!({
        "detail": "Rate limit exceeded",
        "retry_after": seconds,
        "reset_at": rfc3339_millis(unix_millis().saturating_add(millis)),
    });
    let mut response = reply::json_with(StatusCode::TOO_MANY_REQUESTS, &body);
    reply::set(&mut response, header::RETRY_AFTER, &seconds.to_string());
    response
}

fn name_limits(response: &mut Response, allowance: &Allowance) {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    let reset = now + allowance.reset;
    for (name, value) in [
        ("x-ratelimit-limit", allowance.limit.to_string()),
        ("x-ratelimit-remaining", allowance.remaining.to_string()),
        ("x-ratelimit-reset", reset.as_secs().to_string()),
    ] {
        reply::set(response, HeaderName::from_static(name), &value);
    }
}

async fn routed(
    app: &App,
    request: Request<()>,
    body: Sent,
    cookies: Cookies,
) -> Result<Response, Refusal> {
    let alerts = app.config.alerts;
    let path = request.uri().path();
    let Some((route, parameter)) = routes::find(path, alerts) else {
        return match other_slash(path).filter(|path| routes::find(path, alerts).is_some()) {
            Some(path) => Ok(redirect(&request, &path)),
            None => Err(Refusal::Plain(StatusCode::NOT_FOUND, "Not Found")),
        };
    };
    let Some(operation) = route.operation(request.method()) else {
        let refusal = Refusal::Plain(StatusCode::METHOD_NOT_ALLOWED, "Method Not Allowed");
        let mut response = refusal.into_response();
        reply::set(&mut response, header::ALLOW, &route.allow());
        return Ok(response);
    };
    let parameter = percent_decoded(parameter);
    let user = cookies
        .access_token()
        .and_then(|token| app.world.session(token));
    let note = request
        .extensions()
        .get::<Note>()
        .cloned()
        .unwrap_or_default();
    if let Some(user) = &user {
        note.user(&user.username);
    }
    let call = Call::new(app.clone(), parameter, cookies, note, request, body);
    if !operation.protected() {
        return open_operation(operation, &call).await;
    }
    match user {
        Some(user) => own_operation(operation, &call, user),
        None => Err(Refusal::Domain(
            StatusCode::UNAUTHORIZED,
            "AuthenticationRequiredError",
            "Not authenticated".to_owned(),
        )),
    }
}

async fn open_operation(operation: Operation, call: &Call) -> Result<Response, Refusal> {
    match operation {
        Operation::Register => accounts::register(call).await,
        Operation::Login => accounts::login(call),
        Operation::Logout => Ok(accounts::logout(call)),
        Operation::ExampleScripts => Ok(open::example_scripts()),
        Operation::Limits => Ok(open::limits(call)),
        Operation::Live => Ok(open::live(call)),
        Operation::Grafana => open::grafana(call),
        // Nothing else is open: see `Operation::protected`.
        _ => Ok(reply::ok(&call.app.document)),
    }
}

fn own_operation(operation: Operation, call: &Call, user: Arc<User>) -> Result<Response, Refusal> {
    match operation {
        Operation::Execute => executions::execute(call, &user),
        Operation::Result => executions::result(call, &user),
        Operation::Events => executions::events(call, &user),
        Operation::Cancel => executions::cancel(call, &user),
        Operation::Retry => executions::retry(call, &user),
        Operation::ListExecutions => executions::list(call, &user),
        Operation::ExecutionStream => streams::execution(call, &user),
        Operation::NotificationStream => Ok(streams::notifications(call, user)),
        Operation::CreateScript => scripts::create(call, &user),
        Operation::ListScripts => Ok(scripts::list(call, &user)),
        Operation::GetScript => scripts::get(call, &user),
        Operation::UpdateScript => scripts::update(call, &user),
        Operation::DeleteScript => scripts::delete(call, &user),
        Operation::GetSettings => Ok(reply::ok(&user.settings())),
        Operation::SetTheme => personal::set_theme(call, &user),
        Operation::ListNotifications => personal::notifications(call, &user),
        Operation::MarkAllRead => Ok(personal::mark_all_read(&user)),
        // Nothing else is protected: see `Operation::protected`.
        _ => Ok(reply::ok(&user.json())),
    }
}

/// The path with a slash at its end, or without the one that it has.
fn other_slash(path: &str) -> Option<String> {
    match path.strip_suffix('/') {
        Some("") => None,
        Some(shorter) => Some(shorter.to_owned()),
        None => Some(format!("{path}/")),
    }
}

/// To the same place with or without a slash at the end, by an absolute URL.
fn redirect(request: &Request<()>, path: &str) -> Response {
    let mut response = Response::default();
    *response.status_mut() = StatusCode::TEMPORARY_REDIRECT;
    let host = request
        .headers()
        .get(header::HOST)
        .and_then(|host| host.to_str().ok());
    let scheme = request
        .extensions()
        .get::<Scheme>()
        .map_or("http", |scheme| scheme.0);
    let query = request
        .uri()
        .query()
        .map(|query| format!("?{query}"))
        .unwrap_or_default();
    let origin = host
        .map(|host| format!("{scheme}://{host}"))
        .unwrap_or_default();
    reply::set(
        &mut response,
        header::LOCATION,
        &format!("{origin}{path}{query}"),
    );
    response
}

/// `http` or `https`, in the extensions of every request.
#[derive(Clone, Copy)]
pub(super) struct Scheme(pub(super) &'static str);

//! Browser sessions: the cookies, the request token against CSRF, and who is logged in.
//!
//! Sessions live in memory and die with the process. What a page wants to remember between two
//! requests of one browser is a field of [`Session`].

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use axum::extract::FromRequestParts;
use axum::response::{IntoResponse, Redirect, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use serde_json::json;

use crate::journal::Note;
use crate::oidc::{AuthorizationRequest, FreshConsent};
use crate::secret::{Secret, random_alphanumeric};
use crate::state::AppState;
use crate::store::{Account, StoreError, unix_now};

/// PHP forgets a session that has not been used for this long.
const IDLE: Duration = Duration::from_secs(1440);

/// What is remembered of one browser.
#[derive(Debug)]
pub(crate) struct Session {
    passphrase: Secret,
    request_token: [u8; 32],
    last_used: Instant,
    /// The user logged in, and when that was (seconds since 1970).
    pub(crate) login: Option<(String, i64)>,
    /// Shown once by the next login page.
    pub(crate) login_errors: Vec<&'static str>,
    /// The authorization that waits for the user's consent.
    pub(crate) pending: Option<AuthorizationRequest>,
    /// The consent just given, used up by the next authorization.
    pub(crate) consent: Option<FreshConsent>,
    /// The login flow v2 that this browser was sent for.
    pub(crate) login_flow: Option<PendingFlow>,
}

/// A login flow v2 within a browser's session.
#[derive(Clone, Debug)]
pub(crate) struct PendingFlow {
    /// The flow's login token.
    pub(crate) flow: Secret,
    /// Ties the grant page to this session.
    pub(crate) state: Secret,
}

/// The value of the session cookie.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct SessionId(Secret);

/// All sessions.
#[derive(Debug)]
pub(crate) struct Sessions {
    /// The session cookie's name.
    instance_id: String,
    map: Mutex<HashMap<SessionId, Session>>,
}

impl Sessions {
    pub(crate) fn new() -> Self {
        Self {
            instance_id: format!("oc{}", random_alphanumeric(10).to_lowercase()),
            map: Mutex::default(),
        }
    }

    fn map(&self) -> MutexGuard<'_, HashMap<SessionId, Session>> {
        self.map.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The session that the request's cookies name, if it still exists.
    pub(crate) fn find(&self, headers: &HeaderMap) -> Option<SessionId> {
        let id = SessionId(Secret::new(cookie(headers, &self.instance_id)?));
        let mut map = self.map();
        let session = map.get_mut(&id)?;
        let passphrase = cookie(headers, "oc_sessionPassphrase")?;
        if session.passphrase.expose() != passphrase {
            return None;
        }
        session.last_used = Instant::now();
        Some(id)
    }

    /// The request's session, or a new one with the cookies that make it the browser's.
    pub(crate) fn open(&self, headers: &HeaderMap) -> (SessionId, Cookies) {
        if let Some(id) = self.find(headers) {
            return (id, Cookies::default());
        }
        let id = SessionId(Secret::new(random_alphanumeric(26).to_lowercase()));
        let passphrase = random_alphanumeric(128);
        let mut cookies = Cookies::default();
        cookies.set("oc_sessionPassphrase", &passphrase);
        cookies.set(&self.instance_id, id.0.expose());
        cookies.add("nc_sameSiteCookielax=true; path=/; httponly; SameSite=lax");
        cookies.add("nc_sameSiteCookiestrict=true; path=/; httponly; SameSite=strict");
        let session = Session {
            passphrase: Secret::new(passphrase),
            request_token: rand::random(),
            last_used: Instant::now(),
            login: None,
            login_errors: Vec::new(),
            pending: None,
            consent: None,
            login_flow: None,
        };
        let mut map = self.map();
        // Only when the map would grow anyway, so that the sweep's cost stays in proportion.
        if map.len() == map.capacity() {
            map.retain(|_, session| session.last_used.elapsed() < IDLE);
        }
        map.insert(id.clone(), session);
        (id, cookies)
    }

    /// Reads or changes a session; `None` where it is gone.
    pub(crate) fn with<T>(
        &self,
        id: &SessionId,
        work: impl FnOnce(&mut Session) -> T,
    ) -> Option<T> {
        self.map().get_mut(id).map(work)
    }

    /// Logs a user in. The session gets a new id and request token (against fixation).
    pub(crate) fn log_in(&self, id: &SessionId, account: &Account) -> Option<Cookies> {
        let new_id = SessionId(Secret::new(random_alphanumeric(26).to_lowercase()));
        let mut map = self.map();
        let mut session = map.remove(id)?;
        session.request_token = rand::random();
        session.login = Some((account.id.clone(), unix_now()));
        session.login_errors.clear();
        map.insert(new_id.clone(), session);
        drop(map);
        let mut cookies = Cookies::default();
        cookies.set(&self.instance_id, new_id.0.expose());
        cookies.remember("nc_username", &account.id);
        cookies.remember("nc_token", &random_alphanumeric(32));
        cookies.remember("nc_session_id", new_id.0.expose());
        Some(cookies)
    }

    /// Ends a session; the cookies tell the browser to forget it.
    pub(crate) fn end(&self, id: &SessionId) -> Cookies {
        self.map().remove(id);
        let mut cookies = Cookies::default();
        for name in [
            self.instance_id.as_str(),
            "oc_sessionPassphrase",
            "nc_username",
            "nc_token",
            "nc_session_id",
        ] {
            cookies.add(&format!("{name}=deleted; path=/; Max-Age=0; httponly"));
        }
        cookies
    }
}

impl Session {
    /// A request token for a page: the session's token under a new one-time pad, so that it differs
    /// on every page.
    pub(crate) fn page_token(&self) -> String {
        let pad: [u8; 32] = rand::random();
        let masked = xor(self.request_token, pad);
        format!("{}:{}", STANDARD.encode(masked), STANDARD.encode(pad))
    }

    /// Whether a request token came from one of this session's pages.
    pub(crate) fn accepts(&self, token: &str) -> bool {
        let decode = |text| <[u8; 32]>::try_from(STANDARD.decode(text).ok()?).ok();
        token
            .split_once(':')
            .and_then(|(masked, pad)| Some(xor(decode(masked)?, decode(pad)?)))
            .is_some_and(|token| token == self.request_token)
    }
}

fn xor(mut left: [u8; 32], right: [u8; 32]) -> [u8; 32] {
    for (byte, other) in left.iter_mut().zip(right) {
        *byte ^= other;
    }
    left
}

/// Cookies to be set with a response.
#[derive(Clone, Debug, Default)]
pub(crate) struct Cookies(Vec<(HeaderName, HeaderValue)>);

impl Cookies {
    fn set(&mut self, name: &str, value: &str) {
        self.add(&format!("{name}={value}; path=/; HttpOnly; SameSite=Lax"));
    }

    fn remember(&mut self, name: &str, value: &str) {
        // User ids may have characters that a cookie may not.
        let value: String = url::form_urlencoded::byte_serialize(value.as_bytes()).collect();
        self.add(&format!(
            "{name}={value}; path=/; Max-Age=1296000; HttpOnly; SameSite=Lax"
        ));
    }

    fn add(&mut self, cookie: &str) {
        // Names and values are ASCII by construction.
        if let Ok(mut value) = HeaderValue::from_str(cookie) {
            value.set_sensitive(true);
            self.0.push((header::SET_COOKIE, value));
        }
    }

    /// Puts the cookies on a response.
    pub(crate) fn on(self, response: impl IntoResponse) -> Response {
        let mut response = response.into_response();
        for (name, value) in self.0 {
            response.headers_mut().append(name, value);
        }
        response
    }
}

/// The value of one of the request's cookies.
fn cookie<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers
        .get_all(header::COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .find(|(key, _)| *key == name)
        .map(|(_, value)| value)
}

/// A browser with a user logged in. As an extractor it sends others to the login page, or answers 401
/// where the client does not accept HTML.
#[derive(Clone, Debug)]
pub(crate) struct Browser {
    pub(crate) session: SessionId,
    pub(crate) account: Account,
    /// When the user logged in, in seconds since 1970.
    pub(crate) auth_time: i64,
}

impl Browser {
    /// The browser's user, if one is logged in.
    pub(crate) fn find(state: &AppState, headers: &HeaderMap) -> Result<Option<Self>, StoreError> {
        let sessions = &state.login.sessions;
        let Some(session) = sessions.find(headers) else {
            return Ok(None);
        };
        let login = sessions.with(&session, |session| session.login.clone());
        let Some((user, auth_time)) = login.flatten() else {
            return Ok(None);
        };
        let account = state.store.account(&user)?;
        Ok(account.map(|account| Self {
            session,
            account,
            auth_time,
        }))
    }
}

impl FromRequestParts<AppState> for Browser {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, Response> {
        let found = Self::find(state, &parts.headers).map_err(IntoResponse::into_response)?;
        if let Some(browser) = found {
            if let Some(note) = parts.extensions.get::<Note>() {
                note.user(&browser.account.id);
            }
            return Ok(browser);
        }
        let here = parts.uri.path_and_query().map_or("/", |path| path.as_str());
        Err(login_required(state, &parts.headers, here))
    }
}

/// What a page answers that needs a login: 303 to the login page for a browser, else 401 in JSON.
pub(crate) fn login_required(state: &AppState, headers: &HeaderMap, then: &str) -> Response {
    let accepts_html = headers
        .get_all(header::ACCEPT)
        .iter()
        .any(|value| value.to_str().is_ok_and(|value| value.contains("html")));
    if !accepts_html {
        let body = json!({ "message": "Current user is not logged in" });
        return (StatusCode::UNAUTHORIZED, axum::Json(body)).into_response();
    }
    let query = url::form_urlencoded::Serializer::new(String::new())
        .append_pair("redirect_url", then)
        .finish();
    Redirect::to(&format!("{}/login?{query}", state.url)).into_response()
}

/// A request that did not come from one of the session's own pages; Nextcloud's 412.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CsrfFailed;

impl IntoResponse for CsrfFailed {
    fn into_response(self) -> Response {
        let body = axum::Json(json!({ "message": "CSRF check failed" }));
        (StatusCode::PRECONDITION_FAILED, body).into_response()
    }
}

/// Checks the request token of a form or of the `requesttoken` header, and the cookie that a browser
/// sends with requests from the same site only.
pub(crate) fn check_request_token(
    state: &AppState,
    session: &SessionId,
    headers: &HeaderMap,
    field: Option<&str>,
) -> Result<(), CsrfFailed> {
    let token = headers
        .get("requesttoken")
        .and_then(|value| value.to_str().ok())
        .or(field)
        .unwrap_or_default();
    let good = state
        .login
        .sessions
        .with(session, |session| session.accepts(token));
    let same_site = cookie(headers, "nc_sameSiteCookiestrict") == Some("true");
    if same_site && good == Some(true) {
        return Ok(());
    }
    Err(CsrfFailed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn jar(cookies: &Cookies) -> HeaderMap {
        let pairs: Vec<&str> = cookies
            .0
            .iter()
            .filter_map(|(_, value)| value.to_str().ok()?.split(';').next())
            .collect();
        let mut headers = HeaderMap::new();
        headers.insert(header::COOKIE, pairs.join("; ").parse().unwrap());
        headers
    }

    #[test]
    fn a_session_is_found_by_both_cookies_only() {
        let sessions = Sessions::new();
        let (id, cookies) = sessions.open(&HeaderMap::new());
        let headers = jar(&cookies);
        assert_eq!(sessions.find(&headers), Some(id));
        let mut stripped = HeaderMap::new();
        let value = format!(
            "{}={}",
            sessions.instance_id,
            cookie(&headers, &sessions.instance_id).unwrap()
        );
        stripped.insert(header::COOKIE, value.parse().unwrap());
        assert_eq!(sessions.find(&stripped), None);
    }

    #[test]
    fn request_tokens_differ_and_belong_to_their_session_until_the_login() {
        let sessions = Sessions::new();
        let (id, _) = sessions.open(&HeaderMap::new());
        let (other, _) = sessions.open(&HeaderMap::new());
        let (first, second) = sessions
            .with(&id, |session| (session.page_token(), session.page_token()))
            .unwrap();
        assert_ne!(first, second);
        assert_eq!(
            sessions.with(&id, |session| session.accepts(&first)),
            Some(true)
        );
        assert_eq!(
            sessions.with(&id, |session| session.accepts(&second)),
            Some(true)
        );
        assert_eq!(
            sessions.with(&other, |session| session.accepts(&first)),
            Some(false)
        );
        for bad in ["", ":", "a:b", "Tf3l:TdE="] {
            assert_eq!(
                sessions.with(&id, |session| session.accepts(bad)),
                Some(false)
            );
        }
    }

    #[test]
    fn a_login_changes_the_session_id() {
        let sessions = Sessions::new();
        let (id, cookies) = sessions.open(&HeaderMap::new());
        let account = Account {
            id: "a b".to_owned(),
            display_name: String::new(),
            email: String::new(),
            admin: false,
        };
        let login = sessions.log_in(&id, &account).unwrap();
        assert_eq!(sessions.find(&jar(&cookies)), None);
        assert!(sessions.with(&id, |_| ()).is_none());
        let shown = format!("{login:?}");
        assert!(
            shown.contains("Sensitive") && !shown.contains("nc_token"),
            "{shown}"
        );
    }
}

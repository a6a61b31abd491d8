//! `/api/v1/users/{uid}/app-password`: a user gives the MCP server an app password, and may look at it and take it back.
//!
//! The real server keeps the password and works with it. Here it only has to be proven: that there is one is what is kept.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::Json;
use axum::extract::{Path, Request, State};
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use rusqlite::OptionalExtension;
use serde_json::{Value, json};

use crate::auth::basic;
use crate::journal::Note;
use crate::secret::Secret;
use crate::state::AppState;
use crate::store::{Store, StoreError};

pub(crate) const SCHEMA: &str = "
CREATE TABLE IF NOT EXISTS mcp_app_passwords (
    account TEXT PRIMARY KEY COLLATE NOCASE REFERENCES accounts (id) ON DELETE CASCADE,
    scopes  TEXT                         -- a JSON list that narrows what the token grants; null narrows nothing
) STRICT, WITHOUT ROWID;
";

/// How often a user may try in [`WINDOW`].
const ATTEMPTS: usize = 5;
const WINDOW: Duration = Duration::from_secs(3600);

/// Who tried, and when, within the last hour.
#[derive(Debug, Default)]
pub(crate) struct Attempts(Mutex<HashMap<String, Vec<Instant>>>);

impl Attempts {
    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, Vec<Instant>>> {
        // Each update is a single push: nothing can be half done.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How long the user has to wait, if at all.
    fn wait(&self, user: &str, now: Instant) -> Option<Duration> {
        let mut users = self.lock();
        let attempts = users.get_mut(user)?;
        attempts.retain(|at| now.duration_since(*at) < WINDOW);
        let oldest = attempts.first().copied()?;
        (attempts.len() >= ATTEMPTS).then(|| WINDOW.saturating_sub(now.duration_since(oldest)))
    }

    fn record(&self, user: &str, now: Instant) {
        self.lock().entry(user.to_owned()).or_default().push(now);
    }
}

/// What a user allowed the MCP server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Provisioned {
    No,
    /// All that the token grants.
    Unrestricted,
    /// Of that, only these scopes.
    Only(Vec<String>),
}

/// Has the user given an app password?
pub(super) fn provisioned(store: &Store, user: &str) -> Result<Provisioned, StoreError> {
    let found = store.with(|db| {
        db.prepare_cached("SELECT scopes FROM mcp_app_passwords WHERE account = ?1")?
            .query_row([user], |row| row.get::<_, Option<String>>(0))
            .optional()
    })?;
    Ok(match found {
        None => Provisioned::No,
        Some(None) => Provisioned::Unrestricted,
        // Written below from a list of texts, so it reads as one.
        Some(Some(scopes)) => Provisioned::Only(serde_json::from_str(&scopes).unwrap_or_default()),
    })
}

/// Takes it that a user has given one: somebody without a password, such as the account of a service, cannot.
pub(crate) fn allow(store: &Store, user: &str) -> Result<(), StoreError> {
    store.with(|db| {
        db.prepare_cached(
            "INSERT INTO mcp_app_passwords (account) VALUES (?1) ON CONFLICT (account) DO NOTHING",
        )?
        .execute([user])
    })?;
    Ok(())
}

pub(super) async fn provision(
    State(state): State<AppState>,
    Path(user): Path<String>,
    request: Request,
) -> Result<Response, StoreError> {
    let (parts, body) = request.into_parts();
    let user = match authenticate(&state, &user, &parts, Success::IsAnAttempt)? {
        Ok(user) => user,
        Err(response) => return Ok(response),
    };
    let body = axum::body::to_bytes(body, 64 * 1024)
        .await
        .unwrap_or_default();
    // A missing or malformed body is a call without extras.
    let scopes = serde_json::from_slice::<Value>(&body)
        .ok()
        .and_then(|body| body.get("scopes").cloned())
        .filter(Value::is_array);
    let text = scopes.as_ref().map(Value::to_string);
    state.store.with(|db| {
        db.prepare_cached(
            "INSERT INTO mcp_app_passwords (account, scopes) VALUES (?1, ?2)
             ON CONFLICT (account) DO UPDATE SET scopes = excluded.scopes",
        )?
        .execute((&user, text))
    })?;
    let message = format!("App password stored for {user}");
    let body = json!({ "success": true, "message": message, "scopes": scopes });
    Ok(Json(body).into_response())
}

pub(super) async fn status(
    State(state): State<AppState>,
    Path(user): Path<String>,
    request: Request,
) -> Result<Response, StoreError> {
    let (parts, _) = request.into_parts();
    let user = match authenticate(&state, &user, &parts, Success::IsNoAttempt)? {
        Ok(user) => user,
        Err(response) => return Ok(response),
    };
    let has = provisioned(&state.store, &user)? != Provisioned::No;
    let body = json!({ "success": true, "user_id": user, "has_app_password": has });
    Ok(Json(body).into_response())
}

pub(super) async fn remove(
    State(state): State<AppState>,
    Path(user): Path<String>,
    request: Request,
) -> Result<Response, StoreError> {
    let (parts, _) = request.into_parts();
    let user = match authenticate(&state, &user, &parts, Success::IsNoAttempt)? {
        Ok(user) => user,
        Err(response) => return Ok(response),
    };
    let removed = state.store.with(|db| {
        db.prepare_cached("DELETE FROM mcp_app_passwords WHERE account = ?1")?
            .execute([&user])
    })?;
    let message = if removed > 0 {
        format!("App password deleted for {user}")
    } else {
        "No app password found to delete".to_owned()
    };
    Ok(Json(json!({ "success": true, "message": message })).into_response())
}

/// Whether a request that succeeds counts against the limit, too.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Success {
    IsAnAttempt,
    IsNoAttempt,
}

/// The user, if the request carries their id and an app password of theirs; otherwise what to answer.
fn authenticate(
    state: &AppState,
    user: &str,
    parts: &http::request::Parts,
    success: Success,
) -> Result<Result<String, Response>, StoreError> {
    if let Some(note) = parts.extensions.get::<Note>() {
        note.user(user);
    }
    let Some((name, password)) = basic(&parts.headers) else {
        return Ok(Err(failure(
            StatusCode::UNAUTHORIZED,
            "Missing BasicAuth credentials",
        )));
    };
    if name != user {
        return Ok(Err(failure(
            StatusCode::FORBIDDEN,
            "Username does not match path user_id",
        )));
    }
    let now = Instant::now();
    if let Some(wait) = state.app_password_attempts.wait(user, now) {
        return Ok(Err(limited(wait)));
    }
    let refused = |status, message| {
        state.app_password_attempts.record(user, now);
        Ok(Err(failure(status, message)))
    };
    if success == Success::IsAnAttempt && !looks_like_app_password(&password) {
        return refused(StatusCode::BAD_REQUEST, "Invalid app password format");
    }
    let Some(account) = account(state, user, &password)? else {
        return refused(StatusCode::UNAUTHORIZED, "Invalid app password");
    };
    if account != user {
        return refused(StatusCode::FORBIDDEN, "User ID mismatch");
    }
    if success == Success::IsAnAttempt {
        state.app_password_attempts.record(user, now);
    }
    Ok(Ok(account))
}

/// The id of the account that these credentials belong to. Only app passwords count: that is how Nextcloud lets others act.
fn account(state: &AppState, user: &str, password: &Secret) -> Result<Option<String>, StoreError> {
    let account = state.store.check_app_password(user, password.expose())?;
    Ok(account.map(|account| account.id))
}

fn looks_like_app_password(password: &Secret) -> bool {
    let password = password.expose();
    (20..=256).contains(&password.len())
        && password
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

fn failure(status: StatusCode, error: &str) -> Response {
    (status, Json(json!({ "success": false, "error": error }))).into_response()
}

fn limited(wait: Duration) -> Response {
    let seconds = wait.as_secs().max(1);
    let error = format!("Rate limit exceeded. Try again in {seconds} seconds.");
    let mut response = failure(StatusCode::TOO_MANY_REQUESTS, &error);
    response
        .headers_mut()
        .insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn five_attempts_an_hour() {
        let attempts = Attempts::default();
        let begin = Instant::now();
        for _ in 0..ATTEMPTS {
            assert_eq!(attempts.wait("alice", begin), None);
            attempts.record("alice", begin);
        }
        assert_eq!(attempts.wait("alice", begin), Some(WINDOW));
        assert_eq!(attempts.wait("bob", begin), None);
        assert_eq!(attempts.wait("alice", begin + WINDOW), None);
    }
}

//! Registering, logging in and out.

use std::time::Duration;

use axum::response::Response;
use http::StatusCode;
use serde_json::json;

use super::bugs::Bug;
use super::call::{Call, text};
use super::csrf::LIFETIME_S;
use super::reply::{self, Refusal, Scripts};
use super::world::User;

/// How long the planted race leaves between looking for a username and taking it.
const RACE: Duration = Duration::from_millis(25);

pub(super) async fn register(call: &Call) -> Result<Response, Refusal> {
    let body = call.json("UserCreate")?;
    let username = text(&body, "username");
    let role = match body["role"].as_str() {
        Some(role @ ("admin" | "moderator")) if call.app.has(Bug::RoleFromRegister) => role,
        _ => "user",
    };
    let user = User::new(
        username,
        text(&body, "email"),
        text(&body, "password"),
        role,
    );
    let taken = || {
        let detail = "Username already registered".to_owned();
        Refusal::Domain(StatusCode::CONFLICT, "ConflictError", detail)
    };
    let world = &call.app.world;
    let user = if call.app.has(Bug::DoubleUsernameRace) {
        if world.user(username).is_some() {
            return Err(taken());
        }
        tokio::time::sleep(RACE).await;
        world.put_user(user)
    } else {
        world.add_user(user).ok_or_else(taken)?
    };
    call.note.user(&user.username);
    Ok(reply::ok(&user.json()))
}

pub(super) fn login(call: &Call) -> Result<Response, Refusal> {
    let form = call.form("Credentials")?;
    let (username, password) = (text(&form, "username"), text(&form, "password"));
    let app = &call.app;
    let lockout = app.config.lockout;
    if app.lockout.locked(username, lockout) {
        let detail = "Account locked due to too many failed login attempts".to_owned();
        return Err(Refusal::Domain(
            StatusCode::LOCKED,
            "AccountLockedError",
            detail,
        ));
    }
    let user = app
        .world
        .user(username)
        .filter(|user| user.has_password(password));
    let Some(user) = user else {
        app.lockout.failed(username, lockout);
        let detail = "Invalid credentials".to_owned();
        return Err(Refusal::Domain(
            StatusCode::UNAUTHORIZED,
            "InvalidCredentialsError",
            detail,
        ));
    };
    app.lockout.succeeded(username);
    call.note.user(&user.username);
    let access_token = app.signer.access_token(&user.username);
    let csrf_token = app.signer.csrf_token(&access_token);
    let mut response = reply::ok(&json!({
        "message": "Login successful",
        "username": user.username,
        "role": user.role,
        "csrf_token": csrf_token,
    }));
    reply::set_cookie(
        &mut response,
        "access_token",
        &access_token,
        Scripts::MayNotRead,
    );
    reply::set_cookie(&mut response, "csrf_token", &csrf_token, Scripts::MayRead);
    let lifetime = Duration::from_secs(LIFETIME_S.unsigned_abs());
    app.world.open_session(&access_token, user, lifetime);
    Ok(response)
}

pub(super) fn logout(call: &Call) -> Response {
    if let Some(token) = call.cookies.access_token()
        && !call.app.has(Bug::SessionAfterLogout)
    {
        call.app.world.close_session(token);
    }
    let mut response = reply::ok(&json!({ "message": "Logout successful" }));
    reply::set_cookie(&mut response, "access_token", "", Scripts::MayNotRead);
    reply::set_cookie(&mut response, "csrf_token", "", Scripts::MayRead);
    response
}

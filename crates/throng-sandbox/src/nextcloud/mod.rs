//! The Nextcloud itself: its pages, its OCS and notes APIs, its WebDAV.
//!
//! Knows of the OpenID provider only that it shares the browser sessions.

mod app_password;
mod calendars;
pub(crate) mod capabilities;
pub(crate) mod content;
pub(crate) mod dav;
mod fields;
mod login;
mod login_flow;
pub(crate) mod notes;
mod pages;
mod session;
pub(crate) mod shares;
mod status;
mod throttle;
mod users;

use axum::Router;

use crate::state::AppState;

pub(crate) use login::LoginState;
pub(crate) use pages::Page;
pub(crate) use session::{Browser, CsrfFailed, check_request_token, login_required};
pub(crate) use users::fault_of_id;

/// The tables of the Nextcloud's parts.
pub(crate) const SCHEMAS: &[&str] = &[content::SCHEMA];

/// All routes of the Nextcloud but the OpenID provider's, written without `/index.php`.
pub(crate) fn router(state: AppState) -> Router {
    Router::new()
        .merge(app_password::router())
        .merge(calendars::router())
        .merge(capabilities::router())
        .merge(dav::router())
        .merge(login::router())
        .merge(login_flow::router())
        .merge(notes::router())
        .merge(pages::router())
        .merge(shares::router())
        .merge(status::router())
        .merge(users::router())
        .with_state(state)
}

//! The Nextcloud itself: its pages, its OCS and notes APIs, its WebDAV.
//!
//! Knows of the OpenID provider only that it shares the browser sessions.

mod calendars;
pub(crate) mod capabilities;
pub(crate) mod content;
pub(crate) mod dav;
mod fields;
mod login;
pub(crate) mod notes;
pub(crate) mod shares;
mod status;
mod throttle;
mod users;

use axum::Router;

use crate::state::AppState;

pub(crate) use login::LoginState;

/// The tables of the Nextcloud's parts.
pub(crate) const SCHEMAS: &[&str] = &[content::SCHEMA];

/// All routes of the Nextcloud but the OpenID provider's, written without `/index.php`.
pub(crate) fn router(state: AppState) -> Router {
    Router::new()
        .merge(calendars::router())
        .merge(capabilities::router())
        .merge(dav::router())
        .merge(login::router())
        .merge(notes::router())
        .merge(shares::router())
        .merge(status::router())
        .merge(users::router())
        .with_state(state)
}

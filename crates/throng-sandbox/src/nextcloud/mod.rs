//! The Nextcloud itself: its pages, its OCS and notes APIs, its WebDAV.
//!
//! Knows of the OpenID provider only that it shares the browser sessions.

mod login;
mod throttle;

use axum::Router;

use crate::state::AppState;

pub(crate) use login::LoginState;

/// The tables of the Nextcloud's parts.
pub(crate) const SCHEMAS: &[&str] = &[];

/// All routes of the Nextcloud but the OpenID provider's, written without `/index.php`.
pub(crate) fn router(state: AppState) -> Router {
    Router::new().merge(login::router()).with_state(state)
}

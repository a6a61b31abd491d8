//! Browser sessions and the login form.

use axum::Router;

use super::throttle::Throttle;
use crate::state::AppState;

pub(crate) fn router() -> Router<AppState> {
    Router::new()
}

/// What the login keeps in memory.
#[derive(Default)]
pub(crate) struct LoginState {
    /// Slows down whoever sends wrong passwords.
    pub(crate) throttle: Throttle,
}

impl LoginState {
    pub(crate) fn new() -> Self {
        Self::default()
    }
}

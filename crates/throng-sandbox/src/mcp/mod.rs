//! The MCP server in front of the Nextcloud, protected by its OpenID provider.

use axum::Router;

use crate::state::AppState;

pub(crate) fn router(state: AppState) -> Router {
    Router::new().with_state(state)
}

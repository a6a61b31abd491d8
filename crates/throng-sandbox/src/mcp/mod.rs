//! The MCP server in front of the Nextcloud, protected by its OpenID provider.
//!
//! The protocol is `rmcp`'s; here are who may call (`auth`), the tools, and the headless provisioning of app passwords that the
//! real server has. Tools work on the store directly: they cost what the protocol costs and no second HTTP request.

mod app_password;
mod arguments;
mod auth;
mod config;
#[expect(
    deprecated,
    reason = "sampling and logging are of the older protocol versions, which are served, too"
)]
mod fixtures;
#[expect(
    deprecated,
    reason = "sampling and logging are of the older protocol versions, which are served, too"
)]
mod server;
mod tools;

use std::sync::Arc;
use std::time::Duration;

use axum::routing::{get, post};
use axum::{Router, middleware};
use rmcp::transport::streamable_http_server::session::local::LocalSessionManager;
use rmcp::transport::streamable_http_server::{StreamableHttpServerConfig, StreamableHttpService};

use crate::state::AppState;

pub use config::{McpAuth, McpConfig, ScopeErrors};

pub(crate) use app_password::{Attempts, SCHEMA, allow};

/// What clients of the conformance suite are told to wait before they resume a stream.
const SSE_RETRY: Duration = Duration::from_millis(500);

/// How sessions are kept. The real server's streams cannot be resumed; those of the conformance suite must be.
fn sessions(resumable: bool) -> LocalSessionManager {
    let mut sessions = LocalSessionManager::default();
    let config = &mut sessions.session_config;
    // Virtual users may pause for long.
    config.keep_alive = Some(Duration::from_secs(3600));
    config.sse_retry = resumable.then_some(SSE_RETRY);
    if !resumable {
        // Answers are not kept for a resumption that never comes: at thousands of calls a second that is much memory.
        config.completed_cache_ttl = Duration::ZERO;
    }
    sessions
}

/// The MCP listener's routes.
pub(crate) fn router(state: AppState) -> Router {
    let mut config = StreamableHttpServerConfig::default()
        .with_cancellation_token(state.stop.child_token())
        .with_sse_retry(state.config.mcp.fixtures.then_some(SSE_RETRY));
    if state.config.mcp_public_url.is_some() {
        // Behind a proxy the names that clients use are not known here.
        config = config.disable_allowed_hosts();
    }
    let handler = server::NextcloudTools::new(state.clone());
    let service = StreamableHttpService::new(
        move || Ok(handler.clone()),
        Arc::new(sessions(state.config.mcp.fixtures)),
        config,
    );
    let protected =
        Router::new()
            .route_service("/mcp", service)
            .layer(middleware::from_fn_with_state(
                state.clone(),
                auth::authorized,
            ));
    Router::new()
        .route(
            "/.well-known/oauth-protected-resource",
            get(auth::protected_resource),
        )
        .route(
            "/.well-known/oauth-protected-resource/mcp",
            get(auth::protected_resource),
        )
        .route(
            "/api/v1/users/{user}/app-password",
            post(app_password::provision)
                .get(app_password::status)
                .delete(app_password::remove),
        )
        .route("/health/live", get(|| async { "ok" }))
        .merge(protected)
        .with_state(state)
}

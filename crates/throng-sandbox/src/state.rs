//! What every handler of both listeners can reach.

use std::ops::Deref;
use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use crate::config::NextcloudConfig;
use crate::issuer::OutsideIssuer;
use crate::journal::Journal;
use crate::knobs::LiveKnobs;
use crate::mcp::Attempts;
use crate::nextcloud::LoginState;
use crate::oidc::Provider;
use crate::store::Store;

/// The shared state; cloning it clones a pointer.
#[derive(Clone)]
pub(crate) struct AppState(Arc<Shared>);

/// The parts of [`AppState`].
pub(crate) struct Shared {
    /// How the sandbox was started.
    pub(crate) config: NextcloudConfig,
    /// The Nextcloud's public origin, without a slash at the end; also the issuer.
    pub(crate) url: String,
    /// The MCP endpoint's public URL, `/mcp` included; also the OAuth resource identifier.
    pub(crate) mcp_url: String,
    /// All that is kept.
    pub(crate) store: Store,
    /// The planted trouble.
    pub(crate) knobs: LiveKnobs,
    /// What happened.
    pub(crate) journal: Journal,
    /// The OpenID provider's keys, codes and registration limiter.
    pub(crate) oidc: Provider,
    /// The provider whose tokens the MCP server takes instead of the sandbox's own.
    pub(crate) issuer: Option<OutsideIssuer>,
    /// Browser sessions, the password throttle and pending login flows.
    pub(crate) login: LoginState,
    /// Who tried to give the MCP server an app password.
    pub(crate) app_password_attempts: Attempts,
    /// Cancelled when the sandbox is to stop.
    pub(crate) stop: CancellationToken,
}

impl AppState {
    pub(crate) fn new(shared: Shared) -> Self {
        Self(Arc::new(shared))
    }
}

impl Deref for AppState {
    type Target = Shared;

    fn deref(&self) -> &Shared {
        &self.0
    }
}

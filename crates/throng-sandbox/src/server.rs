//! Starting and stopping the Nextcloud sandbox: its two listeners, its state, its handle.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use axum::Router;
use serde::{Deserialize, Serialize};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::config::NextcloudConfig;
use crate::connection::{bind, serve};
use crate::frame::Frame;
use crate::issuer::{IssuerError, OutsideIssuer};
use crate::journal::{self, Journal, Server};
use crate::knobs::{KnobError, LiveKnobs};
use crate::mcp::{Attempts, McpAuth};
use crate::nextcloud::LoginState;
use crate::oidc::{KeyError, Provider};
use crate::secret::Secret;
use crate::state::{AppState, Shared};
use crate::store::{Store, StoreError};
use crate::{control, mcp, nextcloud, oidc, scim};

/// Why a sandbox could not be started.
#[derive(Debug, thiserror::Error)]
pub enum SandboxError {
    /// A port was not free, or the address is not this machine's.
    #[error("cannot listen on {address}")]
    Bind {
        /// The address asked for.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// The data directory could not be used.
    #[error("cannot use the data directory {}", path.display())]
    Data {
        /// The directory asked for.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The database could not be opened.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The signing key could not be made or read.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The outside OpenID provider cannot be used.
    #[error(transparent)]
    Issuer(#[from] IssuerError),
    /// The TLS certificate could not be made.
    #[error("cannot make a TLS certificate: {0}")]
    Tls(String),
    /// The knobs make no sense; all faults are listed.
    #[error("invalid knobs: {}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    Knobs(Vec<KnobError>),
}

/// Where a running sandbox is, for the process that started it. One line of JSON.
///
/// The administrator's password is part of the JSON, because the parent needs it, but not of `Debug`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Ready {
    /// The Nextcloud's origin.
    pub url: String,
    /// The MCP endpoint.
    pub mcp_url: String,
    /// The administrator's user id.
    pub admin: String,
    /// The administrator's password.
    #[serde(with = "exposed")]
    pub password: Secret,
}

/// Serializes a [`Secret`] on purpose.
mod exposed {
    use super::Secret;
    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(value: &Secret, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(value.expose())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Secret, D::Error> {
        String::deserialize(from).map(Secret::new)
    }
}

/// A running Nextcloud sandbox. Dropping it stops it.
pub struct NextcloudSandbox {
    state: AppState,
    tasks: Vec<JoinHandle<()>>,
}

impl NextcloudSandbox {
    /// Binds both listeners and starts to serve; when this returns, requests are answered.
    ///
    /// # Errors
    ///
    /// A port in use, an unusable data directory, invalid knobs.
    pub async fn start(config: NextcloudConfig) -> Result<Self, SandboxError> {
        let (nextcloud, address) = bind(config.listen, config.port).await?;
        let (mcp, mcp_address) = bind(config.listen, config.mcp_port).await?;
        let url = public_origin(config.public_url.as_deref(), address);
        let mcp_origin = public_origin(config.mcp_public_url.as_deref(), mcp_address);
        let mcp_url = format!("{mcp_origin}/mcp");

        if let Some(path) = &config.data {
            tokio::fs::create_dir_all(path)
                .await
                .map_err(|source| SandboxError::Data {
                    path: path.clone(),
                    source,
                })?;
        }
        let store = Store::open(config.data.as_deref())?;
        store.ensure_admin(&config.admin.name, &config.admin.password)?;
        if let McpAuth::Open { user } = &config.mcp.auth {
            store.ensure_user(user)?;
        }
        for client in &config.clients {
            store.put_preregistered_client(client)?;
        }
        let knobs = LiveKnobs::new(config.knobs.clone()).map_err(SandboxError::Knobs)?;
        let issuer = match &config.mcp.auth {
            McpAuth::Outside(issuer) => Some(OutsideIssuer::discover(issuer).await?),
            McpAuth::OAuth | McpAuth::Open { .. } => None,
        };
        let data = config.data.clone();
        // Making an RSA key takes a good part of a second: not on a thread that serves.
        let provider = tokio::task::spawn_blocking(move || Provider::new(data.as_deref()))
            .await
            .map_err(|error| KeyError::Generate(error.to_string()))??;
        let stop = CancellationToken::new();
        let state = AppState::new(Shared {
            url,
            mcp_url,
            store,
            knobs,
            journal: Journal::new(config.journal_capacity),
            oidc: provider,
            issuer,
            login: LoginState::new(),
            app_password_attempts: Attempts::default(),
            stop: stop.clone(),
            config,
        });

        let nextcloud_app = Router::new()
            .merge(oidc::router(state.clone()))
            .merge(nextcloud::router(state.clone()))
            .merge(scim::router(state.clone()))
            .fallback(journal::not_found);
        let frame = Frame {
            journal: state.journal.clone(),
            knobs: state.knobs.clone(),
            stop: stop.clone(),
        };
        let nextcloud_app = journal::layered(nextcloud_app, Server::Nextcloud, &frame);
        // Control requests never reach the journal's layer: they are not traffic.
        let nextcloud_app = control::router(frame.clone(), users(&state))
            .fallback_service(with_index_php(nextcloud_app));
        let mcp_app = mcp::router(state.clone()).fallback(journal::not_found);
        let mcp_app = journal::layered(mcp_app, Server::Mcp, &frame);
        #[expect(
            clippy::disallowed_methods,
            reason = "the handle of the sandbox keeps them"
        )]
        let tasks = vec![
            tokio::spawn(serve(nextcloud, nextcloud_app, None, stop.clone())),
            tokio::spawn(serve(mcp, mcp_app, None, stop)),
        ];
        Ok(Self { state, tasks })
    }

    /// The Nextcloud's origin, `http://127.0.0.1:PORT`, without a slash at the end.
    pub fn url(&self) -> &str {
        &self.state.url
    }

    /// The MCP endpoint, `http://127.0.0.1:PORT/mcp`.
    pub fn mcp_url(&self) -> &str {
        &self.state.mcp_url
    }

    /// The administrator's user id and password.
    pub fn admin(&self) -> (&str, &str) {
        let admin = &self.state.config.admin;
        (&admin.name, admin.password.expose())
    }

    /// Where it is and how to administrate it, for another process.
    pub fn ready(&self) -> Ready {
        Ready {
            url: self.state.url.clone(),
            mcp_url: self.state.mcp_url.clone(),
            admin: self.state.config.admin.name.clone(),
            password: self.state.config.admin.password.clone(),
        }
    }

    /// The journal, shared with the running sandbox.
    pub fn journal(&self) -> Journal {
        self.state.journal.clone()
    }

    /// The knobs, shared with the running sandbox: a change takes effect with the next request.
    pub fn knobs(&self) -> LiveKnobs {
        self.state.knobs.clone()
    }

    /// Waits until the sandbox is told to stop (`POST /__sandbox/stop`).
    pub async fn stopped(&self) {
        self.state.stop.cancelled().await;
    }

    /// Stops it and waits until both listeners are closed and all connections dropped.
    pub async fn stop(mut self) {
        self.state.stop.cancel();
        for task in std::mem::take(&mut self.tasks) {
            // A join error can only be a panic or an abort: either way the listener is gone.
            if let Err(error) = task.await {
                tracing::error!(%error, "a listener of the sandbox ended badly");
            }
        }
    }
}

impl Drop for NextcloudSandbox {
    fn drop(&mut self) {
        self.state.stop.cancel();
        for task in &self.tasks {
            task.abort();
        }
    }
}

/// Lists the names of all users.
fn users(
    state: &AppState,
) -> impl Fn() -> Result<Vec<String>, StoreError> + Clone + Send + Sync + 'static + use<> {
    let state = state.clone();
    move || {
        let accounts = state.store.search_accounts("", None, 0)?;
        Ok(accounts.into_iter().map(|account| account.id).collect())
    }
}

fn public_origin(configured: Option<&str>, address: SocketAddr) -> String {
    match configured {
        Some(origin) => origin.trim_end_matches('/').to_owned(),
        None => format!("http://{address}"),
    }
}

/// Marks a request whose path began with `/index.php`, which has been taken off for routing.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ViaIndexPhp;

/// Nextcloud answers every page under `/index.php/...`, too. The prefix is taken off before routing.
fn with_index_php(app: Router) -> Router {
    Router::new()
        .fallback_service(app)
        .layer(axum::middleware::map_request(strip_index_php))
}

async fn strip_index_php(mut request: axum::extract::Request) -> axum::extract::Request {
    let Some(rest) = request
        .uri()
        .path_and_query()
        .and_then(|whole| whole.as_str().strip_prefix("/index.php"))
    else {
        return request;
    };
    let stripped = match rest.as_bytes().first() {
        Some(b'/') => rest.to_owned(),
        None | Some(b'?') => format!("/{rest}"),
        Some(_) => return request,
    };
    let mut parts = request.uri().clone().into_parts();
    if let Ok(path) = stripped.parse() {
        parts.path_and_query = Some(path);
        if let Ok(uri) = http::Uri::from_parts(parts) {
            *request.uri_mut() = uri;
            request.extensions_mut().insert(ViaIndexPhp);
        }
    }
    request
}

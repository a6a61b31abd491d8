//! The Nextcloud MCP server in OAuth mode, in front of a sandbox's Nextcloud and OpenID provider.

use std::path::Path;

use tokio::process::Command;

use super::programs::Program;
use super::served::{Port, Served};

/// What it logs once its port answers.
const READY: &str = "Uvicorn running on";
/// What its database of app passwords is encrypted with: 32 bytes in base64, of no use elsewhere.
const ENCRYPTION_KEY: &str = "dGhyb25nLXRlc3RzLTMyLWJ5dGVzLWxvbmcta2V5LTA=";

/// The running server.
pub(super) struct NextcloudMcp {
    _served: Served,
    _port: Port,
}

impl NextcloudMcp {
    /// Starts it in front of the Nextcloud at `nextcloud`, and waits until it answers. Its log is kept under the name of
    /// the test.
    pub(super) async fn start(port: Port, nextcloud: &str, test: &str) -> Self {
        let home = tempfile::tempdir().expect("a temporary directory");
        let command = command(&port, nextcloud, home.path());
        let log = format!("{test}.nextcloud-mcp-server");
        let (served, _) = Served::start(command, home, READY, &log).await;
        Self {
            _served: served,
            _port: port,
        }
    }
}

fn command(port: &Port, nextcloud: &str, home: &Path) -> Command {
    let mut command = Command::new(Program::NextcloudMcp.path());
    command
        .args(["run", "--transport", "streamable-http", "--oauth"])
        .args(["--host", "127.0.0.1", "--port", &port.number().to_string()])
        .current_dir(home)
        // Whatever Nextcloud the tester works with is none of its business.
        .env_clear()
        .env("MCP_DEPLOYMENT_MODE", "login_flow")
        .env("NEXTCLOUD_HOST", nextcloud)
        .env("NEXTCLOUD_PUBLIC_ISSUER_URL", nextcloud)
        .env("NEXTCLOUD_MCP_SERVER_URL", port.origin())
        .env("NEXTCLOUD_OIDC_TOKEN_TYPE", "jwt")
        .env("TOKEN_ENCRYPTION_KEY", ENCRYPTION_KEY)
        .env("TOKEN_STORAGE_DB", home.join("tokens.db"));
    command
}

//! OpenID providers that nobody here wrote, each started for one test on a free port.

use serde_json::{Value, json};
use tokio::process::Command;

use super::programs::Program;
use super::served::Served;
use crate::docs::root;

/// What both print once they listen, before their address.
const READY: &str = "listening on ";

/// The scopes of the sandbox's MCP server.
pub(super) const MCP_SCOPES: &str =
    "notes.read notes.write files.read files.write sharing.read sharing.write";

/// The id of the client that stands for the MCP server at Canaille, which is the audience of tokens, too: RFC 8707 is unknown
/// there.
pub(super) const RESOURCE: &str = "the-mcp-server";
/// That client's secret.
pub(super) const RESOURCE_SECRET: &str = "mcp-9-introspects-Kq2";
/// The id of the client at Canaille whose tokens are for [`RESOURCE`].
pub(super) const CLIENT: &str = "a-load-test";
/// Its secret.
pub(super) const CLIENT_SECRET: &str = "load-5-secret-Vu8";

/// A running provider.
pub(super) struct Provider {
    _served: Served,
    /// Its issuer, without a slash at the end.
    pub(super) issuer: String,
}

impl Provider {
    /// npm's `oidc-provider`: a page with name and password, which takes any, and one for consent. Its access tokens are JWTs for
    /// the resource asked for, and live so many seconds.
    pub(super) async fn oidc_provider(lifetime: u32, test: &str) -> Self {
        Self::oidc_provider_behind(None, lifetime, test).await
    }

    /// [`Provider::oidc_provider`], behind a tap of this port.
    pub(super) async fn oidc_provider_behind(port: Option<u16>, lifetime: u32, test: &str) -> Self {
        let home = tempfile::tempdir().expect("a temporary directory");
        let mut command = Command::new(Program::Node.path());
        command
            .arg(script("oidc_provider/serve.mjs"))
            .arg(Program::OidcProvider.path())
            .args([MCP_SCOPES, &lifetime.to_string()])
            .args(port.map(|port| port.to_string()))
            .current_dir(home.path())
            .env_clear();
        let log = format!("{test}.oidc-provider");
        let (served, line) = Served::start(command, home, READY, &log).await;
        Self::at(served, &line)
    }

    /// Canaille with these users: a page for the name, one for the password, one for consent. Who is in `locked` may not log in.
    pub(super) async fn canaille(users: &[(String, String)], locked: &[&str], test: &str) -> Self {
        Self::canaille_behind(None, users, locked, test).await
    }

    /// [`Provider::canaille`], behind a tap of this port.
    pub(super) async fn canaille_behind(
        port: Option<u16>,
        users: &[(String, String)],
        locked: &[&str],
        test: &str,
    ) -> Self {
        let home = tempfile::tempdir().expect("a temporary directory");
        let users: Vec<Value> = users
            .iter()
            .map(|(name, password)| {
                let locked = locked.contains(&name.as_str());
                json!({ "name": name, "password": password, "locked": locked })
            })
            .collect();
        let wanted = json!({
            "port": port,
            "users": users,
            "resource": { "id": RESOURCE, "secret": RESOURCE_SECRET },
            "client": {
                "id": CLIENT,
                "secret": CLIENT_SECRET,
                "redirect_uri": throng_identity::login::DEFAULT_REDIRECT_URI,
            },
        });
        let file = home.path().join("wanted.json");
        std::fs::write(&file, wanted.to_string()).expect("a file");
        let mut command = Command::new(Program::Canaille.path());
        command
            .arg(script("canaille/serve.py"))
            .arg(file)
            .current_dir(home.path())
            .env_clear();
        let log = format!("{test}.canaille");
        let (served, line) = Served::start(command, home, READY, &log).await;
        Self::at(served, &line)
    }

    fn at(served: Served, line: &str) -> Self {
        let (_, url) = line.split_once(READY).expect("the address");
        Self {
            _served: served,
            issuer: url.trim().to_owned(),
        }
    }
}

fn script(name: &str) -> std::path::PathBuf {
    root().join("crates/throng/tests/it/third_party").join(name)
}

/// Names and passwords of so many users. The passwords are long and odd, so that finding one in an output is no accident.
pub(super) fn users(count: u32) -> Vec<(String, String)> {
    let user = |n| (format!("person{n}"), format!("pW-{n}-of-a-provider-Zx{n}"));
    (1..=count).map(user).collect()
}

//! Flags that several commands have: which target, whose tokens, as which client, by which browser.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};

use crate::cli::units;

/// Which system, and how it is spoken to.
#[derive(Debug, Clone, Default, PartialEq, Args)]
#[command(next_help_heading = "Target")]
pub(crate) struct TargetArgs {
    /// Run against an embedded sandbox, started for this purpose in a process of its own
    /// (the default of `run` and `tools` when neither a scenario nor --url is given)
    #[arg(long)]
    pub(crate) sandbox: bool,
    /// The target's URL [default: the scenario's, http://localhost:8001/mcp]
    #[arg(
        long,
        visible_alias = "base-url",
        value_name = "URL",
        conflicts_with = "sandbox"
    )]
    pub(crate) url: Option<String>,
    /// The directory where users are created, e.g. the Nextcloud's address
    #[arg(long, value_name = "URL", conflicts_with = "sandbox")]
    pub(crate) host: Option<String>,
    /// The directory's administrator
    #[arg(long, value_name = "NAME", conflicts_with = "sandbox")]
    pub(crate) admin: Option<String>,
    /// The administrator's password (better: NEXTCLOUD_PASSWORD in the environment, which others can't list)
    #[arg(
        long,
        value_name = "PASSWORD",
        conflicts_with = "sandbox",
        hide_env_values = true
    )]
    pub(crate) admin_password: Option<String>,
    /// Accept any TLS certificate
    #[arg(long)]
    pub(crate) insecure: bool,
    /// Trust this CA certificate too (PEM)
    #[arg(long, value_name = "FILE")]
    pub(crate) cacert: Option<PathBuf>,
    /// The HTTP version to speak [default: 1 over plain TCP, negotiated over TLS]
    #[arg(long, value_name = "VERSION")]
    pub(crate) http: Option<HttpChoice>,
    /// How long a call may take before it counts as timed out [default: the scenario's, 30s]
    #[arg(long, value_name = "DURATION", allow_negative_numbers = true, value_parser = units::duration)]
    pub(crate) timeout: Option<Duration>,
    /// Knobs for the embedded sandbox: latency, errors, stalls (YAML or JSON); implies --sandbox
    #[arg(long, value_name = "FILE", conflicts_with_all = ["url", "host", "admin", "admin_password"])]
    pub(crate) sandbox_knobs: Option<PathBuf>,
    /// Plant these bugs in the embedded sandbox of an HTTP scenario (names with commas between, or `all`); implies --sandbox
    #[arg(long, value_name = "LIST", conflicts_with_all = ["url", "host", "admin", "admin_password"])]
    pub(crate) sandbox_bugs: Option<throng_sandbox::Bugs>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum HttpChoice {
    #[value(name = "1")]
    One,
    #[value(name = "2")]
    Two,
    Auto,
}

/// An OpenID provider that isn't the sandbox's own.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Outside issuer")]
pub(crate) struct IssuerArgs {
    /// Have the sandbox's MCP server take access tokens of this OpenID provider instead of its own
    #[arg(long, value_name = "URL")]
    pub(crate) issuer: Option<String>,
    /// What its tokens are for (`aud`), where it knows no resource indicators [default: the MCP server's URL]
    #[arg(long, value_name = "NAME", requires = "issuer")]
    pub(crate) issuer_audience: Option<String>,
    /// Which claim of its tokens is the user's name [default: sub]
    #[arg(long, value_name = "CLAIM", requires = "issuer")]
    pub(crate) issuer_user_claim: Option<String>,
    /// A client that may ask the provider about tokens (RFC 7662), for those that aren't JWTs; its secret is in
    /// THRONG_ISSUER_CLIENT_SECRET
    #[arg(long, value_name = "ID", requires = "issuer")]
    pub(crate) issuer_client: Option<String>,
}

/// As which OAuth client.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Users")]
pub(crate) struct ClientArgs {
    /// A registered OAuth client's id (otherwise one is registered for the run)
    #[arg(long, value_name = "ID")]
    pub(crate) client_id: Option<String>,
    /// Its secret, if it has one (better: THRONG_CLIENT_SECRET in the environment)
    // Not clap's `env`: a variable that is set must not make --client-id a duty where nobody names a client.
    #[arg(long, value_name = "SECRET", requires = "client_id")]
    pub(crate) client_secret: Option<String>,
}

/// Who passes the pages of logins.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Logins")]
pub(crate) struct BrowserArgs {
    /// Who passes the login's pages: plain HTTP, a browser, or a browser where plain HTTP can't get on
    /// [default: the scenario's, auto]
    #[arg(long, value_name = "WAY")]
    pub(crate) login: Option<DriverChoice>,
    /// Log in by this browser; implies --login browser [default: the scenario's, any that is on the machine]
    #[arg(long, value_name = "BROWSER")]
    pub(crate) browser: Option<BrowserChoice>,
    /// Where the browser is (of webkit, where WebKitWebDriver is); implies --login browser [default: in PATH]
    #[arg(long, value_name = "FILE")]
    pub(crate) browser_path: Option<PathBuf>,
    /// Show the browser at work, which takes a display; implies --login browser
    #[arg(long)]
    pub(crate) headed: bool,
}

/// The words of `--login`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum DriverChoice {
    Http,
    Browser,
    Auto,
}

/// The words of `--browser`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum BrowserChoice {
    Chromium,
    Firefox,
    Webkit,
}

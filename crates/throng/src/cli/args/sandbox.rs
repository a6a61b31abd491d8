//! Flags of `throng sandbox`.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};

use super::IssuerArgs;
use crate::cli::units;

#[derive(Debug, Subcommand)]
pub(crate) enum SandboxCommand {
    /// Nextcloud's API, its OpenID provider, and an MCP server in front of them
    Nextcloud(Box<SandboxArgs>),
    /// Integr8sCode's HTTP API: cookie logins, CSRF tokens, event streams; with bugs on request
    Integr8scode(Box<Integr8scodeArgs>),
}

/// Flags of `throng sandbox nextcloud`.
#[derive(Debug, Args)]
pub(crate) struct SandboxArgs {
    /// Address to listen on
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1")]
    pub(crate) listen: IpAddr,
    /// Port of the Nextcloud side (0: a free one)
    #[arg(long, value_name = "PORT", default_value_t = 8080)]
    pub(crate) port: u16,
    /// Port of the MCP server (0: a free one)
    #[arg(long, value_name = "PORT", default_value_t = 8001)]
    pub(crate) mcp_port: u16,
    /// Keep the state in this directory [default: in memory]
    #[arg(long, value_name = "DIR")]
    pub(crate) data: Option<PathBuf>,
    /// The administrator's password [default: random, printed]
    #[arg(
        long,
        value_name = "PASSWORD",
        env = "THRONG_SANDBOX_ADMIN_PASSWORD",
        hide_env_values = true
    )]
    pub(crate) admin_password: Option<String>,
    /// Read knobs from this file (YAML or JSON)
    #[arg(long, value_name = "FILE", help_heading = "Knobs")]
    pub(crate) knobs: Option<PathBuf>,
    /// Added latency of every MCP tool call
    #[arg(long, value_name = "DURATION", allow_negative_numbers = true, value_parser = units::duration, help_heading = "Knobs")]
    pub(crate) latency: Option<Duration>,
    /// Random part of that latency, uniform between 0 and this
    #[arg(long, value_name = "DURATION", allow_negative_numbers = true, value_parser = units::duration, help_heading = "Knobs")]
    pub(crate) jitter: Option<Duration>,
    /// Share of MCP tool calls that fail with HTTP 500, in percent
    #[arg(long, value_name = "PERCENT", value_parser = units::percent, help_heading = "Knobs")]
    pub(crate) error_rate: Option<f64>,
    /// How long until a share is visible to its recipient
    #[arg(long, value_name = "DURATION", allow_negative_numbers = true, value_parser = units::duration, help_heading = "Knobs")]
    pub(crate) share_propagation: Option<Duration>,
    /// Lifetime of access tokens
    #[arg(long, value_name = "DURATION", allow_negative_numbers = true, value_parser = units::duration, help_heading = "Knobs")]
    pub(crate) token_lifetime: Option<Duration>,
    /// Share of acknowledged appends that are silently lost, in percent
    #[arg(long, value_name = "PERCENT", value_parser = units::percent, help_heading = "Knobs")]
    pub(crate) lost_appends: Option<f64>,
    /// Seed of the sandbox's random choices
    #[arg(long, value_name = "N", help_heading = "Knobs")]
    pub(crate) seed: Option<u64>,
    /// Dynamic client registrations allowed per minute and address (Nextcloud: 10)
    #[arg(long, value_name = "N", help_heading = "Knobs")]
    pub(crate) registrations_per_minute: Option<u32>,
    /// Let every MCP request in without a token, and add the conformance suite's fixture tools
    #[arg(long, conflicts_with = "issuer", help_heading = "Knobs")]
    pub(crate) open_mcp: bool,
    /// Print one line of JSON when ready instead of the text
    #[arg(long)]
    pub(crate) json: bool,
    /// Stop when standard input ends (for a program that starts this one)
    #[arg(long, hide = true)]
    pub(crate) stop_at_eof: bool,
    // The last, since its heading is that of all that follows.
    #[command(flatten)]
    pub(crate) issuer: IssuerArgs,
}

/// Flags of `throng sandbox integr8scode`.
#[derive(Debug, Args)]
pub(crate) struct Integr8scodeArgs {
    /// Address to listen on
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1")]
    pub(crate) listen: IpAddr,
    /// Port (0: a free one)
    #[arg(long, value_name = "PORT", default_value_t = 8443)]
    pub(crate) port: u16,
    /// Speak plain HTTP; its cookies stay `Secure`, so that no conforming client sends them back
    #[arg(long)]
    pub(crate) http: bool,
    /// Write its certificate, made at the start, to this file (PEM)
    #[arg(long, value_name = "FILE", conflicts_with = "http")]
    pub(crate) cert: Option<PathBuf>,
    /// Limit requests per minute, address and path, as the real server does
    #[arg(long)]
    pub(crate) rate_limits: bool,
    /// Leave out `POST /alerts/grafana`, which today's server has no more
    #[arg(long)]
    pub(crate) no_alerts: bool,
    /// How long a script runs [default: 200ms]
    #[arg(long, value_name = "DURATION", value_parser = units::duration)]
    pub(crate) script_time: Option<Duration>,
    /// When a script is given up [default: 2s]
    #[arg(long, value_name = "DURATION", value_parser = units::duration)]
    pub(crate) script_limit: Option<Duration>,
    /// Plant these bugs (names with commas between, or `all`)
    #[arg(long, value_name = "LIST", help_heading = "Knobs")]
    pub(crate) bugs: Option<throng_sandbox::Bugs>,
    /// Read knobs from this file (YAML or JSON)
    #[arg(long, value_name = "FILE", help_heading = "Knobs")]
    pub(crate) knobs: Option<PathBuf>,
    /// Added latency of every request
    #[arg(long, value_name = "DURATION", value_parser = units::duration, help_heading = "Knobs")]
    pub(crate) latency: Option<Duration>,
    /// Random part of that latency, uniform between 0 and this
    #[arg(long, value_name = "DURATION", value_parser = units::duration, help_heading = "Knobs")]
    pub(crate) jitter: Option<Duration>,
    /// Share of requests that fail with HTTP 500, in percent
    #[arg(long, value_name = "PERCENT", value_parser = units::percent, help_heading = "Knobs")]
    pub(crate) error_rate: Option<f64>,
    /// Seed of the sandbox's random choices
    #[arg(long, value_name = "N", help_heading = "Knobs")]
    pub(crate) seed: Option<u64>,
    /// Print one line of JSON when ready instead of the text
    #[arg(long)]
    pub(crate) json: bool,
    /// Stop when standard input ends (for a program that starts this one)
    #[arg(long, hide = true)]
    pub(crate) stop_at_eof: bool,
}

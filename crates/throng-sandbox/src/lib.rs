//! Embedded targets to load-test against: a Nextcloud with its OpenID Connect provider and an
//! OAuth-protected MCP server in front of it; and Integr8sCode, an HTTP API that runs scripts, with
//! cookie logins, CSRF tokens and event streams.
//!
//! The sandbox stands in for real servers, errors included, and keeps a [`Journal`] of everything
//! that reached it: what a load generator reports can be checked against what really happened.
//! [`Knobs`] plant trouble (latency, errors, stalls, lost writes) that the journal marks as planted.
//!
//! It deliberately shares no types with the load generator's client, identity or workflow code: a
//! shared mistake would cancel itself out. It does not parse arguments and does not exit; the
//! `throng` crate does that.
//!
//! ```no_run
//! # async fn example() -> Result<(), throng_sandbox::SandboxError> {
//! use throng_sandbox::{NextcloudConfig, NextcloudSandbox};
//!
//! let sandbox = NextcloudSandbox::start(NextcloudConfig::default()).await?;
//! println!("{} and {}", sandbox.url(), sandbox.mcp_url());
//! sandbox.stop().await;
//! # Ok(())
//! # }
//! ```

mod auth;
mod config;
mod connection;
mod control;
mod frame;
mod integr8scode;
mod issuer;
mod journal;
mod knobs;
mod mcp;
mod nextcloud;
mod ocs;
mod oidc;
mod scim;
mod secret;
mod server;
mod state;
mod store;
mod timestamp;

pub use config::{Admin, NextcloudConfig, PreregisteredClient};
pub use integr8scode::{
    Bug, Bugs, ExecutionTimes, Integr8scodeConfig, Integr8scodeReady, Integr8scodeSandbox,
    UnknownBug,
};
pub use issuer::{IssuerConfig, IssuerError};
pub use journal::{Baggage, Count, Counts, Entry, Journal, Outcome, Page, Planted, Server};
pub use knobs::{
    EndpointKnob, ErrorKind, Jitter, KnobError, Knobs, Latency, LiveKnobs, Stall, StallFrom,
};
pub use mcp::{McpAuth, McpConfig, ScopeErrors};
pub use oidc::KeyError;
pub use scim::ScimConfig;
pub use secret::Secret;
pub use server::{NextcloudSandbox, Ready, SandboxError};
pub use store::StoreError;

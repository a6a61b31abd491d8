//! Integration tests: a sandbox in this process, asked over HTTP by clients that share nothing with it.

#![allow(
    clippy::disallowed_methods,
    reason = "a test starts what it needs, and ends it"
)]

mod frame;
mod http;
mod integr8scode;
mod issuer;
mod login;
mod machine;
mod mcp;
mod nextcloud;
mod oidc;
mod registration;
mod support;
mod tokens;

//! Integration tests: a sandbox in this process, asked over HTTP by clients that share nothing with it.

mod frame;
mod http;
mod login;
mod nextcloud;
mod oidc;
mod registration;
mod support;
mod tokens;

//! Logins, tokens, users and cleanup against servers: the sandbox, and small odd ones.

#![allow(
    clippy::disallowed_methods,
    reason = "a test starts what it needs, and ends it"
)]

mod clean;
mod declared;
mod discovery;
mod forms;
mod grants;
mod keycloak;
mod keys;
mod login;
mod provider;
mod register;
mod sandbox;
mod scim;
mod secrets;
mod signup;
mod site;
mod support;
mod third_party;
mod tokens;

//! Logins, tokens, users and cleanup against servers: the sandbox, and small odd ones.

mod clean;
mod discovery;
mod keys;
mod login;
mod provider;
mod sandbox;
mod secrets;
mod tokens;

//! Identities: users that are really created, really logged in, and really removed again.
//!
//! Knows the HTTP client and nothing of load, workflows or reports.

pub mod assertion;
pub mod challenge;
pub mod cleanup;
pub mod directory;
pub mod discovery;
pub mod enrolment;
pub mod hooks;
pub mod ledger;
pub mod login;
mod pages;
pub mod pkce;
pub mod provision;
mod redact;
pub mod registration;
pub mod retry;
pub mod scopes;
pub mod secret;
pub mod tokens;
mod wire;

pub use ledger::Ledger;
pub use secret::Secret;
pub use tokens::TokenCell;
pub use wire::FetchError;

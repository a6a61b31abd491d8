//! Identities: users that are really created, really logged in, and really removed again.
//!
//! Knows the HTTP client and nothing of load, workflows or reports.

pub mod directory;
pub mod pages;
pub mod pkce;
pub mod redact;
pub mod retry;
pub mod secret;

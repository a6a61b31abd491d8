//! throng: load tests with real identities.
//!
//! The binary's whole main is [`cli::main`].

pub mod cli;

//! With programs that nobody here wrote: the Nextcloud MCP server from PyPI, and the official MCP conformance suite.
//!
//! `cargo xtask setup` installs them. A test whose program is missing fails and says so; it is never skipped.

mod conformance;
mod nextcloud_mcp;
mod programs;
mod workloads;

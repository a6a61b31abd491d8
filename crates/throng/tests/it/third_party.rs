//! With programs that nobody here wrote: the Nextcloud MCP server, Django and Jupyter Server from PyPI, and the official MCP
//! conformance suite.
//!
//! `cargo xtask setup` installs them. A test whose program is missing fails and says so; it is never skipped.

mod conformance;
mod cookies;
mod django;
mod jupyter;
mod nextcloud_mcp;
mod programs;
mod served;
mod workloads;

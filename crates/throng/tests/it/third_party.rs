//! With programs that nobody here wrote: the Nextcloud MCP server, Django, Jupyter Server, the OpenID provider Canaille and scim2-server from
//! PyPI, and the official MCP conformance suite and the OpenID provider `oidc-provider` from npm.
//!
//! `cargo xtask setup` installs them. A test whose program is missing fails and says so; it is never skipped.

mod browser_forms;
mod browser_runs;
mod browser_secrets;
mod browser_settings;
mod browsers;
mod conformance;
mod cookies;
mod django;
mod failed_browser_logins;
mod front;
mod jupyter;
mod logins;
mod nextcloud_mcp;
mod outside;
mod programs;
mod provider_secrets;
mod providers;
mod provisioning;
mod served;
mod workloads;
mod x11;

//! Measures throng beside its peers, in one run on one machine: `cargo xtask bench` builds and calls it. It drives
//! the real programs as processes and reads what they cost from the operating system.

mod aims;
mod child;
mod clients;
mod echo;
mod echo_process;
mod family;
mod fuzz;
mod http;
mod integr8scode_process;
mod logins;
mod machine;
mod mcp;
mod peer;
mod peer_client;
mod peer_rmcp;
mod sandbox_process;
mod stall;
mod statistics;
mod target;
mod target_process;
mod window;

use std::process::ExitCode;

use clap::Parser;

/// Measures throng beside its peers.
#[derive(Parser)]
#[command(name = "throng-bench")]
enum Command {
    /// Compare what an MCP tool call costs, and what a session takes.
    Mcp(mcp::Options),
    /// Compare what a plain HTTP POST costs, and a request of the user swarm.
    Http(http::Options),
    /// Count the planted bugs that the monkey swarm finds, beside Schemathesis.
    Fuzz(fuzz::Options),
    /// Measure many users' creation and login.
    Logins(logins::Options),
    /// Check the response times that throng reports of a server that stalls.
    Stall(stall::Options),
    /// Serve the MCP server that the clients are measured against.
    Target(target::Options),
    /// Serve the HTTP server that plain POSTs are measured against.
    Echo,
    /// Be a load generator on the `rmcp` crate's client.
    PeerRmcp(peer_rmcp::Options),
    /// Be a load generator on throng's client library alone.
    PeerClient(peer_client::Options),
}

fn main() -> ExitCode {
    let done = match Command::parse() {
        Command::Mcp(options) => mcp::run(&options),
        Command::Http(options) => http::run(&options),
        Command::Echo => echo::run(),
        Command::Fuzz(options) => fuzz::run(&options),
        Command::Logins(options) => logins::run(&options),
        Command::Stall(options) => stall::run(&options),
        Command::Target(options) => target::run(&options),
        Command::PeerRmcp(options) => peer_rmcp::run(&options),
        Command::PeerClient(options) => peer_client::run(&options),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

//! `cargo xtask bench`: build the programs as their users would, see that the peers are there, and hand over to
//! `throng-bench`, which measures.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, bail};
use clap::{Args, ValueEnum};

use crate::workspace::Workspace;
use crate::{process, setup};

#[derive(Args)]
pub(crate) struct Options {
    /// What to measure.
    #[arg(value_enum, default_value = "all")]
    benchmark: Benchmark,
    /// Further arguments for that benchmark; `cargo xtask bench mcp -- --help` lists them.
    #[arg(last = true)]
    arguments: Vec<String>,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Benchmark {
    /// One MCP tool call, beside the `rmcp` crate's client, the Python SDK's, oha and wrk.
    Mcp,
    /// One plain HTTP POST, beside oha, wrk and k6; and one request of the user swarm.
    Http,
    /// The planted bugs that the monkey swarm finds, beside Schemathesis.
    Fuzz,
    /// A thousand users created and logged in on the sandbox; twenty by each way to log in, beside Playwright.
    Logins,
    /// The response times that throng reports of a server that stalls, beside the truth.
    Stall,
    /// How well the engine keeps a schedule of 50,000 starts a second on one core.
    Starts,
    /// All of them.
    All,
}

/// Measure, one benchmark after the other.
pub(crate) fn run(workspace: &Workspace, options: &Options) -> Result<()> {
    let chosen = match options.benchmark {
        Benchmark::All if !options.arguments.is_empty() => {
            bail!("further arguments are for one benchmark: name it")
        }
        Benchmark::All => vec![
            Benchmark::Starts,
            Benchmark::Stall,
            Benchmark::Logins,
            Benchmark::Http,
            Benchmark::Fuzz,
            Benchmark::Mcp,
        ],
        one => vec![one],
    };
    for benchmark in chosen {
        let name = benchmark
            .to_possible_value()
            .context("a benchmark without a name")?;
        println!("\n=== {}", name.get_name());
        let mut command = match benchmark {
            Benchmark::Starts => starts(workspace)?,
            _ => throng_bench(workspace, name.get_name())?,
        };
        match benchmark {
            Benchmark::Mcp => command.args(peers(workspace)?),
            Benchmark::Http => command.args(http_peers(workspace)?),
            Benchmark::Logins => command
                .arg("--playwright")
                .arg(setup::playwright(workspace)?),
            Benchmark::Fuzz => command
                .arg("--schemathesis")
                .arg(setup::schemathesis(workspace)?),
            _ => &mut command,
        };
        process::run(command.args(&options.arguments))?;
    }
    Ok(())
}

/// One of the benchmarks in `benches/`.
fn throng_bench(workspace: &Workspace, name: &str) -> Result<Command> {
    // On its own: in one build with the benchmarks it would be given their dependencies' features.
    build(workspace, &["--package", "throng"])?;
    build(workspace, &["--package", "throng-bench"])?;
    let release = workspace.target.join("release");
    let mut command = Command::new(release.join("throng-bench"));
    command
        .arg(name)
        .arg("--throng")
        .arg(release.join("throng"));
    command.arg("--benches").arg(workspace.root.join("benches"));
    command.arg("--output").arg(workspace.target.join("bench"));
    Ok(command)
}

/// The engine alone, on one core.
fn starts(workspace: &Workspace) -> Result<Command> {
    build(
        workspace,
        &["--package", "throng-engine", "--example", "starts"],
    )?;
    let mut command = Command::new("taskset");
    command
        .args(["--cpu-list", "0"])
        .arg(workspace.target.join("release/examples/starts"));
    Ok(command)
}

/// Where the peers are, installed if need be.
fn peers(workspace: &Workspace) -> Result<Vec<PathBuf>> {
    setup::run(workspace)?;
    let oha = setup::install_oha(workspace)?;
    Ok(vec![
        "--python".into(),
        setup::python(workspace),
        "--oha".into(),
        oha,
    ])
}

/// The same for plain HTTP.
fn http_peers(workspace: &Workspace) -> Result<Vec<PathBuf>> {
    Ok(vec![
        "--oha".into(),
        setup::install_oha(workspace)?,
        "--k6".into(),
        setup::k6(workspace)?,
    ])
}

fn build(workspace: &Workspace, what: &[&str]) -> Result<()> {
    process::run(
        workspace
            .cargo(&["build", "--release", "--locked"])
            .args(what),
    )
}

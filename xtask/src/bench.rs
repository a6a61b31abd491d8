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
    /// A thousand users created and logged in on the sandbox.
    Logins,
    /// The response times that throng reports of a server that stalls, beside the truth.
    Stall,
    /// All of them.
    All,
}

/// Measure, one benchmark after the other.
pub(crate) fn run(workspace: &Workspace, options: &Options) -> Result<()> {
    let chosen = match options.benchmark {
        Benchmark::All if !options.arguments.is_empty() => {
            bail!("further arguments are for one benchmark: name it")
        }
        Benchmark::All => vec![Benchmark::Stall, Benchmark::Logins, Benchmark::Mcp],
        one => vec![one],
    };
    // On its own: in one build with the benchmarks it would be given their dependencies' features.
    build(workspace, "throng")?;
    build(workspace, "throng-bench")?;
    for benchmark in chosen {
        let name = benchmark
            .to_possible_value()
            .context("a benchmark without a name")?;
        println!("\n=== {}", name.get_name());
        let mut command = Command::new(workspace.target.join("release/throng-bench"));
        command
            .arg(name.get_name())
            .arg("--throng")
            .arg(workspace.target.join("release/throng"));
        command
            .arg("--benches")
            .arg(workspace.root.join("benches"))
            .arg("--output")
            .arg(workspace.target.join("bench"));
        if benchmark == Benchmark::Mcp {
            command.args(peers(workspace)?);
        }
        process::run(command.args(&options.arguments))?;
    }
    Ok(())
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

fn build(workspace: &Workspace, package: &str) -> Result<()> {
    process::run(&mut workspace.cargo(&["build", "--release", "--locked", "--package", package]))
}

//! The project's chores, each a subcommand of `cargo xtask`: install what the tests need, run every check, audit the
//! dependencies, write the generated files, run the benchmarks. It knows nothing of throng's own crates: it runs
//! cargo and the built programs like a person would.

mod audit;
mod bench;
mod documents;
mod licence;
mod process;
mod schema;
mod setup;
mod test;
mod workspace;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::workspace::Workspace;

/// The project's chores.
#[derive(Parser)]
#[command(
    name = "cargo xtask",
    bin_name = "cargo xtask",
    disable_version_flag = true
)]
struct Arguments {
    #[command(subcommand)]
    chore: Chore,
}

#[derive(Subcommand)]
enum Chore {
    /// Install the third-party servers and suites that the tests need, pinned, into `<target>/third-party`.
    Setup,
    /// Run every check that a change has to pass: this is what CI runs.
    Test(test::Options),
    /// Check licences, duplicate versions, crate boundaries and lock files.
    Audit,
    /// Write docs/scenario.schema.json, the JSON Schema of the scenario file.
    Schema(schema::Options),
    /// Check that the program accepts every `throng` command in the documentation.
    Documents,
    /// Measure throng beside its peers, in release builds; takes minutes and wants an idle machine.
    Bench(bench::Options),
    /// Remove what `setup` installed.
    CleanThirdParty,
}

fn main() -> ExitCode {
    let chore = Arguments::parse().chore;
    let done = Workspace::find().and_then(|workspace| match chore {
        Chore::Setup => setup::run(&workspace).map(|installed| installed.print()),
        Chore::Test(options) => test::run(&workspace, &options),
        Chore::Audit => audit::run(&workspace),
        Chore::Schema(options) => schema::run(&workspace, &options, &workspace.program()?),
        Chore::Documents => documents::run(&workspace, &workspace.program()?),
        Chore::Bench(options) => bench::run(&workspace, &options),
        Chore::CleanThirdParty => setup::clean(&workspace),
    });
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

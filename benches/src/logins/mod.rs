//! `logins`: many users over plain HTTP, then twenty by each way to log in, beside Playwright, then a hundred in a browser.

mod crowd;
mod ways;

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::Args;
use serde_json::{Value, json};

use crate::aims::{self, Aim};
use crate::clients::{Client, Programs};
use crate::machine;
use crate::mcp::write;
use crate::sandbox_process::Sandbox;

#[derive(Args)]
pub(crate) struct Options {
    #[command(flatten)]
    programs: Programs,
    /// Users of the crowd that logs in over plain HTTP.
    #[arg(long, default_value_t = 1000)]
    users: u32,
    /// Of these, worked on at once.
    #[arg(long, default_value_t = 64)]
    login_concurrency: u32,
    /// A Python that has Playwright.
    #[arg(long)]
    playwright: PathBuf,
    /// The Chromium that Playwright drives, and throng too.
    #[arg(long, default_value = "/usr/bin/chromium")]
    chromium: PathBuf,
    /// Users that log in by each way.
    #[arg(long, default_value_t = 20)]
    way_users: u32,
    /// Of these, at once.
    #[arg(long, default_value_t = 4)]
    way_concurrency: u32,
    /// How often each way is measured.
    #[arg(long, default_value_t = 3)]
    rounds: u32,
    /// Users that log in one after the other in one Chromium, whose memory is looked at.
    #[arg(long, default_value_t = 100)]
    memory_users: u32,
}

/// Measure, print, write `logins.json`.
pub(crate) fn run(options: &Options) -> Result<()> {
    let programs = &options.programs;
    fs::create_dir_all(&programs.output).context("cannot create the output directory")?;
    let crowd = {
        let sandbox = Sandbox::start(programs)?;
        crowd::measure(&sandbox, options)?
    };
    let sandbox = Sandbox::start(programs)?;
    let ways = ways::measure(&sandbox, options)?;
    let memory = ways::memory(&sandbox, options)?;

    let parts = [crowd, ways, memory];
    let aims: Vec<&Aim> = parts.iter().flat_map(|part| &part.aims).collect();
    aims::print(aims.iter().copied());
    let [crowd, ways, memory] = parts.each_ref().map(|part| &part.document);
    write(
        &programs.output.join("logins.json"),
        &json!({
            "machine": machine::describe()?,
            "versions": programs.versions(&[Client::Throng])?,
            "crowd": crowd,
            "ways": ways,
            "memory": memory,
            "aims": aims.iter().map(|aim| aim.as_json()).collect::<Vec<_>>(),
        }),
    )
}

/// What one part of the benchmark showed.
struct Part {
    aims: Vec<Aim>,
    document: Value,
}

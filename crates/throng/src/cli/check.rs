//! `throng check`: says everything that is wrong with scenario files, without touching any target, unless one is named:
//! then also whether they fit it.

use std::process::ExitCode;

use anyhow::anyhow;
use throng_metrics::Verdict;
use throng_workflow::{Environment, Overrides, ScenarioFile};

use super::args::{CheckArgs, TargetArgs};
use super::run::inspect::inspect;
use super::run::misfit;
use super::{CommandError, Output, USAGE};

/// Checks each file; the exit code is 2 if one has a mistake, 93 if one doesn't fit the target, and that of the first look
/// that failed if one did.
pub(crate) fn check(args: &CheckArgs, output: Output) -> Result<ExitCode, CommandError> {
    let connects = names_a_target(&args.target);
    if !connects && args.target != TargetArgs::default() {
        return Err(CommandError::usage(anyhow!(
            "without a target nothing is connected to: name one with --sandbox or --url"
        )));
    }
    let (mut mistakes, mut drift, mut failed) = (false, false, None);
    for name in &args.files {
        let file = match read(name) {
            Ok(file) => file,
            Err(problems) => {
                mistakes = true;
                super::tell(&problems);
                continue;
            }
        };
        let wrong = super::property::mistakes(&file, 0..file.properties.all.len());
        if !wrong.is_empty() {
            mistakes = true;
            super::tell(&format!("error: {}\n", wrong.join("\nerror: ")));
            continue;
        }
        if let Err(error) = super::sandbox::knobs_of(&file, None) {
            mistakes = true;
            super::tell(&format!("error: {error:#}\n"));
            continue;
        }
        if !connects {
            super::print(&format!("{}{}", sound(name, &file), unset(&file)))?;
            continue;
        }
        let seen = match inspect(Some(name), &args.target, &args.oauth_client, output) {
            Ok(seen) => seen,
            Err(error) if error.code == Verdict::Interrupted.exit_code() => return Err(error),
            // The others are checked all the same.
            Err(error) => {
                super::tell(&format!("error: {}\n", super::words(&error.error)));
                failed.get_or_insert(error.code);
                continue;
            }
        };
        let mut text = sound(name, &file);
        if seen.problems.is_empty() {
            text.push_str(&format!("  fits {}, tool for tool\n", seen.url));
            super::print(&text)?;
        } else {
            drift = true;
            super::tell(&format!("{name}: {}\n", misfit(&seen.problems)));
        }
    }
    Ok(match (failed, mistakes, drift) {
        (Some(code), ..) => ExitCode::from(code),
        (None, true, _) => ExitCode::from(USAGE),
        (None, false, true) => ExitCode::from(Verdict::Drift.exit_code()),
        (None, false, false) => ExitCode::SUCCESS,
    })
}

fn names_a_target(target: &TargetArgs) -> bool {
    target.sandbox
        || target.sandbox_knobs.is_some()
        || target.url.is_some()
        || target.host.is_some()
}

/// A file without mistakes, or all of them.
fn read(name: &str) -> Result<ScenarioFile, String> {
    let lookup = |name: &str| std::env::var(name).ok();
    ScenarioFile::load(name, &Overrides::default(), &Environment::tolerant(&lookup)).map_err(
        |problems| {
            problems
                .iter()
                .map(|problem| format!("{problem}\n"))
                .collect()
        },
    )
}

/// A line about a sound file.
fn sound(name: &str, file: &ScenarioFile) -> String {
    let catalog = &file.program.catalog;
    format!(
        "{name}: sound; {}, {}, {}\n",
        counted(catalog.workflows.len(), "workflow"),
        counted(catalog.steps.len(), "step"),
        counted(file.scenario.users.count.value as usize, "user"),
    )
}

/// What the environment lacks for a run; empty if nothing.
fn unset(file: &ScenarioFile) -> String {
    if file.unset.is_empty() {
        return String::new();
    }
    format!(
        "  before it runs on a target of your own, set {} (not needed with --sandbox)\n",
        file.unset.join(", ")
    )
}

fn counted(number: usize, noun: &str) -> String {
    let s = if number == 1 { "" } else { "s" };
    format!("{number} {noun}{s}")
}

//! `cargo xtask test`: every check that a change has to pass, the cheap ones first. A failing step does not keep the
//! next from running, so that one run tells all; the summary at the end names what failed.

use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};
use clap::Args;

use crate::workspace::Workspace;
use crate::{audit, documents, process, schema, setup};

/// Tests in a module of this name need what `cargo xtask setup` installs.
const THIRD_PARTY_MODULE: &str = "third_party";

#[derive(Args)]
pub(crate) struct Options {
    /// Leave out the tests that need third-party programs, and their set-up.
    #[arg(long)]
    fast: bool,
}

/// One step: its name and what it does.
type Step<'a> = (&'static str, Box<dyn FnOnce() -> Result<()> + 'a>);

/// Run all steps, then print the summary.
pub(crate) fn run(workspace: &Workspace, options: &Options) -> Result<()> {
    let mut counts = Counts::default();
    let mut finished = Vec::new();
    for (name, step) in steps(workspace, options, &mut counts) {
        println!("\n=== {name}");
        let started = Instant::now();
        let result = step();
        let took = started.elapsed();
        match &result {
            Ok(()) => println!("=== {name}: passed in {:.1} s", took.as_secs_f64()),
            Err(error) => println!(
                "=== {name}: FAILED after {:.1} s: {error:#}",
                took.as_secs_f64()
            ),
        }
        finished.push(Finished {
            name,
            took,
            failed: result.is_err(),
        });
    }
    summarise(&finished, options, &counts)
}

fn steps<'a>(workspace: &'a Workspace, options: &Options, counts: &'a mut Counts) -> Vec<Step<'a>> {
    let fast = options.fast;
    let cargo =
        |arguments: &'static [&'static str]| move || process::run(&mut workspace.cargo(arguments));
    let mut steps: Vec<Step<'a>> = vec![
        ("fetch", Box::new(cargo(&["fetch", "--locked"]))),
        ("format", Box::new(cargo(&["fmt", "--all", "--check"]))),
        ("audit", Box::new(|| audit::run(workspace))),
    ];
    if !fast {
        steps.push((
            "third-party set-up",
            Box::new(|| setup::run(workspace).map(|installed| installed.print())),
        ));
    }
    steps.push((
        "clippy",
        Box::new(cargo(&[
            "clippy",
            "--workspace",
            "--all-targets",
            "--locked",
            "--",
            "--deny",
            "warnings",
        ])),
    ));
    steps.push(("tests", Box::new(move || tests(workspace, fast, counts))));
    steps.push(("documentation", Box::new(|| documentation(workspace))));
    steps.push((
        "scenario schema",
        Box::new(|| {
            let options = schema::Options { check: true };
            schema::run(workspace, &options, &workspace.tested_program())
        }),
    ));
    steps.push((
        "documented commands",
        Box::new(|| documents::run(workspace, &workspace.tested_program())),
    ));
    steps
}

/// All tests of the workspace, doc tests included.
fn tests(workspace: &Workspace, fast: bool, counts: &mut Counts) -> Result<()> {
    let mut command = workspace.cargo(&["test", "--workspace", "--locked", "--no-fail-fast"]);
    if fast {
        command.args(["--", "--skip", THIRD_PARTY_MODULE]);
    } else {
        command.envs(setup::run(workspace)?.environment());
    }
    process::run_watched(&mut command, |line| counts.see(line))?;
    ensure!(counts.passed > 0, "no test was run");
    Ok(())
}

fn documentation(workspace: &Workspace) -> Result<()> {
    let mut command = workspace.cargo(&["doc", "--workspace", "--no-deps", "--locked"]);
    process::run(command.env("RUSTDOCFLAGS", "--deny warnings"))
}

struct Finished {
    name: &'static str,
    took: Duration,
    failed: bool,
}

fn summarise(finished: &[Finished], options: &Options, counts: &Counts) -> Result<()> {
    println!("\n=== summary");
    for step in finished {
        let outcome = if step.failed { "FAILED" } else { "passed" };
        println!(
            "{:<20} {outcome} {:>8.1} s",
            step.name,
            step.took.as_secs_f64()
        );
    }
    println!(
        "{:<27} {:>8.1} s",
        "all",
        finished
            .iter()
            .map(|step| step.took)
            .sum::<Duration>()
            .as_secs_f64()
    );
    if options.fast {
        println!(
            "left out by --fast: every test in a module `{THIRD_PARTY_MODULE}`, and the set-up"
        );
    }
    println!(
        "tests: {} passed, {} failed, {} skipped",
        counts.passed, counts.failed, counts.skipped
    );
    let failed: Vec<_> = finished
        .iter()
        .filter(|step| step.failed)
        .map(|step| step.name)
        .collect();
    if !failed.is_empty() {
        bail!("failed: {}", failed.join(", "));
    }
    Ok(())
}

/// Tests counted over all test binaries.
#[derive(Default, Debug, PartialEq)]
struct Counts {
    passed: u64,
    failed: u64,
    /// Ignored, or left out by `--fast`.
    skipped: u64,
}

impl Counts {
    /// Add the numbers of a line like `test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 2 filtered out; ...`.
    fn see(&mut self, line: &str) {
        let Some((_, numbers)) = line
            .strip_prefix("test result: ")
            .and_then(|line| line.split_once(". "))
        else {
            return;
        };
        for part in numbers.split("; ") {
            let Some((number, what)) = part.split_once(' ') else {
                continue;
            };
            let Ok(number) = number.parse::<u64>() else {
                continue;
            };
            match what {
                "passed" => self.passed += number,
                "failed" => self.failed += number,
                "ignored" | "filtered out" => self.skipped += number,
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Counts;

    #[test]
    fn counts_are_summed_over_the_binaries() {
        let mut counts = Counts::default();
        counts.see("running 4 tests");
        counts.see("test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 2 filtered out; finished in 0.01s");
        counts.see("test result: FAILED. 5 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out; finished in 1.00s");
        assert_eq!(
            counts,
            Counts {
                passed: 8,
                failed: 2,
                skipped: 3
            }
        );
    }
}

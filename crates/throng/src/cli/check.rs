//! `throng check`: says everything that is wrong with scenario files, without touching any target.

use std::process::ExitCode;

use throng_workflow::{Environment, Overrides, ScenarioFile};

use super::args::CheckArgs;
use super::{CommandError, USAGE};

/// Checks each file; the exit code is 2 if one has a mistake.
pub(crate) fn check(args: &CheckArgs) -> Result<ExitCode, CommandError> {
    let mut mistakes = false;
    for name in &args.files {
        match problems(name) {
            Ok(summary) => super::print(&summary)?,
            Err(problems) => {
                mistakes = true;
                super::tell(&problems);
            }
        }
    }
    Ok(if mistakes {
        ExitCode::from(USAGE)
    } else {
        ExitCode::SUCCESS
    })
}

/// A line about a sound file, or all mistakes.
fn problems(name: &str) -> Result<String, String> {
    let lookup = |name: &str| std::env::var(name).ok();
    let file = ScenarioFile::load(name, &Overrides::default(), &Environment::tolerant(&lookup))
        .map_err(|problems| {
            problems
                .iter()
                .map(|problem| format!("{problem}\n"))
                .collect::<String>()
        })?;
    let catalog = &file.program.catalog;
    let mut line = format!(
        "{name}: sound; {} workflows, {} steps, {} users\n",
        catalog.workflows.len(),
        catalog.steps.len(),
        file.scenario.users.count.value,
    );
    if !file.unset.is_empty() {
        line.push_str(&format!(
            "  before it runs, set {}\n",
            file.unset.join(", ")
        ));
    }
    Ok(line)
}

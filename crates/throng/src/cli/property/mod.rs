//! `throng property`: tries what must hold on examples that are made up, shrinks those for which it doesn't, and keeps them.

mod failure;
mod junit;
mod script;
mod show;
mod tester;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, anyhow};
use throng_engine::StopSignals;
use throng_fuzz::property::{
    self, DEFAULT_CASES, DEFAULT_MIN_ACCEPTED, Kept, Outcome, Regressions, Settings,
};
use throng_fuzz::value::Values;
use throng_fuzz::{Accounts, Document};
use throng_identity::provision::Identity;
use throng_metrics::{Cleanup, Verdict};
use throng_workflow::ScenarioFile;
use throng_workflow::program::{Properties, Property};

use self::failure::Failure;
use self::tester::Tester;
use super::args::{PropertyArgs, RunArgs};
use super::fuzz::{Users, load_document, saved_variable};
use super::narrator::Narrator;
use super::run::job::FileJob;
use super::run::prepare::Prepared;
use super::run::visit::{Visited, visit};
use super::{CommandError, Output, runtime, signals};

/// The scenario whose properties are tried when none is named, on the sandbox.
const DEFAULT_SCENARIO: &str = "integr8scode";
/// How many users try examples at the same time where nobody says it.
const DEFAULT_USERS: u32 = 4;

/// One property that was tried.
struct Tested {
    /// Its name.
    name: String,
    /// The share of examples that must be accepted, from 0 to 1.
    min_accepted: f64,
    /// What came of it.
    outcome: Outcome<Failure>,
    /// An example of each reason why examples were refused.
    refusals: Vec<(String, String)>,
}

/// All that was tried.
struct Trial {
    scenario: String,
    seed: u64,
    tested: Vec<Tested>,
    /// Where failing examples were kept.
    kept: Option<PathBuf>,
}

/// Tries the properties of a scenario.
pub(crate) fn property(args: &PropertyArgs, output: Output) -> Result<ExitCode, CommandError> {
    let mut run = run_args(args);
    runtime()?.block_on(async {
        let stop = StopSignals::default();
        let watch = signals::watch(stop.clone())?;
        let mut prepared = Prepared::new(&run, output, &FileJob)?;
        let properties = prepared.file.properties.clone();
        let chosen =
            choose(&properties, &prepared.file.origin, args).map_err(CommandError::usage)?;
        if args.list {
            super::print(&show::list(&properties.all))?;
            return Ok(ExitCode::SUCCESS);
        }
        let users = users(&properties, &chosen, args).map_err(CommandError::usage)?;
        let mistakes = mistakes(&prepared.file, chosen.iter().copied());
        if !mistakes.is_empty() {
            return Err(CommandError::usage(anyhow!("{}", mistakes.join("\n"))));
        }
        if users > prepared.file.scenario.users.count.value {
            // More than the file has names for: read again, it makes them up.
            run.users = Some(users);
            run.seed = Some(prepared.seed);
            prepared = Prepared::new(&run, output, &FileJob)?;
        }
        let regressions = regressions_path(args, &prepared.file.origin);
        let kept =
            Regressions::read(&regressions).map_err(|error| CommandError::usage(anyhow!(error)))?;
        let detail = output.detail(args.quiet || args.json);
        let visited = visit(prepared, &run, users, detail, &stop, watch, {
            async |prepared: &Prepared<'_>, crowd, identities, narrator: &Narrator| {
                // Not those from before: the file was read again with the sandbox's address.
                let properties = prepared.file.properties.clone();
                let saved = identities.first().map(saved).unwrap_or_default();
                let scenario = &prepared.file.scenario;
                let people =
                    Users::new(identities, scenario, &prepared.connector, &prepared.driver)?;
                let document = document(prepared, &properties, &chosen, &*people).await?;
                let strategies = strategies(&properties, &chosen, document.as_deref())?;
                narrator.say(&format!(
                    "Trying {} of {}, {users} users, seed {}...",
                    match chosen.len() {
                        1 => "a property".to_owned(),
                        several => format!("{several} properties"),
                    },
                    prepared.file.scenario.name,
                    prepared.seed
                ));
                let tester = Tester::new(properties.clone(), crowd, users);
                let mut trial = Trial {
                    scenario: prepared.file.scenario.name.clone(),
                    seed: prepared.seed,
                    tested: Vec::new(),
                    kept: None,
                };
                let context = Setting {
                    args,
                    kept,
                    path: regressions,
                    target: script::Target::of(scenario, &*people, saved),
                };
                tester
                    .during(&stop, async |attempts| {
                        try_all(
                            context,
                            &properties,
                            &chosen,
                            strategies,
                            attempts,
                            &mut trial,
                            narrator,
                        )
                        .await
                    })
                    .await?;
                Ok(trial)
            }
        })
        .await?;
        conclude(args, visited, &stop)
    })
}

/// What all properties are tried with.
struct Setting<'a> {
    args: &'a PropertyArgs,
    kept: Regressions,
    path: PathBuf,
    target: script::Target,
}

/// The variables in which a login script has what the login saved, in the order of the crowd's.
fn saved(identity: &Identity) -> Vec<String> {
    let names = identity.saved.keys();
    names.map(|name| saved_variable(name)).collect()
}

fn run_args(args: &PropertyArgs) -> RunArgs {
    let mut target = args.target.clone();
    let scenario = args.scenario.clone().unwrap_or_else(|| {
        // As a bare `throng run` does.
        target.sandbox |= target.url.is_none();
        DEFAULT_SCENARIO.to_owned()
    });
    RunArgs {
        scenario: Some(scenario),
        target,
        users: args.users,
        seed: args.seed,
        oauth_client: args.oauth_client.clone(),
        ..RunArgs::default()
    }
}

/// Which properties are tried: those that are named, else all but those that want to be named.
fn choose(
    properties: &Properties,
    origin: &str,
    args: &PropertyArgs,
) -> anyhow::Result<Vec<usize>> {
    if properties.all.is_empty() {
        return Err(anyhow!("{origin} has no `properties`"));
    }
    let position = |name: &String| {
        let found = properties
            .all
            .iter()
            .position(|property| property.name == *name);
        found.ok_or_else(|| {
            let names: Vec<&str> = properties
                .all
                .iter()
                .map(|known| known.name.as_str())
                .collect();
            anyhow!(
                "{origin} has no property `{name}`; it has {}",
                names.join(", ")
            )
        })
    };
    if !args.names.is_empty() {
        return args.names.iter().map(position).collect();
    }
    let all = properties.all.iter().enumerate();
    let chosen: Vec<usize> = all
        .filter(|(_, property)| !property.by_name)
        .map(|(index, _)| index)
        .collect();
    if chosen.is_empty() && !args.list {
        return Err(anyhow!(
            "{origin}: all its properties are `by_name`: name those to be tried"
        ));
    }
    Ok(chosen)
}

fn users(properties: &Properties, chosen: &[usize], args: &PropertyArgs) -> anyhow::Result<u32> {
    let needs = |index: &usize| {
        let property = &properties.all[*index];
        (
            properties.program.workflows[property.workflow].minimum_users(),
            &property.name,
        )
    };
    let (needed, name) = chosen
        .iter()
        .map(needs)
        .max()
        .context("no property was chosen")?;
    match args.users {
        Some(users) if users < needed => {
            Err(anyhow!("`{name}` needs {needed} users: --users {needed}"))
        }
        Some(users) => Ok(users),
        None => Ok(needed.max(DEFAULT_USERS)),
    }
}

/// Where failing examples are kept: beside the scenario, or in the working directory for one that is built in.
fn regressions_path(args: &PropertyArgs, origin: &str) -> PathBuf {
    args.regressions
        .clone()
        .unwrap_or_else(|| Path::new(origin).with_extension("regressions.json"))
}

/// Where the scripts of failing examples are kept: in the directory `X` beside `X.json`.
fn scripts_path(regressions: &Path) -> PathBuf {
    match regressions.extension() {
        Some(_) => regressions.with_extension(""),
        None => regressions.with_extension("scripts"),
    }
}

/// The target's OpenAPI document, where a property needs it and the file names it; as a user who is logged in, where nobody else
/// gets it.
async fn document(
    prepared: &Prepared<'_>,
    properties: &Properties,
    chosen: &[usize],
    people: &dyn Accounts,
) -> anyhow::Result<Option<Arc<Document>>> {
    let given = chosen
        .iter()
        .flat_map(|index| &properties.all[*index].given);
    let needed = given
        .into_iter()
        .any(|(_, _, given)| property::needs_document(given));
    let scenario = &prepared.file.scenario;
    if !needed || scenario.target.openapi.is_none() {
        return Ok(None);
    }
    let found = load_document(None, scenario, &prepared.file.origin, people).await?;
    Ok(Some(found.document))
}

/// What is wrong with the strategies of a file's properties, as far as it can be told without the target's document: mistakes are
/// told before anything is touched.
pub(crate) fn mistakes(
    file: &ScenarioFile,
    chosen: impl IntoIterator<Item = usize>,
) -> Vec<String> {
    let documented = file.scenario.target.openapi.is_some();
    let mut mistakes = Vec::new();
    for property in chosen.into_iter().map(|index| &file.properties.all[index]) {
        for (name, _, given) in &property.given {
            if documented && property::needs_document(given) {
                continue;
            }
            if let Err(error) = property::strategy(given, None) {
                mistakes.push(format!(
                    "{}: properties.{}.{name}: {error}",
                    file.origin, property.name
                ));
            }
        }
    }
    mistakes
}

fn strategies(
    properties: &Properties,
    chosen: &[usize],
    document: Option<&Document>,
) -> anyhow::Result<Vec<Values>> {
    chosen
        .iter()
        .map(|index| {
            let property = &properties.all[*index];
            let named = property.given.iter().map(|(name, _, given)| {
                let values = property::strategy(given, document)
                    .with_context(|| format!("properties.{}.{name}", property.name))?;
                Ok((name.clone(), values))
            });
            Ok(property::together(named.collect::<anyhow::Result<_>>()?))
        })
        .collect()
}

async fn try_all(
    mut context: Setting<'_>,
    properties: &Arc<Properties>,
    chosen: &[usize],
    strategies: Vec<Values>,
    attempts: &tester::Attempts,
    trial: &mut Trial,
    narrator: &Narrator,
) -> anyhow::Result<()> {
    let quiet = context.args.quiet || context.args.json;
    for (index, values) in chosen.iter().zip(strategies) {
        let property = &properties.all[*index];
        let settings = settings_of(property, &context, trial.seed, attempts.users());
        let known = context.kept.of(&property.name).len();
        if settings.kept.len() < known {
            narrator.say(&format!(
                "{}: {} of {known} kept examples don't fit what the scenario gives now: left out",
                property.name,
                known - settings.kept.len()
            ));
        }
        let judge = failure::Judge::new(property);
        let outcome = property::check(&values, &settings, |example| async {
            match attempts.play(*index, example).await {
                Some(played) => judge.judged(&played),
                None => property::Tried::Stopped,
            }
        })
        .await;
        let mut tested = Tested {
            name: property.name.clone(),
            min_accepted: settings.min_accepted,
            outcome,
            refusals: judge.into_refusals(),
        };
        keep(&mut context, property, &mut tested, trial)?;
        narrator.clear();
        if !quiet {
            super::print(&show::tested(&tested, trial.seed, Some(&context.target)))
                .map_err(|error| error.error)?;
        }
        let stopped = matches!(tested.outcome.verdict, property::Verdict::Stopped);
        trial.tested.push(tested);
        if stopped {
            break;
        }
    }
    Ok(())
}

fn settings_of(property: &Property, context: &Setting<'_>, seed: u64, users: u32) -> Settings {
    let kept = context.kept.of(&property.name);
    Settings {
        cases: context
            .args
            .cases
            .or(property.cases)
            .unwrap_or(DEFAULT_CASES),
        min_accepted: property.min_accepted.unwrap_or(DEFAULT_MIN_ACCEPTED),
        // Of its own for each, so that a property's examples stay the same whatever others there are.
        seed: seed ^ fingerprint(&property.name),
        concurrency: users as usize,
        kept: kept
            .iter()
            .filter(|kept| still_fits(property, &kept.example))
            .map(|kept| kept.example.clone())
            .collect(),
        ..Settings::default()
    }
}

/// Whether a kept example is still one of the property's: it may have been renamed, or take other values now. A name that is
/// missing would be tried as null.
fn still_fits(property: &Property, example: &serde_json::Value) -> bool {
    example.as_object().is_some_and(|example| {
        let fits = |name: &String, given| {
            let value = example.get(name);
            value.is_some_and(|value| property::fits(given, value))
        };
        let mut given = property.given.iter();
        example.len() == property.given.len() && given.all(|(name, _, given)| fits(name, given))
    })
}

/// FNV-1a: the same on every machine and in every version.
fn fingerprint(name: &str) -> u64 {
    name.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

/// Keeps the smallest failing example at once, and a script that shows it: whoever loses patience later keeps it all the same.
fn keep(
    context: &mut Setting<'_>,
    property: &Property,
    tested: &mut Tested,
    trial: &mut Trial,
) -> anyhow::Result<()> {
    let property::Verdict::Failed(all) = &mut tested.outcome.verdict else {
        return Ok(());
    };
    let about = match &property.description {
        Some(description) => format!("{}: {description}", property.name),
        None => property.name.clone(),
    };
    let directory = scripts_path(&context.path);
    for found in all.iter_mut() {
        let failure = &mut found.failure;
        if let Some(script) = script::script(failure, &found.example, &about, &context.target) {
            let file = directory.join(failure.file_name(&property.name));
            std::fs::create_dir_all(&directory)
                .and_then(|()| std::fs::write(&file, &script))
                .with_context(|| format!("writing {}", file.display()))?;
            failure.curl = script;
            failure.file = Some(file);
        }
    }
    let mut new = false;
    for found in all {
        let kept = Kept {
            example: found.example.clone(),
            failure: found.failure.to_string(),
            seed: trial.seed,
        };
        new |= context.kept.keep(&tested.name, kept);
    }
    if new {
        context.kept.write(&context.path)?;
        trial.kept = Some(context.path.clone());
    }
    Ok(())
}

/// Prints what is left to say; returns the exit code.
fn conclude(
    args: &PropertyArgs,
    visited: Visited<Trial>,
    stop: &StopSignals,
) -> Result<ExitCode, CommandError> {
    let trial = match visited.result {
        Some(result) => Some(result.map_err(CommandError::failed)?),
        None => None,
    };
    let mut verdicts = verdicts(trial.as_ref(), &visited.cleanup, stop);
    if let (Some(trial), Some(path)) = (&trial, &args.junit)
        && let Err(error) = std::fs::write(path, junit::document(trial))
    {
        verdicts.push((
            Verdict::ReportNotWritten,
            format!("{}: {error}", path.display()),
        ));
    }
    verdicts.sort_by_key(|(verdict, _)| *verdict);
    let verdict = verdicts
        .first()
        .map_or(Verdict::Pass, |(verdict, _)| *verdict);
    let text = match (&trial, args.json) {
        (Some(trial), true) => show::json(trial, verdict, &verdicts),
        (trial, _) => show::conclusion(trial.as_ref(), verdict, &verdicts),
    };
    super::print(&text)?;
    Ok(ExitCode::from(verdict.exit_code()))
}

fn verdicts(
    trial: Option<&Trial>,
    cleanup: &Cleanup,
    stop: &StopSignals,
) -> Vec<(Verdict, String)> {
    let mut all = Vec::new();
    let mut add = |verdict: Verdict, reason: String| all.push((verdict, reason));
    for tested in trial.iter().flat_map(|trial| &trial.tested) {
        let name = &tested.name;
        match &tested.outcome.verdict {
            property::Verdict::Failed(all) => {
                for found in all {
                    add(Verdict::Findings, format!("{name}: {}", found.failure));
                }
            }
            property::Verdict::Vacuous => add(
                Verdict::NoData,
                format!("{name} is vacuous: {}", show::share(tested)),
            ),
            property::Verdict::NoExamples(why) => add(Verdict::NoData, format!("{name}: {why}")),
            property::Verdict::Passed | property::Verdict::Stopped => {}
        }
    }
    if stop.drain.is_cancelled() {
        add(Verdict::Interrupted, "stopped by a signal".to_owned());
    }
    if !cleanup.kept && cleanup.names.iter().len() > 0 {
        add(
            Verdict::CleanupIncomplete,
            format!("still there: {}", cleanup.names.join(", ")),
        );
    }
    all
}

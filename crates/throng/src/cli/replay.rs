//! `throng replay`: findings of a monkey swarm sent again.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, anyhow};
use throng_client::{Connector, ConnectorOptions};
use throng_engine::StopSignals;
use throng_fuzz::{Accounts, Finding, Replayed, Sending, Who};
use throng_metrics::{Verdict, clean};
use url::Url;

use super::args::{ReplayArgs, RunArgs};
use super::fuzz::{Users, load_document, read_document, settings};
use super::run::job::FileJob;
use super::run::prepare::Prepared;
use super::run::stay::stay;
use super::{CommandError, Output, runtime, settings as program, signals};

/// Time that an answer may take where no scenario says so.
const TIMEOUT: std::time::Duration = std::time::Duration::from_secs(10);

/// Sends findings again. The exit code is that of findings if one of them shows itself.
pub(crate) fn replay(args: &ReplayArgs, output: Output) -> Result<ExitCode, CommandError> {
    let findings = read(&args.findings).map_err(CommandError::usage)?;
    let all = runtime()?.block_on(async {
        let stop = StopSignals::default();
        let mut all: Vec<(Finding, Replayed)> = Vec::new();
        // Those of one scenario share their users.
        for (scenario, findings) in by_scenario(args, findings) {
            let replayed = match scenario {
                Some(scenario) => in_scenario(args, &scenario, findings, output, &stop).await?,
                None => Some(without_scenario(args, findings).await?),
            };
            match replayed {
                Some(replayed) => all.extend(replayed),
                None => return Ok(None),
            }
        }
        Ok::<_, CommandError>(Some(all))
    })?;
    let Some(all) = all else {
        let verdict = Verdict::Interrupted;
        super::print(&format!(
            "VERDICT: {} (exit code {}): stopped by a signal\n",
            verdict.words(),
            verdict.exit_code()
        ))?;
        return Ok(ExitCode::from(verdict.exit_code()));
    };
    let repeated = all.iter().filter(|(_, it)| it.repeated > 0).count();
    super::print(&shown(&all, repeated, args.quiet))?;
    Ok(ExitCode::from(verdict(&all, repeated).exit_code()))
}

/// Findings that neither showed themselves nor could be seen to be gone.
fn untold(all: &[(Finding, Replayed)]) -> impl Iterator<Item = &'static str> {
    let silent = all.iter().filter(|(_, it)| it.repeated == 0);
    silent.filter_map(|(_, it)| it.untold)
}

fn verdict(all: &[(Finding, Replayed)], repeated: usize) -> Verdict {
    match repeated {
        _ if untold(all).next().is_some() => Verdict::TargetFailed,
        0 => Verdict::Pass,
        _ => Verdict::Findings,
    }
}

fn shown(all: &[(Finding, Replayed)], repeated: usize, quiet: bool) -> String {
    let mut text = String::new();
    for (finding, replayed) in all {
        if !quiet {
            let _ = writeln!(text, "{}  {}", finding.check, clean(&finding.operation));
            for (index, request) in finding.requests.iter().enumerate() {
                let _ = writeln!(text, "  {}. {}", index + 1, clean(request));
            }
            if !replayed.answer.is_empty() {
                let _ = writeln!(text, "  answered: {}", clean(&replayed.answer));
            }
        }
        let _ = writeln!(
            text,
            "  repeats {} of {}  ({})",
            replayed.repeated, replayed.tried, finding.id
        );
        if let Some(why) = replayed.untold {
            let _ = writeln!(text, "  not all could be told: {why}");
        }
        text.push('\n');
    }
    let verdict = verdict(all, repeated);
    let still = format!("{repeated} of {} still there", all.len());
    let words = match verdict {
        Verdict::Pass => "none of them shows itself any more".to_owned(),
        Verdict::TargetFailed => {
            let count = untold(all).count();
            let why = untold(all).next().unwrap_or_default();
            format!("{count} of {} could not be told: {why}; {still}", all.len())
        }
        _ => still,
    };
    let _ = writeln!(
        text,
        "VERDICT: {} (exit code {}): {words}",
        verdict.words(),
        verdict.exit_code()
    );
    text
}

/// Reads findings; of a directory, all that are in it.
fn read(paths: &[PathBuf]) -> anyhow::Result<Vec<Finding>> {
    let mut findings = Vec::new();
    for path in paths {
        if !path.is_dir() {
            findings.push(Finding::load(path)?);
            continue;
        }
        let entries = std::fs::read_dir(path).with_context(|| path.display().to_string())?;
        let mut files = Vec::new();
        for entry in entries {
            let file = entry.with_context(|| path.display().to_string())?.path();
            if file.extension().is_some_and(|kind| kind == "json") {
                files.push(file);
            }
        }
        files.sort();
        if files.is_empty() {
            return Err(anyhow!("{}: there are no findings in it", path.display()));
        }
        for file in files {
            findings.push(Finding::load(&file)?);
        }
    }
    Ok(findings)
}

fn by_scenario(args: &ReplayArgs, findings: Vec<Finding>) -> Vec<(Option<String>, Vec<Finding>)> {
    let mut sorted: Vec<(Option<String>, Vec<Finding>)> = Vec::new();
    for finding in findings {
        let scenario = args.scenario.clone().or_else(|| finding.scenario.clone());
        match sorted.iter_mut().find(|(known, _)| *known == scenario) {
            Some((_, same)) => same.push(finding),
            None => sorted.push((scenario, vec![finding])),
        }
    }
    sorted
}

/// With the users of a scenario.
async fn in_scenario(
    args: &ReplayArgs,
    scenario: &str,
    findings: Vec<Finding>,
    output: Output,
    stop: &StopSignals,
) -> Result<Option<Vec<(Finding, Replayed)>>, CommandError> {
    let run = RunArgs {
        scenario: Some(scenario.to_owned()),
        target: args.target.clone(),
        oauth_client: args.oauth_client.clone(),
        ..RunArgs::default()
    };
    let watch = signals::watch(stop.clone())?;
    let prepared = Prepared::new(&run, output, &FileJob)?;
    let users = findings.iter().map(users_of).max().unwrap_or(1);
    let detail = output.detail(args.quiet);
    stay(
        prepared,
        &run,
        users,
        detail,
        stop,
        watch,
        async |prepared, identities, narrator| {
            let file = &prepared.file;
            let users = Users::new(
                identities,
                &file.scenario,
                &prepared.connector,
                &prepared.driver,
            )?;
            // The scenario's own, unless only the finding knows one.
            let of_finding = findings.iter().find_map(|finding| finding.openapi.clone());
            let given = args.openapi.clone().or_else(|| {
                let named = file.scenario.target.openapi.is_some();
                of_finding.filter(|_| !named)
            });
            let found =
                load_document(given.as_deref(), &file.scenario, &file.origin, &*users).await?;
            let settings = settings(&file.scenario, &file.origin, &found, prepared.seed)?;
            let mut all = Vec::new();
            for finding in findings {
                narrator.say(&format!("Sending {} again...", finding.id));
                let accounts = Arc::clone(&users) as Arc<dyn Accounts>;
                let sending = &settings.sending;
                let replayed =
                    throng_fuzz::replay(&finding, &found.document, accounts, sending).await;
                all.push((finding, replayed));
            }
            Ok(all)
        },
    )
    .await
}

/// How many users a finding takes.
fn users_of(finding: &Finding) -> u32 {
    let steps = finding.probe.steps.iter();
    let others = steps.filter_map(|step| match step.request.who {
        Who::Other(n) => Some(u32::from(n)),
        _ => None,
    });
    // One more than it takes: the token of another session is another user's.
    others.max().unwrap_or(0).max(1) + 1
}

/// Of an API on which nobody logs in.
async fn without_scenario(
    args: &ReplayArgs,
    findings: Vec<Finding>,
) -> Result<Vec<(Finding, Replayed)>, CommandError> {
    let trust = program::trust(args.target.insecure, args.target.cacert.as_ref());
    let connector = Connector::new(ConnectorOptions {
        trust,
        ..ConnectorOptions::default()
    })
    .map_err(|error| CommandError::usage(error.into()))?;
    let accounts: Arc<dyn Accounts> = Arc::new(throng_fuzz::NoAccounts(connector));
    let mut all = Vec::new();
    for finding in findings {
        let url = args.target.url.as_deref().unwrap_or(&finding.target);
        let origin = Url::parse(url)
            .with_context(|| format!("the target's URL `{url}`"))
            .map_err(CommandError::usage)?;
        let place = args.openapi.as_ref().or(finding.openapi.as_ref());
        let place = place.ok_or_else(|| {
            let file = finding.file.as_deref().unwrap_or(Path::new("the finding"));
            CommandError::usage(anyhow!(
                "{}: it names neither a scenario nor an OpenAPI document: say which with --scenario or --openapi",
                file.display()
            ))
        })?;
        let found = read_document(place, &origin, "", &*accounts)
            .await
            .map_err(CommandError::failed)?;
        let sending = Sending {
            origin: origin.clone(),
            timeout: TIMEOUT,
            window: TIMEOUT / 10,
            largest_body: 8 << 20,
            csrf: None,
            headers: Vec::new(),
        };
        let accounts = Arc::clone(&accounts);
        let replayed = throng_fuzz::replay(&finding, &found.document, accounts, &sending).await;
        all.push((finding, replayed));
    }
    Ok(all)
}

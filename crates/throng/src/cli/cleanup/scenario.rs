//! `throng cleanup SCENARIO`: what a run of this scenario left in its own directory, whichever kind that is.
//!
//! The ledger says who; the scenario says where and how. Nothing is sent where the ledger knows nobody, unless names are searched for
//! (`--prefix`).

use std::collections::BTreeMap;

use anyhow::anyhow;
use throng_client::{Client, Connector, ConnectorOptions};
use throng_identity::cleanup::ReapScope;
use throng_identity::directory::Directory;
use throng_identity::ledger::{Kind, Ledger, Place};
use throng_identity::secret::Secret;
use throng_workflow::{DirectoryOverrides, Environment, Overrides, ScenarioFile};

use super::super::args::CleanupArgs;
use super::super::run::job::Job;
use super::super::{CommandError, directory, runtime, settings};
use super::{REQUEST_LIMIT, exit_code, one};

/// Cleans the directory of the scenario that is named. Exit code 94 if something stayed, 2 if the ledger knows nobody there.
pub(super) fn clean(
    args: &CleanupArgs,
    name: &str,
    ledger: &Ledger,
    job: &dyn Job,
) -> Result<std::process::ExitCode, CommandError> {
    let file = read(args, name, job).map_err(CommandError::usage)?;
    let scenario = &file.scenario;
    let trust = settings::trust_of(args.insecure, args.cacert.as_ref(), &file);
    let connector = Connector::new(ConnectorOptions {
        trust,
        ..ConnectorOptions::default()
    })
    .map_err(|error| CommandError::usage(error.into()))?;
    let client = Client::new(&connector);
    let (directory, _) = directory::open(scenario, &client).map_err(|error| {
        let why = "only what a directory made can be cleaned up";
        CommandError::usage(error.context(format!("{name}: {why}")))
    })?;
    let found = there(args, &*directory, ledger).map_err(CommandError::usage)?;
    if found == 0 && args.prefix.is_none() {
        super::super::print(&format!(
            "Nothing to clean up: the ledger holds no users at {}.\n",
            directory.url()
        ))?;
        return Ok(exit_code(true));
    }
    if !directory.can_delete() {
        super::super::print(&format!(
            "{name} doesn't say how users are deleted (`directory.delete`): {found} stay at {}; `throng cleanup --forget` names them and strikes them from the ledger\n",
            directory.url()
        ))?;
        return Ok(exit_code(false));
    }
    let (names, prefix) = throng_workflow::users::templates(&scenario.users)
        .map_err(|error| CommandError::usage(error.into()))?;
    let scope = ReapScope {
        prefix: args.prefix.as_ref().map(|_| prefix),
        names: names.name,
        only_prefix: args.prefix.is_some(),
        force: args.force,
    };
    let complete = runtime()?.block_on(async {
        // Its requests need somebody logged in, or a look at what it can.
        let checked = tokio::time::timeout(3 * REQUEST_LIMIT, directory.check()).await;
        let checked = match checked {
            Ok(checked) => checked.map_err(anyhow::Error::from),
            Err(_) => Err(anyhow!("no answer")),
        };
        checked.map_err(|error| {
            CommandError::failed(error.context(format!("cleaning {}", directory.url())))
        })?;
        one(args, scope, &directory, ledger).await
    })?;
    Ok(exit_code(complete))
}

fn read(args: &CleanupArgs, name: &str, job: &dyn Job) -> anyhow::Result<ScenarioFile> {
    let overrides = Overrides {
        url: args.url.clone(),
        prefix: args.prefix.clone(),
        directory: DirectoryOverrides {
            url: args.host.clone(),
            admin: args.admin.clone(),
            password: args.admin_password.as_deref().map(Secret::new),
            scim: None,
        },
        ..Overrides::default()
    };
    let lookup = |name: &str| std::env::var(name).ok();
    job.read(name, &overrides, &Environment::new(&lookup))
        .map_err(|problems| settings::list(&problems))
}

/// How many users the ledger knows in a directory. Nobody there, but at another place of this kind, is a mistake: the scenario ran
/// with another address than it is given now.
fn there(args: &CleanupArgs, directory: &dyn Directory, ledger: &Ledger) -> anyhow::Result<usize> {
    let place = Place::of(directory);
    let mut elsewhere = BTreeMap::<String, usize>::new();
    let mut here = 0;
    for entry in ledger.open_entries()? {
        if entry.kind != Kind::User || entry.place.kind != place.kind {
            continue;
        }
        if entry.place.url == place.url {
            here += 1;
        } else {
            *elsewhere.entry(entry.place.url).or_default() += 1;
        }
    }
    if here > 0 || elsewhere.is_empty() || args.prefix.is_some() {
        return Ok(here);
    }
    let known: Vec<String> = elsewhere
        .iter()
        .map(|(url, users)| format!("{users} at {url}"))
        .collect();
    Err(anyhow!(
        "the ledger knows no users at {}, and of the same kind ({}) {}; nobody was asked to delete anything. If the run went there, give the address that it had with --url or --host",
        place.url,
        place.kind,
        known.join(", "),
    ))
}

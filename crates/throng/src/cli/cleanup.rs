//! `throng cleanup`: removes what earlier runs left, by the ledger and by whole names of ours.

mod scenario;

use std::collections::{BTreeMap, BTreeSet};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, anyhow};
use throng_client::{Client, Connector, ConnectorOptions};
use throng_identity::cleanup::{
    CleanupEvent, CleanupOptions, CleanupReport, FoundBy, ReapScope, reap,
};
use throng_identity::directory::Directory;
use throng_identity::directory::names::{NameTemplate, Prefix};
use throng_identity::directory::nextcloud::Nextcloud;
use throng_identity::ledger::{Entry, Kind, Ledger, State};
use throng_identity::secret::Secret;
use throng_metrics::Verdict;
use tokio_util::sync::CancellationToken;
use url::Url;

use super::args::CleanupArgs;
use super::run::job::Job;
use super::{CommandError, runtime, settings, state, tell};

/// How users are named unless a scenario says otherwise.
pub(crate) const DEFAULT_NAMES: &str = "{prefix}_user_{n}";
/// The directories that this command cleans without a scenario, as the ledger calls them.
const KIND: &str = "nextcloud";
const REQUEST_LIMIT: Duration = Duration::from_secs(30);

/// Lists, deletes, reports. Exit code 94 if something stayed.
pub(crate) fn cleanup(args: &CleanupArgs, job: &dyn Job) -> Result<ExitCode, CommandError> {
    let ledger = Ledger::open(&state::ledger_path().map_err(CommandError::usage)?)
        .map_err(|error| CommandError::failed(error.into()))?;
    if let Some(name) = &args.scenario {
        return scenario::clean(args, name, &ledger, job);
    }
    let Hosts {
        hosts,
        registered,
        in_use,
    } = hosts(args, &ledger).map_err(CommandError::usage)?;
    if hosts.is_empty() && registered.is_empty() {
        super::print(&nothing(args, in_use))?;
        return Ok(ExitCode::SUCCESS);
    }
    if args.forget {
        super::print(&forget(&ledger, &registered, args.dry_run)?)?;
    } else if hosts.is_empty() {
        let lines: Vec<String> = registered
            .iter()
            .map(|(url, users)| {
                let kind = users.first().map_or("", |user| user.place.kind.as_str());
                format!("{}\n", needs_its_scenario(users.len(), kind, url))
            })
            .collect();
        super::print(&lines.concat())?;
    }
    let complete = registered.is_empty() || (args.forget && !args.dry_run);
    if hosts.is_empty() {
        return Ok(exit_code(complete));
    }
    let prefix = args
        .prefix
        .as_deref()
        .map(Prefix::new)
        .transpose()
        .map_err(|error| CommandError::usage(anyhow!(error).context("--prefix")))?;
    let names = NameTemplate::new(&args.names)
        .map_err(|error| CommandError::usage(anyhow!(error).context("--names")))?;
    let (admin, password) = administrator(args).map_err(CommandError::usage)?;
    let connector = Connector::new(ConnectorOptions {
        trust: settings::trust(args.insecure, args.cacert.as_ref()),
        ..ConnectorOptions::default()
    })
    .map_err(|error| CommandError::usage(error.into()))?;
    runtime()?.block_on(async {
        let mut complete = complete;
        for host in hosts {
            let client = Client::new(&connector);
            let directory: Arc<dyn Directory> = Arc::new(Nextcloud::new(
                client,
                host.clone(),
                &admin,
                password.clone(),
                REQUEST_LIMIT,
            ));
            let scope = ReapScope {
                prefix: prefix.clone(),
                names: names.clone(),
                only_prefix: prefix.is_some(),
                force: args.force,
            };
            complete &= one(args, scope, &directory, &ledger).await?;
        }
        Ok(exit_code(complete))
    })
}

/// Why there is nothing to do.
fn nothing(args: &CleanupArgs, in_use: usize) -> String {
    let whom = if args.forget {
        "users who registered at a target"
    } else {
        "users"
    };
    match in_use {
        0 => format!("Nothing to clean up: the ledger holds no {whom}.\n"),
        _ => format!(
            "Nothing to clean up: a run that is still going on uses all {whom} in the ledger, {in_use} of them (--force takes them too).\n"
        ),
    }
}

fn exit_code(complete: bool) -> ExitCode {
    if complete {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(Verdict::CleanupIncomplete.exit_code())
    }
}

/// Strikes users from the ledger that this command can't delete, and names them; on a dry run only that.
fn forget(
    ledger: &Ledger,
    registered: &BTreeMap<String, Vec<Entry>>,
    dry_run: bool,
) -> Result<String, CommandError> {
    let mut text = String::new();
    for (url, users) in registered {
        let would = if dry_run { "would be " } else { "" };
        text.push_str(&format!(
            "{url}: {} users stay; they {would}{} from the ledger\n",
            users.len(),
            if dry_run { "struck" } else { "are struck" }
        ));
        for user in users {
            text.push_str(&format!("  {}\n", user.name));
            if !dry_run {
                ledger
                    .set_state(user.id, State::Stays)
                    .map_err(|error| CommandError::failed(error.into()))?;
            }
        }
    }
    Ok(text)
}

/// Cleans one directory; whether nothing of ours stayed.
async fn one(
    args: &CleanupArgs,
    scope: ReapScope,
    directory: &Arc<dyn Directory>,
    ledger: &Ledger,
) -> Result<bool, CommandError> {
    let options = CleanupOptions {
        dry_run: args.dry_run,
        concurrency: args.concurrency as usize,
        timeout: REQUEST_LIMIT,
        ..CleanupOptions::default()
    };
    let on_event = |event: CleanupEvent<'_>| {
        if let CleanupEvent::Left(left) = event {
            tell(&format!("  ! '{}' stays: {}\n", left.name, left.why));
        }
    };
    // A Ctrl-C ends the process; what is deleted by then is noted in the ledger, the rest stays in it.
    let never = CancellationToken::new();
    let report = reap(&scope, directory, ledger, &options, &never, &on_event)
        .await
        .map_err(|error| {
            CommandError::failed(anyhow!(error).context(format!("cleaning {}", directory.url())))
        })?;
    super::print(&describe(&report, directory.url()))?;
    Ok(report.left.is_empty() && report.unknown.is_empty())
}

fn describe(report: &CleanupReport, url: &Url) -> String {
    let mut text = String::new();
    let mut say = |line: String| {
        text.push_str(&line);
        text.push('\n');
    };
    if report.dry_run {
        say(format!(
            "{url}: {} users would be deleted",
            report.found.len()
        ));
        for (name, by) in &report.found {
            let how = match by {
                FoundBy::Ledger => "in the ledger",
                FoundBy::Name => "by its name",
            };
            say(format!("  {name} ({how})"));
        }
    } else {
        let (deleted, found) = (report.deleted.len(), report.found.len());
        say(format!(
            "{url}: {deleted} of {found} users deleted in {:.1} s",
            report.took.as_secs_f64()
        ));
        if !report.gone.is_empty() {
            say(format!("  {} were gone already", report.gone.len()));
        }
        if !report.clients_deleted.is_empty() {
            say(format!(
                "  {} OAuth clients deleted",
                report.clients_deleted.len()
            ));
        }
        for left in &report.clients_kept {
            say(format!(
                "  OAuth client '{}' stays: {}",
                left.name, left.why
            ));
        }
        for left in &report.left {
            say(format!("  '{}' stays: {}", left.name, left.why));
        }
    }
    for name in &report.unknown {
        say(format!(
            "  '{name}' is left alone: the run died before it knew whether it had made him, and the directory can't list its users; `throng cleanup --forget` strikes him from the ledger"
        ));
    }
    if !report.in_use.is_empty() {
        say(format!(
            "  {} left alone, since a run that is still going on uses them (--force takes them too)",
            report.in_use.len()
        ));
    }
    for (place, users) in &report.elsewhere {
        say(if place.kind == KIND {
            format!(
                "  the ledger knows {users} more at {}; clean it with --host {0}",
                place.url
            )
        } else {
            format!("  {}", needs_its_scenario(*users, &place.kind, &place.url))
        });
    }
    text
}

/// What is to be said of users whom no administrator's password deletes.
fn needs_its_scenario(users: usize, kind: &str, url: &str) -> String {
    let s = if users == 1 { "" } else { "s" };
    let were = if users == 1 { "was" } else { "were" };
    let made = match kind {
        "http-register" => "by registering there",
        _ => "there",
    };
    format!(
        "{users} user{s} at {url} {were} made {made} ({kind}); `throng cleanup SCENARIO`, with the scenario of that run, deletes them if it says how; `throng cleanup --forget` names them and strikes them from the ledger, and deletes nobody"
    )
}

/// What there is to clean.
struct Hosts {
    /// Nextclouds.
    hosts: BTreeSet<Url>,
    /// Who was made where else. Nobody's password is ever sent there. None where a host was named.
    registered: BTreeMap<String, Vec<Entry>>,
    /// How many of these are of a run that still goes on, and are left alone.
    in_use: usize,
}

/// The directories to clean: the one that is named, else all of the ledger. Who is only to be forgotten is so wherever he
/// registered, and nothing is cleaned.
fn hosts(args: &CleanupArgs, ledger: &Ledger) -> anyhow::Result<Hosts> {
    let named = args.host.clone().or_else(|| environment("NEXTCLOUD_HOST"));
    if let Some(host) = named.filter(|_| !args.forget) {
        let url = Url::parse(&host).with_context(|| {
            format!("--host {host}: not a URL; write it whole, such as http://localhost:8080")
        })?;
        if !url.username().is_empty() || url.password().is_some() {
            return Err(anyhow!(
                "--host: this URL has a user name or a password in it; give --admin, and the password in NEXTCLOUD_PASSWORD"
            ));
        }
        return Ok(Hosts {
            hosts: BTreeSet::from([url]),
            registered: BTreeMap::new(),
            in_use: 0,
        });
    }
    let entries = ledger.open_entries()?;
    let (mut hosts, mut registered) = (BTreeSet::new(), BTreeMap::<_, Vec<Entry>>::new());
    let mut in_use = 0;
    for entry in entries.into_iter().filter(|entry| entry.kind == Kind::User) {
        if entry.place.kind != KIND {
            if entry.is_in_use() && !args.force {
                in_use += 1;
                continue;
            }
            let there = registered.entry(entry.place.url.clone()).or_default();
            there.push(entry);
            continue;
        }
        if args.forget {
            continue;
        }
        hosts.insert(
            Url::parse(&entry.place.url)
                .with_context(|| format!("the ledger names {}", entry.place.url))?,
        );
    }
    if hosts.len() > 1 {
        let known: Vec<&str> = hosts.iter().map(Url::as_str).collect();
        // One administrator's password must not be sent to all of them.
        return Err(anyhow!(
            "the ledger knows users at {}; name one of them with --host",
            known.join(", ")
        ));
    }
    if hosts.is_empty() && args.prefix.is_some() {
        return Err(anyhow!(
            "--prefix needs to know where: give --host or set NEXTCLOUD_HOST"
        ));
    }
    Ok(Hosts {
        hosts,
        registered,
        in_use,
    })
}

fn administrator(args: &CleanupArgs) -> anyhow::Result<(String, Secret)> {
    let admin = args
        .admin
        .clone()
        .or_else(|| environment("NEXTCLOUD_USERNAME"))
        .context("who may delete users? give --admin or set NEXTCLOUD_USERNAME")?;
    let password = args
        .admin_password
        .clone()
        .or_else(|| environment("NEXTCLOUD_PASSWORD"))
        .context("the administrator's password is missing: set NEXTCLOUD_PASSWORD (or give --admin-password)")?;
    Ok((admin, Secret::new(password)))
}

fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

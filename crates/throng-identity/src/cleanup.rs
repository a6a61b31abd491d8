//! Leaves nothing behind: deletes what the ledger says was created, and what bears a name of ours.
//!
//! Two occasions: [`clean_run`] at the end of a run, [`reap`] later, for what a killed run left. A stranger's user is never
//! touched: by-name deletion takes whole names only ([`NameTemplate::number`]), and users of a run that still goes on in
//! another process are left to it.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use futures_util::{StreamExt, stream};
use throng_client::Client;
use tokio_util::sync::CancellationToken;

use crate::directory::names::{NameTemplate, Prefix};
use crate::directory::{Deletion, Directory, DirectoryError};
use crate::ledger::{self, Entry, EntryId, Kind, Ledger, LedgerError, Place, RunId, State};
use crate::registration::{self, Registration, Unregistered};
use crate::retry::RetryPolicy;

/// Why somebody is still there whom the directory was never asked to delete.
const OUT_OF_TIME: &str = "the cleanup was out of time before its turn came";
/// Why nobody knows whether somebody is still there.
const GIVEN_UP: &str = "the cleanup was out of time before the directory had answered";

/// How deletions are made.
#[derive(Debug, Clone)]
pub struct CleanupOptions {
    /// Only say what would be deleted.
    pub dry_run: bool,
    /// Deletions at once, at least 1.
    pub concurrency: usize,
    /// Attempts and time for each deletion.
    pub retry: RetryPolicy,
    /// Time allowed for each request to an authorization server.
    pub timeout: Duration,
}

impl Default for CleanupOptions {
    fn default() -> Self {
        Self {
            dry_run: false,
            concurrency: 16,
            retry: RetryPolicy::default(),
            timeout: Duration::from_secs(30),
        }
    }
}

/// Which leftovers [`reap`] looks for in a directory.
#[derive(Debug, Clone)]
pub struct ReapScope {
    /// Also delete users that bear a name with this prefix, whether the ledger knows them or not.
    pub prefix: Option<Prefix>,
    /// How names are made.
    pub names: NameTemplate,
    /// Of the ledger's entries, only those with the prefix.
    pub only_prefix: bool,
    /// Also what belongs to runs that still go on.
    pub force: bool,
}

/// How a user was found to be ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FoundBy {
    /// The ledger has it.
    Ledger,
    /// Its name is one of ours.
    Name,
}

/// Something that could not be removed.
#[derive(Debug, Clone)]
pub struct Left {
    /// The user's name or the client's id.
    pub name: String,
    /// Why.
    pub why: String,
}

/// What was found, what is gone, what is still there.
#[derive(Debug, Default)]
pub struct CleanupReport {
    /// Every user that is to go, by name.
    pub found: Vec<(String, FoundBy)>,
    /// Deleted now.
    pub deleted: Vec<String>,
    /// Found to be gone already (planned but never created, or deleted by somebody else).
    pub gone: Vec<String>,
    /// Still there, and why.
    pub left: Vec<Left>,
    /// Not touched, because a run that still goes on uses them.
    pub in_use: Vec<String>,
    /// There for good: the directory has no way to delete users. No failure of the cleanup.
    pub staying: Vec<String>,
    /// Perhaps there: their creation failed without saying whether it did, and the directory cannot list its users. They are
    /// not deleted, since a user of that name may be a stranger's.
    pub unknown: Vec<String>,
    /// Client registrations deleted now.
    pub clients_deleted: Vec<String>,
    /// Client registrations that nobody can delete; the provider forgets them by itself or never. No failure of the cleanup.
    pub clients_kept: Vec<Left>,
    /// Users that the ledger knows at other directories: place and how many.
    pub elsewhere: Vec<(Place, usize)>,
    /// Nothing was deleted, by request.
    pub dry_run: bool,
    /// How long it took.
    pub took: Duration,
}

impl CleanupReport {
    /// Nothing of ours stayed that could have gone.
    pub fn is_complete(&self) -> bool {
        self.left.is_empty() && (!self.dry_run || self.found.is_empty())
    }
}

/// The cleanup could not begin. What it could not delete is in the report instead.
#[derive(Debug, thiserror::Error)]
pub enum CleanupError {
    /// The ledger cannot be read.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// The directory cannot be searched.
    #[error("listing users: {0}")]
    List(#[source] DirectoryError),
}

/// Something to show while it goes on.
#[derive(Debug)]
pub enum CleanupEvent<'a> {
    /// So many are to go.
    Found(usize),
    /// One is gone (now or already).
    Deleted(&'a str),
    /// One is not.
    Left(&'a Left),
}

type OnEvent<'a> = &'a (dyn Fn(CleanupEvent<'_>) + Send + Sync);

/// Removes all that `run` created and ends it in the ledger if nothing stayed. `directory` is none where nobody can have been
/// created. `registration` is the run's OAuth client with the identity that may delete it, if one was registered. `cancel` ends
/// it soon: what is in flight is given up, and what is not deleted by then is left, and stays in the ledger.
///
/// # Errors
/// Where the ledger cannot be read or written.
pub async fn clean_run(
    run: &RunId,
    directory: Option<&Arc<dyn Directory>>,
    registration: Option<(&Client, &Registration)>,
    ledger: &Ledger,
    options: &CleanupOptions,
    cancel: &CancellationToken,
    on_event: OnEvent<'_>,
) -> Result<CleanupReport, CleanupError> {
    let started = Instant::now();
    let of = run.clone();
    let entries = ledger
        .run(move |ledger| ledger.open_entries_of(&of))
        .await?;
    let mut report = CleanupReport {
        dry_run: options.dry_run,
        ..CleanupReport::default()
    };
    if let Some(directory) = directory {
        let place = Place::of(&**directory);
        let mut targets = BTreeMap::new();
        for entry in entries.iter().filter(|entry| entry.kind == Kind::User) {
            if !same_place(&entry.place, &place) {
                count_elsewhere(&mut report, &entry.place);
            } else if entry.state == State::Planned && !directory.can_list() {
                if !options.dry_run {
                    set_states(ledger, &[entry.id], State::Stays).await?;
                }
                report.unknown.push(entry.name.clone());
            } else {
                targets
                    .entry(entry.name.clone())
                    .or_insert_with(Target::by_ledger)
                    .add(entry);
            }
        }
        delete_all(
            targets,
            directory,
            ledger,
            options,
            cancel,
            on_event,
            &mut report,
        )
        .await?;
    }
    if !options.dry_run {
        for entry in entries.iter().filter(|entry| entry.kind == Kind::Client) {
            unregister(entry, registration, ledger, options, cancel, &mut report).await?;
        }
        let of = run.clone();
        ledger.run(move |ledger| ledger.end_run(&of)).await?;
    }
    report.took = started.elapsed();
    Ok(report)
}

/// Removes what earlier runs left in a directory.
pub async fn reap(
    scope: &ReapScope,
    directory: &Arc<dyn Directory>,
    ledger: &Ledger,
    options: &CleanupOptions,
    cancel: &CancellationToken,
    on_event: OnEvent<'_>,
) -> Result<CleanupReport, CleanupError> {
    let started = Instant::now();
    let entries = ledger.run(Ledger::open_entries).await?;
    let place = Place::of(&**directory);
    let mut report = CleanupReport {
        dry_run: options.dry_run,
        ..CleanupReport::default()
    };
    let mut targets: BTreeMap<String, Target> = BTreeMap::new();
    let mut in_use: HashSet<&str> = HashSet::new();
    let ours = |name: &str| {
        scope
            .prefix
            .as_ref()
            .is_some_and(|prefix| scope.names.number(prefix, name).is_some())
    };
    for entry in entries.iter().filter(|entry| entry.kind == Kind::User) {
        if !same_place(&entry.place, &place) {
            count_elsewhere(&mut report, &entry.place);
        } else if entry.is_in_use() && !scope.force {
            in_use.insert(&entry.name);
        } else if scope.only_prefix && !ours(&entry.name) {
            // Another's work.
        } else if entry.state == State::Planned && !directory.can_list() {
            // Nobody knows whether the name was free: he may be a stranger.
            report.unknown.push(entry.name.clone());
        } else {
            targets
                .entry(entry.name.clone())
                .or_insert_with(Target::by_ledger)
                .add(entry);
        }
    }
    // Whoever is known from another entry is no longer unknown.
    report.unknown.retain(|name| !targets.contains_key(name));
    report.unknown.sort();
    report.unknown.dedup();
    if let Some(prefix) = &scope.prefix {
        let stem = scope.names.stem(prefix);
        let listed = retried(options, cancel, || directory.list(&stem))
            .await
            .map_err(CleanupError::List)?;
        for name in listed.into_iter().filter(|name| ours(name)) {
            targets.entry(name).or_insert_with(Target::by_name);
        }
    }
    targets.retain(|name, _| !in_use.contains(&**name));
    report.in_use = in_use.into_iter().map(str::to_owned).collect();
    report.in_use.sort();
    delete_all(
        targets,
        directory,
        ledger,
        options,
        cancel,
        on_event,
        &mut report,
    )
    .await?;
    if !options.dry_run {
        for entry in entries
            .iter()
            .filter(|entry| entry.kind == Kind::Client && (scope.force || !entry.is_in_use()))
        {
            unregister(entry, None, ledger, options, cancel, &mut report).await?;
        }
    }
    report.took = started.elapsed();
    Ok(report)
}

/// A user to be deleted and the entries that it settles.
struct Target {
    found_by: FoundBy,
    entries: Vec<EntryId>,
    /// A deletion was asked for earlier, and nobody knows what came of it.
    perhaps_gone: bool,
}

impl Target {
    fn by_ledger() -> Self {
        Self {
            found_by: FoundBy::Ledger,
            entries: Vec::new(),
            perhaps_gone: false,
        }
    }

    fn by_name() -> Self {
        Self {
            found_by: FoundBy::Name,
            ..Self::by_ledger()
        }
    }

    fn add(&mut self, entry: &Entry) {
        self.entries.push(entry.id);
        self.perhaps_gone |= entry.state == State::Deleting;
    }
}

async fn delete_all(
    targets: BTreeMap<String, Target>,
    directory: &Arc<dyn Directory>,
    ledger: &Ledger,
    options: &CleanupOptions,
    cancel: &CancellationToken,
    on_event: OnEvent<'_>,
    report: &mut CleanupReport,
) -> Result<(), CleanupError> {
    if !directory.can_delete() {
        for (name, target) in targets {
            if !options.dry_run {
                set_states(ledger, &target.entries, State::Stays).await?;
            }
            report.staying.push(name);
        }
        return Ok(());
    }
    report.found = targets
        .iter()
        .map(|(name, target)| (name.clone(), target.found_by))
        .collect();
    on_event(CleanupEvent::Found(report.found.len()));
    if options.dry_run {
        return Ok(());
    }
    let mut deletions = stream::iter(targets)
        .map(|(name, target)| async move {
            let outcome = delete(&name, &target, directory, ledger, options, cancel).await;
            (name, outcome)
        })
        .buffer_unordered(options.concurrency.max(1));
    let mut broken = None;
    while let Some((name, outcome)) = deletions.next().await {
        match outcome {
            Ok(Ok(deletion)) => {
                on_event(CleanupEvent::Deleted(&name));
                match deletion {
                    Deletion::Deleted => report.deleted.push(name),
                    Deletion::AlreadyGone => report.gone.push(name),
                }
            }
            Ok(Err(why)) => {
                let left = Left { name, why };
                on_event(CleanupEvent::Left(&left));
                report.left.push(left);
            }
            // Deleting goes on; that the ledger could not be written is said at the end.
            Err(error) => broken = Some(error),
        }
    }
    report.deleted.sort();
    report.gone.sort();
    report.left.sort_by(|a, b| a.name.cmp(&b.name));
    broken.map_or(Ok(()), |error| Err(error.into()))
}

/// The inner error says why the user is still there.
async fn delete(
    name: &str,
    target: &Target,
    directory: &Arc<dyn Directory>,
    ledger: &Ledger,
    options: &CleanupOptions,
    cancel: &CancellationToken,
) -> Result<Result<Deletion, String>, LedgerError> {
    if cancel.is_cancelled() {
        return Ok(Err(OUT_OF_TIME.to_owned()));
    }
    set_states(ledger, &target.entries, State::Deleting).await?;
    // Set once an attempt may have deleted the user although it looked like a failure.
    let perhaps = AtomicBool::new(target.perhaps_gone);
    let attempt = || async {
        match directory.delete(name).await {
            Err(DirectoryError::NoSuchUser { .. }) if perhaps.load(Ordering::Relaxed) => {
                Ok(Deletion::AlreadyGone)
            }
            Err(error) => {
                perhaps.fetch_or(!error.nothing_was_created(), Ordering::Relaxed);
                Err(error)
            }
            done => done,
        }
    };
    // What is given up may still be done by the directory: the ledger keeps it as being deleted.
    let answered = tokio::select! {
        biased;
        answered = retried(options, cancel, attempt) => answered,
        () = cancel.cancelled() => return Ok(Err(GIVEN_UP.to_owned())),
    };
    match answered {
        Ok(deletion) => {
            set_states(ledger, &target.entries, State::Deleted).await?;
            Ok(Ok(deletion))
        }
        Err(error) => {
            // It certainly did nothing: a later "no such user" is then no sign that he went by this.
            if !perhaps.load(Ordering::Relaxed) {
                set_states(ledger, &target.entries, State::Created).await?;
            }
            Ok(Err(error.to_string()))
        }
    }
}

async fn set_states(ledger: &Ledger, entries: &[EntryId], state: State) -> Result<(), LedgerError> {
    if entries.is_empty() {
        return Ok(());
    }
    let entries = entries.to_vec();
    ledger
        .run(move |ledger| {
            entries
                .iter()
                .try_for_each(|entry| ledger.set_state(*entry, state))
        })
        .await
}

/// Repeats what may pass, within the policy and until cancelled.
async fn retried<T, F>(
    options: &CleanupOptions,
    cancel: &CancellationToken,
    mut work: impl FnMut() -> F,
) -> Result<T, DirectoryError>
where
    F: Future<Output = Result<T, DirectoryError>>,
{
    let mut attempts = options.retry.start();
    loop {
        let error = match work().await {
            Ok(done) => return Ok(done),
            Err(error) => error,
        };
        let wait = if error.is_passing() {
            attempts.next_wait(error.retry_after())
        } else {
            None
        };
        let Some(wait) = wait else { return Err(error) };
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = cancel.cancelled() => return Err(error),
        }
    }
}

async fn unregister(
    entry: &Entry,
    registration: Option<(&Client, &Registration)>,
    ledger: &Ledger,
    options: &CleanupOptions,
    cancel: &CancellationToken,
    report: &mut CleanupReport,
) -> Result<(), LedgerError> {
    let expired = entry
        .expires
        .is_some_and(|at| i64::try_from(at).is_ok_and(|at| at < ledger::now()));
    let outcome = match registration {
        _ if expired => Unregistered::Deleted,
        Some((client, registration)) => tokio::select! {
            biased;
            outcome = registration::unregister(client, registration, &options.retry, options.timeout) => outcome,
            () = cancel.cancelled() => Unregistered::Left { why: GIVEN_UP.to_owned() },
        },
        None => Unregistered::NotPossible {
            why: not_possible(entry),
        },
    };
    let left = |why| Left {
        name: entry.name.clone(),
        why,
    };
    match outcome {
        Unregistered::Deleted => {
            set_states(ledger, &[entry.id], State::Deleted).await?;
            report.clients_deleted.push(entry.name.clone());
        }
        Unregistered::NotPossible { why } => report.clients_kept.push(left(why)),
        Unregistered::Left { why } => report.left.push(left(why)),
    }
    Ok(())
}

fn not_possible(entry: &Entry) -> String {
    let until = match entry.expires {
        Some(at) => format!(
            "; it expires by itself {} s from now",
            i64::try_from(at).map_or(0, |at| at - ledger::now())
        ),
        None => String::new(),
    };
    format!(
        "client registration at {}: the token that could delete it was never written down{until}",
        entry.place.url
    )
}

fn same_place(a: &Place, b: &Place) -> bool {
    // Whoever the administrator was, the users are the same.
    a.kind == b.kind && a.url == b.url
}

fn count_elsewhere(report: &mut CleanupReport, place: &Place) {
    match report
        .elsewhere
        .iter_mut()
        .find(|(known, _)| same_place(known, place))
    {
        Some((_, count)) => *count += 1,
        None => report.elsewhere.push((place.clone(), 1)),
    }
}

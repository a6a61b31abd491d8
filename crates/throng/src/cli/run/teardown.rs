//! After the load: sessions closed by whoever opened them, users and registrations removed, whatever happened before.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use throng_engine::StopSignals;
use throng_identity::cleanup::{CleanupEvent, CleanupOptions, CleanupReport, clean_run};
use throng_identity::directory::Directory;
use throng_identity::ledger::{Kind, State};
use throng_metrics::{Cleanup, CleanupCount};
use tokio_util::sync::CancellationToken;

use super::prepare::Prepared;
use super::setup::Made;
use crate::cli::narrator::Narrator;
use crate::cli::settings::Place;

/// Time that the cleanup has, and how much more for each user. A directory that answers at all is done long before.
const BUDGET: (Duration, Duration) = (Duration::from_secs(60), Duration::from_millis(200));
/// The same once the run was aborted: somebody waits.
const HURRIED: (Duration, Duration) = (Duration::from_secs(15), Duration::from_millis(20));

/// Removes or keeps what the run made, as it was told to.
pub(crate) async fn leave(
    prepared: &Prepared<'_>,
    made: &Made,
    stop: &StopSignals,
    narrator: &Narrator,
) -> Cleanup {
    let place = prepared.place;
    if prepared.cleans_up {
        let concurrency = prepared.login_concurrency;
        clean_up(made, place, concurrency, &stop.abort, narrator).await
    } else {
        let command = prepared.cleanup_command();
        keep(made, place, command.as_deref(), narrator).await
    }
}

/// Removes all that the run made. The run's own signals don't stop it: it has a budget of its own, which `abort` shortens.
/// What is still there when that is spent is left, named, and kept in the ledger. A third signal leaves at once.
async fn clean_up(
    made: &Made,
    place: Place,
    concurrency: u32,
    abort: &CancellationToken,
    narrator: &Narrator,
) -> Cleanup {
    made.rest_browser().await;
    let created = u64::from(made.created.load(Ordering::Relaxed));
    let deletes = |directory: &Arc<dyn Directory>| directory.can_delete();
    if created > 0 && made.directory.as_ref().is_some_and(deletes) {
        narrator.say(&format!("Cleaning up: deleting {created} users..."));
    }
    let oauth_client = made.oauth_client();
    let registration = oauth_client
        .as_ref()
        .and_then(|client| client.registration.as_ref())
        .map(|registration| (&made.client, registration));
    let options = CleanupOptions {
        concurrency: concurrency as usize,
        ..CleanupOptions::default()
    };
    let on_event = |event: CleanupEvent<'_>| {
        if let CleanupEvent::Left(left) = event {
            narrator.warn(&format!("'{}' stays: {}", left.name, left.why));
        }
    };
    let spent = CancellationToken::new();
    let (run, ledger) = (&made.run, &made.ledger);
    let cleaning = clean_run(
        run,
        made.directory.as_ref(),
        registration,
        ledger,
        &options,
        &spent,
        &on_event,
    );
    let users = made.created.load(Ordering::Relaxed);
    let time = async {
        let span = |(base, each): (Duration, Duration)| base + each * users;
        tokio::select! {
            () = tokio::time::sleep(span(BUDGET)) => {}
            () = async {
                abort.cancelled().await;
                tokio::time::sleep(span(HURRIED)).await;
            } => {}
        }
        spent.cancel();
        std::future::pending::<Infallible>().await
    };
    let result = tokio::select! {
        biased;
        result = cleaning => result,
        never = time => match never {},
    };
    match result {
        Ok(report) => {
            let reused = made.reused.load(Ordering::Relaxed);
            told((created, reused), place, report, narrator)
        }
        Err(error) => failed(created, &error.to_string(), narrator),
    }
}

async fn end_without_directory(made: &Made) -> anyhow::Result<()> {
    let run = made.run.clone();
    made.ledger.run(move |ledger| ledger.end_run(&run)).await?;
    Ok(())
}

/// Ends the run where nothing can delete its users, so that the ledger doesn't hold them for somebody's work.
async fn end_staying(made: &Made) -> anyhow::Result<()> {
    let run = made.run.clone();
    made.ledger
        .run(move |ledger| {
            for entry in ledger.open_entries_of(&run)? {
                if entry.kind == Kind::User {
                    ledger.set_state(entry.id, State::Stays)?;
                }
            }
            ledger.end_run(&run)
        })
        .await?;
    Ok(())
}

fn told(
    (created, reused): (u64, u32),
    place: Place,
    report: CleanupReport,
    narrator: &Narrator,
) -> Cleanup {
    let ended_with_sandbox = place == Place::Sandbox && !report.staying.is_empty();
    let staying = report.staying.len();
    if ended_with_sandbox {
        narrator.done(&format!("{staying} users end with the sandbox"));
    } else if staying > 0 {
        narrator.done(&format!(
            "{staying} users stay: the target has no way to delete them"
        ));
    } else if report.left.is_empty() && (created > 0 || !report.found.is_empty()) {
        narrator.done(&format!("Deleted {} users", report.deleted.len()));
    }
    if reused > 0 && place == Place::Target {
        narrator.done(&format!("{reused} users were there already and stay"));
    }
    if !report.unknown.is_empty() && place == Place::Target {
        narrator.warn(&format!(
            "nobody knows whether these users were created, since the target failed to say so; they are left alone: {}",
            report.unknown.join(", ")
        ));
    }
    let users_left = users_left(&report);
    let users = CleanupCount {
        // A creation that failed half-way may have left one more than were seen to be created.
        created: created.max(report.found.len() as u64),
        deleted: (report.deleted.len() + report.gone.len()) as u64,
        left: users_left as u64,
    };
    let deleted = report.clients_deleted.len() as u64;
    let left = report.left.len().saturating_sub(users_left) as u64;
    let clients = CleanupCount {
        // Registrations that the provider doesn't let anybody delete expire by themselves and count nowhere.
        created: deleted + left,
        deleted,
        left,
    };
    Cleanup {
        names: report.left.into_iter().map(|left| left.name).collect(),
        staying: if ended_with_sandbox {
            Vec::new()
        } else {
            report.staying
        },
        ended_with_sandbox,
        ..Cleanup::new(users, clients)
    }
}

fn users_left(report: &CleanupReport) -> usize {
    report
        .left
        .iter()
        .filter(|left| report.found.iter().any(|(found, _)| *found == left.name))
        .count()
}

fn failed(created: u64, error: &str, narrator: &Narrator) -> Cleanup {
    narrator.warn(&format!("cleaning up failed: {error}"));
    let users = CleanupCount {
        created,
        deleted: 0,
        left: created.max(1),
    };
    Cleanup::new(users, CleanupCount::default())
}

/// Leaves everything where it is, by request; the ledger knows of it. In a sandbox of the run's own nothing can stay.
async fn keep(
    made: &Made,
    place: Place,
    cleanup_command: Option<&str>,
    narrator: &Narrator,
) -> Cleanup {
    let ended = match &made.directory {
        Some(directory) if !directory.can_delete() => end_staying(made).await,
        _ => end_without_directory(made).await,
    };
    if let Err(error) = ended {
        narrator.warn(&format!(
            "the ledger couldn't be told that the run is over: {error}"
        ));
    }
    made.rest_browser().await;
    let created = u64::from(made.created.load(Ordering::Relaxed));
    let registered = made
        .oauth_client()
        .is_some_and(|client| client.registration.is_some());
    let ended_with_sandbox = place == Place::Sandbox;
    if ended_with_sandbox {
        narrator.say("Nothing to clean up: all that was created ends with the sandbox");
    } else if created > 0 {
        narrator.say(&match cleanup_command {
            Some(command) => {
                format!("{created} users stay, as asked for; remove them with:\n  {command}")
            }
            None => format!("{created} users stay, as asked for"),
        });
    }
    let all = |created| CleanupCount {
        created,
        deleted: 0,
        left: if ended_with_sandbox { 0 } else { created },
    };
    Cleanup {
        kept: !ended_with_sandbox,
        ended_with_sandbox,
        ..Cleanup::new(all(created), all(u64::from(registered)))
    }
}

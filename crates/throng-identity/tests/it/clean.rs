//! What cleanup takes and what it leaves.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use http::StatusCode;
use throng_identity::cleanup::{
    CleanupOptions, CleanupReport, FoundBy, ReapScope, clean_run, reap,
};
use throng_identity::directory::names::{NameTemplates, Prefix};
use throng_identity::directory::{Creation, Deletion, Directory, DirectoryError, NewUser};
use throng_identity::ledger::{Kind, Ledger, Place, State};
use throng_identity::retry::RetryPolicy;
use throng_sandbox::NextcloudConfig;
use tokio_util::sync::CancellationToken;
use url::Url;

use crate::sandbox::{World, user};

fn scope() -> ReapScope {
    ReapScope {
        prefix: Some(Prefix::new("loadtest").unwrap()),
        names: NameTemplates::default().name,
        only_prefix: false,
        force: false,
    }
}

async fn reaped(
    scope: &ReapScope,
    directory: &Arc<dyn Directory>,
    ledger: &Ledger,
    options: &CleanupOptions,
) -> CleanupReport {
    reap(
        scope,
        directory,
        ledger,
        options,
        &CancellationToken::new(),
        &|_| {},
    )
    .await
    .unwrap()
}

#[tokio::test]
async fn strangers_stay_and_all_of_ours_go() {
    let world = World::start(NextcloudConfig::default()).await;
    let before = world.users().await;
    let strangers = [
        "carol_loadtest",
        "xloadtest_user_1",
        "loadtest_user_1x",
        "loadtest_user_01",
        "loadtest",
        "loadtest_user_",
    ];
    for name in strangers {
        world.directory.create(&user(name)).await.unwrap();
    }
    // A run that died: one created, one planned and created, one planned only.
    let dead = world.ledger.begin_run().unwrap();
    let place = Place::of(&*world.directory);
    for (name, created, state) in [
        ("loadtest_user_1", true, State::Created),
        ("loadtest_user_2", true, State::Planned),
        ("loadtest_user_3", false, State::Planned),
        ("other_user_1", true, State::Deleting),
    ] {
        let entry = world.ledger.plan(&dead, Kind::User, &place, name).unwrap();
        world.ledger.set_state(entry, state).unwrap();
        if created {
            world.directory.create(&user(name)).await.unwrap();
        }
    }
    world.ledger.end_run(&dead).unwrap();
    // Unknown to the ledger, but ours by name; and one of a run that still goes on (in this process).
    world
        .directory
        .create(&user("loadtest_user_10"))
        .await
        .unwrap();
    world
        .directory
        .create(&user("loadtest_user_11"))
        .await
        .unwrap();
    let alive = world.ledger.begin_run().unwrap();
    world
        .ledger
        .plan(&alive, Kind::User, &place, "loadtest_user_11")
        .unwrap();

    let dry = reaped(
        &scope(),
        &world.directory,
        &world.ledger,
        &CleanupOptions {
            dry_run: true,
            ..CleanupOptions::default()
        },
    )
    .await;
    let found = |names: &[(&str, FoundBy)]| {
        names
            .iter()
            .map(|(n, by)| ((*n).to_owned(), *by))
            .collect::<Vec<_>>()
    };
    let want = found(&[
        ("loadtest_user_1", FoundBy::Ledger),
        ("loadtest_user_10", FoundBy::Name),
        ("loadtest_user_2", FoundBy::Ledger),
        ("loadtest_user_3", FoundBy::Ledger),
        ("other_user_1", FoundBy::Ledger),
    ]);
    assert_eq!(dry.found, want);
    assert!(dry.deleted.is_empty() && !dry.is_complete());
    assert_eq!(
        world.users().await.len(),
        before.len() + strangers.len() + 5,
        "a dry run deletes nothing"
    );

    let only = ReapScope {
        only_prefix: true,
        ..scope()
    };
    let report = reaped(
        &only,
        &world.directory,
        &world.ledger,
        &CleanupOptions::default(),
    )
    .await;
    assert_eq!(
        report.deleted,
        ["loadtest_user_1", "loadtest_user_10", "loadtest_user_2"]
    );
    assert_eq!(
        (report.gone, report.in_use),
        (
            vec!["loadtest_user_3".to_owned()],
            vec!["loadtest_user_11".to_owned()]
        )
    );
    let report = reaped(
        &scope(),
        &world.directory,
        &world.ledger,
        &CleanupOptions::default(),
    )
    .await;
    assert_eq!(report.deleted, ["other_user_1"]);
    assert!(report.left.is_empty());

    let forced = ReapScope {
        force: true,
        ..scope()
    };
    assert_eq!(
        reaped(
            &forced,
            &world.directory,
            &world.ledger,
            &CleanupOptions::default()
        )
        .await
        .deleted,
        ["loadtest_user_11"]
    );
    let mut want = before;
    want.extend(strangers.map(str::to_owned));
    assert_eq!(world.users().await, want);
    assert!(world.ledger.open_entries().unwrap().is_empty());
}

/// A directory that fails as it is told.
#[derive(Debug)]
struct Flaky {
    url: Url,
    users: Mutex<Vec<String>>,
    failures: AtomicU32,
    immortal: &'static str,
}

impl Flaky {
    fn busy(&self) -> DirectoryError {
        let status = StatusCode::SERVICE_UNAVAILABLE;
        DirectoryError::Busy {
            method: "DELETE",
            url: self.url.to_string(),
            status,
            retry_after: None,
            said: "maintenance".into(),
        }
    }
}

impl Directory for Flaky {
    fn kind(&self) -> &'static str {
        "flaky"
    }

    fn url(&self) -> &Url {
        &self.url
    }

    fn admin(&self) -> &str {
        "admin"
    }

    fn check(&self) -> BoxFuture<'_, Result<(), DirectoryError>> {
        async { Ok(()) }.boxed()
    }

    fn create<'a>(&'a self, _user: &'a NewUser) -> BoxFuture<'a, Result<Creation, DirectoryError>> {
        async { Err(self.busy()) }.boxed()
    }

    fn delete<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Deletion, DirectoryError>> {
        async move {
            let failing = self
                .failures
                .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| {
                    left.checked_sub(1)
                })
                .is_ok();
            if failing || name == self.immortal {
                return Err(self.busy());
            }
            let mut users = self.users.lock().unwrap();
            let before = users.len();
            users.retain(|user| user != name);
            Ok(if users.len() < before {
                Deletion::Deleted
            } else {
                Deletion::AlreadyGone
            })
        }
        .boxed()
    }

    fn list<'a>(&'a self, _stem: &'a str) -> BoxFuture<'a, Result<Vec<String>, DirectoryError>> {
        async { Ok(self.users.lock().unwrap().clone()) }.boxed()
    }
}

#[tokio::test(start_paused = true)]
async fn passing_trouble_is_retried_and_what_stays_is_named() {
    let state = tempfile::tempdir().unwrap();
    let ledger = Ledger::open(&state.path().join("l.sqlite")).unwrap();
    let users = (1..=5).map(|n| format!("loadtest_user_{n}")).collect();
    let directory: Arc<dyn Directory> = Arc::new(Flaky {
        url: Url::parse("http://flaky/").unwrap(),
        users: Mutex::new(users),
        failures: AtomicU32::new(3),
        immortal: "loadtest_user_4",
    });
    // Somebody else's directory is only mentioned.
    let run = ledger.begin_run().unwrap();
    let elsewhere = Place {
        kind: "flaky".into(),
        url: "http://other/".into(),
        admin: "root".into(),
    };
    ledger
        .plan(&run, Kind::User, &elsewhere, "loadtest_user_1")
        .unwrap();
    ledger.end_run(&run).unwrap();
    let options = CleanupOptions {
        concurrency: 2,
        retry: RetryPolicy {
            attempts: 4,
            ..RetryPolicy::default()
        },
        ..CleanupOptions::default()
    };
    let report = reaped(&scope(), &directory, &ledger, &options).await;
    assert_eq!(
        report.deleted,
        [
            "loadtest_user_1",
            "loadtest_user_2",
            "loadtest_user_3",
            "loadtest_user_5"
        ]
    );
    assert_eq!(report.left.len(), 1);
    assert_eq!(report.left[0].name, "loadtest_user_4");
    assert!(
        report.left[0].why.contains("503") && report.left[0].why.contains("maintenance"),
        "{:?}",
        report.left
    );
    assert!(!report.is_complete());
    assert_eq!(report.elsewhere, [(elsewhere, 1)]);
}

#[tokio::test]
async fn clients_that_nobody_can_delete_are_said_and_forgotten_when_expired() {
    let world = World::start(NextcloudConfig::default()).await;
    let run = world.ledger.begin_run().unwrap();
    let place = Place::issuer("http://idp.test");
    let (old, young) = (
        world.ledger.plan(&run, Kind::Client, &place, "a").unwrap(),
        world.ledger.plan(&run, Kind::Client, &place, "b").unwrap(),
    );
    world.ledger.client_created(old, "old", Some(1)).unwrap();
    world
        .ledger
        .client_created(young, "young", Some(32_503_680_000))
        .unwrap();
    world.ledger.end_run(&run).unwrap();
    let report = reaped(
        &scope(),
        &world.directory,
        &world.ledger,
        &CleanupOptions::default(),
    )
    .await;
    assert!(report.is_complete());
    assert_eq!(report.clients_deleted, ["old"]);
    assert_eq!(
        (
            report.clients_kept.len(),
            report.clients_kept[0].name.as_str()
        ),
        (1, "young")
    );
    assert!(
        report.clients_kept[0].why.contains("http://idp.test")
            && report.clients_kept[0].why.contains("expires by itself")
    );
}

/// A directory that takes a request and never answers; that it took one is told by cancelling a token.
#[derive(Debug)]
struct Deaf {
    url: Url,
    asked: CancellationToken,
}

impl Directory for Deaf {
    fn kind(&self) -> &'static str {
        "deaf"
    }

    fn url(&self) -> &Url {
        &self.url
    }

    fn admin(&self) -> &str {
        "admin"
    }

    fn check(&self) -> BoxFuture<'_, Result<(), DirectoryError>> {
        async { Ok(()) }.boxed()
    }

    fn create<'a>(&'a self, _user: &'a NewUser) -> BoxFuture<'a, Result<Creation, DirectoryError>> {
        std::future::pending().boxed()
    }

    fn delete<'a>(&'a self, _name: &'a str) -> BoxFuture<'a, Result<Deletion, DirectoryError>> {
        self.asked.cancel();
        std::future::pending().boxed()
    }

    fn list<'a>(&'a self, _stem: &'a str) -> BoxFuture<'a, Result<Vec<String>, DirectoryError>> {
        async { Ok(Vec::new()) }.boxed()
    }
}

#[tokio::test]
async fn a_cleanup_out_of_time_leaves_a_silent_directory_and_the_ledger_knows() {
    let state = tempfile::tempdir().unwrap();
    let ledger = Ledger::open(&state.path().join("l.sqlite")).unwrap();
    let asked = CancellationToken::new();
    let directory: Arc<dyn Directory> = Arc::new(Deaf {
        url: Url::parse("http://deaf/").unwrap(),
        asked: asked.clone(),
    });
    let run = ledger.begin_run().unwrap();
    let place = Place::of(&*directory);
    for name in ["loadtest_user_1", "loadtest_user_2"] {
        let entry = ledger.plan(&run, Kind::User, &place, name).unwrap();
        ledger.set_state(entry, State::Created).unwrap();
    }
    let options = CleanupOptions {
        concurrency: 1,
        ..CleanupOptions::default()
    };
    // Its time is over as soon as the directory has been asked.
    let report = clean_run(
        &run,
        Some(&directory),
        None,
        &ledger,
        &options,
        &asked,
        &|_| {},
    )
    .await
    .unwrap();
    let left: Vec<_> = report
        .left
        .iter()
        .map(|left| (&*left.name, &*left.why))
        .collect();
    assert_eq!(
        left,
        [
            (
                "loadtest_user_1",
                "the cleanup was out of time before the directory had answered"
            ),
            (
                "loadtest_user_2",
                "the cleanup was out of time before its turn came"
            ),
        ]
    );
    assert!(!report.is_complete());
    assert_eq!(ledger.open_entries().unwrap().len(), 2);
}

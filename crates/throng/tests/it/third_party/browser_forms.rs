//! Users of a Django application log in by its form in each browser, and work with the cookies that it got.

use super::browser_runs::{Browser, left};
use super::cookies::all_went_well;
use super::django::{Notes, measured};
use crate::secrets::{Recorded, Tap, has, keeps_its_secrets, secrets};

/// The answers are those that the site counted, nobody is left, and nothing of what passed is told.
async fn users_keep_notes(name: &'static str) {
    let browser = Browser::new(name).await;
    let recorded = Recorded::default();
    let tap = Tap::open(&recorded).await;
    let site = Notes::behind(&tap, &format!("notes_by_{name}")).await;
    let example = site.example().with_path();
    let ended = example
        .run(&format!("-u 2 -d 3 -vvv {}", browser.flags()))
        .await
        .with_code(0);
    all_went_well(&ended, 2, &["privacy/pry", "privacy/tamper"]);
    let report = ended.report();
    assert_eq!(report["run"]["login"], "form");
    assert_eq!(report["setup"]["login"]["count"], 2, "{ended}");
    assert_eq!(report["cleanup"]["deleted"], 2, "{ended}");
    let seen = site.seen().await;
    assert_eq!(seen["users"], 0, "users are left: {ended}");
    assert_eq!(seen["answers"], measured(report), "{ended}");

    let secrets = secrets(&recorded);
    has(
        &secrets,
        &[("cookie", 4), ("password", 2), ("request token", 4)],
    );
    keeps_its_secrets(example.home(), &ended, &secrets);
    assert_eq!(left(example.home()), [""; 0]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn users_of_a_django_application_log_in_by_chromium() {
    users_keep_notes("chromium").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn users_of_a_django_application_log_in_by_firefox() {
    users_keep_notes("firefox").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn users_of_a_django_application_log_in_by_webkit() {
    users_keep_notes("webkit").await;
}

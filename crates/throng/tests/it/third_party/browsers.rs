//! Logins at providers that are not ours, in the three browsers. One browser at a time: together they are too much for a small
//! machine.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tempfile::TempDir;
use throng_browser::{Engine, Search};
use throng_identity::login::browser::{Pilot, PilotOptions};
use throng_identity::login::{DEFAULT_REDIRECT_URI, LoginDriver, Problem};
use tokio::sync::Mutex;
use url::Url;

use super::logins::{
    all_at_once, discovered, log_user_in, plan_of, registered, takes_its_registration_back,
};
use super::providers::{Provider, users};

pub(super) static ONE_AT_A_TIME: Mutex<()> = Mutex::const_new(());

/// For a page, on a busy machine.
const LIMIT: Duration = Duration::from_secs(60);
/// Those who log in at once in Chromium.
const MANY: usize = 20;
/// Those who do in the others.
const FEW: usize = 2;

/// The browser that `cargo xtask setup` installed.
fn pilot(engine: Engine, pictures: &TempDir) -> Pilot {
    let variable = match engine {
        Engine::Chromium => "THRONG_TEST_CHROMIUM",
        Engine::Firefox => "THRONG_TEST_FIREFOX",
        Engine::Webkit => "THRONG_TEST_WEBKIT",
    };
    let mut options = PilotOptions::new(
        Search::path(std::env::var_os("PATH").as_ref()),
        std::env::temp_dir(),
        pictures.path().to_owned(),
        Arc::new(|_: &str| {}),
    );
    options.engine = Some(engine);
    options.path = std::env::var_os(variable).map(PathBuf::from);
    options.timeout = LIMIT;
    let pilot = Pilot::new(options);
    if let Err(error) = pilot.installed() {
        panic!("{error}; `cargo xtask setup` installs it ({variable})");
    }
    pilot
}

/// Users log in at once in this browser, as clients of their own registration.
async fn log_in_by(engine: Engine, provider: &Provider, users: &[(String, String)]) {
    let _turn = ONE_AT_A_TIME.lock().await;
    let pictures = tempfile::tempdir().expect("a temporary directory");
    let pilot = Arc::new(pilot(engine, &pictures));
    let usual = Url::parse(DEFAULT_REDIRECT_URI).expect("an address");
    let redirect_uri = pilot.redirect_uri(&usual).await.expect("a free port");
    let authorization = discovered(provider).await;
    let client = registered(&authorization, &redirect_uri).await;
    let mut plan = plan_of(&authorization, client, &redirect_uri);
    plan.timeout = LIMIT;
    plan.driver = LoginDriver::Browser(pilot.clone());
    let plan = Arc::new(plan);
    all_at_once(&plan, users).await;
    takes_its_registration_back(&plan).await;
    pilot.rest().await;
}

/// All three, the first with many users.
async fn log_in_by_each(provider: &Provider, users: &[(String, String)]) {
    for engine in Engine::ALL {
        let many = if engine == Engine::Chromium {
            MANY
        } else {
            FEW
        };
        log_in_by(engine, provider, &users[..many]).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn users_log_in_at_oidc_provider_in_each_browser() {
    let provider = Provider::oidc_provider(60, "browsers").await;
    log_in_by_each(&provider, &users(20)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn users_log_in_at_canaille_in_each_browser() {
    let users = users(20);
    let provider = Provider::canaille(&users, &[], "browsers").await;
    log_in_by_each(&provider, &users).await;

    let _turn = ONE_AT_A_TIME.lock().await;
    let pictures = tempfile::tempdir().expect("a temporary directory");
    let pilot = Arc::new(pilot(Engine::Chromium, &pictures));
    let usual = Url::parse(DEFAULT_REDIRECT_URI).expect("an address");
    let redirect_uri = pilot.redirect_uri(&usual).await.expect("a free port");
    let authorization = discovered(&provider).await;
    let client = registered(&authorization, &redirect_uri).await;
    let mut plan = plan_of(&authorization, client, &redirect_uri);
    plan.timeout = LIMIT;
    plan.driver = LoginDriver::Browser(pilot.clone());
    let error = log_user_in(&plan, &users[0].0, "not-the-password-4Rt")
        .await
        .expect_err("a refusal");
    assert!(matches!(error.problem(), Problem::Credentials), "{error}");
    let message = error.to_string();
    assert!(
        message.contains("Login failed. Please check your information."),
        "{message}"
    );
    assert!(!message.contains("not-the-password"), "{message}");
    pilot.rest().await;
}

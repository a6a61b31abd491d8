//! Logins by real browsers, at odd providers and at the sandbox. One browser at a time.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use throng_browser::{Engine, Search};
use throng_identity::Secret;
use throng_identity::login::browser::{Pilot, PilotOptions};
use throng_identity::login::{
    Hop, Login, LoginDriver, LoginError, LoginPlan, Problem, Purpose, log_in,
};

use crate::provider::{Config, PASSWORD, Pages, Provider, USER, client};

/// Three browsers at once are too much for a small machine.
static ONE_AT_A_TIME: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

/// A browser for one test.
pub(super) struct Rig {
    pub(super) pilot: Arc<Pilot>,
    pub(super) said: Arc<Mutex<Vec<String>>>,
    pictures: tempfile::TempDir,
    _turn: tokio::sync::MutexGuard<'static, ()>,
}

/// The browser that the set-up installed, by its variable or in `PATH`.
fn path_of(engine: Engine) -> Option<PathBuf> {
    let variable = match engine {
        Engine::Chromium => "THRONG_TEST_CHROMIUM",
        Engine::Firefox => "THRONG_TEST_FIREFOX",
        Engine::Webkit => "THRONG_TEST_WEBKIT",
    };
    std::env::var_os(variable).map(PathBuf::from)
}

impl Rig {
    pub(super) async fn new(engine: Engine) -> Self {
        Self::with(engine, |_| {}).await
    }

    pub(super) async fn with(engine: Engine, change: impl FnOnce(&mut PilotOptions)) -> Self {
        let turn = ONE_AT_A_TIME.lock().await;
        let pictures = tempfile::tempdir().unwrap();
        let said = Arc::new(Mutex::new(Vec::new()));
        let heard = said.clone();
        let mut options = PilotOptions::new(
            Search::path(std::env::var_os("PATH").as_ref()),
            std::env::temp_dir(),
            pictures.path().join("pictures"),
            Arc::new(move |text: &str| heard.lock().unwrap().push(text.to_owned())),
        );
        options.engine = Some(engine);
        options.path = path_of(engine);
        options.timeout = Duration::from_secs(60);
        change(&mut options);
        let pilot = Pilot::new(options);
        if let Err(error) = pilot.installed() {
            panic!("{error}; `cargo xtask setup` installs it");
        }
        Self {
            pilot: Arc::new(pilot),
            said,
            pictures,
            _turn: turn,
        }
    }

    /// A plan by the browser, or by it where HTTP won't do.
    async fn plan(&self, provider: &Provider, auto: bool) -> LoginPlan {
        let mut plan = provider.plan().await;
        plan.redirect_uri = self.pilot.redirect_uri(&plan.redirect_uri).await.unwrap();
        plan.timeout = Duration::from_secs(60);
        plan.driver = match auto {
            true => LoginDriver::Auto(self.pilot.clone()),
            false => LoginDriver::Browser(self.pilot.clone()),
        };
        plan
    }

    async fn fails(&self, config: Config, password: &str) -> LoginError {
        let provider = Provider::start(config).await;
        let plan = self.plan(&provider, false).await;
        let failed = log_in(&plan, &client(), USER, &Secret::new(password)).await;
        failed.expect_err("the login fails")
    }

    pub(super) fn pictures(&self) -> Vec<PathBuf> {
        let entries = std::fs::read_dir(self.pictures.path().join("pictures"));
        entries
            .into_iter()
            .flatten()
            .map(|entry| entry.unwrap().path())
            .collect()
    }
}

fn pages(pages: Pages) -> Config {
    Config {
        pages,
        ..Config::default()
    }
}

/// Runs a test for each browser.
macro_rules! each {
    ($($name:ident),* $(,)?) => {
        mod chromium { $(#[tokio::test] async fn $name() { super::$name(throng_browser::Engine::Chromium).await; })* }
        mod firefox { $(#[tokio::test] async fn $name() { super::$name(throng_browser::Engine::Firefox).await; })* }
        mod webkit { $(#[tokio::test] async fn $name() { super::$name(throng_browser::Engine::Webkit).await; })* }
    };
}

pub(super) use each;

each!(
    every_kind_of_page_leads_to_tokens,
    what_goes_wrong_is_told_and_pictured,
);

async fn every_kind_of_page_leads_to_tokens(engine: Engine) {
    let rig = Rig::new(engine).await;
    for kind in [
        Pages::None,
        Pages::One,
        Pages::Two,
        Pages::Consent,
        Pages::FormPost,
        Pages::Refresh,
        Pages::Scripted,
        Pages::Decoys,
        Pages::Challenge,
    ] {
        let provider = Provider::with(kind).await;
        let plan = rig.plan(&provider, false).await;
        let login = log_in(&plan, &client(), USER, &Secret::new(PASSWORD))
            .await
            .unwrap_or_else(|error| panic!("{kind:?}: {error}"));
        assert!(
            login.tokens.access.expose().starts_with("access-"),
            "{kind:?}"
        );
        assert_eq!(login.attempts, 1, "{kind:?}");
        let hops: Vec<_> = login
            .hops
            .iter()
            .map(|hop| (hop.purpose, hop.method, hop.status))
            .collect();
        assert_eq!(
            hops.last(),
            Some(&(Purpose::Token, "POST", Some(200))),
            "{kind:?}"
        );
        if engine != Engine::Webkit && kind == Pages::Consent {
            let want = [
                (Purpose::Authorize, "GET", Some(200)),
                (Purpose::Credentials, "POST", Some(200)),
                (Purpose::Consent, "POST", Some(303)),
                (Purpose::Token, "POST", Some(200)),
            ];
            assert_eq!(hops, want);
            let kinds: Vec<_> = login
                .hops
                .iter()
                .map(|hop| hop.taken_for.map(|kind| kind.words()))
                .collect();
            assert_eq!(
                kinds,
                [Some("login page"), Some("consent page"), None, None]
            );
        }
        assert!(
            provider.seen("/search").is_empty() && provider.seen("/elsewhere").is_empty(),
            "{kind:?}"
        );
        if kind == Pages::Decoys {
            let form = &provider.seen("/login")[0].form;
            for decoy in ["username_confirm", "website", "email", "user_name"] {
                assert_eq!(form[decoy], "", "{decoy}");
            }
        }
    }
    assert_eq!(rig.pictures(), Vec::<PathBuf>::new());
    rig.pilot.rest().await;
}

async fn what_goes_wrong_is_told_and_pictured(engine: Engine) {
    let rig = Rig::new(engine).await;
    let wrong = rig.fails(pages(Pages::One), "wr0ng-pass").await;
    assert!(matches!(wrong.problem(), Problem::Credentials), "{wrong}");
    assert!(
        wrong
            .to_string()
            .contains("Wrong password [secret] for you"),
        "{wrong}"
    );
    assert_eq!(wrong.attempts(), 1);
    let picture = wrong.picture().expect("a picture");
    assert!(std::fs::read(picture).unwrap().starts_with(b"\x89PNG"));
    assert_eq!(rig.pictures(), [picture.to_owned()]);

    let wrong = rig.fails(pages(Pages::Scripted), "wr0ng-pass").await;
    assert!(matches!(wrong.problem(), Problem::Credentials), "{wrong}");
    assert!(wrong.to_string().contains("That is not right."), "{wrong}");
    let locked = rig.fails(pages(Pages::Locked), PASSWORD).await;
    assert!(matches!(locked.problem(), Problem::Locked), "{locked}");
    let captcha = rig.fails(pages(Pages::Captcha), PASSWORD).await;
    assert!(
        matches!(captcha.problem(), Problem::Captcha { kind: "reCAPTCHA" }),
        "{captcha}"
    );
    let denied = rig.fails(pages(Pages::Denied), PASSWORD).await;
    assert!(matches!(denied.problem(), Problem::Denied(_)), "{denied}");
    let mut stranger = pages(Pages::One);
    stranger.iss = "http://evil.test";
    let stranger = rig.fails(stranger, PASSWORD).await;
    assert!(
        matches!(stranger.problem(), Problem::Issuer { .. }),
        "{stranger}"
    );
    let mut forged = pages(Pages::One);
    forged.state = Some("another");
    let forged = rig.fails(forged, PASSWORD).await;
    assert!(
        matches!(forged.problem(), Problem::State { missing: false }),
        "{forged}"
    );
    let nothing = rig.fails(pages(Pages::Script), PASSWORD).await;
    assert!(
        matches!(
            nothing.problem(),
            Problem::Page {
                needs_script: false
            }
        ),
        "{nothing}"
    );
    let broken = rig.fails(pages(Pages::Broken), PASSWORD).await;
    if engine == Engine::Webkit {
        assert!(broken.to_string().contains("database is down"), "{broken}");
    } else {
        assert!(matches!(broken.problem(), Problem::Server(_)), "{broken}");
    }
    rig.pilot.rest().await;
}

#[tokio::test]
async fn a_provider_that_is_down_is_tried_again_and_told() {
    for engine in Engine::ALL {
        let rig = Rig::new(engine).await;
        let provider = Provider::with(Pages::One).await;
        let mut plan = rig.plan(&provider, false).await;
        plan.retry.attempts = 2;
        plan.retry.budget = Duration::from_secs(60);
        drop(provider);
        let error = log_in(&plan, &client(), USER, &Secret::new(PASSWORD))
            .await
            .unwrap_err();
        let told = matches!(
            error.problem(),
            Problem::Unreachable(_) | Problem::Transport(_)
        );
        assert!(told && error.attempts() == 2, "{error}");
        rig.pilot.rest().await;
    }
}

#[tokio::test]
async fn auto_takes_a_browser_once_a_script_makes_the_page_and_says_so_once() {
    let rig = Rig::new(Engine::Chromium).await;
    let provider = Provider::with(Pages::Scripted).await;
    let plan = rig.plan(&provider, true).await;
    for _ in 0..2 {
        log_in(&plan, &client(), USER, &Secret::new(PASSWORD))
            .await
            .unwrap();
    }
    let said = rig.said.lock().unwrap().clone();
    let fell: Vec<_> = said
        .iter()
        .filter(|text| text.starts_with("fell back to chromium"))
        .collect();
    assert_eq!(fell.len(), 1, "{said:?}");
    // Once by HTTP, twice by the browser.
    assert_eq!(provider.seen("/authorize").len(), 3);
    rig.pilot.rest().await;
}

#[tokio::test]
async fn waiting_for_a_place_in_the_browser_is_no_part_of_a_login() {
    let rig = Rig::with(Engine::Chromium, |options| options.parallel = 1).await;
    let provider = Provider::with(Pages::One).await;
    let plan = rig.plan(&provider, false).await;
    let (client, password) = (client(), Secret::new(PASSWORD));
    let begun = std::time::Instant::now();
    let one = || async {
        let client = client.with_new_cookies();
        log_in(&plan, &client, USER, &password).await.unwrap()
    };
    let (first, second, third) = tokio::join!(one(), one(), one());
    let all = begun.elapsed();
    assert_eq!(first.queued, Duration::ZERO);
    // From its first request to the last of the browser's: the others were waiting all that time.
    let ride = |login: &Login| {
        let by_browser = |hop: &&Hop| hop.purpose != Purpose::Token;
        let last = login.hops.iter().rfind(by_browser).unwrap();
        last.started - login.hops[0].started
    };
    assert!(second.queued >= ride(&first), "{:?}", second.queued);
    assert!(
        third.queued >= ride(&first) + ride(&second),
        "{:?}",
        third.queued
    );
    for login in [&first, &second, &third] {
        assert!(login.took + login.queued <= all, "{login:?}");
        for hop in &login.hops {
            assert!(hop.started <= login.took, "{hop:?}");
        }
    }
    rig.pilot.rest().await;
}

#[tokio::test]
async fn auto_starts_no_browser_where_http_will_do_or_the_password_is_wrong() {
    let rig = Rig::new(Engine::Chromium).await;
    let provider = Provider::with(Pages::One).await;
    let plan = rig.plan(&provider, true).await;
    log_in(&plan, &client(), USER, &Secret::new(PASSWORD))
        .await
        .unwrap();
    let wrong = log_in(&plan, &client(), USER, &Secret::new("wr0ng-pass"))
        .await
        .unwrap_err();
    assert!(
        matches!(wrong.problem(), Problem::Credentials) && wrong.picture().is_none(),
        "{wrong}"
    );
    assert_eq!(rig.said.lock().unwrap().len(), 0);
}

#[tokio::test]
async fn auto_without_a_browser_says_what_would_help() {
    let rig = Rig::with(Engine::Chromium, |_| {}).await;
    let nowhere = Pilot::new(PilotOptions::new(
        Search::default(),
        std::env::temp_dir(),
        rig.pictures.path().to_owned(),
        Arc::new(|_: &str| {}),
    ));
    let provider = Provider::with(Pages::Scripted).await;
    let mut plan = provider.plan().await;
    plan.driver = LoginDriver::Auto(Arc::new(nowhere));
    let error = log_in(&plan, &client(), USER, &Secret::new(PASSWORD))
        .await
        .unwrap_err();
    assert!(
        matches!(error.problem(), Problem::Page { needs_script: true }),
        "{error}"
    );
    assert!(error.to_string().contains("install chromium"), "{error}");
}

#[tokio::test]
async fn a_redirect_uri_elsewhere_is_never_requested() {
    for engine in [Engine::Chromium, Engine::Firefox] {
        let rig = Rig::new(engine).await;
        let provider = Provider::with(Pages::One).await;
        let mut plan = rig.plan(&provider, false).await;
        plan.redirect_uri = "http://app.invalid/throng/callback".parse().unwrap();
        log_in(&plan, &client(), USER, &Secret::new(PASSWORD))
            .await
            .unwrap_or_else(|error| panic!("{engine}: {error}"));
        rig.pilot.rest().await;
    }
}

/// The messages that users get, in words: by plain HTTP and by a browser.
async fn messages(rig: Option<&Rig>) -> String {
    let sandbox = throng_sandbox::Integr8scodeSandbox::start(Default::default())
        .await
        .unwrap();
    // Nobody can listen at the near end of a connection.
    let far = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let near = tokio::net::TcpStream::connect(far.local_addr().unwrap())
        .await
        .unwrap();
    let nobody = (format!("http://{}", near.local_addr().unwrap()), near, far);
    let mut stranger = pages(Pages::One);
    stranger.iss = "http://evil.test";
    let cases = [
        ("wrong password", pages(Pages::One)),
        ("locked account", pages(Pages::Locked)),
        ("consent denied", pages(Pages::Denied)),
        ("provider down", pages(Pages::One)),
        ("certificate not trusted", pages(Pages::One)),
        ("wrong issuer", stranger),
        ("captcha", pages(Pages::Captcha)),
    ];
    let query = regex::Regex::new(r"\?response_type=[^)]*").unwrap();
    let filler = regex::Regex::new(r"(Lorem ipsum ?)+[^;]*").unwrap();
    let mut text = String::new();
    for (name, config) in cases {
        let provider = Provider::start(config).await;
        let mut plan = match rig {
            Some(rig) => rig.plan(&provider, false).await,
            None => provider.plan().await,
        };
        plan.retry.attempts = 1;
        let base = provider.base().to_owned();
        let https = sandbox.url().to_owned();
        let password = if name == "wrong password" {
            "wr0ng-pass"
        } else {
            PASSWORD
        };
        let mut authorization = (*plan.authorization).clone();
        match name {
            "provider down" => {
                let endpoint = format!("{}/authorize", nobody.0);
                authorization.authorization_endpoint = Some(endpoint.parse().unwrap());
            }
            "certificate not trusted" => {
                let endpoint = format!("{https}/authorize");
                authorization.authorization_endpoint = Some(endpoint.parse().unwrap());
            }
            _ => {}
        }
        plan.authorization = Arc::new(authorization);
        let error = log_in(&plan, &client(), USER, &Secret::new(password))
            .await
            .unwrap_err();
        let mut said = error
            .to_string()
            .replace(&nobody.0, "http://provider")
            .replace(&base, "http://provider")
            .replace(&https, "https://provider");
        if let Some(rig) = rig {
            said = said.replace(rig.pictures.path().to_str().unwrap(), "DIRECTORY");
        }
        let said = query.replace(&said, "?...");
        text.push_str(&format!("{name}: {}\n", filler.replace(&said, "...")));
    }
    text
}

#[tokio::test]
async fn messages_by_http() {
    insta::assert_snapshot!(messages(None).await);
}

#[tokio::test]
async fn messages_by_chromium() {
    let rig = Rig::new(Engine::Chromium).await;
    insta::assert_snapshot!(messages(Some(&rig)).await);
    rig.pilot.rest().await;
}

#[tokio::test]
async fn messages_by_firefox() {
    let rig = Rig::new(Engine::Firefox).await;
    insta::assert_snapshot!(messages(Some(&rig)).await);
    rig.pilot.rest().await;
}

#[tokio::test]
async fn messages_by_webkit() {
    let rig = Rig::new(Engine::Webkit).await;
    insta::assert_snapshot!(messages(Some(&rig)).await);
    rig.pilot.rest().await;
}

//! Logins by the forms of a site in real browsers, whose cookies become the identity's.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use throng_browser::Engine;
use throng_client::Client;
use throng_identity::Secret;
use throng_identity::login::{FormLogin, LoginDriver, PageKind, Problem, Purpose, log_in_by_form};
use url::Url;

use super::browser::{Rig, each};
use crate::provider::connector;
use crate::site::{PASSWORD, Site, attempt, login, probe, values};

each!(
    a_session_is_taken_over_from_every_kind_of_page,
    what_the_scenario_gives_is_filled_in,
    a_login_that_brings_no_session_says_why,
);

impl Rig {
    /// A login by this browser at a page of the site's, with a proof that it holds.
    fn proven(&self, url: &str, page: &str, fields: &[(&str, &str)]) -> FormLogin {
        let mut by_form = self.unproven(url, page, fields);
        by_form.logged_in = Some(probe(url));
        by_form
    }

    fn unproven(&self, url: &str, page: &str, fields: &[(&str, &str)]) -> FormLogin {
        FormLogin {
            driver: LoginDriver::Browser(self.pilot.clone()),
            timeout: Duration::from_secs(60),
            ..login(format!("{url}{page}"), fields)
        }
    }
}

type Expected = fn(&Problem) -> bool;

fn session_of(client: &Client, url: &str) -> Option<String> {
    let at = Url::parse(url).unwrap();
    client.cookies().unwrap().get(&at, "session")
}

async fn a_session_is_taken_over_from_every_kind_of_page(engine: Engine) {
    let rig = Rig::new(engine).await;
    let site = Site::with_user("alice");
    let url = site.start().await;
    // A form, one after a form to sign up with, name and password on two pages, and what a script makes.
    for page in ["/login/", "/both/", "/two/", "/app/"] {
        let mut ways = vec![rig.unproven(&url, page, &[])];
        if engine == Engine::Chromium {
            ways.push(rig.proven(&url, page, &[]));
        }
        for by_form in ways {
            let client = attempt(&by_form)
                .await
                .unwrap_or_else(|(_, words)| panic!("{page}: {words}"));
            assert_eq!(session_of(&client, &url).as_deref(), Some("good"), "{page}");
        }
    }

    let client = Client::with_cookies(&connector());
    let by_form = rig.proven(&url, "/login/", &[]);
    let password = Secret::new(PASSWORD);
    let session = log_in_by_form(&by_form, &client, "alice", &password, &values("alice"))
        .await
        .unwrap();
    assert_eq!(session.attempts, 1);
    let first = &session.hops[0];
    assert_eq!((first.purpose, first.method), (Purpose::Page, "GET"));
    assert_eq!(first.taken_for, Some(PageKind::Login));
    assert!(
        session
            .hops
            .iter()
            .any(|hop| hop.purpose == Purpose::Credentials)
    );

    // Pages that are missing, that never rest, and that ask for a password once more for something else.
    for leads_to in ["/nowhere", "/restless", "/account"] {
        let site = Site {
            leads_to: Some(leads_to),
            ..Site::with_user("alice")
        };
        let url = site.start().await;
        let client = attempt(&rig.unproven(&url, "/login/", &[]))
            .await
            .unwrap_or_else(|(_, words)| panic!("{leads_to}: {words}"));
        assert_eq!(
            session_of(&client, &url).as_deref(),
            Some("good"),
            "{leads_to}"
        );
    }

    // A cookie that the page at hand doesn't get.
    let site = Site {
        below: true,
        ..Site::with_user("alice")
    };
    let url = site.start().await;
    let mut by_form = rig.proven(&url, "/app/", &[]);
    by_form.logged_in.as_mut().unwrap().url = format!("{url}/api/me");
    let client = attempt(&by_form).await.unwrap();
    assert_eq!(session_of(&client, &url), None);
    assert_eq!(
        session_of(&client, &format!("{url}/api/")).as_deref(),
        Some("good")
    );
    rig.pilot.rest().await;
}

async fn what_the_scenario_gives_is_filled_in(engine: Engine) {
    let rig = Rig::new(engine).await;
    let site = Site::with_user("alice");
    let url = site.start().await;
    let fields = [("a1", "{name}"), ("a2", "{password}")];
    for page in ["/odd/", "/two-logins/"] {
        attempt(&rig.proven(&url, page, &fields)).await.unwrap();
    }
    let fields = [
        ("realm", "b"),
        ("role", "member"),
        ("stay", "yes"),
        ("device", "of {name}"),
    ];
    attempt(&rig.proven(&url, "/choices/", &fields))
        .await
        .unwrap();
    let taken = site.taken();
    for (name, value) in [
        ("realm", "b"),
        ("role", "member"),
        ("stay", "yes"),
        ("device", "of alice"),
    ] {
        assert_eq!(taken[2][name], value, "{name}");
    }

    let (problem, words) = attempt(&rig.proven(&url, "/choices/", &[("realm", "c")]))
        .await
        .unwrap_err();
    assert!(matches!(problem, Problem::Choice(_)), "{words}");
    assert!(words.contains("`realm`"), "{words}");
    let (problem, words) = attempt(&rig.proven(&url, "/login/", &[("user", "{name}")]))
        .await
        .unwrap_err();
    assert!(matches!(problem, Problem::Field { .. }), "{words}");
    let (problem, words) = attempt(&rig.proven(&url, "/tenant/", &[]))
        .await
        .unwrap_err();
    assert!(matches!(problem, Problem::Unfilled(_)), "{words}");
    assert!(words.contains("tenant"), "{words}");
    assert_eq!(site.taken().len(), 3);

    let site = Site::with_user("a@b.example");
    let url = site.start().await;
    attempt(&rig.proven(&url, "/mail/", &[])).await.unwrap();
    rig.pilot.rest().await;
}

async fn a_login_that_brings_no_session_says_why(engine: Engine) {
    let rig = Rig::new(engine).await;
    let url = Site::with_user("bob").start().await;
    for page in ["/login/", "/app/"] {
        let (problem, words) = attempt(&rig.proven(&url, page, &[])).await.unwrap_err();
        assert!(matches!(problem, Problem::Credentials), "{page}: {words}");
        assert!(
            words.contains("Wrong password: [secret]"),
            "{page}: {words}"
        );
    }
    assert_eq!(rig.pictures().len(), 1, "one for each user");
    rig.pilot.rest().await;
}

#[tokio::test]
async fn a_page_without_the_form_and_a_form_without_a_session_are_told() {
    let rig = Rig::new(Engine::Chromium).await;
    let url = Site::with_user("alice").start().await;
    let (problem, words) = attempt(&rig.unproven(&url, "/search/", &[]))
        .await
        .unwrap_err();
    assert!(matches!(problem, Problem::NoForm { .. }), "{words}");
    assert!(
        words.contains("\"Search me\"") && words.contains("a form with q"),
        "{words}"
    );
    let (problem, words) = attempt(&rig.unproven(&url, "/none/", &[]))
        .await
        .unwrap_err();
    assert!(matches!(problem, Problem::Status { .. }), "{words}");
    assert!(words.contains("404"), "{words}");

    let sites: [(Site, bool, Expected); 4] = [
        (
            Site {
                forgets: true,
                ..Site::with_user("alice")
            },
            false,
            |problem| matches!(problem, Problem::NoCookie { .. }),
        ),
        (
            Site {
                pretends: true,
                ..Site::with_user("alice")
            },
            true,
            |problem| matches!(problem, Problem::NotLoggedIn(_)),
        ),
        // Another form for name and password: only the probe knows.
        (
            Site {
                leads_to: Some("/portal"),
                forgets: true,
                ..Site::with_user("alice")
            },
            false,
            |problem| matches!(problem, Problem::Credentials),
        ),
        (
            Site {
                leads_to: Some("/portal"),
                pretends: true,
                ..Site::with_user("alice")
            },
            true,
            |problem| matches!(problem, Problem::Credentials),
        ),
    ];
    for (site, proven, expected) in sites {
        let url = site.start().await;
        let by_form = match proven {
            true => rig.proven(&url, "/login/", &[]),
            false => rig.unproven(&url, "/login/", &[]),
        };
        let (problem, words) = attempt(&by_form).await.unwrap_err();
        assert!(expected(&problem), "{words}");
        // The other form's page has no words.
        let has_words = !matches!(problem, Problem::Credentials);
        assert_eq!(
            words.contains("the page said: Welcome"),
            has_words,
            "{words}"
        );
    }
    let (problem, words) = attempt(&rig.unproven(&url, "/locked/", &[]))
        .await
        .unwrap_err();
    assert!(matches!(problem, Problem::Locked), "{words}");

    // One that passes, and an answer that isn't the form's.
    let site = Site {
        leads_to: Some("/portal"),
        stumbles: Arc::new(Mutex::new(true)),
        ..Site::with_user("alice")
    };
    let url = site.start().await;
    attempt(&rig.proven(&url, "/login/", &[])).await.unwrap();
    rig.pilot.rest().await;
}

#[tokio::test]
async fn auto_takes_a_browser_for_a_form_that_a_script_makes_or_guards() {
    let rig = Rig::new(Engine::Chromium).await;
    let site = Site::with_user("alice");
    let url = site.start().await;
    let by_form = |page: &str| FormLogin {
        driver: LoginDriver::Auto(rig.pilot.clone()),
        ..rig.proven(&url, page, &[])
    };
    attempt(&by_form("/login/")).await.unwrap();
    assert!(!by_form("/app/").driver.is_by_browser());
    for page in ["/guarded/", "/app/"] {
        let client = attempt(&by_form(page)).await.unwrap();
        assert_eq!(session_of(&client, &url).as_deref(), Some("good"));
    }
    let said = rig.said.lock().unwrap().clone();
    let fell = said
        .iter()
        .filter(|text| text.starts_with("fell back to chromium"));
    assert_eq!(fell.clone().count(), 1, "{said:?}");
    let advises = fell.clone().any(|text| text.contains("--login browser"));
    assert!(!advises, "that is what was done: {said:?}");

    let by_http = login(format!("{url}/guarded/"), &[]);
    let (problem, words) = attempt(&by_http).await.unwrap_err();
    let challenge = Problem::Challenge {
        status: http::StatusCode::FORBIDDEN,
        stayed: false,
    };
    assert_eq!(problem.to_string(), challenge.to_string(), "{words}");
    rig.pilot.rest().await;
}

#[tokio::test]
async fn what_a_page_says_after_the_form_is_told_from_a_session() {
    let rig = Rig::new(Engine::Chromium).await;
    let url = Site::with_user("alice").start().await;
    for page in ["/forwarded/", "/moody/glad", "/moody/slow"] {
        attempt(&rig.proven(&url, page, &[]))
            .await
            .unwrap_or_else(|(_, words)| panic!("{page}: {words}"));
    }
    let url = Site::with_user("bob").start().await;
    for (page, said) in [
        ("/moody/loud", "Wrong password: [secret]"),
        ("/wary/", "Sign in: Wrong password"),
    ] {
        let (problem, words) = attempt(&rig.proven(&url, page, &[])).await.unwrap_err();
        assert!(matches!(problem, Problem::Credentials), "{page}: {words}");
        assert!(words.contains(said), "{page}: {words}");
    }
    rig.pilot.rest().await;
}

//! Logins and registrations by the forms of a site, over plain HTTP.

use std::sync::{Arc, Mutex};

use regex::Regex;
use throng_client::Client;
use throng_identity::Secret;
use throng_identity::directory::declared::{Creating, Declared, Requests};
use throng_identity::directory::{Creation, Directory, NewUser};
use throng_identity::login::{FormRegistration, PageKind, Problem, Purpose, log_in_by_form};
use url::Url;

use crate::provider::connector;
use crate::site::{Fields, PASSWORD, Site, TIMEOUT, attempt, form, login, probe, values};

#[tokio::test]
async fn a_form_is_found_by_its_meaning_and_sent_as_a_browser_would() {
    let site = Site::with_user("alice");
    let url = site.start().await;
    let mut by_form = login(format!("{url}/login/"), &[]);
    by_form.logged_in = Some(probe(&url));
    let client = Client::with_cookies(&connector());
    let password = Secret::new(PASSWORD);
    let session = log_in_by_form(&by_form, &client, "alice", &password, &values("alice"))
        .await
        .unwrap();
    assert_eq!(session.attempts, 1);
    let purposes: Vec<_> = session.hops.iter().map(|hop| hop.purpose).collect();
    let wanted = [Purpose::Page, Purpose::Credentials, Purpose::Follow];
    assert_eq!(purposes, wanted);
    let jar = client.cookies().unwrap();
    let at = Url::parse(&url).unwrap();
    assert_eq!(jar.get(&at, "session").as_deref(), Some("good"));
    let sent = [
        ("password", PASSWORD),
        ("token", "t0ken"),
        ("username", "alice"),
    ];
    let sent = sent.map(|(name, value)| (name.to_owned(), value.to_owned()));
    assert_eq!(site.taken(), [Fields::from(sent)]);
}

#[tokio::test]
async fn two_pages_a_page_that_is_missing_and_a_passing_failure_are_no_obstacle() {
    let site = Site {
        leads_to: Some("/nowhere"),
        stumbles: Arc::new(Mutex::new(true)),
        ..Site::with_user("alice")
    };
    let url = site.start().await;
    let mut by_form = login(format!("{url}/two/"), &[]);
    by_form.logged_in = Some(probe(&url));
    attempt(&by_form).await.unwrap();
    assert_eq!(site.taken().len(), 1);
}

#[tokio::test]
async fn the_scenario_says_what_the_form_does_not() {
    let site = Site::with_user("alice");
    let url = site.start().await;
    let tenant = login(format!("{url}/tenant/"), &[]);
    let (problem, words) = attempt(&tenant).await.unwrap_err();
    assert!(matches!(problem, Problem::Unfilled(_)), "{words}");
    assert!(
        words.contains("tenant") && words.contains("`fields`"),
        "{words}"
    );
    assert!(site.taken().is_empty());
    let tenant = login(format!("{url}/tenant/"), &[("tenant", "of {name}")]);
    attempt(&tenant).await.unwrap();
    assert_eq!(site.taken()[0]["tenant"], "of alice");

    let odd = login(
        format!("{url}/odd/"),
        &[("a1", "{name}"), ("a2", "{password}")],
    );
    attempt(&odd).await.unwrap();
    let astray = login(format!("{url}/login/"), &[("user", "{name}")]);
    let (problem, words) = attempt(&astray).await.unwrap_err();
    assert!(matches!(problem, Problem::Field { .. }), "{words}");
    assert!(
        words.contains("`user`") && words.contains("token, username, password"),
        "{words}"
    );
}

#[tokio::test]
async fn a_field_for_a_mail_address_gets_one() {
    let site = Site::with_user("a@b.example");
    let url = site.start().await;
    attempt(&login(format!("{url}/mail/"), &[])).await.unwrap();
    assert_eq!(site.taken()[0]["username"], "a@b.example");
}

#[tokio::test]
async fn an_error_names_the_page_and_what_is_wrong_with_it() {
    let site = Site::with_user("bob");
    let url = site.start().await;
    let (problem, words) = attempt(&login(format!("{url}/login/"), &[]))
        .await
        .unwrap_err();
    assert!(matches!(problem, Problem::Credentials), "{words}");
    assert!(
        words.contains("at hop 2 (POST") && words.contains("Wrong password: [secret]"),
        "{words}"
    );

    let fields = [("tenant", "key-of-the-tenant")];
    let (_, words) = attempt(&login(format!("{url}/tenant/"), &fields))
        .await
        .unwrap_err();
    assert!(
        words.contains("[secret] [secret]") && !words.contains("key-of"),
        "{words}"
    );

    let (problem, words) = attempt(&login(format!("{url}/search/"), &[]))
        .await
        .unwrap_err();
    assert!(matches!(problem, Problem::NoForm { .. }), "{words}");
    assert!(
        words.contains("\"Search me\"")
            && words.contains("a form with q")
            && words.contains("`fields`"),
        "{words}"
    );

    let (problem, words) = attempt(&login(format!("{url}/none/"), &[]))
        .await
        .unwrap_err();
    assert!(matches!(problem, Problem::Status { .. }), "{words}");
    assert!(words.contains("404") && words.contains("/none/"), "{words}");
}

#[tokio::test]
async fn a_session_that_does_not_hold_is_none() {
    let forgets = Site {
        forgets: true,
        ..Site::with_user("alice")
    };
    let url = forgets.start().await;
    let (problem, words) = attempt(&login(format!("{url}/login/"), &[]))
        .await
        .unwrap_err();
    assert!(matches!(problem, Problem::NoCookie { .. }), "{words}");

    let pretends = Site {
        pretends: true,
        ..Site::with_user("alice")
    };
    let url = pretends.start().await;
    let mut by_form = login(format!("{url}/login/"), &[]);
    attempt(&by_form).await.unwrap();
    by_form.logged_in = Some(probe(&url));
    let (problem, words) = attempt(&by_form).await.unwrap_err();
    assert!(matches!(problem, Problem::NotLoggedIn(_)), "{words}");
    assert!(words.contains("/me") && words.contains("401"), "{words}");
}

#[tokio::test]
async fn what_the_form_led_to_is_told() {
    let site = Site {
        pretends: true,
        ..Site::with_user("alice")
    };
    let url = site.start().await;
    let mut by_form = login(format!("{url}/login/"), &[]);
    by_form.logged_in = Some(probe(&url));
    let (_, words) = attempt(&by_form).await.unwrap_err();
    assert!(words.contains("the page said: Welcome"), "{words}");

    // Whoever says which request proves a session needn't be told to; and another login form is no better without a cookie.
    let url = Site::with_user("bob").start().await;
    let mut by_form = login(format!("{url}/forwarded/"), &[]);
    by_form.logged_in = Some(probe(&url));
    let (_, words) = attempt(&by_form).await.unwrap_err();
    assert!(!words.contains("`logged_in`"), "{words}");
    let site = Site {
        forgets: true,
        leads_to: Some("/portal"),
        ..Site::with_user("alice")
    };
    let url = site.start().await;
    let (problem, words) = attempt(&login(format!("{url}/login/"), &[]))
        .await
        .unwrap_err();
    assert!(matches!(problem, Problem::Credentials), "{words}");

    let (problem, words) = attempt(&login(format!("{url}/locked/"), &[]))
        .await
        .unwrap_err();
    assert!(matches!(problem, Problem::Locked), "{words}");
    let (problem, words) = attempt(&login(format!("{url}/wary/"), &[]))
        .await
        .unwrap_err();
    assert!(matches!(problem, Problem::Credentials), "{words}");
}

#[tokio::test]
async fn a_page_that_leads_on_at_once_is_followed_and_one_that_would_after_long_is_not() {
    let url = Site::with_user("alice").start().await;
    let client = Client::with_cookies(&connector());
    let password = Secret::new(PASSWORD);
    let mut by_form = login(format!("{url}/forwarded/"), &[]);
    by_form.logged_in = Some(probe(&url));
    let session = log_in_by_form(&by_form, &client, "alice", &password, &values("alice"))
        .await
        .unwrap();
    let hops: Vec<_> = session
        .hops
        .iter()
        .map(|hop| (hop.purpose, hop.taken_for))
        .collect();
    let want = [
        (Purpose::Page, Some(PageKind::Login)),
        (Purpose::Credentials, Some(PageKind::Forward)),
        (Purpose::Follow, None),
    ];
    assert_eq!(hops, want);

    let site = Site {
        leads_to: Some("/timed"),
        ..Site::with_user("alice")
    };
    let url = site.start().await;
    attempt(&login(format!("{url}/login/"), &[])).await.unwrap();
}

#[tokio::test]
async fn a_cookie_from_before_the_password_is_no_session() {
    let url = Site::with_user("alice").start().await;
    let (problem, words) = attempt(&login(format!("{url}/words/"), &[]))
        .await
        .unwrap_err();
    assert!(matches!(problem, Problem::NoCookie { .. }), "{words}");
    assert!(words.contains("`logged_in`"), "{words}");
}

#[tokio::test]
async fn a_form_further_on_is_the_login_again_only_if_it_is_the_same() {
    let site = Site {
        leads_to: Some("/account"),
        ..Site::with_user("alice")
    };
    let url = site.start().await;
    attempt(&login(format!("{url}/login/"), &[])).await.unwrap();

    // Another form for name and password: only the probe knows.
    let site = Site {
        leads_to: Some("/portal"),
        ..Site::with_user("alice")
    };
    let url = site.start().await;
    let mut by_form = login(format!("{url}/login/"), &[]);
    let (problem, words) = attempt(&by_form).await.unwrap_err();
    assert!(matches!(problem, Problem::Credentials), "{words}");
    by_form.logged_in = Some(probe(&url));
    attempt(&by_form).await.unwrap();
    let site = Site {
        pretends: true,
        ..site
    };
    let url = site.start().await;
    let mut by_form = login(format!("{url}/login/"), &[]);
    by_form.logged_in = Some(probe(&url));
    let (problem, words) = attempt(&by_form).await.unwrap_err();
    assert!(matches!(problem, Problem::Credentials), "{words}");
}

#[tokio::test]
async fn the_password_goes_into_the_login_form_only() {
    let site = Site::with_user("alice");
    let url = site.start().await;
    attempt(&login(format!("{url}/both/"), &[])).await.unwrap();
    let fields = [("a1", "{name}"), ("a2", "{password}")];
    attempt(&login(format!("{url}/two-logins/"), &fields))
        .await
        .unwrap();
    assert_eq!(site.taken().len(), 2);
}

#[tokio::test]
async fn a_form_that_is_no_login_gets_nothing() {
    let site = Site::with_user("alice");
    let url = site.start().await;
    let (problem, words) = attempt(&login(format!("{url}/app-with-list/"), &[]))
        .await
        .unwrap_err();
    assert!(matches!(problem, Problem::NoForm { .. }), "{words}");
    assert!(words.contains("a form with email"), "{words}");

    // A script is no reason to look for another page or other fields.
    let (problem, words) = attempt(&login(format!("{url}/app/"), &[]))
        .await
        .unwrap_err();
    assert!(matches!(problem, Problem::NoForm { .. }), "{words}");
    assert!(
        words.contains("a script makes its form")
            && words.contains("--login browser")
            && !words.contains("`fields`"),
        "{words}"
    );

    // Asked for the name twice: no password was sent, hence none refused.
    let (problem, words) = attempt(&login(format!("{url}/stuck/"), &[]))
        .await
        .unwrap_err();
    assert!(matches!(problem, Problem::NameAgain), "{words}");
}

fn directory(url: &str, fields: &[(&str, &str)], reuse: bool) -> Declared {
    let registration = FormRegistration {
        form: form(format!("{url}/signup/"), fields),
        exists: Some(Regex::new("(?i)taken").unwrap()),
    };
    let requests = Requests {
        create: Creating::Form(registration),
        exists: Vec::new(),
        reuse,
        list: None,
        delete: None,
    };
    let client = Client::new(&connector());
    Declared::register(&client, Url::parse(url).unwrap(), requests, TIMEOUT)
}

fn carol(email: &str) -> NewUser {
    NewUser {
        name: "carol".to_owned(),
        display_name: "Carol".to_owned(),
        email: email.to_owned(),
        password: Secret::new(PASSWORD),
    }
}

#[tokio::test]
async fn a_user_registers_by_a_form_and_logs_in() {
    let site = Site::default();
    let url = site.start().await;
    let fields = [("nickname", "{display_name}")];
    let join = directory(&url, &fields, false);
    let made = join.create(&carol("carol@b.example")).await.unwrap();
    // Whether it is, a login with its password will tell.
    let said = "Sign in: Go".to_owned();
    let likely = true;
    assert_eq!(made, Creation::Unproven { said, likely });
    let sent = [
        ("do", "join"),
        ("email", "carol@b.example"),
        ("nickname", "Carol"),
        ("password1", PASSWORD),
        ("password2", PASSWORD),
        ("terms", "on"),
        ("token", "t0ken"),
        ("username", "carol"),
    ];
    let sent = sent.map(|(name, value)| (name.to_owned(), value.to_owned()));
    assert_eq!(site.taken(), [Fields::from(sent)]);

    // There is one now, who is used or not.
    let error = join.create(&carol("carol@b.example")).await.unwrap_err();
    assert!(
        error.to_string().contains("carol exists already"),
        "{error}"
    );
    let join = directory(&url, &fields, true);
    let made = join.create(&carol("carol@b.example")).await.unwrap();
    assert_eq!(made, Creation::Reused);
}

#[tokio::test]
async fn a_refused_registration_says_what_the_page_said_and_made_nobody() {
    let site = Site::default();
    let url = site.start().await;
    let join = directory(&url, &[("nickname", "x")], false);
    let error = join.create(&carol("nowhere")).await.unwrap_err();
    let words = error.to_string();
    assert!(
        words.contains("got its form again") && words.contains("Enter a mail address."),
        "{words}"
    );
    assert!(!words.contains(PASSWORD), "{words}");
    assert!(error.nothing_was_created() && !error.is_passing());
    // All is said: a source would say it again.
    assert!(std::error::Error::source(&error).is_none());

    let join = directory(&url, &[], false);
    let error = join.create(&carol("carol@b.example")).await.unwrap_err();
    let words = error.to_string();
    assert!(
        words.contains("nickname") && words.contains("`fields`"),
        "{words}"
    );
    assert!(error.nothing_was_created());
}

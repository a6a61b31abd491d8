//! Logins at odd providers: what works, and what a failure says.

use std::time::Duration;

use throng_identity::Secret;
use throng_identity::login::{LoginError, Problem, Purpose, log_in};
use url::Url;

use crate::provider::{Config, PASSWORD, Pages, Provider, USER, client};

async fn fails(config: Config) -> LoginError {
    let provider = Provider::start(config).await;
    let plan = provider.plan().await;
    log_in(&plan, &client(), USER, &Secret::new(PASSWORD))
        .await
        .unwrap_err()
}

#[tokio::test]
async fn every_kind_of_page_leads_to_tokens() {
    for (pages, hops) in [
        (Pages::None, 2),
        (Pages::One, 3),
        (Pages::Two, 4),
        (Pages::Consent, 4),
        (Pages::FormPost, 3),
        (Pages::Refresh, 4),
    ] {
        let provider = Provider::with(pages).await;
        let plan = provider.plan().await;
        let login = log_in(&plan, &client(), USER, &Secret::new(PASSWORD))
            .await
            .unwrap_or_else(|e| panic!("{pages:?}: {e}"));
        assert!(
            login.tokens.access.expose().starts_with("access-"),
            "{pages:?}"
        );
        assert_eq!(
            (login.hops.len(), login.attempts),
            (hops, 1),
            "{pages:?}: {:#?}",
            login.hops
        );
        assert_eq!(login.hops.last().unwrap().purpose, Purpose::Token);
        assert!(
            login
                .hops
                .iter()
                .enumerate()
                .all(|(i, hop)| hop.number as usize == i + 1 && hop.status.is_some())
        );
        assert!(provider.seen("/search").is_empty());
    }
}

#[tokio::test]
async fn the_authorization_and_token_requests_are_complete() {
    let provider = Provider::with(Pages::One).await;
    let plan = provider.plan().await;
    log_in(&plan, &client(), USER, &Secret::new(PASSWORD))
        .await
        .unwrap();
    let authorize = &provider.seen("/authorize")[0].query;
    let resource = format!("{}/mcp", provider.base());
    assert_eq!(authorize["response_type"], "code");
    assert_eq!(authorize["code_challenge_method"], "S256");
    assert_eq!(authorize["resource"], resource);
    assert_eq!(authorize["scope"], "openid");
    assert!(authorize["state"].len() >= 43);
    let token = &provider.seen("/token")[0];
    assert_eq!(token.form["resource"], resource);
    assert_eq!(token.form["client_id"], "throng-client");
    assert_eq!(token.cookie(), "");
    let form = &provider.seen("/login")[0];
    assert_eq!(form.headers["origin"], provider.base());
    assert!(
        form.headers["referer"]
            .to_str()
            .unwrap()
            .starts_with(&format!("{}/authorize?", provider.base()))
    );
}

#[tokio::test]
async fn a_wrong_password_is_said_so_and_not_tried_again() {
    let provider = Provider::with(Pages::One).await;
    let plan = provider.plan().await;
    let wrong = Secret::new("wr0ng-pass");
    let error = log_in(&plan, &client(), USER, &wrong).await.unwrap_err();
    assert!(matches!(error.problem(), Problem::Credentials));
    assert_eq!((error.attempts(), error.hop()), (1, Some(2)));
    assert_eq!(provider.seen("/login").len(), 1);
    let text = error.to_string();
    let want = format!(
        "login of alice failed at hop 2 (POST {}/login): ",
        provider.base()
    );
    assert!(text.starts_with(&want), "{text}");
    assert!(
        text.contains("Test provider: Wrong password [secret] for you"),
        "{text}"
    );
}

#[tokio::test]
async fn what_cannot_be_believed_is_refused() {
    type Check = fn(&Problem) -> bool;
    let cases: [(Config, Check, &str); 7] = [
        (
            Config {
                iss: "http://evil.test",
                ..Config::default()
            },
            |p| matches!(p, Problem::Issuer { found: Some(_), .. }),
            "got http://evil.test",
        ),
        (
            Config {
                iss: "",
                ..Config::default()
            },
            |p| matches!(p, Problem::Issuer { found: None, .. }),
            "none although the server promises it",
        ),
        (
            Config {
                state: Some("other"),
                ..Config::default()
            },
            |p| matches!(p, Problem::State { missing: false }),
            "got another one",
        ),
        (
            Config {
                pages: Pages::Denied,
                ..Config::default()
            },
            |p| matches!(p, Problem::Denied(_)),
            "access_denied: not today",
        ),
        (
            Config {
                pages: Pages::CustomScheme,
                ..Config::default()
            },
            |p| matches!(p, Problem::Redirect(_)),
            "a throng-test: address",
        ),
        (
            Config {
                pages: Pages::Leak,
                ..Config::default()
            },
            |p| matches!(p, Problem::Unsafe(_)),
            "http://localhost:1/steal",
        ),
        (
            Config {
                pages: Pages::Script,
                ..Config::default()
            },
            |p| matches!(p, Problem::Page { needs_script: true }),
            "needs script",
        ),
    ];
    for (config, check, says) in cases {
        let pages = config.pages;
        let error = fails(config).await;
        assert!(check(error.problem()), "{pages:?}: {error:?}");
        assert!(error.to_string().contains(says), "{says}: {error}");
        assert_eq!(error.attempts(), 1, "{error}");
    }
}

#[tokio::test]
async fn without_iss_it_works_where_none_was_promised() {
    let metadata = serde_json::json!({"authorization_response_iss_parameter_supported": false});
    let provider = Provider::start(Config {
        iss: "",
        metadata,
        ..Config::default()
    })
    .await;
    let plan = provider.plan().await;
    log_in(&plan, &client(), USER, &Secret::new(PASSWORD))
        .await
        .unwrap();
}

#[tokio::test]
async fn redirects_without_end_end() {
    let provider = Provider::with(Pages::Loop).await;
    let mut plan = provider.plan().await;
    plan.max_hops = 12;
    let error = log_in(&plan, &client(), USER, &Secret::new(PASSWORD))
        .await
        .unwrap_err();
    assert!(
        matches!(error.problem(), Problem::TooManyHops(12)),
        "{error}"
    );
    assert_eq!(provider.seen("/authorize").len(), 12);
}

#[tokio::test]
async fn a_failing_provider_is_tried_again_and_quoted() {
    let provider = Provider::with(Pages::Broken).await;
    let plan = provider.plan().await;
    let error = log_in(&plan, &client(), USER, &Secret::new(PASSWORD))
        .await
        .unwrap_err();
    assert!(matches!(error.problem(), Problem::Server(_)), "{error}");
    assert!(
        error
            .to_string()
            .ends_with("the page said: Oops: database is down (3 attempts)"),
        "{error}"
    );
    assert_eq!(provider.seen("/authorize").len(), 3);
    assert_eq!(
        error
            .hops()
            .iter()
            .map(|hop| hop.attempt)
            .collect::<Vec<_>>(),
        [1, 2, 3]
    );
}

#[tokio::test]
async fn too_many_requests_are_waited_out() {
    let provider = Provider::with(Pages::Busy).await;
    let plan = provider.plan().await;
    let login = log_in(&plan, &client(), USER, &Secret::new(PASSWORD))
        .await
        .unwrap();
    assert_eq!((login.attempts, login.hops.len()), (3, 4));
}

#[tokio::test]
async fn a_silent_provider_times_out() {
    let provider = Provider::with(Pages::Silent).await;
    let mut plan = provider.plan().await;
    plan.timeout = Duration::from_millis(50);
    plan.retry.attempts = 1;
    let error = log_in(&plan, &client(), USER, &Secret::new(PASSWORD))
        .await
        .unwrap_err();
    assert!(matches!(error.problem(), Problem::Transport(_)), "{error}");
    assert!(
        error.to_string().contains("no response within 50ms"),
        "{error}"
    );
}

#[tokio::test]
async fn origins_keep_their_cookies_to_themselves() {
    let other = Provider::with(Pages::None).await;
    // Another host, since cookies do not tell ports apart (RFC 6265 section 8.5).
    let via = Url::parse(&other.base().replace("127.0.0.1", "localhost")).unwrap();
    let provider = Provider::start(Config {
        via: Some(via),
        ..Config::default()
    })
    .await;
    let plan = provider.plan().await;
    let identity = client();
    log_in(&plan, &identity, USER, &Secret::new(PASSWORD))
        .await
        .unwrap();
    assert_eq!(other.seen("/hop")[0].cookie(), "");
    let back = provider.seen("/authorize");
    assert_eq!(back[1].cookie(), "provider=own-cookie-s3cr3t");
    assert_eq!(identity.cookies().unwrap().len(), 2);
    // Another identity starts without any.
    log_in(&plan, &client(), USER, &Secret::new(PASSWORD))
        .await
        .unwrap();
    assert_eq!(provider.seen("/authorize")[2].cookie(), "");
}

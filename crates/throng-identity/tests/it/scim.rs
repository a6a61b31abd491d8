//! Users by SCIM: against the sandbox's endpoint, and against small ones that are odd.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use axum::extract::State;
use axum::response::{AppendHeaders, IntoResponse, Response};
use axum::{Json, Router};
use http::{StatusCode, Uri, header};
use serde_json::json;
use throng_identity::cleanup::{CleanupOptions, FoundBy, ReapScope, reap};
use throng_identity::directory::names::{NameTemplates, Prefix};
use throng_identity::directory::scim::{Scim, ScimLogin};
use throng_identity::directory::{Creation, Deletion, Directory, DirectoryError};
use throng_identity::hooks::Values;
use throng_identity::login::{FormLogin, FormPage, LoginDriver, log_in_by_form};
use throng_identity::retry::RetryPolicy;
use throng_identity::{Ledger, Secret};
use throng_sandbox::{NextcloudConfig, NextcloudSandbox, ScimConfig};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use url::Url;

use crate::provider::{client, connector};
use crate::sandbox::user;

const TIMEOUT: Duration = Duration::from_secs(20);

async fn sandbox(scim: ScimConfig) -> NextcloudSandbox {
    let config = NextcloudConfig {
        scim,
        throttle: false,
        ..NextcloudConfig::default()
    };
    NextcloudSandbox::start(config).await.unwrap()
}

fn directory(url: &str, login: ScimLogin) -> Scim {
    let url = Url::parse(&format!("{url}/scim/v2/")).unwrap();
    Scim::new(&client(), url, login, TIMEOUT)
}

fn of(sandbox: &NextcloudSandbox) -> Scim {
    let (admin, password) = sandbox.admin();
    let login = ScimLogin::Basic {
        user: admin.to_owned(),
        password: Secret::new(password),
    };
    directory(sandbox.url(), login)
}

#[tokio::test]
async fn a_user_made_by_scim_logs_in_and_goes() {
    let sandbox = sandbox(ScimConfig::default()).await;
    let scim = of(&sandbox);
    scim.check().await.unwrap();
    assert_eq!(
        scim.create(&user("alice")).await.unwrap(),
        Creation::Created
    );
    let error = scim.create(&user("Alice")).await.unwrap_err();
    assert!(
        matches!(
            error,
            DirectoryError::Exists {
                cleanable: true,
                ..
            }
        ),
        "{error}"
    );

    let login = FormLogin {
        driver: LoginDriver::Http,
        form: FormPage {
            name: "login".to_owned(),
            page: format!("{}/login", sandbox.url()),
            fields: Vec::new(),
        },
        logged_in: None,
        timeout: TIMEOUT,
        retry: RetryPolicy::once(),
    };
    let password = user("alice").password;
    let mut values = Values::from([("name".to_owned(), Secret::new("alice"))]);
    values.insert("password".to_owned(), password.clone());
    let browser = throng_client::Client::with_cookies(&connector());
    let session = log_in_by_form(&login, &browser, "alice", &password, &values).await;
    assert!(session.is_ok(), "{session:?}");

    assert_eq!(scim.delete("alice").await.unwrap(), Deletion::Deleted);
    assert_eq!(scim.delete("alice").await.unwrap(), Deletion::AlreadyGone);
    assert_eq!(scim.list("alice").await.unwrap(), [""; 0]);
}

/// Filters or none, and pages of two.
#[tokio::test]
async fn leftovers_are_found_page_by_page_with_and_without_filters() {
    for filter in [true, false] {
        let sandbox = sandbox(ScimConfig {
            filter,
            page: 2,
            ..ScimConfig::default()
        })
        .await;
        let scim: Arc<dyn Directory> = Arc::new(of(&sandbox));
        let strangers = [
            "carol_loadtest",
            "loadtest",
            "loadtest_user_1x",
            "xloadtest_user_1",
        ];
        let ours = [1, 2, 3, 10, 11].map(|n| format!("loadtest_user_{n}"));
        for name in strangers
            .iter()
            .copied()
            .chain(ours.iter().map(String::as_str))
        {
            scim.create(&user(name)).await.unwrap();
        }
        // Without a look at what it can: the refusal tells.
        let mut listed = scim.list("loadtest_user_").await.unwrap();
        listed.sort();
        let mut want: Vec<&str> = ours.iter().map(String::as_str).collect();
        want.push("loadtest_user_1x");
        want.sort_unstable();
        assert_eq!(listed, want, "filter: {filter}");

        scim.check().await.unwrap();
        let state = tempfile::tempdir().unwrap();
        let ledger = Ledger::open(&state.path().join("l.sqlite")).unwrap();
        let scope = ReapScope {
            prefix: Some(Prefix::new("loadtest").unwrap()),
            names: NameTemplates::default().name,
            only_prefix: true,
            force: false,
        };
        let never = CancellationToken::new();
        let options = CleanupOptions::default();
        let report = reap(&scope, &scim, &ledger, &options, &never, &|_| {})
            .await
            .unwrap();
        assert!(report.is_complete(), "filter: {filter}: {report:?}");
        assert_eq!(report.deleted.len(), 5);
        assert!(report.found.iter().all(|(_, by)| *by == FoundBy::Name));
        // Made and gone again within the age that a list may have.
        scim.create(&user("late")).await.unwrap();
        assert_eq!(scim.delete("late").await.unwrap(), Deletion::Deleted);
        let mut left = scim.list("").await.unwrap();
        left.retain(|name| name != "admin");
        left.sort();
        assert_eq!(left, strangers, "filter: {filter}");
    }
}

#[tokio::test]
async fn a_token_is_as_good_and_a_wrong_one_is_named_and_not_shown() {
    let token = "a-token-that-nobody-sees-0123456789";
    let sandbox = sandbox(ScimConfig {
        token: Some(throng_sandbox::Secret::new(token)),
        ..ScimConfig::default()
    })
    .await;
    let right = directory(sandbox.url(), ScimLogin::Bearer(Secret::new(token)));
    right.check().await.unwrap();
    right.create(&user("bob")).await.unwrap();

    let wrong = directory(
        sandbox.url(),
        ScimLogin::Bearer(Secret::new("another-token-0123456789")),
    );
    let error = wrong.list("load").await.unwrap_err();
    let text = format!("{error} {error:?} {wrong:?}");
    assert!(
        matches!(error, DirectoryError::Unauthorized { .. })
            && error.to_string().contains("its token"),
        "{error}"
    );
    assert!(
        !text.contains("another-token") && !format!("{right:?}").contains(token),
        "{text}"
    );

    let plain = ScimLogin::Basic {
        user: "bob".to_owned(),
        password: user("bob").password,
    };
    let error = directory(sandbox.url(), plain)
        .create(&user("eve"))
        .await
        .unwrap_err();
    assert!(matches!(error, DirectoryError::Forbidden { .. }), "{error}");
    assert!(error.nothing_was_created());
}

#[derive(Clone, Default)]
struct Odd(Arc<AtomicU32>);

async fn odd(State(odd): State<Odd>, method: http::Method, uri: Uri) -> Response {
    let count = odd.0.fetch_add(1, Ordering::Relaxed);
    let asked = uri.query().unwrap_or_default();
    if method == http::Method::POST {
        if count == 0 {
            let wait = AppendHeaders([(header::RETRY_AFTER, "7")]);
            let body = Json(json!({"status": "429", "detail": "slowly"}));
            return (StatusCode::TOO_MANY_REQUESTS, wait, body).into_response();
        }
        let body = json!({"status": "400", "scimType": "invalidValue", "detail": "Corr3ct-horse! is a bad password"});
        return (StatusCode::BAD_REQUEST, Json(body)).into_response();
    }
    if method == http::Method::DELETE {
        return StatusCode::NOT_FOUND.into_response();
    }
    // Two of one name, whatever is asked; for `ghost` one whom no deletion finds; for others no list at all.
    if asked.contains("twin") {
        let twins = [1, 2].map(|id| json!({"id": id.to_string(), "userName": "twin"}));
        return Json(json!({"totalResults": 2, "Resources": twins})).into_response();
    }
    if asked.contains("ghost") {
        let ghost = [json!({"id": "3", "userName": "ghost"})];
        return Json(json!({"totalResults": 1, "Resources": ghost})).into_response();
    }
    Json(json!({"totalResults": 3})).into_response()
}

#[tokio::test]
async fn what_a_server_does_wrong_deletes_nobody() {
    let app = Router::new().fallback(odd).with_state(Odd::default());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, app).await });
    let scim = directory(&url, ScimLogin::Bearer(Secret::new("t0ken")));

    let busy = scim.create(&user("alice")).await.unwrap_err();
    assert!(busy.is_passing() && busy.nothing_was_created(), "{busy}");
    assert_eq!(busy.retry_after(), Some(Duration::from_secs(7)));
    let refused = scim.create(&user("alice")).await.unwrap_err();
    assert!(
        !refused.is_passing() && refused.nothing_was_created(),
        "{refused}"
    );
    let said = refused.to_string();
    assert!(
        said.contains("is a bad password") && !said.contains("Corr3ct-horse!"),
        "{said}"
    );

    let twins = scim.delete("twin").await.unwrap_err();
    assert!(matches!(twins, DirectoryError::Ambiguous { .. }), "{twins}");
    let ghost = scim.delete("ghost").await.unwrap_err();
    assert!(
        matches!(ghost, DirectoryError::NoSuchUser { .. }),
        "{ghost}"
    );
    let none = scim.delete("somebody").await.unwrap_err();
    assert!(
        none.to_string().contains("has no list at $.Resources"),
        "{none}"
    );
}

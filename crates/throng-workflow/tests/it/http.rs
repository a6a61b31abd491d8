//! Scenarios of HTTP targets, whole, against a small server: what it was sent, and what was measured of it.

use std::sync::Arc;
use std::time::Duration;

use axum::http::{HeaderName, Method};
use throng_client::{Client, Connector, ConnectorOptions, DoubleSubmit};
use throng_identity::hooks::{self, Hook, HookBody, Values};
use throng_identity::retry::RetryPolicy;
use throng_identity::{Secret, TokenCell};
use throng_metrics::FailureKind;
use throng_workflow::{Crowd, CrowdOptions, Logout, Person};
use tokio::net::TcpListener;

use crate::fake::once;
use crate::shop::{SAVED, Server, TOKEN, longest, run, run_as};

#[tokio::test]
async fn a_session_with_cookies_csrf_captures_and_expected_statuses() {
    let server = Server::start().await;
    let ran = run(
        &server,
        r#"      - login:
          post: /login
          form: { username: "{me.name}", password: "p&=ü w", n: [1, true] }
          save: { request: { header: X-Request-Id }, token: { regex: 'value="([^"]+)"' }, csrf: { cookie: csrf_token } }
          check: [{ header: x-request-id, matches: "^r-" }, { status: [200, 201] }]
      - create:
          post: /scripts
          json: { name: 'say "{me.name}"', nested: { id: "{request}" } }
          headers: { Idempotency-Key: "{uid}", X-Fixed: 7 }
          expect: 201
          save: { script: $.script_id }
      - read:
          get: /scripts/{script}
          query: { limit: 10, q: "{token} &", tag: [a, b] }
          check:
            - { path: $.nested.id, equals: r-1 }
            - { schema: { type: object, required: [name], properties: { name: { type: string } } } }
      - remove: { delete: "/scripts/{script}" }
      - gone: { get: "/scripts/{script}", expect: 404 }
      - forged: { post: /scripts, json: {}, headers: { X-CSRF-Token: "{csrf}x" }, refused: { error: "HTTP 403: .*CSRF", must: true } }
      - packed: { get: /packed, check: { path: "$.n", length: 2 } }
"#,
    )
    .await;
    assert_eq!(ran.errors(), []);
    assert_eq!(
        server.lines(),
        [
            "POST /api/v1/login",
            "POST /api/v1/scripts",
            "GET /api/v1/scripts/id%2F0%201?limit=10&q=from-html%20%26&tag=a&tag=b",
            "DELETE /api/v1/scripts/id%2F0%201",
            "GET /api/v1/scripts/id%2F0%201",
            "POST /api/v1/scripts",
            "GET /api/v1/packed",
        ]
    );
    assert_eq!(
        ran.endpoints(),
        [
            "POST /login",
            "POST /scripts",
            "GET /scripts/{script}",
            "DELETE /scripts/{script}",
            "GET /scripts/{script}",
            "POST /scripts",
            "GET /packed",
        ]
    );
    let journal = server.journal();
    let [login, create, read, remove, ..] = journal.as_slice() else {
        panic!("{journal:?}");
    };
    assert_eq!(
        login.body,
        "username=ann&password=p%26%3D%C3%BC+w&n=1&n=true"
    );
    assert_eq!(
        login.header("content-type"),
        Some("application/x-www-form-urlencoded")
    );
    assert_eq!(login.header("x-csrf-token"), None);
    assert_eq!(
        create.body,
        r#"{"name":"say \"ann\"","nested":{"id":"r-1"}}"#
    );
    assert_eq!(create.header("idempotency-key"), Some("run-1-0"));
    assert_eq!(create.header("x-fixed"), Some("7"));
    for (seen, token) in [(create, Some(TOKEN)), (read, None), (remove, Some(TOKEN))] {
        assert_eq!(seen.header("x-csrf-token"), token, "{}", seen.line);
        assert!(seen.header("cookie").unwrap().contains("sid=very-secret"));
        assert_eq!(seen.header("x-suite"), Some("1"));
        assert_eq!(seen.header("accept-encoding"), Some("gzip, br"));
        assert!(
            seen.header("baggage")
                .unwrap()
                .starts_with("throng.step=w/"),
            "{seen:?}"
        );
    }
    assert_eq!(ran.statuses("gone"), [(404, 1)]);
    assert_eq!(ran.statuses("create"), [(201, 1)]);
    assert_eq!(
        (ran.step("gone").succeeded, ran.step("gone").refused),
        (1, 0)
    );
    assert_eq!(ran.step("forged").refused, 1);
    assert_eq!(ran.statuses("forged"), [(403, 1)]);
}

#[tokio::test]
async fn an_unexpected_status_is_a_failure_without_secrets() {
    let server = Server::start().await;
    let ran = run(
        &server,
        "      - login: { post: /login }\n      - boom: { get: /boom }\n      - never: { get: /echo }\n",
    )
    .await;
    assert_eq!(
        ran.errors(),
        [(
            FailureKind::Http,
            "HTTP 500".to_owned(),
            "HTTP 500: Traceback: session *** failed".to_owned()
        )]
    );
    assert_eq!(ran.statuses("boom"), [(500, 1)]);
    assert_eq!(server.lines().len(), 2);
}

#[tokio::test]
async fn no_message_shows_a_secret_of_an_answer() {
    let server = Server::start().await;
    let ran = run(
        &server,
        "      - login: { post: /login }\n      - leak: { get: /leak, check: [{ path: $.n, equals: 1 }, { path: $.tokens, type: number }] }\n",
    )
    .await;
    assert_eq!(
        ran.errors()[0].2,
        "$.tokens should be of type number, found ***"
    );
    for (steps, expected) in [
        (
            "save: { x: $.nope }",
            "nothing at $.nope to save as x, found {\"n\":1,\"tokens\":\"***\"}",
        ),
        ("expect: 201", "HTTP 200: {\"n\":1,\"tokens\":\"***\"}"),
        (
            "check: { type: string }",
            "$ should be of type string, found {\"n\":1,\"tokens\":\"***\"}",
        ),
    ] {
        let ran = run(
            &server,
            &format!("      - leak: {{ get: /leak, {steps} }}\n"),
        )
        .await;
        assert_eq!(ran.errors()[0].2, expected);
    }
}

#[tokio::test]
async fn bodies_redirects_and_polling() {
    let server = Server::start().await;
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("ü \"1\".bin");
    std::fs::write(&file, [0, 159, 146, 150]).unwrap();
    let ran = run(
        &server,
        &format!(
            r#"      - upload:
          post: /echo
          multipart:
            title: "of {{me.name}}"
            data: {{ file: '{}', type: image/png }}
            note: {{ content: "{{uid}}", filename: "{{me.name}}.txt" }}
      - raw: {{ put: /echo, body: "a,{{me.name}}", content_type: text/csv }}
      - kept: {{ get: /moved, expect: 302 }}
      - followed: {{ get: /moved, redirects: follow, check: {{ path: $.line, contains: from=moved }} }}
      - there: {{ get: /echo, until: {{ path: $.line, contains: echo, within: 1s }} }}
      - elsewhere: {{ get: "{}/api/v1/echo?a=b c&d={{me.email}}", query: {{ e: 1 }} }}
"#,
            file.display(),
            server.url
        ),
    )
    .await;
    assert_eq!(ran.errors(), []);
    let journal = server.journal();
    let kind = journal[0].header("content-type").unwrap();
    let boundary = kind.strip_prefix("multipart/form-data; boundary=").unwrap();
    let mut expected = format!(
        "--{boundary}\r\nContent-Disposition: form-data; name=\"title\"\r\n\r\nof ann\r\n\
         --{boundary}\r\nContent-Disposition: form-data; name=\"data\"; filename=\"ü %221%22.bin\"\r\nContent-Type: image/png\r\n\r\n"
    )
    .into_bytes();
    expected.extend_from_slice(&[0, 159, 146, 150]);
    expected.extend_from_slice(
        format!(
            "\r\n--{boundary}\r\nContent-Disposition: form-data; name=\"note\"; filename=\"ann.txt\"\r\n\r\nrun-1-0\r\n--{boundary}--\r\n"
        )
        .as_bytes(),
    );
    assert_eq!(journal[0].body, expected);
    assert_eq!(journal[1].body, "a,ann");
    assert_eq!(journal[1].header("content-type"), Some("text/csv"));
    assert_eq!(
        server.lines()[2..],
        [
            "GET /api/v1/moved",
            "GET /api/v1/moved",
            "GET /api/v1/echo?from=moved",
            "GET /api/v1/echo",
            "GET /api/v1/echo?a=b%20c&d=ann%40example.com&e=1",
        ]
    );
    assert_eq!(ran.statuses("kept"), [(302, 1)]);
    assert_eq!(ran.statuses("followed"), [(200, 1)]);
    assert_eq!(
        ran.endpoints()[5],
        format!("GET {}/api/v1/echo", server.url)
    );
}

#[tokio::test]
async fn a_target_that_is_not_there_is_a_transport_failure() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let server = Server {
        url,
        ..Server::start().await
    };
    let ran = run(&server, "      - get: { get: /echo }\n").await;
    let errors = ran.errors();
    let [(kind, cause, _)] = errors.as_slice() else {
        panic!("{errors:?}");
    };
    assert_eq!(
        (*kind, cause.as_str()),
        (FailureKind::Transport, "connection refused")
    );
    assert_eq!(ran.statuses("get"), []);
}

#[tokio::test]
async fn the_targets_headers_stay_with_the_target() {
    let (here, there) = (Server::start().await, Server::start().await);
    let ran = run(
        &here,
        &format!(
            "      - here: {{ get: \"{}/api/v1/echo\" }}\n      - there: {{ get: \"{}/api/v1/echo\", headers: {{ X-Own: 1 }} }}\n",
            here.url, there.url
        ),
    )
    .await;
    assert_eq!(ran.errors(), []);
    assert_eq!(here.journal()[0].header("x-suite"), Some("1"));
    let there = there.journal().remove(0);
    assert_eq!(
        (there.header("x-suite"), there.header("x-own")),
        (None, Some("1"))
    );
    assert_eq!(there.header("accept"), Some("*/*"));
}

#[tokio::test]
async fn no_message_shows_what_was_sent_in_secret_or_did_not_fit_a_schema() {
    let server = Server::start().await;
    for check in [
        "{ schema: { type: object, properties: { note: { type: number }, cookie: { maxLength: 1 } } } }",
        "{ path: $.note, equals: x }",
        "{ path: $.note, matches: ^z }",
        "{ path: $.note, schema: { type: number } }",
    ] {
        let steps = format!(
            "      - login: {{ post: /login }}\n      - mirror: {{ get: /mirror, headers: {{ X-Key: value-of-the-key, X-Api-Key: value-of-the-key }}, check: {check} }}\n"
        );
        let ran = run(&server, &steps).await;
        let (_, cause, example) = ran.errors().remove(0);
        for secret in ["very-secret-session", TOKEN, "value-of-the-key"] {
            assert!(!example.contains(secret), "{example}");
            assert!(!cause.contains(secret), "{cause}");
        }
    }
}

#[tokio::test]
async fn waiting_ends_in_time_however_long_an_answer_takes() {
    let server = Server::start().await;
    let ran = run(
        &server,
        "      - slow: { get: /hang, until: { equals: 1, every: 50ms, within: 200ms } }\n",
    )
    .await;
    let cause = "what was waited for did not come within 200ms";
    assert_eq!(ran.errors()[0].1, cause);
    assert_eq!(ran.step("slow").waits.not_met, 1);
    assert!(longest(&ran.step("slow").failures) < Duration::from_secs(10));
}

#[tokio::test]
async fn a_body_that_cannot_be_decoded_is_said_to_be_so() {
    let server = Server::start().await;
    let ran = run(
        &server,
        "      - garbled: { get: /garbled, save: { x: { regex: '(no)' } } }\n",
    )
    .await;
    assert_eq!(ran.errors()[0].1, "the body cannot be decoded");
}

#[tokio::test]
async fn only_an_unexpected_401_of_the_users_own_token_has_it_renewed() {
    let (server, there) = (Server::start().await, Server::start().await);
    // One that cannot be renewed: that it was tried shows as the failure.
    let token = TokenCell::fixed("ann", &Secret::new("the-token-of-ann"));
    let elsewhere = format!("get: \"{}/api/v1/denied\"", there.url);
    for (step, expected) in [
        ("get: /denied", Some(FailureKind::Auth)),
        ("get: /denied, expect: 401", None),
        ("get: /denied, refused: { error: HTTP 401 }", None),
        (
            "get: /denied, headers: { Authorization: Basic wrong }",
            Some(FailureKind::Http),
        ),
        (
            "get: /denied, headers: { Authorization: \"Basic {uid}\" }",
            Some(FailureKind::Http),
        ),
        (elsewhere.as_str(), Some(FailureKind::Http)),
    ] {
        let steps = format!("      - denied: {{ {step} }}\n");
        let ran = run_as(&server, &steps, once().graceful_stop, Some(token.clone())).await;
        let found = ran.errors().first().map(|(kind, ..)| *kind);
        assert_eq!(found, expected, "{step}");
    }
    assert_eq!((server.lines().len(), there.lines().len()), (5, 1));
}

#[tokio::test]
async fn what_a_login_saved_is_known_to_steps_and_never_shown() {
    let server = Server::start().await;
    let ran = run(
        &server,
        "      - a: { get: \"/echo?with={me.csrf}\", headers: { X-Csrf: \"{me.csrf}\" } }
      - b: { get: \"/echo?with={me.csrf}\", check: { path: $.line, equals: no } }",
    )
    .await;
    let seen = server.journal();
    assert_eq!(seen[0].line, format!("GET /api/v1/echo?with={SAVED}"));
    assert_eq!(seen[0].header("x-csrf"), Some(SAVED));
    let errors = ran.errors();
    assert!(errors[0].2.contains("with=***"), "{errors:?}");
    assert!(!format!("{errors:?}").contains(SAVED), "{errors:?}");
}

#[tokio::test]
async fn who_writes_says_where_it_comes_from_as_a_browser_does() {
    let server = Server::start().await;
    run(
        &server,
        "      - a: { post: /echo }
      - b: { get: /echo }
      - c: { post: /echo, headers: { Origin: \"http://elsewhere.example\" } }",
    )
    .await;
    let origins: Vec<_> = server
        .journal()
        .iter()
        .map(|seen| seen.header("origin").map(str::to_owned))
        .collect();
    let own = Some(server.url.clone());
    let other = Some("http://elsewhere.example".to_owned());
    assert_eq!(origins, [own, None, other]);
}

#[tokio::test]
async fn a_session_ends_by_its_logout_with_cookies_and_token() {
    let server = Server::start().await;
    let client = Client::with_cookies(&Connector::new(ConnectorOptions::default()).unwrap());
    let hook = |path: &str, expect| Hook {
        body: HookBody::Form(vec![("who".to_owned(), "{name}".to_owned())]),
        expect,
        csrf: Some(DoubleSubmit {
            cookie: "csrf_token".to_owned(),
            header: HeaderName::from_static("x-csrf-token"),
        }),
        ..Hook::new(
            "logout",
            Method::POST,
            format!("{}/api/v1/{path}", server.url),
        )
    };
    let mut values = Values::from([("name".to_owned(), Secret::new("ann"))]);
    let (once, limit) = (RetryPolicy::once(), Duration::from_secs(20));
    let login = hook("login", Vec::new());
    hooks::send(&login, &client, &mut values, &once, limit)
        .await
        .unwrap();

    for (expect, told) in [
        (vec![200], None),
        (vec![302], Some("expected 302, got 200")),
    ] {
        let person = Person {
            name: "ann".to_owned(),
            display_name: "Ann".to_owned(),
            email: "ann@example.com".to_owned(),
            client: client.clone(),
            tokens: None,
            saved: Values::new(),
            logout: Some(Box::new(Logout {
                request: Arc::new(hook("echo", expect)),
                values: values.clone(),
            })),
        };
        let options = CrowdOptions {
            concurrency: 1,
            timeout: limit,
            headers: Vec::new(),
            run_id: "run".to_owned(),
        };
        let crowd = Crowd::over_http(vec![person], &server.url, options).unwrap();
        assert_eq!(crowd.logouts(), 1);
        let errors = crowd.close().await;
        let errors: Vec<_> = errors.iter().map(ToString::to_string).collect();
        match told {
            None => assert_eq!(errors, [""; 0]),
            Some(told) => assert!(
                errors[0].contains(told) && errors[0].contains("ann"),
                "{errors:?}"
            ),
        }
    }
    let seen = server.journal().pop().unwrap();
    assert_eq!(seen.header("x-csrf-token"), Some(TOKEN));
    assert_eq!(seen.body, "who=ann");
}

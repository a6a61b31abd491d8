//! The sandbox of Integr8sCode, sound and with its ten bugs.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http::Request;
use regex::Regex;
use throng_client::{Client, Connector, ConnectorOptions, Trust};
use throng_fuzz::{Accepted, Accounts, Body, Check, Finding, Monkey, Settings, replay};
use throng_metrics::Catalog;
use throng_sandbox::{Bug, Bugs, ExecutionTimes, Integr8scodeConfig, Integr8scodeSandbox};

use crate::{
    swarm::{by_curl, of, run},
    users::{PASSWORD, Style, Users},
};

async fn sandbox(bugs: Bugs) -> (Integr8scodeSandbox, Bytes) {
    let millis = Duration::from_millis;
    let sandbox = Integr8scodeSandbox::start(Integr8scodeConfig {
        bugs,
        times: ExecutionTimes {
            queued: millis(1),
            scheduled: millis(1),
            running: millis(1),
            limit: millis(50),
        },
        ..Integr8scodeConfig::default()
    })
    .await
    .expect("a sandbox");
    let connector = Connector::new(ConnectorOptions {
        trust: Trust::Anything,
        ..ConnectorOptions::default()
    });
    let client = Client::new(&connector.expect("a connector"));
    let request = Request::get(sandbox.ready().openapi)
        .body(Bytes::new())
        .expect("a request");
    let document = client
        .send(request, Duration::from_secs(10))
        .await
        .expect("the document");
    (sandbox, document.body)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_found_where_nothing_is_wrong() {
    let (sandbox, document) = sandbox(Bugs::default()).await;
    let users = Users::register(sandbox.url(), Style::Cookies, 4).await;
    let run = run(&users, &document, 1_500, |_| {}).await;
    assert!(run.found.findings.is_empty(), "{}", run.found);
    assert!(run.found.seen_once.is_empty(), "{}", run.found);
    assert!(run.found.probes > 1_000, "{}", run.found);
    assert!(run.samples >= run.found.requests, "{}", run.samples);
}

/// The check by which each planted bug is found, and where; [`docs/monkey.md`] has the same table.
pub(crate) const FOUND_BY: [(Bug, Check, &str); 10] = [
    (Bug::UnicodeTitle500, Check::ServerError, "POST /scripts"),
    (
        Bug::NumberEdge500,
        Check::ServerError,
        "GET /user/executions",
    ),
    (
        Bug::ForeignScriptReadable,
        Check::ForeignRead,
        "GET /scripts/{script_id}",
    ),
    (
        Bug::CsrfUncheckedRoute,
        Check::CsrfNotChecked,
        "PUT /user/settings/theme",
    ),
    (
        Bug::DeletedStillServed,
        Check::UseAfterDelete,
        "GET /scripts/{script_id}",
    ),
    (
        Bug::SessionAfterLogout,
        Check::SessionAfterLogout,
        "POST /auth/logout",
    ),
    (
        Bug::RoleFromRegister,
        Check::MassAssignment,
        "POST /auth/register",
    ),
    (
        Bug::RefusedCreateLeavesRow,
        Check::RefusedWithEffect,
        "GET /scripts",
    ),
    (
        Bug::DoubleUsernameRace,
        Check::UniqueRace,
        "POST /auth/register",
    ),
    (Bug::StackTraceInError, Check::StackTrace, "POST /execute"),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_ten_bugs_are_found_shrunk_and_shown_again() {
    let (sandbox, document) = sandbox(Bugs::all()).await;
    let users = Users::register(sandbox.url(), Style::Cookies, 4).await;
    let corpus = tempfile::tempdir().expect("a directory");
    let run = run(&users, &document, 1_500, |settings| {
        settings.corpus = Some(corpus.path().to_owned());
    })
    .await;
    let found = &run.found;
    let missing: Vec<&str> = FOUND_BY
        .iter()
        .filter(|(_, check, operation)| {
            !found
                .findings
                .iter()
                .any(|it| it.check == *check && it.operation == *operation)
        })
        .map(|(bug, _, _)| bug.name())
        .collect();
    assert!(missing.len() <= 1, "{missing:?} not found: {found}");
    let planted = |finding: &Finding| {
        let of = |(_, check, operation): &(Bug, Check, &str)| {
            finding.check == *check && finding.operation == *operation
        };
        FOUND_BY.iter().any(of)
    };
    for finding in &found.findings {
        assert!(planted(finding), "not planted: {finding}");
        assert!(finding.repeated > 0, "{finding}");
    }
    for (check, shapes) in [
        (
            Check::ServerError,
            vec![r#"^GET /api/v1/user/executions\?skip=2147483647 as the first user$"#],
        ),
        (
            Check::StackTrace,
            vec![r#"^POST /api/v1/execute application/json ".{1,2}" as the first user$"#],
        ),
        (
            Check::CsrfNotChecked,
            vec![r#"^PUT /api/v1/user/settings/theme \{"theme":"\w+"\} as the first user, with"#],
        ),
        (
            Check::ForeignRead,
            vec![
                "^POST /api/v1/scripts .* as the first user$",
                "^GET /api/v1/scripts/<.*> as the second user$",
            ],
        ),
        (
            Check::UseAfterDelete,
            vec![
                "^POST /api/v1/scripts ",
                "^DELETE /api/v1/scripts/<",
                "^GET /api/v1/scripts/<",
            ],
        ),
        (
            Check::SessionAfterLogout,
            vec![
                "^POST /api/v1/auth/logout as the first user in a new session$",
                "^GET .* with what that session was known by$",
            ],
        ),
        (
            Check::MassAssignment,
            vec![r#"^POST /api/v1/auth/register .*"role":"admin"\} as nobody$"#],
        ),
        (
            Check::RefusedWithEffect,
            vec![
                r#"^POST /api/v1/scripts \{"name":"\{unique\}"\} as the first user$"#,
                "^GET /api/v1/scripts as the first user$",
            ],
        ),
        (
            Check::UniqueRace,
            vec![
                "^POST /api/v1/auth/register ",
                "^POST /api/v1/auth/register .*, at the same time$",
            ],
        ),
    ] {
        for finding in of(found, check).iter().take(1) {
            assert_eq!(finding.requests.len(), shapes.len(), "{finding}");
            for (request, shape) in finding.requests.iter().zip(&shapes) {
                let shape = Regex::new(shape).expect("a pattern");
                assert!(shape.is_match(request), "{shape}: {request}");
            }
        }
    }
    let title = found
        .findings
        .iter()
        .find(|it| it.operation == "POST /scripts")
        .expect("the odd title");
    let Body::Json(body) = &title.probe.steps[0].request.body else {
        panic!("{title}");
    };
    assert_eq!(
        body["name"].as_str().map(|name| name.chars().count()),
        Some(1),
        "{title}"
    );
    assert_eq!(body["script"], "", "{title}");

    for finding in &found.findings {
        let status = finding.status.expect("a status").to_string();
        let race = finding.check == Check::UniqueRace;
        let wanted = |said: &str| {
            let statuses: Vec<&str> = said.lines().filter(|line| line.len() == 3).collect();
            if race {
                statuses == ["200", "200"]
            } else {
                statuses.contains(&status.as_str())
            }
        };
        let mut said = by_curl(finding);
        // Two processes may start too far apart for a race.
        for _ in 0..10 {
            if race && !wanted(&said) {
                said = by_curl(finding);
            }
        }
        assert!(wanted(&said), "{finding}\n{said}\n{}", finding.curl);
        if finding.check == Check::MassAssignment {
            assert!(said.contains(r#""role":"admin""#), "{said}");
        }
        if finding.check == Check::StackTrace {
            assert!(said.contains("Traceback"), "{said}");
        }
        // As `throng replay` does it.
        let file = finding.file.as_ref().expect("it was written");
        let again = Finding::load(file).expect("it is read back");
        let accounts = Arc::clone(&users) as Arc<dyn Accounts>;
        let replayed = replay(&again, &run.document, accounts, &users.sending()).await;
        assert!(replayed.repeated > 0, "{finding}");
        let kept = std::fs::read_to_string(file).expect("it is read");
        assert!(!kept.contains(PASSWORD), "{kept}");
    }
}

/// What was found is not there where the bug is not.
#[tokio::test]
async fn a_finding_does_not_repeat_where_its_bug_is_mended() {
    let (buggy, document) = sandbox(Bugs::from_iter([
        Bug::RoleFromRegister,
        Bug::DeletedStillServed,
    ]))
    .await;
    let users = Users::register(buggy.url(), Style::Cookies, 2).await;
    let run = run(&users, &document, 70, |_| {}).await;
    assert_eq!(run.found.findings.len(), 2, "{}", run.found);
    let (sound, _) = sandbox(Bugs::default()).await;
    let users = Users::register(sound.url(), Style::Cookies, 2).await;
    for finding in &run.found.findings {
        let accounts = Arc::clone(&users) as Arc<dyn Accounts>;
        let replayed = replay(finding, &run.document, accounts, &users.sending()).await;
        assert_eq!((replayed.repeated, replayed.tried), (0, 5), "{finding}");
    }
}

#[tokio::test]
async fn what_is_accepted_is_no_finding_and_a_wrong_name_is_an_error() {
    let (sandbox, document) = sandbox(Bugs::from_iter([Bug::DeletedStillServed])).await;
    let users = Users::register(sandbox.url(), Style::Cookies, 2).await;
    let accepted = Accepted {
        check: Some(Check::UseAfterDelete),
        operation: Some("GET /api/v1/scripts/{script_id}".to_owned()),
        status: None,
        reason: "kept for a month".to_owned(),
    };
    let run = run(&users, &document, 70, |settings| {
        settings.accept.push(accepted.clone())
    })
    .await;
    assert!(run.found.is_sound(), "{}", run.found);
    assert_eq!(run.found.accepted.len(), 1, "{}", run.found);
    assert!(run.found.to_string().contains("kept for a month"));

    let mut settings = Settings::new(users.sending(), 1);
    settings.skip.push("GET /nothing".to_owned());
    let accounts = Arc::clone(&users) as Arc<dyn Accounts>;
    let error = Monkey::new(run.document, accounts, settings, &mut Catalog::default())
        .expect_err("no such operation");
    assert_eq!(
        error.to_string(),
        "monkey: skip: the OpenAPI document has no operation `GET /nothing`"
    );
}

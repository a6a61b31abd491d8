//! The journal, the knobs, starting and stopping.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use http::Method;
use serde_json::json;
use throng_sandbox::{
    EndpointKnob, ErrorKind, Knobs, Latency, NextcloudSandbox, Outcome, Server, Stall, StallFrom,
};

use crate::support::*;

const PAGE: &str = "/apps/oidc/jwks";

fn knob(pattern: &str) -> EndpointKnob {
    EndpointKnob {
        pattern: pattern.to_owned(),
        latency: None,
        error_rate: None,
        error: ErrorKind::default(),
        stall: None,
    }
}

fn knobs(endpoint: EndpointKnob) -> Knobs {
    Knobs {
        seed: 1,
        endpoints: vec![endpoint],
        ..Knobs::default()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn every_request_is_counted_once() {
    let sandbox = sandbox(|config| config.journal_capacity = 700).await;
    let mut tasks = tokio::task::JoinSet::new();
    for client in 0..20 {
        let mut http = Http::new(&sandbox);
        tasks.spawn(async move {
            for number in 0..50 {
                let phase = if number < 10 { "warmup" } else { "measured" };
                let baggage = format!("throng.step=flow%2Fstep{},throng.phase={phase}", client % 3);
                let path = if number % 5 == 0 { "/nowhere" } else { PAGE };
                http.get_with(path, &[("baggage", &baggage)]).await;
            }
        });
    }
    tasks.join_all().await;
    // Asking for the journal is not journalled.
    let mut http = Http::new(&sandbox);
    let counts = http.get("/__sandbox/journal/counts").await.json();
    assert_eq!(counts["total"], 1000);
    assert_eq!(counts["in_flight"], 0);
    assert_eq!(counts["dropped"], 300);
    let mut found = BTreeMap::new();
    for count in counts["counts"].as_array().unwrap() {
        let text = |key: &str| count[key].as_str().unwrap().to_owned();
        let key = (text("phase"), text("step"), text("route"), text("outcome"));
        assert!(
            found
                .insert(key, count["count"].as_u64().unwrap())
                .is_none()
        );
    }
    let mut expected = BTreeMap::new();
    for (phase, rounds) in [("warmup", 2), ("measured", 8)] {
        for (step, clients) in [("flow/step0", 7), ("flow/step1", 7), ("flow/step2", 6)] {
            for (route, outcome, each) in [("(none)", "http_error", 1), (PAGE, "ok", 4)] {
                let key = (phase, step, route, outcome);
                let (a, b, c, d) = key;
                let key = (a.to_owned(), b.to_owned(), c.to_owned(), d.to_owned());
                expected.insert(key, rounds * clients * each);
            }
        }
    }
    assert_eq!(found, expected);

    let page = http
        .get("/__sandbox/journal?after=500&limit=100")
        .await
        .json();
    let entries = page["entries"].as_array().unwrap();
    let numbers: Vec<u64> = entries
        .iter()
        .map(|entry| entry["seq"].as_u64().unwrap())
        .collect();
    assert_eq!(numbers, (501..=600).collect::<Vec<u64>>());
    assert_eq!((&page["last"], &page["more"]), (&json!(600), &json!(true)));
    assert_eq!(
        http.send(Method::DELETE, "/__sandbox/journal", &[], String::new())
            .await
            .status,
        204
    );
    assert_eq!(sandbox.journal().counts().total, 0);
}

#[tokio::test]
async fn entries_say_who_what_and_when() {
    let sandbox = sandbox(|_| {}).await;
    let now = || {
        let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
        now.tv_sec.unsigned_abs() * 1_000_000_000 + now.tv_nsec.unsigned_abs()
    };
    let before = now();
    let mut http = Http::new(&sandbox);
    let login = basic("admin", PASSWORD);
    let path = "/index.php/ocs/v2.php/core/getapppassword?format=json";
    http.get_with(path, &[("authorization", &login)]).await;
    let mut mcp = Http::to(sandbox.mcp_url().trim_end_matches("/mcp"));
    let call =
        json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": { "name": "t" } });
    mcp.json(Method::POST, "/nowhere", &call).await;
    let after = now();
    let entries = sandbox.journal().entries();
    let [first, second] = entries.as_slice() else {
        panic!("{entries:?}");
    };
    assert_eq!(first.route.as_ref(), "/ocs/v2.php/core/getapppassword");
    assert_eq!(first.user.as_deref(), Some("admin"));
    assert_eq!(
        (first.server, first.status, first.outcome),
        (Server::Nextcloud, 200, Outcome::Ok)
    );
    assert_eq!(second.tool.as_deref(), Some("t"));
    assert_eq!(second.rpc_method.as_deref(), Some("tools/call"));
    assert_eq!(
        (second.server, second.status, second.outcome),
        (Server::Mcp, 404, Outcome::HttpError)
    );
    let times = [
        before,
        first.started_ns,
        first.ended_ns,
        second.started_ns,
        second.ended_ns,
        after,
    ];
    assert!(times.is_sorted(), "{times:?}");
}

#[tokio::test]
async fn planted_latency_is_real_and_marked() {
    let sandbox = sandbox(|_| {}).await;
    let mut http = Http::new(&sandbox);
    http.get(PAGE).await;
    let latency = Some(Latency {
        fixed_ms: 60.0,
        jitter: None,
    });
    let slow = EndpointKnob {
        latency,
        ..knob("GET /apps/oidc/*")
    };
    sandbox.knobs().set(knobs(slow)).unwrap();
    let begin = Instant::now();
    http.get(PAGE).await;
    let took = begin.elapsed();
    http.get("/login").await;
    let entries = sandbox.journal().entries();
    assert_eq!((&entries[0].planted, &entries[2].planted), (&None, &None));
    let planted = Duration::from_nanos(entries[1].planted.as_ref().unwrap().latency_ns);
    assert!(
        Duration::from_millis(60) <= planted && planted <= took,
        "{planted:?} of {took:?}"
    );
    assert_eq!(entries[1].outcome, Outcome::Ok);
}

#[tokio::test]
async fn planted_errors_are_as_many_as_the_journal_says() {
    let sandbox = sandbox(|_| {}).await;
    let failing = EndpointKnob {
        error_rate: Some(0.3),
        error: ErrorKind::Http(503),
        ..knob("*")
    };
    let mut http = Http::new(&sandbox);
    let set = http
        .json(
            Method::PUT,
            "/__sandbox/knobs",
            &json!(knobs(failing.clone())),
        )
        .await;
    assert_eq!(set.status, 200, "{}", set.body);
    let mut failed = 0;
    for _ in 0..200 {
        failed += u64::from(http.get(PAGE).await.status == 503);
    }
    let counts = sandbox.journal().counts();
    let planted: u64 = counts
        .counts
        .iter()
        .filter(|count| count.planted.as_deref() == Some("http_503"))
        .map(|count| count.count)
        .sum();
    assert_eq!(planted, failed);
    assert!(
        (30..=90).contains(&failed),
        "{failed} of 200 at a rate of 0.3"
    );
    assert_eq!(counts.total, 200);
    let read = http.get("/__sandbox/knobs").await.json();
    assert_eq!(read, json!(knobs(failing)));
    let wrong = http
        .json(
            Method::PUT,
            "/__sandbox/knobs",
            &json!({ "lost_appends": 7 }),
        )
        .await;
    assert_eq!(wrong.status, 422);
    assert!(wrong.body.contains("lost_appends"), "{}", wrong.body);
}

#[tokio::test]
async fn planted_mcp_errors_answer_the_message() {
    let sandbox = sandbox(|_| {}).await;
    let mut mcp = Http::to(sandbox.mcp_url().trim_end_matches("/mcp"));
    let call =
        json!({ "jsonrpc": "2.0", "id": "x1", "method": "tools/call", "params": { "name": "t" } });
    let notification = json!({ "jsonrpc": "2.0", "method": "notifications/initialized" });
    for (error, pointer, name) in [
        (ErrorKind::ToolError, "/result/isError", "tool_error"),
        (ErrorKind::RpcError, "/error/code", "rpc_error"),
    ] {
        let failing = EndpointKnob {
            error_rate: Some(1.0),
            error,
            ..knob("*")
        };
        sandbox.knobs().set(knobs(failing)).unwrap();
        sandbox.journal().clear();
        let reply = mcp.json(Method::POST, "/mcp", &call).await;
        assert_eq!(
            (reply.status, reply.header("content-type")),
            (200, "text/event-stream")
        );
        let data = reply
            .body
            .strip_prefix("event: message\ndata: ")
            .expect("an event");
        let data: serde_json::Value = serde_json::from_str(data.trim_end()).unwrap();
        assert_eq!(data["id"], "x1");
        assert!(data.pointer(pointer).is_some(), "{data}");
        assert_eq!(
            mcp.json(Method::POST, "/mcp", &notification).await.status,
            500
        );
        let entries = sandbox.journal().entries();
        let errors: Vec<_> = entries
            .iter()
            .map(|entry| Some((entry.outcome, entry.planted.as_ref()?.error.as_deref())))
            .collect::<Option<Vec<_>>>()
            .expect("both planted");
        assert_eq!(
            errors,
            [
                (Outcome::PlantedError, Some(name)),
                (Outcome::PlantedError, Some("http_500"))
            ]
        );
    }
}

#[tokio::test]
async fn a_planted_reset_closes_the_connection_without_an_answer() {
    let sandbox = sandbox(|_| {}).await;
    let failing = EndpointKnob {
        error_rate: Some(1.0),
        error: ErrorKind::Reset,
        ..knob(&format!("GET {PAGE}"))
    };
    sandbox.knobs().set(knobs(failing)).unwrap();
    let mut http = Http::new(&sandbox);
    let failed = http.try_send(Method::GET, PAGE, &[], String::new()).await;
    assert!(failed.is_err(), "{failed:?}");
    assert_eq!(http.get("/login").await.status, 200);
    let entries = sandbox.journal().entries();
    assert_eq!(
        (entries[0].status, entries[0].outcome),
        (0, Outcome::PlantedError)
    );
    assert_eq!(
        entries[0].planted.as_ref().unwrap().error.as_deref(),
        Some("reset")
    );
}

#[tokio::test]
async fn a_stall_holds_requests_until_its_end() {
    let sandbox = sandbox(|_| {}).await;
    let stalling = EndpointKnob {
        stall: Some(Stall {
            start_ms: 0,
            duration_ms: 300,
            from: StallFrom::FirstMatch,
        }),
        ..knob(&format!("* {PAGE}"))
    };
    sandbox.knobs().set(knobs(stalling)).unwrap();
    let begin = Instant::now();
    let (mut first, mut second) = (Http::new(&sandbox), Http::new(&sandbox));
    tokio::join!(first.get(PAGE), second.get(PAGE));
    assert!(begin.elapsed() >= Duration::from_millis(300));
    first.get(PAGE).await;
    let entries = sandbox.journal().entries();
    let held: Vec<bool> = entries
        .iter()
        .map(|entry| entry.planted.is_some())
        .collect();
    assert_eq!(held, [true, true, false]);
}

#[tokio::test]
async fn a_client_that_leaves_is_journalled_as_aborted() {
    let sandbox = sandbox(|_| {}).await;
    let latency = Some(Latency {
        fixed_ms: 60_000.0,
        jitter: None,
    });
    let slow = EndpointKnob {
        latency,
        ..knob("*")
    };
    sandbox.knobs().set(knobs(slow)).unwrap();
    let url = sandbox.url().to_owned();
    let waiting = tokio::spawn(async move { Http::to(&url).get(PAGE).await });
    wait_until(&sandbox, |in_flight, _| in_flight == 1).await;
    waiting.abort();
    wait_until(&sandbox, |in_flight, total| (in_flight, total) == (0, 1)).await;
    let entry = &sandbox.journal().entries()[0];
    assert_eq!((entry.status, entry.outcome), (0, Outcome::Aborted));
}

/// Looks at the journal until it is as expected, for at most 10 seconds.
async fn wait_until(sandbox: &NextcloudSandbox, expected: impl Fn(u64, u64) -> bool) {
    let looking = async {
        loop {
            let counts = sandbox.journal().counts();
            if expected(counts.in_flight, counts.total) {
                return;
            }
            tokio::task::yield_now().await;
        }
    };
    let waited = tokio::time::timeout(Duration::from_secs(10), looking).await;
    assert!(waited.is_ok(), "{:?}", sandbox.journal().counts());
}

#[tokio::test]
async fn stopping_closes_listeners_and_connections() {
    for by_request in [false, true] {
        let sandbox = sandbox(|_| {}).await;
        let mut http = Http::new(&sandbox);
        assert_eq!(http.get(PAGE).await.status, 200);
        if by_request {
            let reply = http
                .send(Method::POST, "/__sandbox/stop", &[], String::new())
                .await;
            assert_eq!(reply.status, 202);
            sandbox.stopped().await;
        }
        let mut fresh = Http::new(&sandbox);
        sandbox.stop().await;
        assert!(
            http.try_send(Method::GET, PAGE, &[], String::new())
                .await
                .is_err()
        );
        assert!(
            fresh
                .try_send(Method::GET, PAGE, &[], String::new())
                .await
                .is_err()
        );
    }
}

#[tokio::test]
async fn a_data_directory_keeps_the_state_over_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let start = async || {
        sandbox(|config| {
            config.consent = false;
            config.data = Some(directory.path().to_owned());
        })
        .await
    };
    let first = start().await;
    let mut http = Http::new(&first);
    let application = Application::register(&mut http, json!({})).await;
    let issued = tokens(&mut http, &application).await;
    let keys = http.get(PAGE).await.json();
    first.stop().await;

    let second = start().await;
    let mut http = Http::new(&second);
    assert_eq!(http.get(PAGE).await.json(), keys);
    let reply = userinfo(&mut http, issued["access_token"].as_str().unwrap()).await;
    assert_eq!(reply.status, 200);
    let refresh = issued["refresh_token"].as_str().unwrap();
    assert_eq!(application.refresh(&mut http, refresh).await.status, 200);
    let users = http.get("/__sandbox/users").await.json();
    assert_eq!(users, json!(["admin"]));
}

#[tokio::test]
async fn what_a_sandbox_says_of_itself_hides_the_password_from_logs_only() {
    let sandbox = sandbox(|_| {}).await;
    let ready = sandbox.ready();
    assert!(!format!("{ready:?}").contains(PASSWORD), "{ready:?}");
    let json = serde_json::to_value(&ready).unwrap();
    let expected = json!({
        "url": sandbox.url(), "mcp_url": sandbox.mcp_url(), "admin": "admin", "password": PASSWORD,
    });
    assert_eq!(json, expected);
}

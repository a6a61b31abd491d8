//! Executions: their course, their results, their streams, who may see them.

use std::time::Duration;

use http::Method;
use http_body_util::BodyExt as _;
use serde_json::{Value, json};

use super::client::{Api, sandbox};

/// The events of a finished stream, and whether it is made of `data:` lines with CR LF only.
fn events(body: &str) -> Vec<Value> {
    let frames = body
        .strip_suffix("\r\n\r\n")
        .expect("a whole frame")
        .split("\r\n\r\n");
    frames
        .map(|frame| {
            let data = frame
                .strip_prefix("data: ")
                .unwrap_or_else(|| panic!("{frame:?}"));
            assert!(!data.contains(['\r', '\n']));
            serde_json::from_str(data).expect("JSON")
        })
        .collect()
}

fn kinds(events: &[Value]) -> Vec<&str> {
    events
        .iter()
        .map(|event| event["event_type"].as_str().expect("a type"))
        .collect()
}

#[tokio::test]
async fn a_stream_tells_the_course_and_ends() {
    let sandbox = sandbox(|_| {}).await;
    let mut api = Api::new(&sandbox, true).await.user("anna").await;
    for (script, expected, status) in [
        (
            "print(1)",
            &["execution_completed", "result_stored"][..],
            "completed",
        ),
        ("raise ValueError('no')", &["execution_failed"], "failed"),
        ("while True:\n  pass", &["execution_timeout"], "timeout"),
    ] {
        let id = api
            .post("/execute", &json!({ "script": script }))
            .await
            .text("execution_id");
        let reply = api.get(&format!("/events/executions/{id}")).await;
        let course = events(&reply.body);
        let head = ["status", "pod_created", "pod_scheduled", "pod_running"];
        let all = [&head[..], expected].concat();
        // How far it had come before the stream began is not known.
        let kinds = kinds(&course);
        assert_eq!(kinds[0], "status");
        assert!(
            all.ends_with(&kinds[1..]) && kinds.ends_with(expected),
            "{kinds:?}"
        );
        let last = course.last().expect("an event");
        assert_eq!(
            (&last["execution_id"], &last["status"]),
            (&json!(id), &json!(status))
        );
        let result = api.get(&format!("/executions/{id}/result")).await.json();
        assert_eq!(result["status"], status);
        let stored = if status == "completed" {
            result
        } else {
            Value::Null
        };
        assert_eq!(last["result"], stored);

        // Who comes late is told the end.
        let late = events(&api.get(&format!("/events/executions/{id}")).await.body);
        let end = expected.last().expect("an end");
        assert_eq!(
            (late[0]["status"].as_str(), late[1]["event_type"].as_str()),
            (Some(status), Some(*end))
        );
        assert_eq!(late[1]["event_id"], last["event_id"]);

        let listed = api
            .get(&format!("/executions/{id}/events?limit=1000"))
            .await
            .json();
        let listed = listed.as_array().expect("a list").clone();
        let whole = [
            &["execution_requested", "execution_queued"][..],
            &head[1..],
            expected,
        ]
        .concat();
        assert_eq!(self::kinds(&listed), whole);
        let two = api
            .get(&format!("/executions/{id}/events?limit=2"))
            .await
            .json();
        assert_eq!(two.as_array().map(Vec::len), Some(2));
    }
}

#[tokio::test]
async fn results_follow_the_script() {
    let sandbox = sandbox(|_| {}).await;
    let mut api = Api::new(&sandbox, true).await.user("anna").await;
    let (_, result) = api.run("print('a')\nprint('b')").await;
    assert_eq!(
        (&result["stdout"], &result["exit_code"]),
        (&json!("a\nb\n"), &json!(0))
    );
    assert!(result["error_type"].is_null());
    let (_, result) = api.run("import sys\nsys.exit(3)").await;
    assert_eq!(
        (&result["exit_code"], &result["error_type"]),
        (&json!(3), &json!("script_error"))
    );
    let (_, result) = api.run("def broken(").await;
    assert!(
        result["stderr"]
            .as_str()
            .is_some_and(|text| text.contains("SyntaxError"))
    );
    let (_, result) = api.run("while True:\n  pass").await;
    assert_eq!(result["error_type"], "timeout");
    for body in [
        json!({ "script": "x".repeat(50_001) }),
        json!({ "script": "", "lang": "cobol" }),
        json!({ "script": "", "lang_version": "2.7" }),
        json!({}),
    ] {
        assert_eq!(api.post("/execute", &body).await.status, 422);
    }
    assert_eq!(
        api.post("/execute", &json!({ "script": "é".repeat(50_000) }))
            .await
            .status,
        200
    );
}

#[tokio::test]
async fn an_execution_is_its_owners() {
    let sandbox = sandbox(|_| {}).await;
    let mut anna = Api::new(&sandbox, true).await.user("anna").await;
    let mut bert = anna.user("bert").await;
    let (id, _) = anna.run("").await;
    for path in [
        "executions/ID/result",
        "executions/ID/events",
        "events/executions/ID",
    ] {
        let path = format!("/{path}");
        let there = path.replace("ID", &id);
        assert_eq!(anna.get(&there).await.status, 200);
        assert_eq!(bert.get(&there).await.status, 403);
        assert_eq!(anna.another().get(&there).await.status, 401);
        assert_eq!(anna.get(&path.replace("ID", "none")).await.status, 404);
    }
    for (action, body) in [("cancel", json!({})), ("retry", Value::Null)] {
        assert_eq!(
            bert.post(&format!("/executions/{id}/{action}"), &body)
                .await
                .status,
            403
        );
        assert_eq!(
            bert.post(&format!("/executions/none/{action}"), &body)
                .await
                .status,
            404
        );
    }
    assert_eq!(anna.get("/user/executions").await.json()["total"], 1);
    assert_eq!(bert.get("/user/executions").await.json()["total"], 0);
}

#[tokio::test]
async fn executions_are_cancelled_and_retried() {
    let sandbox = sandbox(|config| config.times.limit = Duration::from_secs(60)).await;
    let mut api = Api::new(&sandbox, true).await.user("anna").await;
    let endless = json!({ "script": "while True:\n  pass" });
    let id = api.post("/execute", &endless).await.text("execution_id");
    let path = format!("/executions/{id}");
    assert_eq!(
        api.post(&format!("{path}/retry"), &json!({})).await.status,
        400
    );
    let empty = api
        .send(Method::POST, &format!("{path}/cancel"), &[], Vec::new())
        .await;
    assert_eq!(empty.status, 422);

    // A stream learns of the cancellation and, as at the real server, is not closed by it.
    let mut watcher = api.another();
    watcher.cookies = api.cookies.clone();
    let response = watcher
        .open(
            Method::GET,
            &format!("/events/executions/{id}"),
            &[],
            Vec::new(),
        )
        .await;
    let mut stream = response.into_body();
    let reply = api
        .post(&format!("{path}/cancel"), &json!({ "reason": "enough" }))
        .await;
    assert_eq!(reply.text("status"), "cancellation_requested");
    let mut told = String::new();
    while !told.contains("execution_cancelled") {
        let frame = stream.frame().await.expect("an event").expect("a frame");
        told.push_str(std::str::from_utf8(frame.data_ref().expect("data")).expect("UTF-8"));
    }
    assert!(told.contains(&reply.text("event_id")));

    let again = api.post(&format!("{path}/cancel"), &json!({})).await;
    assert_eq!(again.text("status"), "already_cancelled");
    assert_eq!(
        api.get(&format!("{path}/result")).await.text("status"),
        "cancelled"
    );
    let retried = api.post(&format!("{path}/retry"), &json!({})).await;
    assert_ne!(retried.text("execution_id"), id);
    let (ended, _) = api.run("").await;
    let reply = api
        .post(&format!("/executions/{ended}/cancel"), &json!({}))
        .await;
    assert_eq!(
        (reply.status, reply.text("type").as_str()),
        (400, "InvalidStateError")
    );
}

#[tokio::test]
async fn a_key_gives_one_execution() {
    let sandbox = sandbox(|_| {}).await;
    let mut api = Api::new(&sandbox, true).await.user("anna").await;
    let mut submit = async |key: &str, script: &str| {
        let headers = [
            ("idempotency-key", key),
            ("content-type", "application/json"),
        ];
        let body = json!({ "script": script }).to_string().into_bytes();
        api.send(Method::POST, "/execute", &headers, body).await
    };
    let first = submit("k", "print(1)").await.text("execution_id");
    assert_eq!(submit("k", "print(1)").await.text("execution_id"), first);
    assert_ne!(
        submit("other", "print(1)").await.text("execution_id"),
        first
    );
    assert_eq!(submit("k", "print(2)").await.status, 409);
    assert_eq!(submit(&"k".repeat(256), "").await.status, 422);
}

#[tokio::test]
async fn lists_are_paged_within_their_bounds() {
    let sandbox = sandbox(|_| {}).await;
    let mut api = Api::new(&sandbox, true).await.user("anna").await;
    let mut ids = Vec::new();
    for _ in 0..3 {
        ids.push(api.run("").await.0);
    }
    let page = api.get("/user/executions?limit=2").await.json();
    assert_eq!(
        (&page["total"], &page["has_more"]),
        (&json!(3), &json!(true))
    );
    assert_eq!(page["executions"][0]["execution_id"], json!(ids[2]));
    let page = api
        .get("/user/executions?limit=2&skip=2&status=completed")
        .await
        .json();
    assert_eq!(page["executions"][0]["execution_id"], json!(ids[0]));
    assert_eq!(page["has_more"], false);
    for skip in ["2147483647", "9223372036854775807"] {
        let page = api
            .get(&format!("/user/executions?skip={skip}"))
            .await
            .json();
        assert_eq!(page["executions"], json!([]));
    }
    for query in [
        "limit=0",
        "limit=201",
        "limit=-1",
        "limit=x",
        "limit=",
        "skip=-1",
        "skip=9223372036854775808",
        "status=nonsense",
    ] {
        let reply = api.get(&format!("/user/executions?{query}")).await;
        assert_eq!(reply.status, 422, "{query}");
    }
    assert_eq!(
        api.get(&format!("/executions/{}/events?limit=1001", ids[0]))
            .await
            .status,
        422
    );
}

#[tokio::test]
async fn silent_streams_are_kept_open_by_comments() {
    let sandbox = sandbox(|config| {
        config.times.limit = Duration::from_secs(60);
        config.execution_ping = Duration::from_millis(20);
        config.notification_ping = Duration::from_millis(20);
    })
    .await;
    let mut api = Api::new(&sandbox, true).await.user("anna").await;
    let endless = json!({ "script": "while True:\n  pass" });
    let id = api.post("/execute", &endless).await.text("execution_id");
    let read = async |path: String, until: &str| {
        let mut watcher = api.another();
        watcher.cookies = api.cookies.clone();
        let mut stream = watcher
            .open(Method::GET, &path, &[], Vec::new())
            .await
            .into_body();
        let mut told = String::new();
        while !told.contains(until) {
            let frame = stream.frame().await.expect("no end").expect("a frame");
            told.push_str(std::str::from_utf8(frame.data_ref().expect("data")).expect("UTF-8"));
        }
        told
    };
    let told = read(format!("/events/executions/{id}"), ": ping").await;
    assert!(
        told.starts_with("data: {\"event_type\":\"status\""),
        "{told}"
    );
    let told = read("/events/notifications/stream".to_owned(), "\r\n\r\n").await;
    assert!(told.starts_with(": ping - "), "{told}");
}

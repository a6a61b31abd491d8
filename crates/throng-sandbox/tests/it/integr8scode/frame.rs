//! What the sandbox shares with the others: journal, knobs, control, certificate; and how it limits
//! rates and closes connections.

use http::Method;
use serde_json::{Value, json};
use throng_sandbox::{
    Bug, EndpointKnob, ErrorKind, Integr8scodeReady, Integr8scodeSandbox, Knobs, Outcome, Server,
};

use super::client::{Api, PASSWORD, sandbox, with_bug};

#[tokio::test]
async fn the_journal_knows_who_asked_for_what() {
    let sandbox = sandbox(|_| {}).await;
    let mut api = Api::new(&sandbox, true).await.user("anna").await;
    sandbox.journal().clear();
    let baggage = [("baggage", "throng.step=flow%2Flist,throng.phase=measured")];
    let reply = api
        .send(Method::GET, "/scripts", &baggage, Vec::new())
        .await;
    api.get("/scripts/none").await;
    api.get("/nowhere").await;
    let id = api.run("").await.0;
    let entries = sandbox.journal().entries();
    let shown: Vec<_> = entries
        .iter()
        .map(|entry| {
            (
                entry.method.as_str(),
                entry.route.as_ref(),
                entry.status,
                entry.outcome,
            )
        })
        .collect();
    let expected = [
        ("GET", "/api/v1/scripts", 200, Outcome::Ok),
        (
            "GET",
            "/api/v1/scripts/{script_id}",
            404,
            Outcome::HttpError,
        ),
        ("GET", "(none)", 404, Outcome::HttpError),
        ("POST", "/api/v1/execute", 200, Outcome::Ok),
        (
            "GET",
            "/api/v1/events/executions/{execution_id}",
            200,
            Outcome::Ok,
        ),
        (
            "GET",
            "/api/v1/executions/{execution_id}/result",
            200,
            Outcome::Ok,
        ),
    ];
    assert_eq!(shown, expected);
    let first = &entries[0];
    assert_eq!(
        (first.server, first.user.as_deref()),
        (Server::Integr8scode, Some("anna"))
    );
    assert_eq!(first.baggage["throng.step"], "flow/list");
    assert_eq!(first.bytes, u64::try_from(reply.body.len()).expect("small"));
    let stream = api.get(&format!("/events/executions/{id}")).await;
    let last = sandbox.journal().entries().pop().expect("an entry");
    assert_eq!(last.bytes, u64::try_from(stream.body.len()).expect("small"));

    let counts = api.get("/__sandbox/journal/counts").await.json();
    assert_eq!(
        (&counts["total"], &counts["in_flight"]),
        (&json!(7), &json!(0))
    );
    let list = counts["counts"].as_array().expect("counts");
    let missing = list
        .iter()
        .find(|count| count["route"] == "/api/v1/scripts/{script_id}");
    assert_eq!(missing.map(|count| &count["status"]), Some(&json!(404)));
    assert_eq!(api.get("/__sandbox/users").await.json(), json!(["anna"]));
}

#[tokio::test]
async fn knobs_plant_trouble_by_route() {
    let sandbox = sandbox(|_| {}).await;
    let mut api = Api::new(&sandbox, false).await.user("anna").await;
    let knob = EndpointKnob {
        pattern: "GET /api/v1/scripts*".to_owned(),
        latency: None,
        error_rate: Some(1.0),
        error: ErrorKind::Http(503),
        stall: None,
    };
    let knobs = Knobs {
        endpoints: vec![knob],
        ..Knobs::default()
    };
    sandbox.knobs().set(knobs).expect("valid knobs");
    assert_eq!(api.get("/scripts/x").await.status, 503);
    assert_eq!(api.get("/user/settings/").await.status, 200);
    let planted = sandbox
        .journal()
        .entries()
        .into_iter()
        .find(|entry| entry.status == 503);
    assert_eq!(
        planted.map(|entry| entry.outcome),
        Some(Outcome::PlantedError)
    );
}

#[tokio::test]
async fn a_crash_closes_the_connection_without_saying_so() {
    let sandbox = with_bug(Bug::NumberEdge500).await;
    let mut api = Api::new(&sandbox, false).await.user("anna").await;
    api.get("/auth/me").await;
    assert_eq!(api.connections, 1);
    let reply = api.get("/user/executions?skip=2147483647").await;
    assert_eq!(reply.status, 500);
    assert!(!reply.headers.contains_key("connection"));
    api.closed().await;
    assert_eq!(api.get("/auth/me").await.status, 200);
    assert_eq!(api.connections, 2);
}

#[tokio::test]
async fn a_planted_500_closes_likewise_and_a_planted_503_does_not() {
    let sandbox = sandbox(|_| {}).await;
    let mut api = Api::new(&sandbox, false).await;
    for (status, connections) in [(503, 1), (500, 2)] {
        let knob = EndpointKnob {
            pattern: "/api/v1/health/live".to_owned(),
            latency: None,
            error_rate: Some(1.0),
            error: ErrorKind::Http(status),
            stall: None,
        };
        let knobs = Knobs {
            endpoints: vec![knob],
            ..Knobs::default()
        };
        sandbox.knobs().set(knobs).expect("valid knobs");
        assert_eq!(api.get("/health/live").await.status, status);
        if status == 500 {
            api.closed().await;
        }
        assert_eq!(api.get("/k8s-limits").await.status, 200);
        assert_eq!(api.connections, connections);
    }
}

/// A client that sends a body to somebody who will not have it needs no new connection.
#[tokio::test]
async fn a_refusal_does_not_cost_the_connection() {
    let sandbox = sandbox(|_| {}).await;
    let mut api = Api::new(&sandbox, true).await;
    for _ in 0..3 {
        let body = vec![b'x'; 1024 * 1024];
        assert_eq!(api.raw(Method::POST, "/execute", body).await.status, 401);
    }
    assert_eq!(api.connections, 1);
}

#[tokio::test]
async fn rates_are_limited_when_asked_for() {
    let sandbox = sandbox(|config| config.rate_limits = true).await;
    let mut api = Api::new(&sandbox, true).await.user("anna").await;
    let mut ask = async |address: &str, path: &str| {
        let from = [("x-forwarded-for", address)];
        api.send(Method::GET, path, &from, Vec::new()).await
    };
    for remaining in (0..20).rev() {
        let reply = ask("10.0.0.1", "/auth/me").await;
        assert_eq!(reply.status, 200);
        assert_eq!(reply.header("x-ratelimit-limit"), "20");
        assert_eq!(reply.header("x-ratelimit-remaining"), remaining.to_string());
    }
    let reply = ask("10.0.0.1", "/auth/me").await;
    assert_eq!(
        (reply.status, reply.detail().as_str()),
        (429, "Rate limit exceeded")
    );
    let seconds: u64 = reply.header("retry-after").parse().expect("seconds");
    assert!((1..=61).contains(&seconds));
    assert_eq!(reply.json()["retry_after"], seconds);
    assert_eq!(ask("10.0.0.2", "/auth/me").await.status, 200);
    assert_eq!(ask("10.0.0.1", "/scripts").await.status, 200);
    for _ in 0..30 {
        let reply = api.log_in("anna", PASSWORD).await;
        assert_eq!(reply.status, 200);
        assert_eq!(reply.header("x-ratelimit-limit"), "");
    }
}

#[tokio::test]
async fn it_says_where_it_is_and_stops() {
    let tls = sandbox(|_| {}).await;
    let ready: Integr8scodeReady =
        serde_json::from_value(serde_json::to_value(tls.ready()).expect("JSON"))
            .expect("read back");
    assert_eq!(ready, tls.ready());
    assert!(ready.url.starts_with("https://127.0.0.1:"), "{}", ready.url);
    assert_eq!(ready.openapi, format!("{}/api/v1/openapi.json", ready.url));

    let plain: Integr8scodeSandbox = sandbox(|config| config.tls = false).await;
    assert_eq!(plain.certificate(), None);
    let mut api = Api::new(&plain, true).await.user("anna").await;
    assert_eq!(api.get("/auth/me").await.status, 200);
    let address = plain.url().trim_start_matches("http://").to_owned();
    assert_eq!(api.post("/__sandbox/stop", &Value::Null).await.status, 202);
    plain.stopped().await;
    plain.stop().await;
    assert!(tokio::net::TcpStream::connect(address).await.is_err());
}

/// The document names every operation once, and nothing in it points nowhere.
#[tokio::test]
async fn the_document_is_whole() {
    let sandbox = sandbox(|_| {}).await;
    let text = Api::new(&sandbox, true)
        .await
        .get("/openapi.json")
        .await
        .body;
    let document: Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(document["openapi"], "3.1.0");
    for part in text.split("\"$ref\":\"").skip(1) {
        let reference = part.split('"').next().expect("an end");
        let target = document.pointer(reference.trim_start_matches('#'));
        assert!(target.is_some_and(Value::is_object), "{reference}");
    }
    let mut names: Vec<&str> = document["paths"]
        .as_object()
        .expect("paths")
        .values()
        .flat_map(|item| item.as_object().expect("operations").values())
        .map(|operation| operation["operationId"].as_str().expect("a name"))
        .collect();
    let all = names.len();
    names.sort_unstable();
    names.dedup();
    assert_eq!((names.len(), all), (26, 26));
}

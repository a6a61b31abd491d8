//! Scenarios of HTTP targets, whole, against a small server: what it was sent, and what was measured of it.

use std::collections::HashMap;
use std::io::Write as _;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, Method, Response, StatusCode, header};
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use serde_json::{Value, json};
use throng_client::{Client, Connector, ConnectorOptions, DoubleSubmit};
use throng_engine::{InFlightLimit, Load, RunOutcome, StopSignals};
use throng_identity::hooks::{self, Hook, HookBody, Values};
use throng_identity::retry::RetryPolicy;
use throng_identity::{Secret, TokenCell};
use throng_metrics::{
    Distribution as _, Event, Failure, FailureKind, Latencies, Outcome, Sample, StepId, StepTally,
    StreamTally, Tally, UserId,
};
use throng_workflow::{
    Crowd, CrowdOptions, Environment, Logout, Overrides, Person, Program, ScenarioFile,
    YamlScenario, drift,
};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use crate::fake::once;

/// A request as it arrived.
#[derive(Clone, Debug)]
struct Arrived {
    line: String,
    headers: HeaderMap,
    body: Bytes,
}

impl Arrived {
    fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

#[derive(Default)]
struct Shop {
    journal: Mutex<Vec<Arrived>>,
    scripts: Mutex<HashMap<String, Value>>,
}

struct Server {
    url: String,
    shop: Arc<Shop>,
    _tasks: JoinSet<()>,
}

impl Server {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let shop = Arc::new(Shop::default());
        let app = Router::new().fallback(answer).with_state(shop.clone());
        let mut tasks = JoinSet::new();
        tasks.spawn(async move { axum::serve(listener, app).await.unwrap() });
        Self {
            url,
            shop,
            _tasks: tasks,
        }
    }

    fn journal(&self) -> Vec<Arrived> {
        self.shop.journal.lock().unwrap().clone()
    }

    fn lines(&self) -> Vec<String> {
        self.journal().into_iter().map(|seen| seen.line).collect()
    }
}

/// What the login of the only user saved.
const SAVED: &str = "saved-by-the-login";
const TOKEN: &str = "nonce.signature-of-the-token";

fn json_answer(status: u16, value: &Value) -> Response<Body> {
    Response::builder()
        .status(status)
        .header(header::CONTENT_TYPE, "application/json")
        .body(value.to_string().into())
        .unwrap()
}

fn events(pieces: Vec<&'static str>, silent: bool) -> Response<Body> {
    let pieces = stream::iter(pieces.into_iter().map(Ok::<_, std::io::Error>));
    let body = if silent {
        Body::from_stream(pieces.chain(stream::pending()))
    } else {
        Body::from_stream(pieces)
    };
    Response::builder()
        .header(header::CONTENT_TYPE, "text/event-stream")
        .body(body)
        .unwrap()
}

async fn answer(State(shop): State<Arc<Shop>>, request: Request) -> Response<Body> {
    let (parts, body) = request.into_parts();
    let body = to_bytes(body, 1 << 20).await.unwrap();
    let arrived = Arrived {
        line: format!("{} {}", parts.method, parts.uri),
        headers: parts.headers,
        body: body.clone(),
    };
    shop.journal.lock().unwrap().push(arrived.clone());
    let cookies = arrived.header("cookie").unwrap_or_default().to_owned();
    let path = parts.uri.path().strip_prefix("/api/v1").unwrap_or("");
    let writes = !matches!(parts.method.as_str(), "GET" | "HEAD");
    let forged = arrived.header("x-csrf-token") != Some(TOKEN);
    if writes && forged && cookies.contains("sid=") {
        return json_answer(403, &json!({"detail": "CSRF validation failed"}));
    }
    let (first, rest) = path[path.len().min(1)..]
        .split_once('/')
        .unwrap_or((path.trim_start_matches('/'), ""));
    match (parts.method.as_str(), first) {
        ("POST", "login") => Response::builder()
            .header(
                header::SET_COOKIE,
                "sid=very-secret-session; HttpOnly; Secure; Path=/",
            )
            .header(
                header::SET_COOKIE,
                format!("csrf_token={TOKEN}; Secure; Path=/"),
            )
            .header("x-request-id", "r-1")
            .body("<input name=\"token\" value=\"from-html\">".into())
            .unwrap(),
        ("POST", "scripts") => {
            let value: Value = serde_json::from_slice(&body).unwrap();
            let id = format!("id/{} 1", shop.scripts.lock().unwrap().len());
            shop.scripts.lock().unwrap().insert(id.clone(), value);
            json_answer(201, &json!({"script_id": id}))
        }
        ("GET", "scripts") if rest == "id%2F0%201" => {
            match shop.scripts.lock().unwrap().get("id/0 1") {
                Some(value) => json_answer(200, value),
                None => json_answer(404, &json!({"detail": "Not Found"})),
            }
        }
        ("DELETE", "scripts") => {
            shop.scripts.lock().unwrap().clear();
            Response::builder().status(204).body(Body::empty()).unwrap()
        }
        ("GET", "events") => events(
            vec![
                ": ping\r\n\r\ndata: {\"event_type\":\"status\"}\r\n\r\n",
                "data: {\"event_type\":\"result_stored\",\"result\":{\"exit_code\":0}}\r\n\r\ndata: {}\r\n\r\n",
            ],
            rest == "open",
        ),
        ("GET", "silent") => events(vec!["data: 1\n\n"], true),
        ("GET", "moved") => Response::builder()
            .status(StatusCode::FOUND)
            .header(header::LOCATION, "/api/v1/echo?from=moved")
            .body(Body::empty())
            .unwrap(),
        ("GET", "leak") => json_answer(200, &json!({"n": 1, "tokens": ["t0p-s3cret"]})),
        ("GET", "boom") => Response::builder()
            .status(500)
            .body("Traceback:\n  session very-secret-session failed".into())
            .unwrap(),
        ("GET", "packed") => {
            let mut packed =
                flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
            packed.write_all(b"{\"n\": [1, 2]}").unwrap();
            Response::builder()
                .header(header::CONTENT_ENCODING, "gzip")
                .header(header::CONTENT_TYPE, "application/json")
                .body(packed.finish().unwrap().into())
                .unwrap()
        }
        ("GET", "empty") => Response::builder().status(204).body(Body::empty()).unwrap(),
        ("GET", "denied") => json_answer(401, &json!({"detail": "no"})),
        ("GET", "hang") => std::future::pending().await,
        ("GET", "garbled") => Response::builder()
            .header(header::CONTENT_ENCODING, "gzip")
            .body("no gzip".into())
            .unwrap(),
        ("GET", "mirror") => json_answer(
            200,
            &json!({"cookie": cookies, "note": format!("key {}", arrived.header("x-key").unwrap_or_default())}),
        ),
        (_, "echo") => json_answer(200, &json!({"line": arrived.line})),
        _ => json_answer(404, &json!({"detail": "Not Found"})),
    }
}

/// What a run came to.
struct Ran {
    program: Arc<Program>,
    outcome: RunOutcome,
}

impl Ran {
    fn step(&self, name: &str) -> &StepTally {
        let at = self.program.catalog.steps.iter();
        let at = at
            .map(|step| step.name.as_str())
            .position(|known| known == name);
        &self.outcome.tally.steps()[at.expect("a step of that name")]
    }

    fn streams(&self, name: &str) -> &StreamTally {
        self.step(name).streams.as_deref().expect("streams")
    }

    fn endpoints(&self) -> Vec<&str> {
        let steps = self.program.catalog.steps.iter();
        steps.map(|step| step.endpoint.as_str()).collect()
    }

    fn errors(&self) -> Vec<(FailureKind, String, String)> {
        self.outcome
            .tally
            .errors()
            .iter()
            .map(|(kind, cause, group)| (kind, cause.to_owned(), group.example.clone()))
            .collect()
    }

    fn statuses(&self, name: &str) -> Vec<(u16, u64)> {
        self.step(name).statuses.iter().collect()
    }
}

fn read(url: &str, steps: &str) -> Result<ScenarioFile, String> {
    let source = format!(
        "name: t
target:
  protocol: http
  url: \"{url}\"
  prefix: /api/v1/
  csrf: {{ cookie: csrf_token, header: X-CSRF-Token }}
  headers: {{ X-Suite: \"1\" }}
login: {{ kind: request, request: {{ post: /login, save: {{ csrf: $.token }} }} }}
users: {{ count: 1, password: p4ssw0rd-of-all }}
workflows:
  w:
    actors: [me]
    steps:
{steps}"
    );
    ScenarioFile::parse(
        "t.yaml",
        &source,
        &Overrides::default(),
        &Environment::new(&|_| None),
    )
    .map_err(|problems| {
        let all: Vec<String> = problems.iter().map(ToString::to_string).collect();
        all.join("\n\n")
    })
}

/// One execution of these steps (indented by six) by one user.
async fn run(server: &Server, steps: &str) -> Ran {
    run_for(server, steps, once().graceful_stop).await
}

async fn run_for(server: &Server, steps: &str, graceful_stop: Duration) -> Ran {
    run_as(server, steps, graceful_stop, None).await
}

async fn run_limited(
    server: &Server,
    steps: &str,
    graceful_stop: Duration,
    limit: &InFlightLimit,
) -> Ran {
    let load = Load {
        graceful_stop,
        in_flight: Some(limit.clone()),
        ..once()
    };
    run_load(server, steps, load, None).await
}

async fn run_as(
    server: &Server,
    steps: &str,
    graceful_stop: Duration,
    tokens: Option<TokenCell>,
) -> Ran {
    let load = Load {
        graceful_stop,
        ..once()
    };
    run_load(server, steps, load, tokens).await
}

async fn run_load(server: &Server, steps: &str, load: Load, tokens: Option<TokenCell>) -> Ran {
    let file = read(&server.url, steps).unwrap_or_else(|problems| panic!("{problems}"));
    let connector = Connector::new(ConnectorOptions::default()).unwrap();
    let people = vec![Person {
        name: "ann".to_owned(),
        display_name: "Ann".to_owned(),
        email: "ann@example.com".to_owned(),
        client: Client::with_cookies(&connector),
        tokens,
        saved: [("csrf".to_owned(), Secret::new(SAVED))].into(),
        logout: None,
    }];
    let options = CrowdOptions {
        concurrency: 1,
        timeout: Duration::from_secs(20),
        headers: Vec::new(),
        run_id: "run".to_owned(),
    };
    let crowd = Arc::new(Crowd::over_http(people, &server.url, options).unwrap());
    let program = file.program.clone();
    // Long enough for a first execution to begin on a busy machine; a second one would have to wait longer than anything
    // here takes.
    let load = Load {
        duration: Duration::from_millis(300),
        pause: Duration::from_secs(1000),
        ..load
    };
    let outcome = throng_engine::run(
        &load,
        Arc::new(YamlScenario::<Crowd>::new(program.clone(), 1)),
        program.catalog.clone(),
        crowd,
        StopSignals::default(),
        |_| {},
    )
    .await;
    assert!(outcome.user_errors.is_empty(), "{:?}", outcome.user_errors);
    Ran { program, outcome }
}

fn longest(latencies: &Latencies) -> Duration {
    latencies.max()
}

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
async fn listening_ends_at_its_event_its_count_its_window_or_the_servers_end() {
    let server = Server::start().await;
    let ran = run(
        &server,
        r#"      - result:
          listen: /events/{run}
          until: { path: $.event_type, matches: "^result_" }
          save: { code: $.result.exit_code }
          check: { path: $.result.exit_code, equals: 0 }
      - counted: { listen: /events/open, events: 3, within: 20s }
      - window: { listen: /silent, within: 150ms }
      - closed: { listen: /events/closing, within: 20s }
      - used: { get: "/echo?{code}" }
      - refused: { listen: /nothing, expect: 404 }
      - waited: { listen: /silent, within: 120ms, until: { equals: 2 } }
"#,
    )
    .await;
    let cause = "what was waited for did not come within 120ms";
    assert_eq!(
        ran.errors(),
        [(
            FailureKind::Check,
            cause.to_owned(),
            format!("{cause}; there were 1 events, the last: 1")
        )]
    );
    assert_eq!(server.lines()[4], "GET /api/v1/echo?0");
    let ends = |name| {
        let streams = ran.streams(name);
        (streams.met, streams.window, streams.closed, streams.events)
    };
    assert_eq!(ends("result"), (1, 0, 0, 2));
    assert_eq!(ends("counted"), (1, 0, 0, 3));
    assert_eq!(ends("window"), (0, 1, 0, 1));
    assert_eq!(ends("closed"), (0, 0, 1, 3));
    assert_eq!(ends("waited"), (0, 1, 0, 1));
    assert!(ran.step("refused").streams.is_none());
    assert_eq!(ran.statuses("refused"), [(404, 1)]);
    assert_eq!(ran.streams("closed").gaps.count(), 2);
    assert_eq!(ran.streams("closed").first_event.count(), 1);
    assert!(ran.streams("closed").bytes > 100);
    // The stream's length is in no latency, and what was waited for is a propagation.
    assert!(longest(&ran.step("window").service) < Duration::from_millis(150));
    assert!(longest(&ran.step("waited").failures) < Duration::from_millis(120));
    assert_eq!(ran.step("result").waits.met, 1);
    assert_eq!(ran.step("waited").waits.not_met, 1);
    assert_eq!(ran.step("window").waits.count(), 0);
    let journal = server.journal();
    assert_eq!(journal[0].header("accept"), Some("text/event-stream"));
    assert_eq!(journal[0].header("accept-encoding"), None);
}

#[tokio::test]
async fn a_stream_that_the_end_of_the_run_cuts_off_was_answered() {
    let server = Server::start().await;
    let steps = "      - endless: { listen: /silent, within: 100s }\n";
    let ran = run_for(&server, steps, Duration::ZERO).await;
    let step = ran.step("endless");
    assert_eq!((step.succeeded, step.failed, step.unfinished), (1, 0, 0));
    assert!(longest(&step.service) < Duration::from_millis(300));
    assert!(step.streams.is_none());
    assert_eq!(ran.statuses("endless"), [(200, 1)]);
    assert!(step.sent > 0 && step.received > 0, "{step:?}");
}

/// What it waited for may come as late as its window ends, so that the run's own end is no failure; who must be refused was
/// let in with the head.
#[tokio::test]
async fn a_stream_that_is_cut_off_before_what_was_waited_for_came_has_failed_only_if_it_should_be_refused()
 {
    let server = Server::start().await;
    for (waits, counts) in [
        ("until: { equals: 2 }", (0, 0, 1)),
        ("refused: { error: denied, must: true }", (0, 1, 0)),
    ] {
        let steps = format!("      - vain: {{ listen: /silent, within: 100s, {waits} }}\n");
        let ran = run_for(&server, &steps, Duration::ZERO).await;
        let step = ran.step("vain");
        assert_eq!((step.succeeded, step.failed, step.unfinished), counts);
        assert_eq!(ran.statuses("vain"), [(200, 1)]);
        let causes: Vec<_> = ran
            .errors()
            .into_iter()
            .map(|error| (error.0, error.1))
            .collect();
        let cause = "the answer went on until the run ended".to_owned();
        let expected = vec![(FailureKind::Timeout, cause); counts.1 as usize];
        assert_eq!(causes, expected);
    }
}

#[tokio::test]
async fn a_stream_that_goes_on_is_no_request_in_flight() {
    let server = Server::start().await;
    let steps = "      - parallel:
          - endless: { listen: /silent, within: 100s }
          - other: { listen: /silent, within: 100s }
          - read: { get: /echo }
";
    let limit = InFlightLimit::new(1);
    let ran = run_limited(&server, steps, Duration::from_millis(200), &limit).await;
    for name in ["endless", "other", "read"] {
        let step = ran.step(name);
        assert_eq!((step.succeeded, step.count()), (1, 1), "{name}");
    }
    assert_eq!(limit.waited().count(), 3);
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

#[test]
fn mistakes_are_named() {
    let steps = r#"      - two: { get: /a, post: /b }
      - none: { json: {} }
      - mcp: { call: tool }
      - relative: { get: users }
      - bodies: { post: /a, json: {}, form: { a: 1 } }
      - status: { get: /a, expect: 99 }
      - window: { get: /a, within: 3s }
      - polled: { listen: /a, until: { equals: 1, every: 1s, within: 2s } }
      - header: { get: /a, headers: { "a b": c }, save: { x: { header: "?" } } }
      - saved: { get: /a, save: { x: { regex: "no group" }, y: { heder: a } } }
      - schema: { get: /a, check: { schema: { type: 5 } } }
      - part: { post: /a, multipart: { f: { file: nowhere.bin } } }
      - unknown: { get: "/a/{nobody}", redirects: yes }
"#;
    let problems = read("http://127.0.0.1:1", steps).unwrap_err();
    insta::with_settings!({ omit_expression => true }, { insta::assert_snapshot!(problems); });
}

#[test]
fn http_keys_are_refused_in_an_mcp_scenario() {
    let source = "name: t
target: { url: \"http://localhost/mcp\", csrf: { cookie: c, header: h } }
workflows:
  w:
    actors: [me]
    steps:
      - a: { get: /x }
      - b: { call: t, save: { x: { cookie: c } }, check: { header: h, exists: true } }
";
    let problems = ScenarioFile::parse(
        "t.yaml",
        source,
        &Overrides::default(),
        &Environment::new(&|_| None),
    )
    .unwrap_err();
    let text: Vec<String> = problems.iter().map(ToString::to_string).collect();
    insta::with_settings!({ omit_expression => true }, { insta::assert_snapshot!(text.join("\n\n")); });
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
async fn an_answer_without_a_stream_is_no_success_of_listening() {
    let server = Server::start().await;
    for (steps, good) in [
        ("listen: /empty", false),
        ("listen: /empty, until: { equals: 1 }", false),
        ("listen: /empty, expect: 204, until: { equals: 1 }", false),
        ("listen: /echo", false),
        ("listen: /empty, expect: 204", true),
        ("listen: /empty, expect: [200, 204]", true),
    ] {
        let ran = run(&server, &format!("      - heard: {{ {steps} }}\n")).await;
        let heard = ran.step("heard");
        assert_eq!(
            (heard.succeeded, heard.failed),
            (good.into(), (!good).into()),
            "{steps}"
        );
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

#[test]
fn no_endpoint_shows_a_value_of_the_environment() {
    let source = "name: t
target: { protocol: http, url: \"http://127.0.0.1:1\" }
login: { kind: none }
users: { count: 1 }
workflows:
  w:
    actors: [me]
    steps:
      - a: { get: \"/x/${KEY}/{me.name}/y?key=${KEY}\" }
      - b: { get: \"${OTHER}/z\" }
";
    let lookup = |name: &str| match name {
        "KEY" => Some("ENVSECRET".to_owned()),
        _ => Some("http://other.example".to_owned()),
    };
    let environment = Environment::new(&lookup);
    let file = ScenarioFile::parse("t.yaml", source, &Overrides::default(), &environment).unwrap();
    let endpoints: Vec<&str> = file
        .program
        .catalog
        .steps
        .iter()
        .map(|step| step.endpoint.as_str())
        .collect();
    assert_eq!(endpoints, ["GET /x/{KEY}/{me.name}/y", "GET {OTHER}/z"]);
}

#[test]
fn what_would_be_ignored_or_break_the_message_is_refused() {
    for (steps, problem) in [
        (
            "listen: /a, redirects: follow",
            "`listen` follows no redirects",
        ),
        (
            "get: \"/a#b\", query: { c: 1 }",
            "what comes after `#` is never sent",
        ),
        (
            "get: \"http://me:pw-0@other.example/a\"",
            "no place for a user name and password",
        ),
        (
            "post: /a, headers: { Content-Length: 3 }",
            "`Content-Length` is made by the client",
        ),
        (
            "get: /a, headers: { host: other }",
            "`host` is made by the client",
        ),
    ] {
        let problems = read("http://127.0.0.1:1", &format!("      - a: {{ {steps} }}\n"));
        let problems = problems.unwrap_err();
        assert!(problems.contains(problem), "{problems}");
    }
    let source = "name: t
target: { protocol: http, url: \"http://127.0.0.1:1\", prefix: \"/a?b\", headers: { Content-Length: \"3\" } }
workflows: { w: { actors: [me], steps: [ { a: { get: /a } } ] } }
";
    let environment = Environment::new(&|_| None);
    let problems = ScenarioFile::parse("t.yaml", source, &Overrides::default(), &environment);
    let problems = format!("{:?}", problems.unwrap_err());
    for problem in [
        "a prefix is a path",
        "`Content-Length` is made by the client",
    ] {
        assert!(problems.contains(problem), "{problems}");
    }
}

#[test]
fn a_thing_that_is_gone_is_no_drift() {
    let steps = "      - thing: { get: \"/items/{run}\" }\n      - list: { get: /items }\n";
    let file = read("http://127.0.0.1:1", steps).unwrap();
    for (status, found) in [
        (404, vec!["w/list"]),
        (410, vec!["w/list"]),
        (405, vec!["w/thing", "w/list"]),
    ] {
        let mut tally = Tally::new(&file.program.catalog);
        for step in [0, 1, 0, 1, 0, 1].map(StepId) {
            tally.add(&Event::Step(Sample {
                step,
                user: UserId(0),
                intended: Duration::ZERO,
                started: Duration::ZERO,
                ended: Duration::from_millis(1),
                sent: 1,
                received: 1,
                status: Some(status),
                outcome: Outcome::Failed(Box::new(Failure {
                    kind: FailureKind::Http,
                    cause: String::new(),
                    example: String::new(),
                })),
            }));
        }
        let unserved = drift::unserved(&file.program, &tally);
        let names: Vec<&str> = unserved
            .iter()
            .map(|text| text.split(':').next().unwrap())
            .collect();
        assert_eq!(names, found, "{status}");
    }
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

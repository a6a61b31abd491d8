//! A shop that speaks HTTP, and runs of steps on it.

use std::collections::HashMap;
use std::io::Write as _;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, Response, StatusCode, header};
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use serde_json::{Value, json};
use throng_client::{Client, Connector, ConnectorOptions};
use throng_engine::{InFlightLimit, Load, RunOutcome, StopSignals};
use throng_identity::{Secret, TokenCell};
use throng_metrics::{Distribution as _, FailureKind, Latencies, StepTally, StreamTally};
use throng_workflow::{
    Crowd, CrowdOptions, Environment, Overrides, Person, Program, ScenarioFile, YamlScenario,
};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use crate::fake::{errors, once};

/// A request as it arrived.
#[derive(Clone, Debug)]
pub(crate) struct Arrived {
    pub(crate) line: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Arrived {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

#[derive(Default)]
pub(crate) struct Shop {
    pub(crate) journal: Mutex<Vec<Arrived>>,
    pub(crate) scripts: Mutex<HashMap<String, Value>>,
}

pub(crate) struct Server {
    pub(crate) url: String,
    pub(crate) shop: Arc<Shop>,
    pub(crate) _tasks: JoinSet<()>,
}

impl Server {
    pub(crate) async fn start() -> Self {
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

    pub(crate) fn journal(&self) -> Vec<Arrived> {
        self.shop.journal.lock().unwrap().clone()
    }

    pub(crate) fn lines(&self) -> Vec<String> {
        self.journal().into_iter().map(|seen| seen.line).collect()
    }
}

/// What the login of the only user saved.
pub(crate) const SAVED: &str = "saved-by-the-login";

pub(crate) const TOKEN: &str = "nonce.signature-of-the-token";

pub(crate) fn json_answer(status: u16, value: &Value) -> Response<Body> {
    Response::builder()
        .status(status)
        .header(header::CONTENT_TYPE, "application/json")
        .body(value.to_string().into())
        .unwrap()
}

pub(crate) fn events(pieces: Vec<&'static str>, silent: bool) -> Response<Body> {
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

pub(crate) async fn answer(State(shop): State<Arc<Shop>>, request: Request) -> Response<Body> {
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
pub(crate) struct Ran {
    pub(crate) program: Arc<Program>,
    pub(crate) outcome: RunOutcome,
}

impl Ran {
    pub(crate) fn step(&self, name: &str) -> &StepTally {
        let at = self.program.catalog.steps.iter();
        let at = at
            .map(|step| step.name.as_str())
            .position(|known| known == name);
        &self.outcome.tally.steps()[at.expect("a step of that name")]
    }

    pub(crate) fn streams(&self, name: &str) -> &StreamTally {
        self.step(name).streams.as_deref().expect("streams")
    }

    pub(crate) fn endpoints(&self) -> Vec<&str> {
        let steps = self.program.catalog.steps.iter();
        steps.map(|step| step.endpoint.as_str()).collect()
    }

    pub(crate) fn errors(&self) -> Vec<(FailureKind, String, String)> {
        errors(&self.outcome)
    }

    pub(crate) fn statuses(&self, name: &str) -> Vec<(u16, u64)> {
        self.step(name).statuses.iter().collect()
    }
}

pub(crate) fn read(url: &str, steps: &str) -> Result<ScenarioFile, String> {
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
pub(crate) async fn run(server: &Server, steps: &str) -> Ran {
    run_for(server, steps, once().graceful_stop).await
}

pub(crate) async fn run_for(server: &Server, steps: &str, graceful_stop: Duration) -> Ran {
    run_as(server, steps, graceful_stop, None).await
}

pub(crate) async fn run_limited(
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

pub(crate) async fn run_as(
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

pub(crate) async fn run_load(
    server: &Server,
    steps: &str,
    load: Load,
    tokens: Option<TokenCell>,
) -> Ran {
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

pub(crate) fn longest(latencies: &Latencies) -> Duration {
    latencies.max()
}

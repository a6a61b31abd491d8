//! How sessions begin and end, in both eras; and the scripted MCP server that the other tests use too.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
};

use axum::{
    Router, body::Body, extract::State, response::Response, routing::any, serve::ListenerExt as _,
};
use bytes::Bytes;
use http::{HeaderValue, StatusCode, header, request::Parts};
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use throng_client::{
    Client,
    mcp::{
        Authorize, CallError, CallOptions, Era, EraChoice, OpenOptions, Server, ServerOptions,
        Session, ToolCall,
    },
};
use tokio::task::JoinSet;

use crate::{LONG, connector};

/// A request as the server saw it.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub(crate) method: String,
    headers: HashMap<String, String>,
    pub(crate) body: Value,
    pub(crate) raw: Bytes,
}

impl Seen {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }

    /// The JSON-RPC method, or nothing.
    pub(crate) fn rpc_method(&self) -> &str {
        self.body["method"].as_str().unwrap_or("")
    }
}

type Reply = dyn Fn(&Seen) -> Response + Send + Sync;

/// An MCP server that answers as a test says, and remembers.
pub(crate) struct Fake {
    url: String,
    seen: Arc<Mutex<Vec<Seen>>>,
    _tasks: JoinSet<()>,
}

struct Token;

impl Authorize for Token {
    fn authorization(&self) -> Option<HeaderValue> {
        Some(HeaderValue::from_static("Bearer t0ken"))
    }
}

impl Fake {
    pub(crate) async fn start(reply: impl Fn(&Seen) -> Response + Send + Sync + 'static) -> Self {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let reply: Arc<Reply> = Arc::new(reply);
        let state = (seen.clone(), reply);
        type Shared = (Arc<Mutex<Vec<Seen>>>, Arc<Reply>);
        let handle = async |State((seen, reply)): State<Shared>, parts: Parts, body: Body| {
            let raw = body.collect().await.expect("a body").to_bytes();
            let headers = parts.headers.iter().map(|(name, value)| {
                let value = value.to_str().expect("text");
                (name.to_string(), value.to_owned())
            });
            let request = Seen {
                method: parts.method.to_string(),
                headers: headers.collect(),
                body: serde_json::from_slice(&raw).unwrap_or(Value::Null),
                raw,
            };
            let response = reply(&request);
            seen.lock().expect("the log").push(request);
            if response.headers().contains_key("x-delay") {
                std::future::pending::<()>().await;
            }
            response
        };
        let router = Router::new().route("/mcp", any(handle)).with_state(state);
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
            .await
            .expect("a port");
        let url = format!("http://{}/mcp", listener.local_addr().expect("an address"));
        let listener = listener.tap_io(|stream| stream.set_nodelay(true).expect("nodelay"));
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            axum::serve(listener, router).await.expect("serving");
        });
        Self {
            url,
            seen,
            _tasks: tasks,
        }
    }

    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().expect("the log").clone()
    }

    fn server(&self, options: ServerOptions) -> Arc<Server> {
        Server::new(&self.url.parse().expect("a URL"), options).expect("a server")
    }

    pub(crate) async fn open(&self, options: ServerOptions) -> Result<Session, CallError> {
        open(&self.server(options)).await
    }

    fn methods(&self) -> Vec<String> {
        let name = |seen: &Seen| format!("{} {}", seen.method, seen.rpc_method());
        self.seen().iter().map(name).collect()
    }
}

async fn open(server: &Arc<Server>) -> Result<Session, CallError> {
    let client = Client::new(&connector());
    Session::open(
        server.clone(),
        client,
        Arc::new(Token),
        &OpenOptions::default(),
    )
    .await
}

pub(crate) fn json_reply(status: u16, body: Value) -> Response {
    Response::builder()
        .status(status)
        .header(header::CONTENT_TYPE, "application/json")
        .body(Body::from(body.to_string()))
        .expect("a response")
}

pub(crate) fn result(seen: &Seen, result: Value) -> Response {
    json_reply(
        200,
        json!({"jsonrpc": "2.0", "id": seen.body["id"], "result": result}),
    )
}

pub(crate) fn sse_reply(body: Body) -> Response {
    Response::builder()
        .header(header::CONTENT_TYPE, "text/event-stream")
        .body(body)
        .expect("a response")
}

pub(crate) fn accepted() -> Response {
    Response::builder()
        .status(StatusCode::ACCEPTED)
        .body(Body::empty())
        .expect("a response")
}

/// A server of the era with sessions, which speaks 2025-06-18.
pub(crate) fn sessions(seen: &Seen) -> Response {
    match (seen.method.as_str(), seen.rpc_method()) {
        ("POST", "initialize") => {
            let mut reply = result(
                seen,
                json!({"protocolVersion": "2025-06-18", "capabilities": {"tools": {}},
                    "serverInfo": {"name": "fake", "version": "1"}}),
            );
            reply
                .headers_mut()
                .insert("mcp-session-id", HeaderValue::from_static("session-1"));
            reply
        }
        ("DELETE", _) => Response::default(),
        _ if seen.header("mcp-session-id").is_none() => json_reply(
            400,
            json!({"jsonrpc": "2.0", "id": null, "error": {"code": -32600, "message": "Missing session ID"}}),
        ),
        ("POST", "notifications/initialized") => accepted(),
        ("POST", _) => result(seen, json!({})),
        _ => Response::builder()
            .status(405)
            .body(Body::empty())
            .expect("a response"),
    }
}

/// A server of the stateless era.
fn stateless(seen: &Seen) -> Response {
    match seen.rpc_method() {
        "server/discover" => result(
            seen,
            json!({"resultType": "complete", "supportedVersions": ["2026-07-28"], "capabilities": {"tools": {}},
                "_meta": {"io.modelcontextprotocol/serverInfo": {"name": "fake", "version": "2"}}}),
        ),
        _ => result(seen, json!({"resultType": "complete"})),
    }
}

#[tokio::test]
async fn a_session_begins_with_initialize_and_ends_with_delete() {
    let fake = Fake::start(sessions).await;
    let server = fake.server(ServerOptions::default());
    assert_eq!((server.era(), server.protocol_version()), (None, None));
    let session = open(&server).await.unwrap();
    assert_eq!(server.era(), Some(Era::Sessions));
    assert_eq!(server.protocol_version(), Some("2025-06-18"));
    assert_eq!(server.info().unwrap()["name"], "fake");
    assert_eq!(session.protocol_version(), "2025-06-18");
    assert!(!format!("{session:?}").contains("session-1"));
    session.close(LONG).await.result.unwrap();
    assert_eq!(
        fake.methods(),
        [
            "POST server/discover",
            "POST initialize",
            "POST notifications/initialized",
            "DELETE "
        ]
    );
    let seen = fake.seen();
    assert_eq!(
        seen[1].body["params"],
        json!({"protocolVersion": "2025-11-25", "capabilities": {},
            "clientInfo": {"name": "throng", "version": env!("CARGO_PKG_VERSION")}})
    );
    let versions: Vec<_> = seen
        .iter()
        .map(|seen| seen.header("mcp-protocol-version"))
        .collect();
    assert_eq!(
        versions,
        [
            Some("2026-07-28"),
            None,
            Some("2025-06-18"),
            Some("2025-06-18")
        ]
    );
    let ids: Vec<_> = seen
        .iter()
        .map(|seen| seen.header("mcp-session-id"))
        .collect();
    assert_eq!(ids, [None, None, Some("session-1"), Some("session-1")]);
    assert!(
        seen.iter()
            .all(|seen| seen.header("authorization") == Some("Bearer t0ken"))
    );
}

#[tokio::test]
async fn the_era_is_asked_once_however_many_sessions_open() {
    let fake = Fake::start(sessions).await;
    let server = fake.server(ServerOptions::default());
    let sessions = futures_util::future::join_all((0..20).map(|_| open(&server))).await;
    assert!(sessions.iter().all(Result::is_ok));
    let count = |what: &str| {
        fake.methods()
            .iter()
            .filter(|method| *method == what)
            .count()
    };
    assert_eq!(
        (count("POST server/discover"), count("POST initialize")),
        (1, 20)
    );
}

#[tokio::test]
async fn the_stateless_era_needs_no_handshake() {
    let fake = Fake::start(stateless).await;
    let server = fake.server(ServerOptions {
        capabilities: json!({"roots": {}}),
        ..ServerOptions::default()
    });
    let session = open(&server).await.unwrap();
    assert_eq!(
        (server.era(), session.protocol_version()),
        (Some(Era::Stateless), "2026-07-28")
    );
    let another = open(&server).await.unwrap();
    assert_eq!(fake.methods(), ["POST server/discover"]);
    assert_eq!(server.info().unwrap()["version"], "2");
    let options = CallOptions {
        headers: vec![(
            "traceparent".parse().unwrap(),
            HeaderValue::from_static("00-1-2-01"),
        )],
        ..CallOptions::timeout(LONG)
    };
    session
        .call_tool(&ToolCall::new("tö", "{}"), &options)
        .await
        .result
        .unwrap();
    another
        .read_resource("nc://a b", &CallOptions::timeout(LONG))
        .await
        .result
        .unwrap();
    let params = json!({"_meta": {"progressToken": 1}});
    let timed = CallOptions::timeout(LONG);
    let request = another.request("prompts/list", &params, &timed);
    request.await.result.unwrap();
    session.close(LONG).await.result.unwrap();

    let seen = fake.seen();
    assert_eq!(seen.len(), 4, "no DELETE");
    for request in &seen {
        let meta = &request.body["params"]["_meta"];
        assert_eq!(request.header("mcp-method"), Some(request.rpc_method()));
        assert_eq!(request.header("mcp-protocol-version"), Some("2026-07-28"));
        assert_eq!(
            meta["io.modelcontextprotocol/protocolVersion"],
            "2026-07-28"
        );
        assert_eq!(meta["io.modelcontextprotocol/clientInfo"]["name"], "throng");
        assert_eq!(
            meta["io.modelcontextprotocol/clientCapabilities"],
            json!({"roots": {}})
        );
    }
    let names: Vec<_> = seen.iter().map(|seen| seen.header("mcp-name")).collect();
    assert_eq!(
        names,
        [None, Some("=?base64?dMO2?="), Some("nc://a b"), None]
    );
    assert_eq!(seen[1].body["params"]["_meta"]["traceparent"], "00-1-2-01");
    assert_eq!(seen[1].header("traceparent"), Some("00-1-2-01"));
    assert_eq!(seen[3].body["params"]["_meta"]["progressToken"], 1);
}

#[tokio::test]
async fn the_answer_to_discover_decides() {
    let error = |code: i64, data: Value| json!({"jsonrpc": "2.0", "id": 1, "error": {"code": code, "message": "m", "data": data}});
    let cases: [(u16, Value, Option<Era>); 9] = [
        (
            400,
            json!({"detail": "Missing session ID"}),
            Some(Era::Sessions),
        ),
        (404, Value::Null, Some(Era::Sessions)),
        (405, Value::Null, Some(Era::Sessions)),
        (200, error(-32601, Value::Null), Some(Era::Sessions)),
        (
            200,
            json!({"jsonrpc": "2.0", "id": 1, "result": {}}),
            Some(Era::Sessions),
        ),
        (
            400,
            error(-32022, json!({"supported": ["2025-11-25"]})),
            Some(Era::Sessions),
        ),
        (
            400,
            error(-32022, json!({"supported": ["2030-01-01"]})),
            None,
        ),
        (400, error(-32021, Value::Null), None),
        (503, Value::Null, None),
    ];
    for (status, body, expected) in cases {
        let (answer, text) = (body.clone(), body.to_string());
        let fake = Fake::start(move |seen| match seen.rpc_method() {
            "server/discover" => json_reply(status, answer.clone()),
            _ => sessions(seen),
        })
        .await;
        let server = fake.server(ServerOptions::default());
        let opened = open(&server).await;
        assert_eq!(
            (opened.is_ok(), server.era()),
            (expected.is_some(), expected),
            "{status} {text}"
        );
    }
}

#[tokio::test]
async fn the_era_can_be_given() {
    let fake = Fake::start(sessions).await;
    let options = |era| ServerOptions {
        era,
        ..ServerOptions::default()
    };
    fake.open(options(EraChoice::Sessions)).await.unwrap();
    fake.open(options(EraChoice::Stateless)).await.unwrap();
    assert_eq!(
        fake.methods(),
        ["POST initialize", "POST notifications/initialized"]
    );
}

#[tokio::test]
async fn a_challenge_is_reported_and_not_remembered() {
    let challenges = Mutex::new(1);
    let fake = Fake::start(move |seen| {
        let mut left = challenges.lock().unwrap();
        if *left == 0 {
            return sessions(seen);
        }
        *left -= 1;
        Response::builder()
            .status(401)
            .header(
                "www-authenticate",
                "Bearer resource_metadata=\"https://x/y\"",
            )
            .body(Body::empty())
            .unwrap()
    })
    .await;
    let server = fake.server(ServerOptions::default());
    let error = open(&server).await.unwrap_err();
    assert!(error.is_unauthorized(), "{error:?}");
    let CallError::Http {
        www_authenticate, ..
    } = error
    else {
        panic!("{error:?}");
    };
    assert_eq!(
        www_authenticate.as_deref(),
        Some("Bearer resource_metadata=\"https://x/y\"")
    );
    assert_eq!(server.era(), None);
    open(&server).await.unwrap();
}

#[tokio::test]
async fn an_unknown_version_is_refused() {
    let fake = Fake::start(|seen| match seen.rpc_method() {
        "initialize" => result(seen, json!({"protocolVersion": "1999-01-01"})),
        _ => sessions(seen),
    })
    .await;
    let error = fake.open(ServerOptions::default()).await.unwrap_err();
    assert!(
        matches!(&error, CallError::Protocol(reason) if reason.contains("1999-01-01")),
        "{error:?}"
    );
}

#[tokio::test]
async fn ending_a_session_may_be_refused() {
    for (status, content) in [
        (200, true),
        (204, true),
        (405, true),
        (404, false),
        (500, false),
    ] {
        let fake = Fake::start(move |seen| match seen.method.as_str() {
            "DELETE" => Response::builder()
                .status(status)
                .body(Body::empty())
                .unwrap(),
            _ => sessions(seen),
        })
        .await;
        let session = fake.open(ServerOptions::default()).await.unwrap();
        let call = session.close(LONG).await;
        assert_eq!(call.result.is_ok(), content, "{status}");
        assert!(call.timings.is_some());
    }
}

#[tokio::test]
async fn tools_are_listed_once_page_by_page() {
    let fake = Fake::start(|seen| match seen.rpc_method() {
        "tools/list" => {
            let schema = json!({"type": "object", "properties": {"a": {"$ref": "https://x/y"}}});
            match seen.body["params"]["cursor"].as_str() {
                None => result(
                    seen,
                    json!({"tools": [{"name": "one", "description": "d", "inputSchema": schema}],
                        "nextCursor": "p2"}),
                ),
                Some("p2") => result(
                    seen,
                    json!({"tools": [{"name": "two", "inputSchema": {"type": "object",
                        "properties": {"a": {"type": "object", "x-mcp-header": "A"}}}}]}),
                ),
                other => panic!("{other:?}"),
            }
        }
        _ => sessions(seen),
    })
    .await;
    let server = fake.server(ServerOptions::default());
    let (one, two) = (open(&server).await.unwrap(), open(&server).await.unwrap());
    let options = CallOptions::timeout(LONG);
    let (first, second) = tokio::join!(one.list_tools(&options), two.list_tools(&options));
    let tools = first.unwrap();
    assert!(Arc::ptr_eq(&tools, &second.unwrap()) && server.tools().is_some());
    let names: Vec<&str> = tools.iter().map(|tool| tool.name.as_str()).collect();
    // Annotations mean nothing to the era with sessions.
    assert_eq!((names, tools.dropped().len()), (vec!["one", "two"], 0));
    let tool = tools.get("one").unwrap();
    assert_eq!(
        tool.input_schema["properties"]["a"],
        json!({"$ref": "https://x/y"})
    );
    assert!(tools.get("three").is_none());
    let lists = fake
        .methods()
        .iter()
        .filter(|method| *method == "POST tools/list")
        .count();
    assert_eq!(lists, 2);
}

#[tokio::test]
async fn annotated_parameters_are_mirrored_once_the_tools_are_known() {
    let fake = Fake::start(|seen| match seen.rpc_method() {
        "tools/list" => result(
            seen,
            json!({"tools": [
                {"name": "good", "inputSchema": {"type": "object",
                    "properties": {"a": {"type": "string", "x-mcp-header": "Area"}}}},
                {"name": "bad", "inputSchema": {"type": "object",
                    "properties": {"a": {"type": "object", "x-mcp-header": "A"}}}}]}),
        ),
        _ => stateless(seen),
    })
    .await;
    let session = fake.open(ServerOptions::default()).await.unwrap();
    let options = CallOptions::timeout(LONG);
    let tools = session.list_tools(&options).await.unwrap();
    assert_eq!((tools.len(), tools.dropped()[0].0.as_str()), (1, "bad"));
    let call = ToolCall::new("good", json!({"a": "ä"}).to_string());
    session.call_tool(&call, &options).await.result.unwrap();
    let seen = fake.seen().pop().unwrap();
    assert_eq!(seen.header("mcp-param-area"), Some("=?base64?w6Q=?="));
}

#[test]
fn only_http_urls_are_taken_and_user_information_is_not_shown() {
    for url in ["ftp://user:secret@host/mcp", "mailto:secret@host"] {
        let error = Server::new(&url.parse().unwrap(), ServerOptions::default()).unwrap_err();
        assert!(!error.to_string().contains("user:secret"), "{error}");
    }
    assert!(
        Server::new(
            &"https://host/mcp".parse().unwrap(),
            ServerOptions::default()
        )
        .is_ok()
    );
}

//! Calls in an open session: results and refusals told apart, times, and what the server asks meanwhile.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use axum::{body::Body, response::Response};
use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use http::{HeaderName, HeaderValue, StatusCode};
use serde_json::{Value, json};
use throng_client::{
    Phase,
    mcp::{Answer, CallError, CallOptions, EraChoice, Handler, ServerOptions, Session, ToolCall},
};

use crate::{
    LONG,
    mcp_open::{Fake, Seen, accepted, json_reply, result, sessions, sse_reply},
};

fn call(arguments: &'static str) -> ToolCall {
    ToolCall::new("tool \"é\"", arguments)
}

/// A server with sessions that answers `tools/call` with `reply`.
async fn with_calls<F>(options: ServerOptions, reply: F) -> (Fake, Session)
where
    F: Fn(&Seen) -> Response + Send + Sync + 'static,
{
    let fake = Fake::start(move |seen| {
        if seen.rpc_method() == "tools/call" {
            reply(seen)
        } else {
            sessions(seen)
        }
    })
    .await;
    let session = fake.open(options).await.unwrap();
    (fake, session)
}

#[tokio::test]
async fn results_and_every_kind_of_refusal_are_told_apart() {
    let (_fake, session) = with_calls(ServerOptions::default(), |seen| {
        let id = &seen.body["id"];
        match seen.body["params"]["arguments"]["case"].as_str().unwrap() {
            "ok" => result(
                seen,
                json!({"content": [{"type": "text", "text": "a"}, {"type": "image"}, {"type": "text", "text": "b"}],
                    "structuredContent": {"id": 7}}),
            ),
            "isError" => result(
                seen,
                json!({"content": [{"type": "text", "text": "no such note"}], "isError": true}),
            ),
            "rpc" => json_reply(
                200,
                json!({"jsonrpc": "2.0", "id": id, "error": {"code": -32602, "message": "bad", "data": [1]}}),
            ),
            "rpc400" => json_reply(
                400,
                json!({"jsonrpc": "2.0", "id": null, "error": {"code": -32020, "message": "mismatch"}}),
            ),
            "http" => Response::builder()
                .status(503)
                .header("retry-after", "7")
                .body(Body::from("<h1>\n  Down  </h1>"))
                .unwrap(),
            "401" => {
                let mut reply = json_reply(
                    401,
                    json!({"jsonrpc": "2.0", "id": id, "error": {"code": -32001, "message": "who?"}}),
                );
                reply.headers_mut().insert(
                    "www-authenticate",
                    HeaderValue::from_static("Bearer error=\"invalid_token\""),
                );
                reply
            }
            "404" => json_reply(404, json!({"jsonrpc": "2.0", "id": null, "error": {"code": -32600, "message": "?"}})),
            "202" => accepted(),
            "html" => Response::builder()
                .header("content-type", "text/html")
                .body(Body::from("<p>hello"))
                .unwrap(),
            "other" => json_reply(200, json!({"jsonrpc": "2.0", "id": 9999, "result": {}})),
            "cut" => Response::builder()
                .header("content-type", "application/json; charset=utf-8")
                .body(Body::from("{\"id\": 3, \"resu"))
                .unwrap(),
            other => panic!("{other}"),
        }
    })
    .await;
    let options = CallOptions::default();
    let ask = async |case: &str| {
        let call = ToolCall::new("t", json!({ "case": case }).to_string());
        session.call_tool(&call, &options).await
    };

    let ok = ask("ok").await;
    let timings = ok.timings.unwrap();
    assert!(timings.started <= timings.first_byte.unwrap() && ok.response_event.is_none());
    assert!(ok.sent > 100 && ok.received > 100);
    assert_eq!(ok.answered(), Some(timings.ended));
    let tool = ok.result.unwrap();
    assert!(!tool.is_error);
    assert_eq!(tool.text(), "a\nb");
    assert_eq!(tool.structured(), Some(json!({"id": 7})));
    assert_eq!(tool.value()["content"][1]["type"], "image");

    let failed = ask("isError").await.result.unwrap();
    assert!(failed.is_error);
    assert_eq!(
        (failed.text().as_str(), failed.structured()),
        ("no such note", None)
    );

    let CallError::Rpc {
        code: -32602,
        message,
        data,
        status: StatusCode::OK,
    } = ask("rpc").await.result.unwrap_err()
    else {
        panic!("not the error");
    };
    assert_eq!(
        (message.as_str(), data.as_deref()),
        ("bad", Some(&json!([1])))
    );

    let refused = ask("rpc400").await.result.unwrap_err();
    assert!(
        matches!(
            refused,
            CallError::Rpc {
                code: -32020,
                status: StatusCode::BAD_REQUEST,
                ..
            }
        ),
        "{refused:?}"
    );

    let error = ask("http").await.result.unwrap_err();
    assert_eq!(
        (error.cause().as_str(), error.is_unauthorized()),
        ("HTTP 503", false)
    );
    let CallError::Http {
        body_excerpt,
        retry_after,
        www_authenticate: None,
        ..
    } = error
    else {
        panic!("{error:?}");
    };
    assert_eq!(body_excerpt, "<h1> Down </h1>");
    assert_eq!(retry_after.as_deref(), Some("7"));

    let error = ask("401").await.result.unwrap_err();
    assert!(error.is_unauthorized());
    let CallError::Http {
        www_authenticate, ..
    } = error
    else {
        panic!("{error:?}");
    };
    assert_eq!(
        www_authenticate.as_deref(),
        Some("Bearer error=\"invalid_token\"")
    );

    let lost = ask("404").await;
    assert!(lost.timings.is_some());
    assert!(
        matches!(lost.result, Err(CallError::SessionLost)),
        "{lost:?}"
    );
    for case in ["202", "html", "other", "cut"] {
        let error = ask(case).await.result.unwrap_err();
        assert!(matches!(error, CallError::Protocol(_)), "{case}: {error:?}");
        assert_eq!(error.cause(), "protocol violated");
    }
}

#[tokio::test]
async fn the_message_is_what_was_asked() {
    let (fake, session) =
        with_calls(ServerOptions::default(), |seen| result(seen, json!({}))).await;
    let options = CallOptions {
        headers: vec![(
            HeaderName::from_static("baggage"),
            HeaderValue::from_static("k=v"),
        )],
        ..CallOptions::default()
    };
    session
        .call_tool(&call(r#"{"n": 1.50}"#), &options)
        .await
        .result
        .unwrap();
    let seen = fake.seen().pop().unwrap();
    assert_eq!(
        seen.body["params"],
        json!({"name": "tool \"é\"", "arguments": {"n": 1.5}})
    );
    assert_eq!(seen.header("baggage"), Some("k=v"));
    assert_eq!(seen.header("mcp-session-id"), Some("session-1"));
    assert_eq!(seen.header("mcp-protocol-version"), Some("2025-06-18"));
    assert_eq!(seen.header("authorization"), Some("Bearer t0ken"));
    assert_eq!(seen.header("content-type"), Some("application/json"));
    assert_eq!(
        seen.header("accept"),
        Some("application/json, text/event-stream")
    );
    assert_eq!(
        (seen.header("mcp-method"), seen.header("mcp-name")),
        (None, None)
    );
}

#[tokio::test]
async fn an_event_stream_has_two_times() {
    let (end, ended) = tokio::sync::oneshot::channel::<()>();
    let ended = Mutex::new(Some(ended));
    let (fake, session) = with_calls(ServerOptions::default(), move |seen| {
        let note = json!({"jsonrpc": "2.0", "method": "notifications/message", "params": {}});
        let reply = json!({"jsonrpc": "2.0", "id": seen.body["id"], "result": {"content": []}});
        let events =
            format!(": hi\n\nid: 1\ndata:\n\ndata: {note}\n\nevent: message\ndata: {reply}\n\n");
        let ended = ended.lock().unwrap().take();
        let body = stream::once(async move { Ok::<_, std::io::Error>(Bytes::from(events)) }).chain(
            stream::once(async move {
                if let Some(ended) = ended {
                    ended.await.expect("the test lets it end");
                }
                Ok(Bytes::new())
            }),
        );
        sse_reply(Body::from_stream(body))
    })
    .await;
    let connections = session.client().idle_connections();
    let options = CallOptions::default();
    let asked = call("{}");
    let (call, ()) = tokio::join!(session.call_tool(&asked, &options), async {
        while fake
            .seen()
            .last()
            .is_none_or(|seen| seen.rpc_method() != "tools/call")
        {
            tokio::task::yield_now().await;
        }
        // Long enough to tell the response from the end of the stream, shorter than the client's patience.
        tokio::time::sleep(Duration::from_millis(30)).await;
        end.send(()).unwrap();
    });
    let ended = call.timings.unwrap().ended;
    let response = call.response_event.unwrap();
    assert!(
        ended - response >= Duration::from_millis(20),
        "{:?}",
        ended - response
    );
    assert_eq!(call.answered(), Some(response));
    assert!(!call.result.unwrap().is_error);
    assert_eq!(call.resumed, 0);
    assert_eq!(session.client().idle_connections(), connections);
}

#[tokio::test]
async fn a_stream_left_open_does_not_hold_the_call() {
    let (_fake, session) = with_calls(ServerOptions::default(), |seen| {
        let reply = json!({"jsonrpc": "2.0", "id": seen.body["id"], "result": {}});
        let first = stream::once(async move {
            Ok::<_, std::io::Error>(Bytes::from(format!("data: {reply}\n\n")))
        });
        sse_reply(Body::from_stream(first.chain(stream::pending())))
    })
    .await;
    let call = session
        .call_tool(&call("{}"), &CallOptions::timeout(LONG))
        .await;
    assert_eq!(call.timings.unwrap().ended, call.response_event.unwrap());
    call.result.unwrap();
}

#[tokio::test]
async fn a_call_ends_in_time_and_says_what_it_waited_for() {
    for (streams, phase) in [(false, Phase::Head), (true, Phase::Body)] {
        let (_fake, session) = with_calls(ServerOptions::default(), move |_| {
            let body = Body::from_stream(stream::pending::<Result<Bytes, std::io::Error>>());
            if streams {
                sse_reply(body)
            } else {
                // Answered by nobody: axum sends no head as long as this has not been made.
                Response::builder()
                    .header("x-delay", "forever")
                    .body(body)
                    .unwrap()
            }
        })
        .await;
        let short = Duration::from_millis(60);
        let begun = Instant::now();
        let call = session
            .call_tool(&call("{}"), &CallOptions::timeout(short))
            .await;
        assert!(begun.elapsed() >= short);
        let timings = call.timings.unwrap();
        assert!(timings.elapsed() >= short && call.sent > 0);
        assert_eq!(timings.first_byte.is_some(), phase == Phase::Body);
        let error = call.result.unwrap_err();
        assert!(error.is_timeout());
        assert!(
            matches!(error, CallError::Timeout { after, phase: of } if after == short && of == phase),
            "{error:?}"
        );
    }
}

#[tokio::test]
async fn what_nobody_here_supports_is_refused_while_the_call_waits() {
    let (answers, answered) = tokio::sync::mpsc::unbounded_channel::<Value>();
    let answered = Arc::new(tokio::sync::Mutex::new(answered));
    let fake = Fake::start(move |seen| {
        if seen.rpc_method() == "tools/call" {
            let id = seen.body["id"].clone();
            let answered = answered.clone();
            let requests = stream::iter([
                json!({"jsonrpc": "2.0", "id": "e-1", "method": "elicitation/create", "params": {"message": "who?"}}),
                json!({"jsonrpc": "2.0", "id": 2, "method": "ping"}),
            ])
            .map(|message| Ok::<_, std::io::Error>(Bytes::from(format!("data: {message}\n\n"))));
            // The server goes on only once both requests are answered, like the servers that wait without limit.
            let reply = stream::once(async move {
                let mut answered = answered.lock().await;
                let (first, second) = (answered.recv().await, answered.recv().await);
                let reply = json!({"jsonrpc": "2.0", "id": id, "result": {"structuredContent": [first, second]}});
                Ok(Bytes::from(format!("data: {reply}\n\n")))
            });
            return sse_reply(Body::from_stream(requests.chain(reply)));
        }
        if seen.body.get("method").is_none() && seen.body.get("id").is_some() {
            assert_eq!(seen.header("mcp-session-id"), Some("session-1"));
            answers.send(seen.body.clone()).unwrap();
            return accepted();
        }
        sessions(seen)
    })
    .await;
    let session = fake.open(ServerOptions::default()).await.unwrap();
    let call = session
        .call_tool(&call("{}"), &CallOptions::timeout(LONG))
        .await;
    assert_eq!(
        call.result.unwrap().structured().unwrap(),
        json!([
            {"jsonrpc": "2.0", "id": "e-1", "error": {"code": -32601, "message": "Method not found"}},
            {"jsonrpc": "2.0", "id": 2, "result": {}}
        ])
    );
}

#[derive(Default)]
struct Answering {
    notified: AtomicUsize,
}

impl Handler for Answering {
    fn answer(&self, method: &str, params: &Value) -> Answer {
        match method {
            "elicitation/create" => {
                Answer::Result(json!({"action": "accept", "content": params["message"]}))
            }
            _ => Answer::Unsupported,
        }
    }

    fn notified(&self, _method: &str, _params: Option<&[u8]>) {
        self.notified.fetch_add(1, Ordering::SeqCst);
    }
}

#[tokio::test]
async fn a_broken_off_stream_is_resumed_after_the_time_it_names() {
    let fake = Fake::start(|seen| match (seen.method.as_str(), seen.rpc_method()) {
        ("POST", "tools/call") => sse_reply(Body::from("id: 41\nretry: 120\ndata:\n\n")),
        ("GET", _) if seen.header("last-event-id") == Some("41") => {
            let note = json!({"jsonrpc": "2.0", "method": "notifications/progress"});
            sse_reply(Body::from(format!("id: 42\ndata: {note}\n\n")))
        }
        ("GET", _) => {
            assert_eq!(seen.header("last-event-id"), Some("42"));
            assert_eq!(seen.header("accept"), Some("text/event-stream"));
            assert_eq!(seen.header("content-type"), None);
            let old = json!({"jsonrpc": "2.0", "id": 1, "result": {}});
            let reply = json!({"jsonrpc": "2.0", "id": 4, "result": {"content": []}});
            sse_reply(Body::from(format!(
                "retry: 1\ndata: {old}\n\ndata: {reply}\n\n"
            )))
        }
        _ => sessions(seen),
    })
    .await;
    let handler = Arc::new(Answering::default());
    let options = ServerOptions {
        handler: Some(handler.clone()),
        ..ServerOptions::default()
    };
    let session = fake.open(options).await.unwrap();
    let ping = session
        .request("ping", &Value::Null, &CallOptions::default())
        .await;
    ping.result.unwrap();
    let call = session
        .call_tool(&call("{}"), &CallOptions::timeout(LONG))
        .await;
    assert_eq!(
        (call.resumed, handler.notified.load(Ordering::SeqCst)),
        (2, 1)
    );
    let timings = call.timings.unwrap();
    assert!(
        timings.elapsed() >= Duration::from_millis(120),
        "{timings:?}"
    );
    assert!(call.response_event.is_some());
    call.result.unwrap();
    let requests: Vec<String> = fake.seen().iter().map(|seen| seen.method.clone()).collect();
    assert_eq!(requests[requests.len() - 3..], ["POST", "GET", "GET"]);
}

#[tokio::test]
async fn a_stream_that_ends_without_a_response_is_an_error() {
    let (_fake, session) = with_calls(ServerOptions::default(), |_| {
        sse_reply(Body::from(": nothing\n\n"))
    })
    .await;
    let call = session
        .call_tool(&call("{}"), &CallOptions::timeout(LONG))
        .await;
    assert!(
        matches!(call.result, Err(CallError::Protocol(_))),
        "{call:?}"
    );
}

#[tokio::test]
async fn the_servers_own_stream_can_be_listened_to() {
    let fake = Fake::start(|seen| match seen.method.as_str() {
        "GET" => {
            let ask = json!({"jsonrpc": "2.0", "id": 5, "method": "roots/list"});
            let note = json!({"jsonrpc": "2.0", "method": "notifications/tools/list_changed", "params": {"a": 1}});
            sse_reply(Body::from(format!("data: {ask}\n\nid: 8\ndata: {note}\n\n")))
        }
        _ if seen.body.get("error").is_some() => accepted(),
        _ => sessions(seen),
    })
    .await;
    let session = fake.open(ServerOptions::default()).await.unwrap();
    let mut listener = session.listen(None, LONG).await.unwrap();
    let note = listener.next(LONG).await.unwrap().unwrap();
    assert_eq!(note.method, "notifications/tools/list_changed");
    assert_eq!(note.params.as_deref(), Some(&br#"{"a":1}"#[..]));
    assert_eq!(note.event_id.as_deref(), Some("8"));
    assert!(listener.next(LONG).await.unwrap().is_none());
    assert_eq!(listener.last_event_id(), Some("8"));
    assert_eq!(fake.seen().last().unwrap().body["error"]["code"], -32601);
}

#[tokio::test]
async fn input_is_given_or_refused() {
    let fake = Fake::start(|seen| {
        let params = &seen.body["params"];
        let key = params["name"].as_str().unwrap();
        match params.get("inputResponses") {
            None => result(
                seen,
                json!({"resultType": "input_required", "requestState": "s\u{e9}",
                    "inputRequests": {"q": {"method": key, "params": {"message": "?"}}}}),
            ),
            Some(_) => result(
                seen,
                json!({"resultType": "complete", "structuredContent": params}),
            ),
        }
    })
    .await;
    let options = ServerOptions {
        era: EraChoice::Stateless,
        handler: Some(Arc::new(Answering::default())),
        ..ServerOptions::default()
    };
    let session = fake.open(options).await.unwrap();
    let timed = CallOptions::timeout(LONG);
    let call = session
        .call_tool(&ToolCall::new("elicitation/create", "{\"x\":1}"), &timed)
        .await;
    let (sent, received) = (call.sent, call.received);
    let given = call.result.unwrap().structured().unwrap();
    assert_eq!(
        given["inputResponses"],
        json!({"q": {"action": "accept", "content": "?"}})
    );
    assert_eq!(
        (&given["requestState"], &given["arguments"]),
        (&json!("sé"), &json!({"x": 1}))
    );
    let seen = fake.seen();
    assert_ne!(seen[0].body["id"], seen[1].body["id"]);
    // Both rounds are counted.
    assert!(sent as usize > seen[0].raw.len() + seen[1].raw.len() && received > 300);

    let call = session
        .call_tool(&ToolCall::new("sampling/createMessage", "{}"), &timed)
        .await;
    let Err(CallError::InputRequired { methods }) = call.result else {
        panic!("{call:?}");
    };
    assert_eq!(methods, ["sampling/createMessage"]);
}

#[tokio::test]
async fn calls_at_the_same_time_get_their_own_answers() {
    let (_fake, session) = with_calls(ServerOptions::default(), |seen| {
        let arguments = seen.body["params"]["arguments"].clone();
        result(seen, json!({ "structuredContent": arguments }))
    })
    .await;
    let options = CallOptions::timeout(LONG);
    let calls: Vec<ToolCall> = (0..20)
        .map(|n| ToolCall::new("t", json!({ "n": n }).to_string()))
        .collect();
    let all = calls.iter().map(|call| session.call_tool(call, &options));
    for (n, call) in futures_util::future::join_all(all)
        .await
        .into_iter()
        .enumerate()
    {
        assert_eq!(call.result.unwrap().structured(), Some(json!({ "n": n })));
    }
}

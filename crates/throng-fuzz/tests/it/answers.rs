//! What one answer proves by itself, by a server that answers each path in its own way.

use std::{
    collections::BTreeSet,
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    sync::Arc,
    thread,
    time::Duration,
};

use serde_json::{Value, json};
use throng_client::{Connector, ConnectorOptions};
use throng_fuzz::{Accounts, Check, Document, Found, Monkey, NoAccounts, Sending, Settings};
use throng_metrics::Catalog;
use url::Url;

/// Answers until the other side has had enough.
fn answer(mut stream: TcpStream) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    loop {
        let (mut head, mut length) = (String::new(), 0);
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line)? == 0 {
                return Ok(());
            }
            if let Some(value) = line.to_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse().expect("a length");
            }
            if line == "\r\n" {
                break;
            }
            head.push_str(&line);
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body)?;
        let mut words = head.split(' ');
        let method = words.next().expect("a method");
        let path = words
            .next()
            .expect("a path")
            .split('?')
            .next()
            .unwrap_or_default();
        let whole = |status: &str, kind: &str, body: &str| {
            let length = body.len();
            format!(
                "HTTP/1.1 {status}\r\ncontent-type: {kind}\r\ncontent-length: {length}\r\n\r\n{body}"
            )
        };
        let json =
            |status: &str, body: &str| whole(status, "application/json; charset=utf-8", body);
        let known = [
            "/hang", "/broken", "/big", "/teapot", "/html", "/odd", "/busy", "/boom", "/fine",
            "/stream", "/limited", "/huge", "/packed",
        ];
        let response = match path {
            _ if !known.contains(&path) => json("404 Not Found", "{}"),
            _ if method != "GET" && path == "/teapot" => json("405 Method Not Allowed", "{}"),
            _ if method != "GET" => json("405 Method Not Allowed\r\nallow: GET", "{}"),
            "/hang" => {
                // Whoever asks hangs up.
                let mut rest = Vec::new();
                reader.read_to_end(&mut rest)?;
                return Ok(());
            }
            "/broken" => "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 10\r\n\r\n{".to_owned(),
            "/big" => json("200 OK", &format!("\"{}\"", "a".repeat(70_000))),
            "/packed" => {
                let body = packed();
                let head = format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-encoding: gzip\r\ncontent-length: {}\r\n\r\n", body.len());
                stream.write_all(head.as_bytes())?;
                stream.write_all(&body)?;
                continue;
            }
            "/teapot" => json("418 Teapot", "{}"),
            "/html" => whole("200 OK", "text/html", "<p>"),
            "/odd" => json("200 OK", r#"{"size":"large"}"#),
            "/busy" => json("503 Busy\r\nretry-after: 1", "{}"),
            // JSON, though no 64 bits hold it and no character is that surrogate.
            "/huge" => json("200 OK", &format!(r#"{{"more":{},"text":"\ud800"}}"#, "9".repeat(400))),
            "/limited" => json("429 Slow\r\nretry-after: 1", "{}"),
            "/boom" => json("500 Oh", r#"{"error":"no 1234"}"#),
            "/stream" => "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n9\r\ndata: 1\n\n\r\n".to_owned(),
            _ => json("200 OK", r#"{"size":1}"#),
        };
        stream.write_all(response.as_bytes())?;
        match path {
            // The connection ends without a word, as after an unhandled exception.
            "/broken" | "/boom" => return Ok(()),
            // It goes on for ever.
            "/stream" if method == "GET" => {
                let mut rest = Vec::new();
                reader.read_to_end(&mut rest)?;
                return Ok(());
            }
            _ => {}
        }
    }
}

/// A little that unpacks to a text of JSON larger than the limit.
fn packed() -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    let text = format!("\"{}\"", "a".repeat(100_000));
    encoder.write_all(text.as_bytes()).expect("gzip");
    encoder.finish().expect("gzip")
}

fn serve() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            thread::spawn(move || {
                // Whoever asks may hang up at any time.
                let _ = answer(stream);
            });
        }
    });
    url
}

fn document() -> Value {
    let thing = json!({ "type": "object", "properties": { "size": { "type": "integer" } } });
    let get = |content: Value| json!({ "get": { "responses": { "200": { "description": "ok", "content": content } } } });
    let plain = || get(json!({ "application/json": { "schema": thing.clone() } }));
    let any = || get(json!({ "application/json": {} }));
    json!({
        "openapi": "3.1.0",
        "paths": {
            "/hang": any(), "/broken": any(), "/big": any(), "/teapot": plain(), "/html": plain(), "/odd": plain(), "/busy": plain(),
            "/limited": plain(), "/packed": any(), "/huge": plain(), "/boom": plain(), "/fine": plain(), "/stream": get(json!({ "text/event-stream": {} })),
        },
    })
}

/// A swarm of one on such a server.
async fn found(probes: u64, budget: Duration) -> Found {
    let connector = Connector::new(ConnectorOptions::default()).expect("a connector");
    let accounts: Arc<dyn Accounts> = Arc::new(NoAccounts(connector));
    let sending = Sending {
        origin: Url::parse(&serve()).expect("a URL"),
        timeout: Duration::from_millis(700),
        window: Duration::from_millis(20),
        largest_body: 65_536,
        csrf: None,
        headers: Vec::new(),
    };
    let document = Document::load(document().to_string().as_bytes(), "").expect("a document");
    let mut settings = Settings::new(sending, 3);
    settings.probes = Some(probes);
    let mut catalog = Catalog::default();
    catalog.add_user("a monkey");
    let monkey =
        Monkey::new(Arc::new(document), accounts, settings, &mut catalog).expect("a swarm");
    crate::swarm::drive(&monkey, catalog, 1, budget).await.found
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_time_nothing_is_confirmed_and_nothing_is_lost() {
    let found = found(60, Duration::ZERO).await;
    assert!(found.is_sound(), "{found}");
    assert!(found.seen_once.len() >= 5, "{found}");
    let untried = found
        .remarks
        .get("kinds of trouble not sent again for want of time");
    assert_eq!(untried.copied(), u64::try_from(found.seen_once.len()).ok());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_answer_is_what_it_is_and_nothing_else() {
    let found = found(120, Duration::from_secs(90)).await;
    let seen: BTreeSet<(Check, &str, Option<u16>)> = found
        .findings
        .iter()
        .map(|it| (it.check, it.operation.as_str(), it.status))
        .collect();
    let expected = BTreeSet::from([
        (Check::Hang, "GET /hang", None),
        (Check::TransportFault, "GET /broken", None),
        (Check::OversizedAnswer, "GET /big", Some(200)),
        (Check::OversizedAnswer, "GET /packed", Some(200)),
        (Check::UndocumentedStatus, "GET /teapot", Some(418)),
        (Check::WrongContentType, "GET /html", Some(200)),
        (Check::BodyAgainstSchema, "GET /odd", Some(200)),
        (Check::ServerError, "GET /boom", Some(500)),
    ]);
    let without_methods: BTreeSet<_> = seen
        .into_iter()
        .filter(|(check, _, _)| *check != Check::MethodWithoutAllow)
        .collect();
    assert_eq!(without_methods, expected, "{found}");
    for finding in &found.findings {
        if finding.check == Check::MethodWithoutAllow {
            assert!(finding.operation.ends_with(" /teapot"), "{finding}");
        }
        let script = &finding.curl;
        assert!(!script.contains("THRONG_PASSWORD"), "{script}");
    }
    assert_eq!(
        found.remarks.get("requests that cannot be sent"),
        None,
        "{found}"
    );
}

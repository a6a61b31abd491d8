//! Responses that come piece by piece.

use std::time::{Duration, Instant};

use throng_client::{Client, Phase, TransportFailure};
use tokio::sync::mpsc;

use crate::{LONG, connector, get, script::Script};

const STREAM: &str =
    "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";

fn chunk(data: &str) -> String {
    format!("{:x}\r\n{data}\r\n", data.len())
}

#[tokio::test]
async fn events_are_timed_as_they_come() {
    let (go, mut gate) = mpsc::channel::<()>(1);
    let gate = std::sync::Mutex::new(Some({
        let (send, receive) = mpsc::channel::<()>(1);
        tokio::spawn(async move {
            while let Some(()) = gate.recv().await {
                send.send(()).await.unwrap();
            }
        });
        receive
    }));
    let server = Script::start(move |_, mut peer| {
        let gate = gate.lock().unwrap().take();
        async move {
            let mut gate = gate.expect("one connection");
            while peer.request().await.is_some() {
                peer.send(STREAM).await;
                peer.send(&chunk("id: 1\ndata: one\n\ndata: tw")).await;
                gate.recv().await;
                peer.send(&chunk("o\n\n")).await;
                peer.send("0\r\n\r\n").await;
            }
        }
    })
    .await;
    let client = Client::new(&connector());
    let open = client.open(get(&server.url), LONG).await.unwrap();
    let mut events = open.into_events();
    let first = events.event(LONG).await.unwrap().unwrap();
    assert_eq!(
        (first.text().as_ref(), first.id.as_deref()),
        ("one", Some("1"))
    );
    let between = Instant::now();
    go.send(()).await.unwrap();
    let second = events.event(LONG).await.unwrap().unwrap();
    assert_eq!(
        (second.text().as_ref(), second.id.as_deref()),
        ("two", Some("1"))
    );
    assert!(first.received <= between && between <= second.received);
    assert_eq!(events.event(LONG).await.unwrap(), None);
    assert!(events.exchange().timings().ended >= second.received);
    assert_eq!(
        events.exchange().received() as usize,
        STREAM.len() + chunk("id: 1\ndata: one\n\ndata: tw").len() + chunk("o\n\n").len() + 5
    );
    // The end gives the connection back.
    assert_eq!(client.idle_connections(), 1);
}

#[tokio::test]
async fn waiting_for_an_event_ends_in_time_and_a_dropped_stream_closes() {
    let (closed, mut was_closed) = mpsc::channel(1);
    let server = Script::start(move |_, mut peer| {
        let closed = closed.clone();
        async move {
            peer.request().await;
            peer.send(STREAM).await;
            peer.send(&chunk(": comment\n\n")).await;
            peer.closed().await;
            closed.send(()).await.unwrap();
        }
    })
    .await;
    let client = Client::new(&connector());
    let open = client.open(get(&server.url), LONG).await.unwrap();
    let mut events = open.into_events();
    let error = events.event(Duration::from_millis(50)).await.unwrap_err();
    assert!(
        matches!(
            error.failure(),
            TransportFailure::Timeout {
                phase: Phase::Body,
                ..
            }
        ),
        "{error:?}"
    );
    drop(events);
    was_closed.recv().await.unwrap();
    assert_eq!(client.idle_connections(), 0);
}

#[tokio::test]
async fn a_body_can_be_read_by_pieces_or_collected() {
    let server = Script::repeat(
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n",
    )
    .await;
    let client = Client::new(&connector());
    let mut open = client.open(get(&server.url), LONG).await.unwrap();
    let mut pieces = Vec::new();
    while let Some(piece) = open.chunk(LONG).await.unwrap() {
        pieces.extend_from_slice(&piece);
    }
    assert_eq!(pieces, b"abcde");
    assert_eq!(open.chunk(LONG).await.unwrap(), None);
    let open = client.open(get(&server.url), LONG).await.unwrap();
    assert!(open.reused());
    let exchange = open.collect(LONG).await.unwrap();
    assert_eq!(exchange.body, "abcde");
    assert!(exchange.timings.first_byte.unwrap() <= exchange.timings.ended);
}

//! Event streams that are taken up again where they broke off.

use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode};
use throng_client::{Base, Client, Listened, Listener, Message, Next};

use crate::{LONG, connector, script::Script};

const STREAM: &str = "HTTP/1.1 200 OK\r\nContent-Type: Text/Event-Stream; charset=utf-8\r\nconnection: close\r\n\r\n";

async fn ask(server: &Script) -> Listened {
    let base = Base::new(&server.url).unwrap();
    let message = Message {
        method: &Method::GET,
        path: Bytes::from_static(b"/events"),
        headers: &HeaderMap::new(),
        more: &[],
        body: Bytes::new(),
        double_submit: None,
    };
    Client::new(&connector())
        .listen(&base, &message, LONG)
        .await
        .unwrap()
}

async fn listen(server: &Script) -> Box<Listener> {
    match ask(server).await {
        Listened::Stream(listener) => listener,
        Listened::Answer(answer) => panic!("{answer:?}"),
    }
}

async fn event(listener: &mut Listener) -> String {
    match listener.next(Instant::now() + LONG).await {
        Next::Event(event) => event.text().into_owned(),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_stream_with_ids_is_resumed_after_its_last_event() {
    let server = Script::start(|number, mut peer| async move {
        peer.request().await;
        match number {
            0 => {
                peer.send(STREAM).await;
                peer.send("retry: 1\r\nid: 7\r\ndata: one\r\n\r\nid: 8\r\ndata: cut")
                    .await;
            }
            1 => {
                peer.send(STREAM).await;
                peer.send(": hello\n\nid: 9\ndata: two\n\n").await;
            }
            _ => peer.send("HTTP/1.1 204 No Content\r\n\r\n").await,
        }
    })
    .await;
    let mut listener = listen(&server).await;
    assert_eq!(listener.status(), StatusCode::OK);
    assert_eq!(event(&mut listener).await, "one");
    assert_eq!(event(&mut listener).await, "two");
    assert!(matches!(
        listener.next(Instant::now() + LONG).await,
        Next::Ended
    ));
    assert_eq!(listener.reconnects(), 2);
    let seen = server.seen();
    assert!(!seen[0].contains("last-event-id"));
    assert!(seen[1].contains("last-event-id: 7\r\n"), "{}", seen[1]);
    assert!(seen[2].contains("last-event-id: 9\r\n"), "{}", seen[2]);
    assert_eq!(
        listener.sent() as usize,
        seen.iter().map(String::len).sum::<usize>()
    );
}

#[tokio::test]
async fn a_stream_without_ids_ends_when_it_ends() {
    let server = Script::start(|_, mut peer| async move {
        peer.request().await;
        peer.send(STREAM).await;
        peer.send("data: only\n\n").await;
    })
    .await;
    let mut listener = listen(&server).await;
    assert_eq!(event(&mut listener).await, "only");
    assert!(matches!(
        listener.next(Instant::now() + LONG).await,
        Next::Ended
    ));
    assert_eq!((server.count(), listener.reconnects()), (1, 0));
}

#[tokio::test]
async fn the_deadline_holds_while_the_stream_is_silent_and_while_it_is_down() {
    for retry in ["", "id: 1\nretry: 60000\ndata:\n\n"] {
        let server = Script::start(move |_, mut peer| async move {
            peer.request().await;
            peer.send(STREAM).await;
            peer.send(retry).await;
            if retry.is_empty() {
                peer.closed().await;
            }
        })
        .await;
        let mut listener = listen(&server).await;
        if !retry.is_empty() {
            assert_eq!(event(&mut listener).await, "");
        }
        let deadline = Instant::now() + Duration::from_millis(60);
        assert!(matches!(listener.next(deadline).await, Next::Deadline));
        assert!(deadline.elapsed() < LONG / 2);
    }
}

#[tokio::test]
async fn another_answer_is_read_whole() {
    let server = Script::repeat(
        "HTTP/1.1 404 Not Found\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}",
    )
    .await;
    let Listened::Answer(answer) = ask(&server).await else {
        panic!("that was no stream");
    };
    assert_eq!(
        (answer.status, &answer.body[..]),
        (StatusCode::NOT_FOUND, &b"{}"[..])
    );
}

#[tokio::test]
async fn a_resumed_stream_without_an_id_of_its_own_keeps_the_last_one() {
    let server = Script::start(|number, mut peer| async move {
        peer.request().await;
        match number {
            0 => {
                peer.send(STREAM).await;
                peer.send("retry: 1\nid: 7\ndata: one\n\n").await;
            }
            // Broken off before anything was said, and then not even answered.
            1 => peer.send(STREAM).await,
            2 => {}
            _ => {
                peer.send(STREAM).await;
                peer.send("data: two\n\n").await;
            }
        }
    })
    .await;
    let mut listener = listen(&server).await;
    assert_eq!(event(&mut listener).await, "one");
    assert_eq!(event(&mut listener).await, "two");
    let seen = server.seen();
    assert_eq!(seen.len(), 4);
    for again in &seen[1..] {
        assert!(again.contains("last-event-id: 7\r\n"), "{again}");
    }
}

#[tokio::test]
async fn no_server_is_stormed_however_short_a_time_it_asks_for() {
    let server = Script::start(|_, mut peer| async move {
        peer.request().await;
        peer.send(STREAM).await;
        peer.send("retry: 0\n\n").await;
    })
    .await;
    let mut listener = listen(&server).await;
    let window = Duration::from_millis(350);
    assert!(matches!(
        listener.next(Instant::now() + window).await,
        Next::Deadline
    ));
    assert!((1..=3).contains(&listener.reconnects()), "{listener:?}");
}

/// How many connections two streams took, one after the other, each left after its first event; `after` follows it.
async fn connections_of_two_streams(after: &'static str) -> usize {
    let server = Script::start(move |_, mut peer| async move {
        while peer.request().await.is_some() {
            peer.send("HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")
                .await;
            peer.send("c\r\ndata: last\n\n\r\n").await;
            peer.send(after).await;
        }
    })
    .await;
    let base = Base::new(&server.url).unwrap();
    let client = Client::new(&connector());
    let headers = HeaderMap::new();
    for _ in 0..2 {
        let message = Message {
            method: &Method::GET,
            path: Bytes::from_static(b"/events"),
            headers: &headers,
            more: &[],
            body: Bytes::new(),
            double_submit: None,
        };
        let Listened::Stream(mut listener) = client.listen(&base, &message, LONG).await.unwrap()
        else {
            panic!("no stream");
        };
        assert_eq!(event(&mut listener).await, "last");
        let grace = if after.is_empty() {
            Duration::from_millis(1)
        } else {
            LONG
        };
        listener.conclude(grace).await;
    }
    server.count()
}

#[tokio::test]
async fn the_connection_of_a_stream_that_has_ended_serves_again() {
    assert_eq!(connections_of_two_streams("0\r\n\r\n").await, 1);
    // One that goes on, or is silent, has to be closed.
    assert_eq!(
        connections_of_two_streams("c\r\ndata: more\n\n\r\n").await,
        2
    );
    assert_eq!(connections_of_two_streams("").await, 2);
}

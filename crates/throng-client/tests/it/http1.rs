//! HTTP/1.1: kept-alive connections, stale ones, failures and what is reported of them.

use std::time::{Duration, Instant};

use http::{StatusCode, header};
use throng_client::{Client, Phase, TransportFailure};

use crate::{LONG, connector, get, post, script::Script};

pub(crate) const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

#[tokio::test]
async fn a_connection_is_kept_and_its_bytes_are_counted() {
    let server = Script::repeat(OK).await;
    let client = Client::new(&connector());
    let before = Instant::now();
    let first = client.send(post(&server.url, "ping"), LONG).await.unwrap();
    let second = client.send(post(&server.url, "ping"), LONG).await.unwrap();
    assert_eq!(
        (first.status, &first.body[..]),
        (StatusCode::OK, &b"ok"[..])
    );
    assert_eq!((first.reused, second.reused), (false, true));
    assert_eq!(server.count(), 1);
    for (exchange, request) in [&first, &second].into_iter().zip(server.seen()) {
        assert_eq!(exchange.sent as usize, request.len());
        assert_eq!(exchange.received as usize, OK.len());
        assert!(request.ends_with("\r\n\r\nping"), "{request}");
        assert!(request.starts_with("POST / HTTP/1.1\r\n"), "{request}");
    }
    let (one, two) = (first.timings, second.timings);
    assert!(two.connected.is_none());
    let order = [
        before,
        one.started,
        one.connected.unwrap(),
        one.first_byte.unwrap(),
        one.ended,
        two.started,
        two.first_byte.unwrap(),
        two.ended,
    ];
    assert!(order.is_sorted(), "{order:?}");
}

#[tokio::test]
async fn what_the_request_says_is_what_is_sent() {
    let server = Script::repeat(OK).await;
    let mut request = get(&format!("{}/a%20b?c=d&e=%2F#no", server.url));
    request
        .headers_mut()
        .append("x-twice", "1".parse().unwrap());
    request
        .headers_mut()
        .append("x-twice", "2".parse().unwrap());
    Client::new(&connector()).send(request, LONG).await.unwrap();
    let seen = server.seen().remove(0).to_lowercase();
    assert!(
        seen.starts_with("get /a%20b?c=d&e=%2f http/1.1\r\n"),
        "{seen}"
    );
    for line in [
        "x-twice: 1\r\nx-twice: 2\r\n",
        "user-agent: throng/",
        &format!("host: {}\r\n", server.url.trim_start_matches("http://")),
    ] {
        assert!(seen.contains(line), "{line:?} in {seen}");
    }
}

#[tokio::test]
async fn a_connection_closed_between_requests_costs_a_reconnect() {
    // Also the server that ends the connection after an error without saying `Connection: close`.
    let error = "HTTP/1.1 500 Internal Server Error\r\ncontent-length: 0\r\n\r\n";
    let server = Script::start(move |_, mut peer| async move {
        peer.request().await;
        peer.send(error).await;
    })
    .await;
    let client = Client::new(&connector());
    for _ in 0..50 {
        let exchange = client.send(post(&server.url, "x"), LONG).await.unwrap();
        assert_eq!(exchange.status, StatusCode::INTERNAL_SERVER_ERROR);
    }
    assert_eq!((server.count(), server.seen().len()), (50, 50));
}

#[tokio::test]
async fn a_connection_serves_a_busy_user_and_one_who_pauses() {
    // Long enough for the connection to be kept whole, not only its socket.
    let server = Script::start(|_, mut peer| async move {
        for _ in 0..100 {
            peer.request().await;
            peer.send(OK).await;
        }
    })
    .await;
    let client = Client::new(&connector());
    for n in 0..250 {
        let exchange = client.send(get(&server.url), LONG).await.unwrap();
        assert_eq!(&exchange.body[..], b"ok");
        assert_eq!(exchange.reused, n % 100 != 0, "{n}");
        if n % 60 == 0 {
            // The pause of a user, which changes what is kept of the connection.
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
    assert_eq!((server.count(), server.seen().len()), (3, 250));
}

#[tokio::test]
async fn a_kept_connection_that_closes_on_the_request_costs_a_reconnect() {
    let server = Script::start(|number, mut peer| async move {
        peer.request().await;
        peer.send(OK).await;
        // The first connection reads the second request and closes without a byte of an answer.
        while peer.request().await.is_some() && number > 0 {
            peer.send(OK).await;
        }
    })
    .await;
    let client = Client::new(&connector());
    let first = client.send(get(&server.url), LONG).await.unwrap();
    let second = client.send(get(&server.url), LONG).await.unwrap();
    assert_eq!((second.status, second.reused), (StatusCode::OK, false));
    assert_eq!((first.resent, second.resent), (false, true));
    assert!(second.timings.connected.is_some());
    assert_eq!(second.sent as usize, server.seen()[2].len());
    assert_eq!((server.count(), server.seen().len()), (2, 3));
    let third = client.send(post(&server.url, "3"), LONG).await.unwrap();
    assert_eq!((third.reused, third.resent), (true, false));
}

/// The server may have acted on it before it closed: twice is not what was asked for.
#[tokio::test]
async fn what_may_not_be_repeated_is_not_sent_again() {
    let server = Script::start(|_, mut peer| async move {
        peer.request().await;
        peer.send(OK).await;
        peer.request().await;
    })
    .await;
    let client = Client::new(&connector());
    client.send(post(&server.url, "1"), LONG).await.unwrap();
    let error = client.send(post(&server.url, "2"), LONG).await.unwrap_err();
    assert_failure!(error, TransportFailure::Closed);
    assert_eq!((error.reused(), error.resent()), (true, false));
    assert_eq!((server.count(), server.seen().len()), (1, 2));
}

/// Nobody resets a connection that has nothing to do: this is what became of the request.
#[tokio::test]
async fn a_kept_connection_that_is_reset_on_the_request_is_an_error() {
    let server = Script::start(|_, mut peer| async move {
        peer.request().await;
        peer.send(OK).await;
        peer.request().await;
        peer.reset();
    })
    .await;
    let client = Client::new(&connector());
    client.send(post(&server.url, "1"), LONG).await.unwrap();
    let error = client.send(post(&server.url, "2"), LONG).await.unwrap_err();
    assert_failure!(error, TransportFailure::Reset(_));
    assert!(error.reused());
    assert_eq!((server.count(), server.seen().len()), (1, 2));
}

/// But one that gives up after a failure closes without a word, and its kernel resets what comes after that.
#[tokio::test]
async fn a_reset_after_a_500_costs_a_reconnect() {
    let server = Script::start(|number, mut peer| async move {
        peer.request().await;
        if number == 0 {
            peer.send("HTTP/1.1 500 Internal Server Error\r\ncontent-length: 0\r\n\r\n")
                .await;
            peer.request().await;
            peer.reset();
        } else {
            peer.send(OK).await;
        }
    })
    .await;
    let client = Client::new(&connector());
    let first = client.send(post(&server.url, "1"), LONG).await.unwrap();
    assert_eq!(first.status, StatusCode::INTERNAL_SERVER_ERROR);
    let second = client.send(post(&server.url, "2"), LONG).await.unwrap();
    assert_eq!((second.status, second.reused), (StatusCode::OK, false));
    assert_eq!((server.count(), server.seen().len()), (2, 3));
}

/// The server may have acted on it.
#[tokio::test]
async fn a_request_that_timed_out_is_not_sent_again() {
    let server = Script::start(|_, mut peer| async move {
        peer.request().await;
        peer.send(OK).await;
        peer.request().await;
        peer.closed().await;
    })
    .await;
    let client = Client::new(&connector());
    client.send(post(&server.url, "1"), LONG).await.unwrap();
    let short = Duration::from_millis(80);
    let error = client
        .send(post(&server.url, "2"), short)
        .await
        .unwrap_err();
    assert!(error.is_timeout() && error.reused(), "{error:?}");
    assert_eq!((server.count(), server.seen().len()), (1, 2));
}

#[tokio::test]
async fn a_new_connection_that_closes_without_an_answer_is_an_error() {
    let server = Script::start(|_, mut peer| async move {
        peer.request().await;
    })
    .await;
    let client = Client::new(&connector());
    let error = client.send(post(&server.url, "x"), LONG).await.unwrap_err();
    assert_failure!(error, TransportFailure::Closed);
    assert_eq!(server.count(), 1);
    assert_eq!(error.sent() as usize, server.seen()[0].len());
    assert_eq!((error.received(), error.reused()), (0, false));
    assert!(error.timings().connected.is_some());
    assert_eq!(error.timings().first_byte, None);
    assert_eq!(error.origin(), server.url);
}

#[tokio::test]
async fn an_answer_that_has_begun_is_never_asked_for_again() {
    let server = Script::start(|_, mut peer| async move {
        peer.request().await;
        peer.send(OK).await;
        peer.request().await;
        peer.send("HTTP/1.1 200 OK\r\ncontent-le").await;
    })
    .await;
    let client = Client::new(&connector());
    client.send(get(&server.url), LONG).await.unwrap();
    let error = client.send(get(&server.url), LONG).await.unwrap_err();
    assert_failure!(error, TransportFailure::Closed);
    assert!(error.reused());
    assert_eq!((server.count(), error.received()), (1, 27));
}

#[tokio::test]
async fn timeouts_say_what_was_waited_for() {
    let server = Script::start(|number, mut peer| async move {
        peer.request().await;
        if number == 1 {
            peer.send("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n12345")
                .await;
        }
        peer.closed().await;
    })
    .await;
    let client = Client::new(&connector());
    let short = Duration::from_millis(80);
    for (phase, received) in [(Phase::Head, 0), (Phase::Body, 44)] {
        let error = client
            .send(post(&server.url, "x"), short)
            .await
            .unwrap_err();
        let TransportFailure::Timeout { after, phase: of } = error.failure() else {
            panic!("{error:?}");
        };
        assert_eq!((*after, *of), (short, phase));
        assert!(error.is_timeout() && !error.is_connect());
        assert!(error.timings().elapsed() >= short);
        assert_eq!(error.received(), received);
        assert!(error.sent() > 0);
        // What was in flight is given up with its connection.
        assert_eq!(client.idle_connections(), 0);
    }
}

#[tokio::test]
async fn a_refused_connection_is_told_from_a_failed_request() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let error = Client::new(&connector())
        .send(get(&url), LONG)
        .await
        .unwrap_err();
    assert!(error.is_connect());
    assert_eq!(error.cause(), "connection refused");
    assert_eq!((error.sent(), error.timings().connected), (0, None));
}

#[tokio::test]
async fn urls_that_cannot_be_requested_are_refused() {
    let client = Client::new(&connector());
    for url in ["/relative", "ftp://localhost/", "http://127.0.0.1:99999/"] {
        let error = client.send(get(url), LONG).await.unwrap_err();
        assert!(
            matches!(error.failure(), TransportFailure::Request(_)),
            "{url}: {error:?}"
        );
    }
}

#[tokio::test]
async fn connection_close_is_honoured() {
    for head in [
        "HTTP/1.1 200 OK\r\nconnection: Close\r\ncontent-length: 2\r\n\r\nok",
        "HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\nok",
    ] {
        let server = Script::repeat(head).await;
        let client = Client::new(&connector());
        for _ in 0..2 {
            let exchange = client.send(get(&server.url), LONG).await.unwrap();
            assert_eq!((&exchange.body[..], exchange.reused), (&b"ok"[..], false));
            assert_eq!(client.idle_connections(), 0);
        }
        assert_eq!(server.count(), 2);
    }
}

#[tokio::test]
async fn redirects_are_answers() {
    let server =
        Script::repeat("HTTP/1.1 303 See Other\r\nlocation: /x\r\ncontent-length: 0\r\n\r\n").await;
    let exchange = Client::new(&connector())
        .send(get(&server.url), LONG)
        .await
        .unwrap();
    assert_eq!(exchange.status, StatusCode::SEE_OTHER);
    assert_eq!(exchange.headers[header::LOCATION], "/x");
    assert_eq!(server.seen().len(), 1);
}

#[tokio::test]
async fn identities_never_share_a_connection_and_clones_do() {
    let server = Script::repeat(OK).await;
    let connector = connector();
    let (one, two) = (Client::new(&connector), Client::new(&connector));
    one.send(get(&server.url), LONG).await.unwrap();
    assert!(!two.send(get(&server.url), LONG).await.unwrap().reused);
    assert_eq!(server.count(), 2);
    assert!(
        one.clone()
            .send(get(&server.url), LONG)
            .await
            .unwrap()
            .reused
    );
    assert_eq!(server.count(), 2);
    assert_eq!((one.idle_connections(), two.idle_connections()), (1, 1));
}

#[tokio::test]
async fn exchanges_at_the_same_time_have_a_connection_each() {
    let (release, gate) = tokio::sync::watch::channel(false);
    let server = Script::start(move |_, mut peer| {
        let mut gate = gate.clone();
        async move {
            while peer.request().await.is_some() {
                gate.wait_for(|open| *open).await.unwrap();
                peer.send(OK).await;
            }
        }
    })
    .await;
    let client = Client::new(&connector());
    let sends = (0..4).map(|_| client.send(get(&server.url), LONG));
    let all = futures_util::future::join_all(sends);
    let opened = async {
        while server.seen().len() < 4 {
            tokio::task::yield_now().await;
        }
        release.send(true).unwrap();
    };
    let (results, ()) = tokio::join!(all, opened);
    assert!(results.iter().all(Result::is_ok));
    assert_eq!((server.count(), client.idle_connections()), (4, 4));
    // Another origin has connections of its own.
    let other = Script::repeat(OK).await;
    assert!(!client.send(get(&other.url), LONG).await.unwrap().reused);
    assert_eq!((server.count(), client.idle_connections()), (4, 5));
}

#[tokio::test]
async fn localhost_is_found_whichever_family_answers() {
    let server = Script::repeat(OK).await;
    let url = server.url.replace("127.0.0.1", "localhost");
    for _ in 0..2 {
        let client = Client::new(&connector());
        client.send(get(&url), LONG).await.unwrap();
    }
    assert_eq!(server.count(), 2);
}

/// However many connections a task looks at in one turn, it learns of each whether it is still open.
#[tokio::test]
async fn connections_that_were_closed_are_found_out_by_a_busy_task() {
    const MANY: usize = 300;
    let closed = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let counted = closed.clone();
    let all = std::sync::Arc::new(tokio::sync::Barrier::new(MANY));
    let server = Script::start(move |_, mut peer| {
        let (counted, all) = (counted.clone(), all.clone());
        async move {
            peer.request().await;
            // None is used twice.
            all.wait().await;
            peer.send(OK).await;
            drop(peer);
            counted.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        }
    })
    .await;
    let client = Client::new(&connector());
    for round in 1..=2 {
        let sends = (0..MANY).map(|_| client.send(post(&server.url, "x"), LONG));
        for exchange in futures_util::future::join_all(sends).await {
            assert!(!exchange.unwrap().reused);
        }
        while closed.load(std::sync::atomic::Ordering::SeqCst) < round * MANY {
            tokio::task::yield_now().await;
        }
        assert_eq!(server.count(), round * MANY);
    }
}

/// A step may be dropped at any moment. What was on its way then is nobody's answer.
#[tokio::test]
async fn an_exchange_that_is_dropped_takes_its_connection_with_it() {
    const PARTS: [&str; 5] = [
        "",
        "HTTP/1.1 100 Continue\r\n\r\n",
        "HTTP/1.1 200 OK\r\ncontent-le",
        "HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nevil\r\n0\r\n",
    ];
    for part in PARTS {
        let said = std::sync::Arc::new(tokio::sync::Notify::new());
        let signal = said.clone();
        let server = Script::start(move |number, mut peer| {
            let signal = signal.clone();
            async move {
                peer.request().await;
                peer.send(if number == 0 { part } else { OK }).await;
                if number == 0 {
                    signal.notify_one();
                }
                peer.closed().await;
            }
        })
        .await;
        let client = Client::new(&connector());
        tokio::select! {
            biased;
            result = client.send(get(&server.url), LONG) => panic!("{part:?}: {result:?}"),
            () = said.notified() => {}
        }
        assert_eq!(client.idle_connections(), 0, "{part:?}");
        let exchange = client.send(get(&server.url), LONG).await.unwrap();
        assert_eq!((&exchange.body[..], exchange.reused), (&b"ok"[..], false));
        assert_eq!(server.count(), 2);
    }
}

//! HTTP/1.1: where a request and an answer end, and what is made of those that do not say it well.

use http::StatusCode;
use throng_client::{Client, Connector, ConnectorOptions, TransportFailure};

use crate::http1::OK;
use crate::{LONG, connector, get, script::Script};

#[tokio::test]
async fn a_body_that_is_cut_off_is_an_error() {
    let server = Script::start(|_, mut peer| async move {
        peer.request().await;
        peer.send("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n12345")
            .await;
    })
    .await;
    let client = Client::new(&connector());
    let error = client.send(get(&server.url), LONG).await.unwrap_err();
    assert_failure!(error, TransportFailure::Closed);
    assert!(error.timings().first_byte.is_some());
    assert_eq!(client.idle_connections(), 0);
}

#[tokio::test]
async fn what_is_not_http_is_said_to_be_so() {
    let server = Script::repeat("SSH-2.0-OpenSSH_9.2\r\n\r\n").await;
    let client = Client::new(&connector());
    let error = client.send(get(&server.url), LONG).await.unwrap_err();
    assert_failure!(error, TransportFailure::Protocol(_));
    assert_eq!(error.cause(), "invalid HTTP");
}

#[tokio::test]
async fn responses_without_a_body_keep_the_connection() {
    let server = Script::start(|_, mut peer| async move {
        while let Some(request) = peer.request().await {
            let head = match request.split(' ').next() {
                Some("HEAD") => "HTTP/1.1 200 OK\r\ncontent-length: 500\r\n\r\n",
                Some("DELETE") => "HTTP/1.1 204 No Content\r\n\r\n",
                _ => "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 304 Not Modified\r\n\r\n",
            };
            peer.send(head).await;
        }
    })
    .await;
    let client = Client::new(&connector());
    for (method, status) in [("HEAD", 200), ("DELETE", 204), ("GET", 304), ("HEAD", 200)] {
        let mut request = get(&server.url);
        *request.method_mut() = method.parse().unwrap();
        let exchange = client.send(request, LONG).await.unwrap();
        assert_eq!(exchange.status.as_u16(), status);
        assert!(exchange.body.is_empty());
    }
    assert_eq!(server.count(), 1);
}

#[tokio::test]
async fn bodies_in_many_pieces_are_put_together() {
    let server = Script::start(|_, mut peer| async move {
        while peer.request().await.is_some() {
            peer.send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
                .await;
            for _ in 0..300 {
                peer.send(&format!("1000\r\n{}\r\n", "0123456789abcdef".repeat(256)))
                    .await;
            }
            peer.send("0\r\ntrailer: yes\r\n\r\n").await;
        }
    })
    .await;
    let client = Client::new(&connector());
    for _ in 0..2 {
        let exchange = client.send(get(&server.url), LONG).await.unwrap();
        assert_eq!(exchange.body, "0123456789abcdef".repeat(256 * 300));
    }
    assert_eq!(server.count(), 1);
}

#[tokio::test]
async fn bodies_beyond_the_limit_are_refused() {
    for response in [
        "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n123456789",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\n12345\r\n5\r\n12345\r\n0\r\n\r\n",
    ] {
        let server = Script::repeat(response).await;
        let options = ConnectorOptions {
            max_body: 8,
            ..ConnectorOptions::default()
        };
        let client = Client::new(&Connector::new(options).unwrap());
        let error = client.send(get(&server.url), LONG).await.unwrap_err();
        assert!(
            matches!(error.failure(), TransportFailure::BodyTooLarge { limit: 8 }),
            "{error:?}"
        );
    }
}

/// More than a socket takes at once.
#[tokio::test]
async fn a_long_body_arrives_whole() {
    let server = Script::repeat(OK).await;
    let client = Client::new(&connector());
    for (n, length) in [5_000_000, 16 << 10, (16 << 10) + 1, 1]
        .into_iter()
        .enumerate()
    {
        let request = http::Request::post(&server.url).body(vec![b'x'; length].into());
        let exchange = client.send(request.unwrap(), LONG).await.unwrap();
        let seen = server.seen().remove(n);
        assert!(seen.contains(&format!("content-length: {length}\r\n")));
        assert!(seen.ends_with(&"x".repeat(length)));
        assert_eq!(exchange.sent as usize, seen.len());
        assert_eq!(exchange.reused, n > 0);
    }
}

/// A server may refuse a request by its head. What is left of the request would be taken for the next one.
#[tokio::test]
async fn an_answer_before_the_end_of_the_request_is_an_answer() {
    let server = Script::start(|_, mut peer| async move {
        peer.send(REFUSAL).await;
        peer.closed().await;
    })
    .await;
    is_refused(&server).await;
}

const REFUSAL: &str = "HTTP/1.1 413 Content Too Large\r\ncontent-length: 3\r\n\r\nno!";

/// Sends more than the server reads, which refuses it by its head.
async fn is_refused(server: &Script) {
    let client = Client::new(&connector());
    let request = http::Request::post(&server.url).body(vec![b'x'; 20_000_000].into());
    let exchange = client.send(request.unwrap(), LONG).await.unwrap();
    assert_eq!(exchange.status, StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(&exchange.body[..], b"no!");
    assert_eq!(client.idle_connections(), 0);
}

#[tokio::test]
async fn a_body_without_a_length_ends_with_its_connection() {
    let server = Script::start(|_, mut peer| async move {
        peer.request().await;
        peer.send("HTTP/1.1 200 OK\r\n\r\nall of it").await;
    })
    .await;
    let client = Client::new(&connector());
    for _ in 0..2 {
        let exchange = client.send(get(&server.url), LONG).await.unwrap();
        assert_eq!(
            (&exchange.body[..], exchange.reused),
            (&b"all of it"[..], false)
        );
        assert_eq!(client.idle_connections(), 0);
    }
}

/// It belongs to no request, and least of all to the next one.
#[tokio::test]
async fn what_comes_after_a_response_is_no_response() {
    let server = Script::start(|_, mut peer| async move {
        peer.request().await;
        peer.send(&format!(
            "{OK}HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nevil"
        ))
        .await;
        peer.closed().await;
    })
    .await;
    let client = Client::new(&connector());
    for _ in 0..2 {
        let exchange = client.send(get(&server.url), LONG).await.unwrap();
        assert_eq!((&exchange.body[..], exchange.reused), (&b"ok"[..], false));
    }
    assert_eq!(server.count(), 2);
}

#[tokio::test]
async fn a_response_may_come_byte_by_byte() {
    let server = Script::start(|_, mut peer| async move {
        while peer.request().await.is_some() {
            let response = "HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\nHTTP/1.1 200 OK\r\n\
                transfer-encoding: chunked\r\n\r\n3;x=y\r\nabc\r\n2\r\nde\r\n0\r\nt: u\r\n\r\n";
            for at in 0..response.len() {
                peer.send(&response[at..=at]).await;
                tokio::task::yield_now().await;
            }
        }
    })
    .await;
    let client = Client::new(&connector());
    for n in 0..3 {
        let exchange = client.send(get(&server.url), LONG).await.unwrap();
        assert_eq!(
            (&exchange.body[..], exchange.reused),
            (&b"abcde"[..], n > 0)
        );
        assert_eq!(exchange.headers.get("link"), None);
    }
    assert_eq!(server.count(), 1);
}

#[tokio::test]
async fn a_malformed_chunk_is_said_to_be_so() {
    let server = Script::repeat(
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\nxyz\r\n0\r\n\r\n",
    )
    .await;
    let client = Client::new(&connector());
    let error = client.send(get(&server.url), LONG).await.unwrap_err();
    assert_failure!(error, TransportFailure::Protocol(_));
    assert_eq!(client.idle_connections(), 0);
}

/// A refusal, then an end that may overtake what is still being sent.
#[tokio::test]
async fn a_server_that_refuses_and_resets_has_answered() {
    for _ in 0..20 {
        let server = Script::start(|_, mut peer| async move {
            peer.send(REFUSAL).await;
            // What has come was not read, so the kernel resets.
            peer.some().await;
        })
        .await;
        is_refused(&server).await;
    }
}

/// A transfer coding overrides the length (RFC 9112, section 6.3, item 3), and both together end the connection.
#[tokio::test]
async fn a_length_beside_chunks_says_nothing() {
    let server = Script::repeat(
        "HTTP/1.1 200 OK\r\ncontent-length: 99999999999\r\ntransfer-encoding: chunked\r\n\r\n\
         3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n",
    )
    .await;
    let client = Client::new(&connector());
    let exchange = client.send(get(&server.url), LONG).await.unwrap();
    assert_eq!(exchange.body, "abcde");
    assert_eq!(client.idle_connections(), 0);
}

//! Connections over streams that do what a test says: however the bytes of a response come, it is the same response, and
//! whatever they are, it comes to an end. And it is the response that hyper's client sees; requests are those that it sends.

mod hyper_answers;
mod hyper_requests;
mod made_answers;
mod scripted;

use std::task::Waker;

use http::Request;
use proptest::{collection::vec, prelude::*, sample::Index};

use super::*;
use crate::request::Plain;
use scripted::{End, Read, Scripted, damage, damaged, exchange, pieces, whole};

/// A well-formed response, and what is to come of it.
#[derive(Debug, Clone)]
struct Response {
    bytes: Vec<u8>,
    body: Vec<u8>,
    end: End,
}

fn response() -> impl Strategy<Value = Response> {
    let parts = (
        0..3_usize,
        vec(vec(any::<u8>(), 1..40), 0..6),
        0..3_u8,
        prop_oneof![Just(""), Just("close"), Just("keep-alive")],
        prop_oneof![3 => Just(""), 1 => Just("HTTP/1.1 200 OK\r\n\r\n"), 1 => Just("\r\n")],
        prop_oneof![Just(""), Just(";x=\"y\""), Just("   ")],
        prop_oneof![Just(""), Just("t: u\r\nv:\r\n")],
    );
    parts.prop_map(
        |(interim, chunks, framing, connection, surplus, extension, trailers)| {
            let mut bytes = b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n".repeat(interim);
            bytes.extend_from_slice(b"HTTP/1.1 200 OK\r\nx: \xe9 y\t\r\nempty:\r\n");
            if !connection.is_empty() {
                bytes.extend_from_slice(format!("connection: {connection}\r\n").as_bytes());
            }
            let body = chunks.concat();
            match framing {
                0 => {
                    bytes.extend_from_slice(
                        format!("content-length: {}\r\n\r\n", body.len()).as_bytes(),
                    );
                    bytes.extend_from_slice(&body);
                }
                1 => {
                    bytes.extend_from_slice(b"Transfer-Encoding: Chunked\r\n\r\n");
                    for chunk in &chunks {
                        bytes.extend_from_slice(
                            format!("{:X}{extension}\r\n", chunk.len()).as_bytes(),
                        );
                        bytes.extend_from_slice(chunk);
                        bytes.extend_from_slice(b"\r\n");
                    }
                    bytes.extend_from_slice(format!("0{extension}\r\n{trailers}\r\n").as_bytes());
                }
                _ => {
                    bytes.extend_from_slice(b"\r\n");
                    bytes.extend_from_slice(&body);
                    return Response {
                        bytes,
                        body,
                        end: End::Waiting,
                    };
                }
            }
            bytes.extend_from_slice(surplus.as_bytes());
            let kept = connection != "close" && surplus.is_empty();
            Response {
                bytes,
                body,
                end: if kept { End::Kept } else { End::Whole },
            }
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_response_is_the_same_however_it_comes(
        response in response(),
        cuts in vec(any::<Index>(), 0..60),
    ) {
        let answer = exchange("GET", "", pieces(&response.bytes, &cuts, None), usize::MAX);
        prop_assert_eq!(answer.status(), Some(200));
        prop_assert_eq!((answer.body, answer.end), (response.body, response.end));
    }

    #[test]
    fn what_is_wrong_is_wrong_however_it_comes(
        response in response(),
        damages in vec(damage(), 1..4),
        cuts in vec(any::<Index>(), 0..60),
        ends in any::<bool>(),
    ) {
        let bytes = damaged(response.bytes, damages);
        let end = || ends.then_some(Read::Ends);
        let answer = exchange("GET", "", pieces(&bytes, &cuts, end()), usize::MAX);
        prop_assert!(answer.body.len() <= bytes.len());
        prop_assert_eq!(answer, exchange("GET", "", whole(&bytes, end()), usize::MAX));
    }
}

/// An end without TLS's own word for it is no end (RFC 9112, section 9.8).
#[test]
fn a_body_that_ends_with_the_connection_ends_in_order() {
    let head = "HTTP/1.1 200 OK\r\n\r\nhello";
    for (end, expected) in [
        (Read::Ends, "Whole"),
        (Read::Fails(io::ErrorKind::UnexpectedEof), "UnexpectedEof"),
        (
            Read::Fails(io::ErrorKind::ConnectionReset),
            "ConnectionReset",
        ),
    ] {
        let answer = exchange("GET", "", whole(head.as_bytes(), Some(end)), usize::MAX);
        assert_eq!(answer.body, b"hello");
        assert!(format!("{:?}", answer.end).contains(expected), "{answer:?}");
    }
}

/// A server that refuses a request may be gone before all of it is written, and its answer read a moment later.
#[test]
fn a_refusal_counts_even_if_it_is_seen_after_the_end_of_writing() {
    let refusal = b"HTTP/1.1 413 Content Too Large\r\ncontent-length: 3\r\n\r\nno!";
    for room in [0, 10, 50] {
        let mut reads = vec![Read::NotYet, Read::NotYet];
        reads.extend(whole(refusal, Some(Read::Ends)));
        let answer = exchange("POST", "a body longer than what is taken", reads, room);
        assert_eq!(
            (answer.status(), &answer.body[..], answer.end),
            (Some(413), &b"no!"[..], End::Whole)
        );
        let unanswered = exchange("POST", "a body", vec![Read::NotYet, Read::Ends], room);
        assert!(
            format!("{:?}", unanswered.end).contains("BrokenPipe"),
            "{unanswered:?}"
        );
    }
}

/// A user who pauses holds a connection, and nothing that came or went by it.
#[test]
fn a_connection_holds_nothing_between_two_requests() {
    for (method, response) in [
        (
            "GET",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        ),
        ("GET", "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"),
        ("GET", "HTTP/1.1 204 No Content\r\n\r\n"),
        ("HEAD", "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n"),
    ] {
        let body = Bytes::from(vec![b'x'; 2 * COPIED_BODY]);
        let request = Request::builder().method(method).uri("http://h/");
        let outgoing = Plain::new(request.body(body.clone()).unwrap(), None).unwrap();
        let mut http = Http1::new(Scripted::new(whole(response.as_bytes(), None), usize::MAX));
        let mut cx = Context::from_waker(Waker::noop());
        let head = std::pin::pin!(http.send(&outgoing, None)).poll(&mut cx);
        assert!(matches!(head, Poll::Ready(Ok(_))), "{head:?}");
        while let Poll::Ready(Some(piece)) = http.poll_piece(&mut cx) {
            piece.unwrap();
        }
        assert!(http.reusable());
        drop((head, outgoing));
        assert!(body.is_unique(), "the request's body");
        // An empty piece of something longer has an address in it.
        assert_eq!(http.unread.as_ptr(), Bytes::new().as_ptr(), "{response}");
    }
}

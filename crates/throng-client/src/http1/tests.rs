//! Connections over streams that do what a test says: however the bytes of a response come, it is the same response, and
//! whatever they are, it comes to an end.

use std::{collections::VecDeque, task::Waker};

use http::Request;
use proptest::{collection::vec, prelude::*, sample::Index};

use super::*;
use crate::request::Plain;

/// What a stream does when it is read next. After the last one, nothing more comes.
#[derive(Debug, Clone)]
enum Read {
    Come(Vec<u8>),
    NotYet,
    Fails(io::ErrorKind),
    Ends,
}

/// A stream that takes `room` bytes of what is written and fails then.
struct Scripted {
    reads: VecDeque<Read>,
    room: usize,
    written: Vec<u8>,
}

impl AsyncRead for Scripted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.reads.pop_front() {
            Some(Read::Come(bytes)) => buf.put_slice(&bytes),
            Some(Read::Fails(kind)) => return Poll::Ready(Err(kind.into())),
            Some(Read::Ends) => self.reads.push_front(Read::Ends),
            Some(Read::NotYet) => {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            None => return Poll::Pending,
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Scripted {
    fn poll_write(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let taken = buf.len().min(self.room - self.written.len());
        if taken == 0 {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        self.written.extend_from_slice(&buf[..taken]);
        Poll::Ready(Ok(taken))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// What came of a request.
#[derive(Debug, PartialEq, Eq)]
struct Answer {
    status: Option<u16>,
    body: Vec<u8>,
    end: End,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum End {
    /// It is whole, and the connection can serve again.
    Kept,
    /// It is whole.
    Whole,
    Broken(String),
    /// More is awaited.
    Waiting,
}

const MOST_POLLS: usize = 1_000_000;

fn exchange(method: &str, body: &'static str, reads: Vec<Read>, room: usize) -> Answer {
    let request = Request::builder().method(method).uri("http://h/");
    let request = request.body(Bytes::from_static(body.as_bytes())).unwrap();
    let outgoing = Plain::new(request, None).unwrap();
    // Each takes at least one read, and after the last nothing changes.
    let polls = reads.len() + 1;
    let mut http = Http1::new(Scripted {
        reads: reads.into(),
        room,
        written: Vec::new(),
    });
    let mut answer = Answer {
        status: None,
        body: Vec::new(),
        end: End::Waiting,
    };
    let mut cx = Context::from_waker(Waker::noop());
    let broken = |broken| End::Broken(format!("{broken:?}"));
    {
        let mut sent = std::pin::pin!(http.send(&outgoing, None));
        for _ in 0..polls {
            match sent.as_mut().poll(&mut cx) {
                Poll::Ready(Ok(head)) => answer.status = Some(head.status.as_u16()),
                Poll::Ready(Err(error)) => answer.end = broken(error),
                Poll::Pending => continue,
            }
            break;
        }
    }
    if answer.status.is_none() {
        return answer;
    }
    for _ in 0..MOST_POLLS {
        match http.poll_piece(&mut cx) {
            Poll::Pending if http.stream.reads.is_empty() => return answer,
            Poll::Pending => {}
            Poll::Ready(Some(Ok(piece))) => {
                assert!(!piece.is_empty());
                answer.body.extend_from_slice(&piece);
            }
            Poll::Ready(Some(Err(error))) => {
                answer.end = broken(error);
                assert!(!http.reusable());
                return answer;
            }
            Poll::Ready(None) => {
                assert!(http.body_ended());
                while matches!(http.stream.reads.front(), Some(Read::NotYet)) {
                    http.stream.reads.pop_front();
                }
                let kept = http.reusable() && !http.poll_gone(&mut cx);
                answer.end = if kept { End::Kept } else { End::Whole };
                return answer;
            }
        }
    }
    panic!("no end");
}

/// The response, cut in pieces; between some of them there is nothing for a while.
fn pieces(bytes: &[u8], cuts: &[Index], end: Option<Read>) -> Vec<Read> {
    let mut at: Vec<_> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
    at.sort_unstable();
    let mut reads = Vec::new();
    let mut from = 0;
    for to in at.into_iter().chain([bytes.len()]) {
        if to > from {
            reads.push(Read::Come(bytes[from..to].to_vec()));
        }
        if to % 2 == 0 {
            reads.push(Read::NotYet);
        }
        from = to;
    }
    reads.extend(end);
    reads
}

fn whole(bytes: &[u8], end: Option<Read>) -> Vec<Read> {
    [Read::Come(bytes.to_vec())]
        .into_iter()
        .chain(end)
        .collect()
}

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

/// Something that a careless or hostile server does to a response.
#[derive(Debug, Clone)]
enum Damage {
    Replace(Index, u8),
    Insert(Index, Vec<u8>),
    Remove(Index, Index),
}

fn damage() -> impl Strategy<Value = Damage> {
    let telling: Vec<&[u8]> = vec![
        b"\r",
        b"\n",
        b"\r\n",
        b"\r\n\r\n",
        b"0\r\n\r\n",
        b":",
        b" ",
        b",",
        b"\0",
        b"-",
        b"ffffffffffffffff",
        b"content-length: 7\r\n",
        b"transfer-encoding: chunked\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\n",
    ];
    let inserted = proptest::sample::select(telling).prop_map(<[u8]>::to_vec);
    prop_oneof![
        (any::<Index>(), any::<u8>()).prop_map(|(at, byte)| Damage::Replace(at, byte)),
        (any::<Index>(), inserted).prop_map(|(at, bytes)| Damage::Insert(at, bytes)),
        (any::<Index>(), any::<Index>()).prop_map(|(from, to)| Damage::Remove(from, to)),
    ]
}

fn damaged(mut bytes: Vec<u8>, damages: Vec<Damage>) -> Vec<u8> {
    for damage in damages {
        let length = bytes.len();
        match damage {
            _ if length == 0 => {}
            Damage::Replace(at, byte) => bytes[at.index(length)] = byte,
            Damage::Insert(at, more) => {
                let at = at.index(length);
                bytes.splice(at..at, more);
            }
            Damage::Remove(from, to) => {
                let (from, to) = (from.index(length), to.index(length));
                bytes.drain(from.min(to)..from.max(to));
            }
        }
    }
    bytes
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_response_is_the_same_however_it_comes(
        response in response(),
        cuts in vec(any::<Index>(), 0..60),
    ) {
        let answer = exchange("GET", "", pieces(&response.bytes, &cuts, None), usize::MAX);
        prop_assert_eq!(answer, Answer { status: Some(200), body: response.body, end: response.end });
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
            (answer.status, &answer.body[..], answer.end),
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
        let mut http = Http1::new(Scripted {
            reads: whole(response.as_bytes(), None).into(),
            room: usize::MAX,
            written: Vec::new(),
        });
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

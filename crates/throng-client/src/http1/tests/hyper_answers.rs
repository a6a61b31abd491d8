//! The same bytes as an answer to our client and to hyper's: both see the same response or none, and think the same of the
//! connection. Where they differ on purpose is listed in [`DIFFERENCES`], each with its reason; nothing else is excused.

use std::{cell::RefCell, collections::BTreeMap, rc::Rc, task::Waker};

use http::{Request, header};
use http_body_util::Full;
use hyper::{
    body::{Body as _, Incoming},
    client::conn::http1,
};
use hyper_util::rt::TokioIo;
use proptest::{
    collection::vec, prelude::*, sample::Index, strategy::ValueTree as _, test_runner::TestRunner,
};

use super::super::*;
use super::made_answers::answer;
use super::scripted::{
    Answer, End, MOST_POLLS, Read, Scripted, SeenHead, damage, damaged, exchange, pieces, whole,
};

/// A stream that the test looks at while a connection has it.
#[derive(Clone)]
pub(super) struct Shared(pub(super) Rc<RefCell<Scripted>>);

impl AsyncRead for Shared {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.0.borrow_mut()).poll_read(cx, buf)
    }
}

impl AsyncWrite for Shared {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut *self.0.borrow_mut()).poll_write(cx, buf)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.0.borrow_mut()).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.0.borrow_mut()).poll_shutdown(cx)
    }
}

/// hyper's connection, driven by hand: nothing runs beside the test.
pub(super) struct Hyper {
    stream: Shared,
    sender: http1::SendRequest<Full<Bytes>>,
    connection: Option<http1::Connection<TokioIo<Shared>, Full<Bytes>>>,
}

impl Hyper {
    pub(super) fn new(reads: Vec<Read>) -> Self {
        let stream = Shared(Rc::new(RefCell::new(Scripted::new(reads, usize::MAX))));
        let mut cx = Context::from_waker(Waker::noop());
        let handshake = std::pin::pin!(http1::handshake(TokioIo::new(stream.clone())));
        let Poll::Ready(Ok((sender, connection))) = handshake.poll(&mut cx) else {
            panic!("nothing is sent or awaited in a handshake");
        };
        Self {
            stream,
            sender,
            connection: Some(connection),
        }
    }

    pub(super) fn written(&self) -> Vec<u8> {
        self.stream.0.borrow().written.clone()
    }

    /// Lets the connection go on until `done` is, or nothing more will come.
    fn drive<T>(&mut self, mut done: impl FnMut(&mut Context<'_>) -> Poll<T>) -> Poll<T> {
        let mut cx = Context::from_waker(Waker::noop());
        let mut idle = 0;
        for _ in 0..MOST_POLLS {
            if let Poll::Ready(done) = done(&mut cx) {
                return Poll::Ready(done);
            }
            // What it reads and what it hands on are steps of their own.
            idle = match self.stream.0.borrow().reads.front() {
                None | Some(Read::Ends) => idle + 1,
                Some(_) => 0,
            };
            if idle > 8 {
                return Poll::Pending;
            }
            if let Some(connection) = &mut self.connection
                && Pin::new(connection).poll(&mut cx).is_ready()
            {
                self.connection = None;
            }
            if self.connection.is_none() {
                self.stream.0.borrow_mut().reads.clear();
            }
        }
        panic!("no end");
    }

    /// What it makes of the answer to a request.
    pub(super) fn exchange(&mut self, request: Request<Full<Bytes>>) -> Answer {
        let mut answer = Answer::NONE;
        let broken = |error: hyper::Error| End::Broken(format!("{error:?}"));
        let mut sent = Box::pin(self.sender.send_request(request));
        let mut body: Incoming = match self.drive(|cx| sent.as_mut().poll(cx)) {
            Poll::Ready(Ok(response)) => {
                let (parts, body) = response.into_parts();
                answer.head = Some(SeenHead {
                    status: parts.status.as_u16(),
                    version: parts.version,
                    headers: parts.headers,
                });
                body
            }
            Poll::Ready(Err(error)) => {
                answer.end = broken(error);
                return answer;
            }
            Poll::Pending => return answer,
        };
        loop {
            match self.drive(|cx| Pin::new(&mut body).poll_frame(cx)) {
                Poll::Ready(Some(Ok(frame))) => {
                    if let Ok(data) = frame.into_data() {
                        answer.body.extend_from_slice(&data);
                    }
                }
                Poll::Ready(Some(Err(error))) => {
                    answer.end = broken(error);
                    return answer;
                }
                Poll::Ready(None) => break,
                Poll::Pending => return answer,
            }
        }
        let _: Poll<()> = self.drive(|_| Poll::Pending);
        let mut cx = Context::from_waker(Waker::noop());
        let kept = matches!(self.sender.poll_ready(&mut cx), Poll::Ready(Ok(())));
        answer.end = if kept { End::Kept } else { End::Whole };
        answer
    }
}

fn by_hyper(method: &str, reads: Vec<Read>) -> Answer {
    let request = Request::builder().method(method).uri("/");
    let request = request.header("host", "h").body(Full::default());
    Hyper::new(reads).exchange(request.unwrap())
}

/// Where we differ from hyper.
struct Difference {
    /// Where the rule stands.
    rule: &'static str,
    why: &'static str,
    answer: String,
    /// How it ends for us, and for hyper.
    ends: (&'static str, &'static str),
}

fn differences() -> Vec<Difference> {
    let chunked = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n";
    let limits = "limits are the recipient's to choose; both have some";
    vec![
        Difference {
            rule: "RFC 9112, sections 6.1 and 6.3, item 3",
            why: "both framings together may be smuggled: the chunks count, and the connection does not serve again",
            answer: format!("{chunked}content-length: 5\r\n\r\n0\r\n\r\n"),
            ends: ("Whole", "Kept"),
        },
        Difference {
            rule: "RFC 9112, section 9.6",
            why: "an option is one beside others that are no ASCII; to close too often does no harm",
            answer: "HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: \u{fc}, close\r\n\r\n"
                .to_owned(),
            ends: ("Whole", "Kept"),
        },
        Difference {
            rule: "RFC 9112, section 7.1.2",
            why: "trailers are discarded, and so nothing in their lines is looked at but their ends",
            answer: format!("{chunked}\r\n0\r\nno colon\r\n\r\n"),
            ends: ("Kept", "Broken"),
        },
        Difference {
            rule: "RFC 9112, sections 2.2 and 7.1.2",
            why: "a line feed alone may end a line of a head, which both allow, but for us nothing in a chunked body",
            answer: format!("{chunked}\r\n0\r\nt: u\n\r\n"),
            ends: ("Broken", "Waiting"),
        },
        Difference {
            rule: "RFC 9112, section 7.1.1",
            why: "extensions are limited for each chunk: all together they end long streams",
            answer: format!("{chunked}\r\n{}0\r\n\r\n", "1;x=yz\r\na\r\n".repeat(5000)),
            ends: ("Kept", "Broken"),
        },
        Difference {
            rule: "RFC 9112, section 7.1.1",
            why: "so is space after a size, of which hyper allows any amount",
            answer: format!("{chunked}\r\n0{}\r\n\r\n", " ".repeat(17 << 10)),
            ends: ("Broken", "Kept"),
        },
        Difference {
            rule: "RFC 9112, section 5",
            why: limits,
            answer: format!(
                "HTTP/1.1 200 OK\r\nx: {}\r\ncontent-length: 0\r\n\r\n",
                "y".repeat(330 << 10)
            ),
            ends: ("Broken", "Kept"),
        },
        Difference {
            rule: "RFC 9112, section 6.2",
            why: limits,
            answer: format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", u64::MAX),
            ends: ("Waiting", "Broken"),
        },
    ]
}

fn kind(end: &End) -> &'static str {
    match end {
        End::Kept => "Kept",
        End::Whole => "Whole",
        End::Broken(_) => "Broken",
        End::Waiting => "Waiting",
    }
}

#[test]
fn where_we_differ_from_hyper_is_known() {
    for Difference {
        rule,
        why,
        answer,
        ends,
    } in differences()
    {
        let pieces = || {
            let pieces = answer.as_bytes().chunks(PIECE);
            pieces.map(|piece| Read::Come(piece.to_vec())).collect()
        };
        let ours = exchange("GET", "", pieces(), usize::MAX);
        let hypers = by_hyper("GET", pieces());
        assert_eq!((kind(&ours.end), kind(&hypers.end)), ends, "{rule}: {why}");
    }
}

/// Whether two answers that are not the same differ by the table's first four rows (the others are too long to be made by
/// chance), or in when they fail.
fn is_known(ours: &Answer, hypers: &Answer) -> bool {
    let Some(head) = &ours.head else {
        // hyper looks again at a head that came in pieces once its end is there.
        let sooner = matches!((&ours.end, &hypers.end), (End::Broken(_), End::Waiting));
        return sooner && hypers.head.is_none();
    };
    let has = |name| head.headers.contains_key(name);
    let more_careful = || {
        let connections = head.headers.get_all(header::CONNECTION);
        let strange = |value: &http::HeaderValue| value.to_str().is_err();
        let both = has(header::TRANSFER_ENCODING) && has(header::CONTENT_LENGTH);
        both || connections.iter().any(strange)
    };
    match (&ours.end, &hypers.end) {
        (End::Whole, End::Kept) => {
            ours.head == hypers.head && ours.body == hypers.body && more_careful()
        }
        (End::Kept | End::Whole, End::Broken(error)) => {
            // What its parser of headers says of a line; of a size or a chunk it says something else.
            let of_trailers = [
                "httparse",
                "Invalid header",
                "Partial header",
                "HeaderName",
                "HeaderValue",
                "Token",
                "NewLine",
            ];
            ours.head == hypers.head
                && has(header::TRANSFER_ENCODING)
                && of_trailers.iter().any(|word| error.contains(word))
        }
        // A line that ends with a line feed alone.
        (End::Broken(error), _) => error.contains("Trailers") && ours.head == hypers.head,
        _ => false,
    }
}

/// Both see the same, but for what is listed; what of a broken body comes before its failure doesn't count.
fn agree(ours: &Answer, hypers: &Answer) -> bool {
    let same = match (&ours.end, &hypers.end) {
        (End::Broken(_), End::Broken(_)) => ours.head == hypers.head,
        _ => ours == hypers,
    };
    same || is_known(ours, hypers)
}

fn method() -> impl Strategy<Value = &'static str> {
    prop_oneof![6 => Just("GET"), 2 => Just("HEAD"), 2 => Just("POST"), 1 => Just("DELETE")]
}

/// What comes after the answer.
fn end() -> impl Strategy<Value = Option<Read>> {
    prop_oneof![
        Just(None),
        Just(Some(Read::Ends)),
        Just(Some(Read::Fails(io::ErrorKind::ConnectionReset))),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4096, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn an_answer_is_what_hyper_takes_it_for(
        method in method(),
        bytes in answer(),
        damages in prop_oneof![3 => Just(Vec::new()), 1 => vec(damage(), 1..3)],
        cut in proptest::option::weighted(0.25, any::<Index>()),
        cuts in vec(any::<Index>(), 0..12),
        end in end(),
    ) {
        let mut bytes = damaged(bytes, damages);
        bytes.truncate(cut.map_or(bytes.len(), |cut| cut.index(bytes.len() + 1)));
        let reads = pieces(&bytes, &cuts, end);
        let ours = exchange(method, "", reads.clone(), usize::MAX);
        let hypers = by_hyper(method, reads);
        prop_assert!(agree(&ours, &hypers), "{:?}\nours:  {ours:?}\nhyper: {hypers:?}", String::from_utf8_lossy(&bytes));
    }
}

/// That many of what is made is whole, and that the rest fails in every way.
#[test]
fn answers_of_all_kinds_are_made() {
    let mut runner = TestRunner::deterministic();
    let mut seen = BTreeMap::<_, u32>::new();
    for _ in 0..2000 {
        let bytes = answer().new_tree(&mut runner).unwrap().current();
        let ours = exchange("GET", "", whole(&bytes, Some(Read::Ends)), usize::MAX);
        let kind = match (ours.end, ours.body.is_empty()) {
            (End::Broken(error), _) => error
                .split(['(', ')'])
                .nth(1)
                .unwrap_or("Closed")
                .to_owned(),
            (_, empty) => format!("whole, {}", if empty { "empty" } else { "with a body" }),
        };
        *seen.entry(kind).or_default() += 1;
    }
    for (kind, least) in [
        ("whole, empty", 100),
        ("whole, with a body", 300),
        ("Closed", 30),
        ("Head", 100),
        ("Length", 50),
        ("Encoding", 20),
        ("Chunk", 50),
        ("Trailers", 5),
    ] {
        let count = seen.get(kind).copied().unwrap_or_default();
        assert!(count >= least, "{kind}: {count} of {seen:?}");
    }
}

/// One answer of each kind, cut off at each byte, then the connection closed, reset, or silent.
#[test]
fn an_answer_that_is_cut_off_anywhere_is_what_hyper_takes_it_for() {
    let mut seen = [0; 4];
    for answer in [
        "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello",
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5;x\r\nhello\r\n1\r\n!\r\n0\r\nt: u\r\n\r\n",
        "HTTP/1.1 200 OK\r\nconnection: close\r\n\r\nhello",
        "HTTP/1.0 200 OK\r\nconnection: keep-alive\r\ncontent-length: 2\r\n\r\nok",
        "HTTP/1.1 204 No Content\r\n\r\nHTTP/1.1 200 OK\r\n",
    ] {
        for length in 0..=answer.len() {
            for end in [
                None,
                Some(Read::Ends),
                Some(Read::Fails(io::ErrorKind::ConnectionReset)),
            ] {
                let reads = whole(&answer.as_bytes()[..length], end);
                let ours = exchange("GET", "", reads.clone(), usize::MAX);
                let hypers = by_hyper("GET", reads.clone());
                assert!(
                    agree(&ours, &hypers),
                    "{reads:?}\nours:  {ours:?}\nhyper: {hypers:?}"
                );
                let kinds = ["Kept", "Whole", "Broken", "Waiting"];
                seen[kinds.iter().position(|of| *of == kind(&ours.end)).unwrap()] += 1;
            }
        }
    }
    assert!(seen.iter().all(|&count| count > 0), "{seen:?}");
}

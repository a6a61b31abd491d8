//! The bytes of our requests beside those that hyper's client sends for the same request, and read by hyper's server.

use std::{cell::RefCell, rc::Rc, sync::Mutex, task::Waker};

use http::{HeaderName, HeaderValue, Request, Uri, header, request::Parts};
use http_body_util::{BodyExt as _, Empty, Full};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use proptest::{collection::vec, prelude::*, sample::select};

use super::super::*;
use super::{
    hyper_answers::{Hyper, Shared},
    scripted::Scripted,
};
use crate::request::Plain;

/// What our connection writes.
fn ours(request: Request<Bytes>) -> Vec<u8> {
    let outgoing = Plain::new(request, None).unwrap();
    let mut http = Http1::new(Scripted::new(Vec::new(), usize::MAX));
    let mut cx = Context::from_waker(Waker::noop());
    let pending = std::pin::pin!(http.send(&outgoing, None)).poll(&mut cx);
    assert!(pending.is_pending(), "{pending:?}");
    http.stream.written
}

/// What hyper's connection writes: it is given the target as it goes into the request line, and the host.
fn hypers(request: Request<Bytes>) -> Vec<u8> {
    let outgoing = Plain::new(request.clone(), None).unwrap();
    let (mut parts, body) = request.into_parts();
    parts.uri = outgoing.target().path.as_str().parse().unwrap();
    parts.headers = outgoing.headers();
    let mut hyper = Hyper::new(Vec::new());
    hyper.exchange(Request::from_parts(parts, Full::new(body)));
    hyper.written()
}

/// What hyper's server reads, of one request and no more.
fn read(written: Vec<u8>) -> (Parts, Bytes) {
    let stream = Shared(Rc::new(RefCell::new(Scripted::asking(written))));
    let read = Rc::new(Mutex::new(Vec::new()));
    let service = service_fn(|request: Request<Incoming>| {
        let read = read.clone();
        async move {
            let (parts, body) = request.into_parts();
            let body = body.collect().await?.to_bytes();
            read.lock().unwrap().push((parts, body));
            hyper::Result::Ok(http::Response::new(Empty::<Bytes>::new()))
        }
    });
    {
        let mut server = std::pin::pin!(
            http1::Builder::new().serve_connection(TokioIo::new(stream.clone()), service)
        );
        let mut cx = Context::from_waker(Waker::noop());
        // All of it comes at once; then it reads, answers and waits for the next request.
        for _ in 0..100 {
            if let Poll::Ready(served) = server.as_mut().poll(&mut cx) {
                served.expect("a request");
                break;
            }
        }
        assert!(stream.0.borrow().reads.is_empty());
    }
    let mut read = std::mem::take(&mut *read.lock().unwrap());
    assert_eq!(read.len(), 1, "requests");
    read.remove(0)
}

/// Request line, header lines, body.
fn parts(written: &[u8]) -> (String, Vec<Vec<u8>>, Vec<u8>) {
    let end = memchr::memmem::find(written, b"\r\n\r\n").expect("the end of the head");
    let mut lines = Vec::new();
    let mut head = &written[..end];
    while let Some(at) = memchr::memmem::find(head, b"\r\n") {
        lines.push(head[..at].to_vec());
        head = &head[at + 2..];
    }
    lines.push(head.to_vec());
    let first = String::from_utf8(lines.remove(0)).unwrap();
    (first, lines, written[end + 4..].to_vec())
}

fn without_length(mut lines: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
    lines.retain(|line| !line.starts_with(b"content-length: "));
    lines
}

fn url() -> impl Strategy<Value = String> {
    let authority = select(vec![
        "h",
        "localhost:8080",
        "H.Example:80",
        "[::1]:9",
        "127.0.0.1",
        "user:pass@h:1",
        "h:",
    ]);
    // All that `http` lets into a path or a query.
    let path = select(vec![
        "",
        "/",
        "/a/b",
        "//a",
        "/a//b/../c;d=e",
        "/%20%C3%A9%2f",
        "/a:b@c!$&'()*+,=~-._",
        "/\"{}|^`",
        "/*",
    ]);
    let query = prop_oneof![
        1 => Just(String::new()),
        3 => "\\?[!$-;=?-~]{0,20}",
    ];
    let fragment = select(vec!["", "#", "#a?b"]);
    (authority, path, query, fragment).prop_map(|(a, b, c, d)| format!("http://{a}{b}{c}{d}"))
}

fn headers() -> impl Strategy<Value = Vec<(HeaderName, HeaderValue)>> {
    let name = prop_oneof![
        3 => "[!#$%&'*+.^_`|~0-9A-Za-z-]{1,12}".prop_map(|name| name.parse::<HeaderName>().unwrap()),
        2 => select(vec![
            header::HOST, header::USER_AGENT, header::ACCEPT, header::ACCEPT_ENCODING, header::AUTHORIZATION, header::COOKIE,
            header::CONTENT_TYPE, header::TE, header::RANGE, header::ORIGIN,
        ]),
    ];
    let value = vec(
        prop_oneof![8 => 0x20_u8..0x7f, 1 => 0x80_u8..=0xff, 1 => Just(b'\t')],
        0..20,
    );
    // Space around a value is no part of it for who reads it.
    let value = value.prop_map(|bytes| HeaderValue::from_bytes(bytes.trim_ascii()).unwrap());
    let known = select(vec![
        (header::EXPECT, "100-continue"),
        (header::CONNECTION, "close"),
        (header::CONNECTION, "keep-alive, te"),
        (header::TE, "trailers"),
        (header::UPGRADE, "h2c"),
    ]);
    let known = known.prop_map(|(name, value)| (name, HeaderValue::from_static(value)));
    vec(prop_oneof![5 => (name, value), 1 => known], 0..8)
}

fn request() -> impl Strategy<Value = Request<Bytes>> {
    let method = select(vec![
        "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PROPFIND", "x-y",
    ]);
    let body = prop_oneof![
        2 => Just(Vec::new()),
        4 => vec(any::<u8>(), 1..50),
        1 => (COPIED_BODY - 1..COPIED_BODY + 2).prop_map(|length| vec![b'x'; length]),
        1 => Just(vec![b'y'; 3 * COPIED_BODY]),
    ];
    (method, url(), headers(), body).prop_filter_map("a URL", |(method, url, headers, body)| {
        let uri: Uri = url.parse().ok()?;
        let mut request = Request::builder().method(method).uri(uri);
        for (name, value) in headers {
            request = request.header(name, value);
        }
        request.body(Bytes::from(body)).ok()
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2048, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_request_is_written_as_hyper_writes_it(request in request()) {
        let (line, lines, body) = parts(&ours(request.clone()));
        let (hypers_line, hypers_lines, hypers_body) = parts(&hypers(request.clone()));
        prop_assert_eq!(line, hypers_line);
        prop_assert_eq!(body, hypers_body);
        let length = format!("content-length: {}", request.body().len()).into_bytes();
        let said = |lines: &[Vec<u8>]| lines.iter().filter(|line| **line == length).count();
        if request.body().is_empty() {
            // RFC 9110, section 8.6: where a body is usual, the length of none should be said. hyper leaves it to its user.
            let usual = ["POST", "PUT", "PATCH"].contains(&request.method().as_str());
            prop_assert_eq!((said(&lines), said(&hypers_lines)), (usize::from(usual), 0));
        } else {
            prop_assert_eq!((said(&lines), said(&hypers_lines)), (1, 1));
        }
        // Where the length stands among the others is of no consequence (RFC 9110, section 5.3).
        prop_assert_eq!(without_length(lines), without_length(hypers_lines));
    }

    #[test]
    fn a_request_is_read_by_hyper_as_it_was_meant(request in request()) {
        let outgoing = Plain::new(request.clone(), None).unwrap();
        let (read, body) = read(ours(request.clone()));
        prop_assert_eq!(&read.method, request.method());
        prop_assert_eq!(read.uri.to_string(), outgoing.target().path.as_str());
        prop_assert_eq!(&body, request.body());
        let mut expected = outgoing.headers();
        let mut headers = read.headers;
        let length = headers.remove(header::CONTENT_LENGTH);
        expected.remove(header::CONTENT_LENGTH);
        prop_assert_eq!(headers, expected);
        let length = length.map_or(0, |value| value.to_str().unwrap().parse().unwrap());
        prop_assert_eq!(length, request.body().len());
    }
}

/// hyper believes what its user says of the body. We say what is so: a generator must not break its own connection.
#[test]
fn the_framing_is_ours_where_hyper_believes_its_user() {
    for (headers, body, our, hyper) in [
        (
            "transfer-encoding: chunked",
            "four",
            "content-length: 4\r\n\r\nfour",
            "transfer-encoding: chunked\r\n\r\n4\r\nfour\r\n0\r\n\r\n",
        ),
        (
            "transfer-encoding: gzip",
            "four",
            "content-length: 4\r\n\r\nfour",
            "transfer-encoding: gzip, chunked\r\n\r\n4\r\nfour\r\n0\r\n\r\n",
        ),
        (
            "content-length: 4\ncontent-length: 4",
            "four",
            "content-length: 4\r\n\r\nfour",
            "content-length: 4\r\ncontent-length: 4\r\n\r\nfour",
        ),
        (
            "content-length: 0",
            "",
            "content-length: 0\r\n\r\n",
            "content-length: 0\r\n\r\n",
        ),
    ] {
        let request = || {
            let mut request = Request::post("http://h/");
            for line in headers.lines() {
                let (name, value) = line.split_once(": ").unwrap();
                request = request.header(name, value);
            }
            request.body(Bytes::from_static(body.as_bytes())).unwrap()
        };
        let text = |written| {
            let text = String::from_utf8(written).unwrap();
            text.replace("POST / HTTP/1.1\r\n", "")
                .replace("host: h\r\n", "")
        };
        assert_eq!(text(ours(request())), our, "{headers:?}");
        assert_eq!(text(hypers(request())), hyper, "{headers:?}");
    }
    let wrong = Request::post("http://h/").header("content-length", "7");
    let (_, body) = read(ours(wrong.body(Bytes::from_static(b"four")).unwrap()));
    assert_eq!(body, "four");
}

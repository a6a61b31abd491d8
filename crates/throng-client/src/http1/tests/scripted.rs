//! A stream that does what a test says, what a careless server makes of a response, and what our connection makes of that.

use std::{collections::VecDeque, task::Waker};

use http::{HeaderMap, Request, Version};
use proptest::{prelude::*, sample::Index};

use super::super::*;
use crate::request::Plain;

/// What a stream does when it is read next. After the last one, nothing more comes.
#[derive(Debug, Clone)]
pub(super) enum Read {
    Come(Vec<u8>),
    NotYet,
    Fails(io::ErrorKind),
    Ends,
}

/// A stream that takes `room` bytes of what is written and fails then. Nothing comes before something was written.
pub(super) struct Scripted {
    pub(super) reads: VecDeque<Read>,
    pub(super) room: usize,
    pub(super) written: Vec<u8>,
    asked: bool,
}

impl Scripted {
    pub(super) fn new(reads: Vec<Read>, room: usize) -> Self {
        Self {
            reads: reads.into(),
            room,
            written: Vec::new(),
            asked: false,
        }
    }

    /// One that was asked already: what is read is a request.
    pub(super) fn asking(request: Vec<u8>) -> Self {
        Self {
            asked: true,
            ..Self::new(vec![Read::Come(request)], usize::MAX)
        }
    }
}

impl AsyncRead for Scripted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.asked {
            return Poll::Pending;
        }
        match self.reads.pop_front() {
            Some(Read::Come(mut bytes)) => {
                let rest = bytes.split_off(bytes.len().min(buf.remaining()));
                buf.put_slice(&bytes);
                if !rest.is_empty() {
                    self.reads.push_front(Read::Come(rest));
                }
            }
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
        self.asked = true;
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
pub(super) struct Answer {
    /// Nothing before the head has come.
    pub(super) head: Option<SeenHead>,
    pub(super) body: Vec<u8>,
    pub(super) end: End,
}

impl Answer {
    pub(super) const NONE: Self = Self {
        head: None,
        body: Vec::new(),
        end: End::Waiting,
    };

    pub(super) fn status(&self) -> Option<u16> {
        self.head.as_ref().map(|head| head.status)
    }
}

#[derive(Debug, PartialEq, Eq)]
pub(super) struct SeenHead {
    pub(super) status: u16,
    pub(super) version: Version,
    pub(super) headers: HeaderMap,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum End {
    /// It is whole, and the connection can serve again.
    Kept,
    /// It is whole.
    Whole,
    Broken(String),
    /// More is awaited.
    Waiting,
}

pub(super) const MOST_POLLS: usize = 1_000_000;

/// What our connection makes of it when a request is answered so.
pub(super) fn exchange(method: &str, body: &'static str, reads: Vec<Read>, room: usize) -> Answer {
    let request = Request::builder().method(method).uri("http://h/");
    let request = request.body(Bytes::from_static(body.as_bytes())).unwrap();
    let outgoing = Plain::new(request, None).unwrap();
    // Each takes at least one read, and after the last nothing changes.
    let polls = reads.len() + 1;
    let mut http = Http1::new(Scripted::new(reads, room));
    let mut answer = Answer::NONE;
    let mut cx = Context::from_waker(Waker::noop());
    let broken = |broken| End::Broken(format!("{broken:?}"));
    {
        let mut sent = std::pin::pin!(http.send(&outgoing, None));
        for _ in 0..polls {
            match sent.as_mut().poll(&mut cx) {
                Poll::Ready(Ok(head)) => {
                    answer.head = Some(SeenHead {
                        status: head.status.as_u16(),
                        version: head.version,
                        headers: head.headers,
                    });
                }
                Poll::Ready(Err(error)) => answer.end = broken(error),
                Poll::Pending => continue,
            }
            break;
        }
    }
    if answer.head.is_none() {
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
pub(super) fn pieces(bytes: &[u8], cuts: &[Index], end: Option<Read>) -> Vec<Read> {
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

pub(super) fn whole(bytes: &[u8], end: Option<Read>) -> Vec<Read> {
    let come = (!bytes.is_empty()).then(|| Read::Come(bytes.to_vec()));
    come.into_iter().chain(end).collect()
}

/// Something that a careless or hostile server does to a response.
#[derive(Debug, Clone)]
pub(super) enum Damage {
    Replace(Index, u8),
    Insert(Index, Vec<u8>),
    Remove(Index, Index),
}

pub(super) fn damage() -> impl Strategy<Value = Damage> {
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

pub(super) fn damaged(mut bytes: Vec<u8>, damages: Vec<Damage>) -> Vec<u8> {
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

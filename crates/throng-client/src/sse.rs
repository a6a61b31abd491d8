//! Server-sent events (WHATWG HTML, section 9.2.6), parsed piece by piece as the bytes arrive.
//!
//! Each event says when its last byte was there. The parser does not connect, reconnect or wait: it knows the last event
//! id and the reconnection time, and whoever reads the stream acts on them.

use std::{
    borrow::Cow,
    collections::VecDeque,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::{Bytes, BytesMut};

/// One event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// The event's type where the stream names one; without it, it is a `message`.
    pub name: Option<Bytes>,
    /// The `data` lines, joined by line feeds. Data of a single line shares the memory it was received in.
    pub data: Bytes,
    /// The last event id at this event: its own, or that of an earlier one. Empty and absent are the same.
    pub id: Option<Arc<str>>,
    /// When the blank line that ends the event was there.
    pub received: Instant,
}

impl Event {
    /// The data as text; invalid UTF-8 is replaced, as the specification wants.
    pub fn text(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(&self.data)
    }

    /// The event's type: `message` unless the stream names one.
    pub fn name(&self) -> Cow<'_, str> {
        match &self.name {
            Some(name) => String::from_utf8_lossy(name),
            None => Cow::Borrowed("message"),
        }
    }
}

/// An event, or a line of one, is larger than allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an event is larger than {limit} bytes")]
pub struct EventTooLarge {
    /// The limit in bytes.
    pub limit: usize,
}

/// An incremental parser: push bytes, take events.
#[derive(Debug)]
pub struct Parser {
    limit: usize,
    /// The start of a line whose end has not come.
    partial: BytesMut,
    /// The last piece ended with CR: an LF at the start of the next one belongs to it.
    after_cr: bool,
    /// No line has been seen: a byte order mark may come.
    at_start: bool,
    name: Option<Bytes>,
    data: Data,
    /// The id of the event that is being read; it counts once the event is whole, lest a cut-off one be skipped.
    id: Option<Arc<str>>,
    last_event_id: Option<Arc<str>>,
    retry: Option<Duration>,
    ready: VecDeque<Event>,
}

/// The data of the event that is being read.
#[derive(Debug, Default)]
enum Data {
    #[default]
    None,
    Line(Bytes),
    Lines(BytesMut),
}

impl Parser {
    /// A parser that refuses events of more than `limit` bytes.
    pub fn new(limit: usize) -> Self {
        Self {
            limit,
            partial: BytesMut::new(),
            after_cr: false,
            at_start: true,
            name: None,
            data: Data::None,
            id: None,
            last_event_id: None,
            retry: None,
            ready: VecDeque::new(),
        }
    }

    /// Takes in the bytes received at `at`.
    ///
    /// # Errors
    /// If an event grows beyond the limit; the parser is of no use afterwards.
    pub fn push(&mut self, mut bytes: Bytes, at: Instant) -> Result<(), EventTooLarge> {
        if self.after_cr && !bytes.is_empty() {
            self.after_cr = false;
            if bytes[0] == b'\n' {
                bytes = bytes.slice(1..);
            }
        }
        let mut start = 0;
        while let Some(length) = memchr::memchr2(b'\n', b'\r', &bytes[start..]) {
            let end = start + length;
            let line = if self.partial.is_empty() {
                bytes.slice(start..end)
            } else {
                self.partial.extend_from_slice(&bytes[start..end]);
                self.partial.split().freeze()
            };
            start = end + 1;
            if bytes[end] == b'\r' {
                match bytes.get(start) {
                    Some(b'\n') => start += 1,
                    Some(_) => {}
                    None => self.after_cr = true,
                }
            }
            self.line(line, at)?;
        }
        self.partial.extend_from_slice(&bytes[start..]);
        self.check(self.partial.len())
    }

    /// The next event, in the order received.
    pub(crate) fn next_event(&mut self) -> Option<Event> {
        self.ready.pop_front()
    }

    /// The id to resume from (the `Last-Event-ID` header), if the stream gave one.
    pub fn last_event_id(&self) -> Option<&str> {
        self.last_event_id.as_deref()
    }

    /// How long to wait before connecting again, if the stream said so.
    pub fn retry(&self) -> Option<Duration> {
        self.retry
    }

    fn check(&self, more: usize) -> Result<(), EventTooLarge> {
        let kept = match &self.data {
            Data::None => 0,
            Data::Line(line) => line.len(),
            Data::Lines(lines) => lines.len(),
        };
        if kept + more > self.limit {
            return Err(EventTooLarge { limit: self.limit });
        }
        Ok(())
    }

    fn line(&mut self, mut line: Bytes, at: Instant) -> Result<(), EventTooLarge> {
        if std::mem::take(&mut self.at_start) && line.starts_with(b"\xef\xbb\xbf") {
            line = line.slice(3..);
        }
        if line.is_empty() {
            self.dispatch(at);
            return Ok(());
        }
        let (field, value) = match memchr::memchr(b':', &line) {
            // A comment, commonly sent to keep the connection open.
            Some(0) => return Ok(()),
            Some(colon) => {
                let start = colon + 1 + usize::from(line.get(colon + 1) == Some(&b' '));
                (&line[..colon], line.slice(start..))
            }
            None => (&line[..], Bytes::new()),
        };
        match field {
            b"data" => {
                self.check(value.len() + 1)?;
                self.data = match std::mem::take(&mut self.data) {
                    Data::None => Data::Line(value),
                    Data::Line(first) => {
                        let mut lines = BytesMut::with_capacity(first.len() + 1 + value.len());
                        lines.extend_from_slice(&first);
                        Data::Lines(join(lines, &value))
                    }
                    Data::Lines(lines) => Data::Lines(join(lines, &value)),
                };
            }
            b"event" => self.name = (!value.is_empty()).then_some(value),
            b"id" if !value.contains(&0) => {
                self.id = (!value.is_empty()).then(|| String::from_utf8_lossy(&value).into());
            }
            b"retry" if !value.is_empty() && value.iter().all(u8::is_ascii_digit) => {
                // Only digits, so it is text; too many of them are no time to wait.
                if let Some(ms) = std::str::from_utf8(&value)
                    .ok()
                    .and_then(|text| text.parse().ok())
                {
                    self.retry = Some(Duration::from_millis(ms));
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn dispatch(&mut self, received: Instant) {
        let name = self.name.take();
        self.last_event_id.clone_from(&self.id);
        let data = match std::mem::take(&mut self.data) {
            // Without data nothing is dispatched, but an id counts: servers send such events to allow resumption.
            Data::None => return,
            Data::Line(line) => line,
            Data::Lines(lines) => lines.freeze(),
        };
        self.ready.push_back(Event {
            name,
            data,
            id: self.last_event_id.clone(),
            received,
        });
    }
}

fn join(mut lines: BytesMut, line: &[u8]) -> BytesMut {
    lines.extend_from_slice(b"\n");
    lines.extend_from_slice(line);
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(pieces: &[&[u8]]) -> (Vec<Event>, Parser) {
        let mut parser = Parser::new(1 << 20);
        let mut events = Vec::new();
        for piece in pieces {
            parser
                .push(Bytes::copy_from_slice(piece), Instant::now())
                .expect("small events");
            while let Some(event) = parser.next_event() {
                events.push(event);
            }
        }
        (events, parser)
    }

    fn summary(events: &[Event]) -> Vec<(String, String, Option<String>)> {
        events
            .iter()
            .map(|event| {
                (
                    event.name().into_owned(),
                    event.text().into_owned(),
                    event.id.as_deref().map(str::to_owned),
                )
            })
            .collect()
    }

    fn message(data: &str) -> (String, String, Option<String>) {
        ("message".to_owned(), data.to_owned(), None)
    }

    #[test]
    fn examples_of_the_specification() {
        let (events, _) = parse(&[b"data: YHOO\ndata: +2\ndata: 10\n\n"]);
        assert_eq!(summary(&events), [message("YHOO\n+2\n10")]);

        let (events, parser) = parse(&[
            b": test stream\n\ndata: first event\nid: 1\n\ndata:second event\nid\n\ndata:  third event\n\n",
        ]);
        assert_eq!(
            summary(&events),
            [
                ("message".into(), "first event".into(), Some("1".to_owned())),
                message("second event"),
                message(" third event"),
            ]
        );
        assert_eq!(parser.last_event_id(), None);

        let (events, _) = parse(&[b"data\n\ndata\ndata\n\ndata:"]);
        assert_eq!(summary(&events), [message(""), message("\n")]);

        let (events, _) = parse(&[b"data:test\n\ndata: test\n\n"]);
        assert_eq!(summary(&events), [message("test"), message("test")]);
    }

    #[test]
    fn every_line_ending_and_every_cut_gives_the_same_events() {
        let stream = "\u{feff}event: add\nid: 7\nretry: 250\ndata: {\"a\":\ndata: 1}\n\n: still here\n\ndata: b\u{fc}\n\n";
        let expected = vec![
            (
                "add".to_owned(),
                "{\"a\":\n1}".to_owned(),
                Some("7".to_owned()),
            ),
            (
                "message".to_owned(),
                "b\u{fc}".to_owned(),
                Some("7".to_owned()),
            ),
        ];
        for ending in ["\n", "\r", "\r\n"] {
            let stream = stream.replace('\n', ending);
            let bytes = stream.as_bytes();
            for cut in 0..=bytes.len() {
                let (events, parser) = parse(&[&bytes[..cut], &bytes[cut..]]);
                assert_eq!(summary(&events), expected, "{ending:?} cut at {cut}");
                assert_eq!(parser.retry(), Some(Duration::from_millis(250)));
            }
            let single: Vec<&[u8]> = bytes.chunks(1).collect();
            assert_eq!(summary(&parse(&single).0), expected, "{ending:?} bytewise");
        }
    }

    #[test]
    fn an_event_without_data_still_gives_the_id_to_resume_from() {
        let (events, parser) = parse(&[b"id: 4\nretry: 5x\n\nid: 5\ndata: cut of"]);
        assert_eq!(events, []);
        assert_eq!(parser.last_event_id(), Some("4"));
        assert_eq!(parser.retry(), None);
    }

    #[test]
    fn an_id_with_nul_is_ignored() {
        let (_, parser) = parse(&[b"id: 1\n\nid: a\0b\n\n"]);
        assert_eq!(parser.last_event_id(), Some("1"));
    }

    #[test]
    fn an_event_says_when_it_was_complete() {
        let mut parser = Parser::new(100);
        let start = Instant::now();
        let later = start + Duration::from_secs(1);
        parser
            .push(Bytes::from_static(b"data: a\n\ndata: b\n"), start)
            .unwrap();
        parser.push(Bytes::from_static(b"\n"), later).unwrap();
        assert_eq!(parser.next_event().unwrap().received, start);
        assert_eq!(parser.next_event().unwrap().received, later);
        assert_eq!(parser.next_event(), None);
    }

    #[test]
    fn data_of_one_line_is_not_copied() {
        let bytes = Bytes::from_static(b"event: message\r\ndata: {}\r\n\r\n");
        let mut parser = Parser::new(100);
        parser.push(bytes.clone(), Instant::now()).unwrap();
        let event = parser.next_event().unwrap();
        assert_eq!(event.data.as_ptr(), bytes[22..].as_ptr());
    }

    #[test]
    fn a_line_or_an_event_beyond_the_limit_is_refused() {
        let mut parser = Parser::new(10);
        let piece = Bytes::from_static(b"data: 0123");
        assert_eq!(parser.push(piece.clone(), Instant::now()), Ok(()));
        assert_eq!(
            parser.push(piece, Instant::now()),
            Err(EventTooLarge { limit: 10 })
        );
        let mut parser = Parser::new(10);
        let lines = Bytes::from_static(b"data: 0123\ndata: 0123\ndata: 0\n");
        assert_eq!(
            parser.push(lines, Instant::now()),
            Err(EventTooLarge { limit: 10 })
        );
    }
}

//! What HTTP adds to a step: statuses, and event streams. Streams are apart from latencies: how long a stream lasts says
//! nothing of how fast its server is.

use std::time::Duration;

use crate::{Latencies, StepId, UserId};

/// One event stream that was listened to.
#[derive(Debug, Clone, PartialEq)]
pub struct StreamSample {
    /// The step that listened.
    pub step: StepId,
    /// Who listened.
    pub user: UserId,
    /// When the stream was asked for.
    pub started: Duration,
    /// From then to the first event; `None` if none came.
    pub first_event: Option<Duration>,
    /// From each event to the next.
    pub gaps: Vec<Duration>,
    /// Events received.
    pub events: u64,
    /// Bytes received, all connections and heads included.
    pub bytes: u64,
    /// How often the stream was taken up again after it broke off.
    pub reconnects: u32,
    /// How it ended.
    pub end: StreamEnd,
}

/// How listening ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StreamEnd {
    /// With what it was for: the event waited for, or the number of events.
    Met,
    /// The time to listen was over.
    Window,
    /// The server ended the stream.
    Closed,
    /// The connection failed.
    Broken,
}

/// What is known about the streams of one step.
#[derive(Debug, Clone, Default)]
pub struct StreamTally {
    /// Streams that ended with what they were for.
    pub met: u64,
    /// Streams listened to until the time was over.
    pub window: u64,
    /// Streams that the server ended.
    pub closed: u64,
    /// Streams that broke.
    pub broken: u64,
    /// Events received.
    pub events: u64,
    /// Bytes received.
    pub bytes: u64,
    /// Streams taken up again.
    pub reconnects: u64,
    /// From the request to the first event.
    pub first_event: Latencies,
    /// From one event to the next.
    pub gaps: Latencies,
}

impl StreamTally {
    /// All streams.
    pub fn count(&self) -> u64 {
        self.met + self.window + self.closed + self.broken
    }

    pub(crate) fn add(&mut self, stream: &StreamSample) {
        *match stream.end {
            StreamEnd::Met => &mut self.met,
            StreamEnd::Window => &mut self.window,
            StreamEnd::Closed => &mut self.closed,
            StreamEnd::Broken => &mut self.broken,
        } += 1;
        self.events += stream.events;
        self.bytes += stream.bytes;
        self.reconnects += u64::from(stream.reconnects);
        if let Some(first) = stream.first_event {
            self.first_event.record(first);
        }
        for gap in &stream.gaps {
            self.gaps.record(*gap);
        }
    }

    /// Adds what another tally knows.
    pub fn merge(&mut self, other: &StreamTally) {
        self.met += other.met;
        self.window += other.window;
        self.closed += other.closed;
        self.broken += other.broken;
        self.events += other.events;
        self.bytes += other.bytes;
        self.reconnects += other.reconnects;
        self.first_event.merge(&other.first_event);
        self.gaps.merge(&other.gaps);
    }
}

/// How often each status was answered, in the order of the statuses.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Statuses(Vec<(u16, u64)>);

impl Statuses {
    pub(crate) fn add(&mut self, status: u16, count: u64) {
        // Almost always there is one, and it is the first.
        match self.0.binary_search_by_key(&status, |(known, _)| *known) {
            Ok(at) => self.0[at].1 += count,
            Err(at) => self.0.insert(at, (status, count)),
        }
    }

    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }

    /// Adds what another one counted.
    pub fn merge(&mut self, other: &Statuses) {
        for (status, count) in other.iter() {
            self.add(status, count);
        }
    }

    /// Each status and how often it was answered.
    pub fn iter(&self) -> impl Iterator<Item = (u16, u64)> {
        self.0.iter().copied()
    }

    /// Whether there was none: the step does not speak plain HTTP.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

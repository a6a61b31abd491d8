//! The journal: what reached the sandbox, request by request, and what it made of it.
//!
//! It is the ground truth for whatever a load generator reports, so nothing in it is sampled: counts
//! are kept exactly and for ever, entries in a ring whose losses are counted. It records, it does not
//! judge; planting trouble is the business of [`crate::knobs`], though both meet in [`layer`].

mod layer;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use serde::{Deserialize, Serialize};

pub(crate) use layer::{layered, not_found, percent_decoded};

/// The parsed W3C `baggage` header: keys and percent-decoded values.
pub type Baggage = BTreeMap<String, String>;

/// Which listener was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Server {
    /// The Nextcloud: its API and its OpenID provider.
    Nextcloud,
    /// The MCP server.
    Mcp,
    /// Integr8sCode.
    Integr8scode,
}

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It did what was asked.
    Ok,
    /// An MCP tool result with `isError`.
    ToolError,
    /// A JSON-RPC error.
    RpcError,
    /// An HTTP status of 400 or more.
    HttpError,
    /// A failure that a knob planted; [`Planted::error`] says which.
    PlantedError,
    /// The client went away before the answer was complete.
    Aborted,
}

/// What the knobs did to a request.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Planted {
    /// How long it was really held back, in nanoseconds (latency and stalls).
    pub latency_ns: u64,
    /// The planted failure: `http_503`, `tool_error`, `rpc_error`, `reset`, `lost_append`.
    pub error: Option<String>,
}

/// One request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// The running number, from 1, in the order of completion.
    pub seq: u64,
    /// Which listener was asked.
    pub server: Server,
    /// The HTTP method.
    pub method: String,
    /// The route template (`/ocs/v2.php/cloud/users/{id}`), or `(none)` where no route matched.
    pub route: Arc<str>,
    /// The HTTP status; 0 where no answer was sent.
    pub status: u16,
    /// The bytes of the answer's body that were handed to the connection.
    pub bytes: u64,
    /// The user that asked, once known.
    pub user: Option<Arc<str>>,
    /// The MCP tool, for `tools/call`.
    pub tool: Option<Arc<str>>,
    /// The JSON-RPC method, for MCP messages.
    pub rpc_method: Option<Arc<str>>,
    /// How it ended.
    pub outcome: Outcome,
    /// What the client said about the request.
    pub baggage: Baggage,
    /// When the request's head had arrived: `CLOCK_MONOTONIC` of this machine, in nanoseconds.
    pub started_ns: u64,
    /// When the answer was complete, on the same clock.
    pub ended_ns: u64,
    /// What was planted, if anything.
    pub planted: Option<Planted>,
}

/// What requests are counted by.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
struct CountKey {
    server: Server,
    phase: Option<Arc<str>>,
    step: Option<Arc<str>>,
    user: Option<Arc<str>>,
    tool: Option<Arc<str>>,
    rpc_method: Option<Arc<str>>,
    method: Arc<str>,
    route: Arc<str>,
    status: u16,
    outcome: Outcome,
    planted: Option<Arc<str>>,
}

/// How many requests were alike in all of these.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Count {
    /// Which listener was asked.
    pub server: Server,
    /// `throng.phase` of the baggage.
    pub phase: Option<Arc<str>>,
    /// `throng.step` of the baggage.
    pub step: Option<Arc<str>>,
    /// The user that asked.
    pub user: Option<Arc<str>>,
    /// The MCP tool.
    pub tool: Option<Arc<str>>,
    /// The JSON-RPC method.
    pub rpc_method: Option<Arc<str>>,
    /// The HTTP method.
    pub method: Arc<str>,
    /// The route template.
    pub route: Arc<str>,
    /// The HTTP status; 0 where no answer was sent.
    pub status: u16,
    /// How they ended.
    pub outcome: Outcome,
    /// The planted failure, if any.
    pub planted: Option<Arc<str>>,
    /// How many.
    pub count: u64,
}

/// All counts since the start or the last clearing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Requests that have ended.
    pub total: u64,
    /// Requests that have begun and not ended, open event streams included.
    pub in_flight: u64,
    /// Entries that the ring has dropped; the counts below still contain them.
    pub dropped: u64,
    /// The counts, sorted by their keys.
    pub counts: Vec<Count>,
}

/// A part of the journal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Page {
    /// The entries, in the order of completion.
    pub entries: Vec<Entry>,
    /// Pass this as `after` to get what follows.
    pub last: u64,
    /// Whether more entries follow already.
    pub more: bool,
    /// Entries that the ring has dropped since the start or the last clearing.
    pub dropped: u64,
}

/// The journal; clones share it.
#[derive(Clone, Debug)]
pub struct Journal(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    in_flight: AtomicU64,
    records: Mutex<Records>,
}

#[derive(Debug)]
struct Records {
    capacity: usize,
    next: u64,
    total: u64,
    dropped: u64,
    entries: VecDeque<Entry>,
    counts: HashMap<CountKey, u64>,
}

impl Journal {
    /// An empty journal that keeps the last `capacity` entries.
    pub fn new(capacity: usize) -> Self {
        Self(Arc::new(Shared {
            in_flight: AtomicU64::new(0),
            records: Mutex::new(Records {
                capacity,
                next: 1,
                total: 0,
                dropped: 0,
                entries: VecDeque::new(),
                counts: HashMap::new(),
            }),
        }))
    }

    fn records(&self) -> MutexGuard<'_, Records> {
        // The records stay consistent even where a holder panicked: each update is small and total.
        self.0
            .records
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// The entries with a number above `after`, at most `limit` of them.
    pub fn page(&self, after: u64, limit: usize) -> Page {
        let records = self.records();
        let begin = records.entries.partition_point(|entry| entry.seq <= after);
        let entries: Vec<Entry> = records
            .entries
            .iter()
            .skip(begin)
            .take(limit)
            .cloned()
            .collect();
        Page {
            last: entries.last().map_or(after, |entry| entry.seq),
            more: begin + entries.len() < records.entries.len(),
            dropped: records.dropped,
            entries,
        }
    }

    /// All entries that are still kept.
    pub fn entries(&self) -> Vec<Entry> {
        self.page(0, usize::MAX).entries
    }

    /// How many requests there were, by everything that tells them apart.
    pub fn counts(&self) -> Counts {
        let (total, dropped, mut counts) = {
            let records = self.records();
            let counts: Vec<_> = records
                .counts
                .iter()
                .map(|(key, count)| (key.clone(), *count))
                .collect();
            (records.total, records.dropped, counts)
        };
        counts.sort();
        Counts {
            total,
            in_flight: self.0.in_flight.load(Ordering::Relaxed),
            dropped,
            counts: counts
                .into_iter()
                .map(|(key, count)| Count {
                    server: key.server,
                    phase: key.phase,
                    step: key.step,
                    user: key.user,
                    tool: key.tool,
                    rpc_method: key.rpc_method,
                    method: key.method,
                    route: key.route,
                    status: key.status,
                    outcome: key.outcome,
                    planted: key.planted,
                    count,
                })
                .collect(),
        }
    }

    /// Forgets all entries and counts. Numbers go on, so that `after` stays valid.
    pub fn clear(&self) {
        let mut records = self.records();
        records.entries.clear();
        records.counts.clear();
        records.total = 0;
        records.dropped = 0;
    }

    /// Appends a finished request and gives it its number.
    fn push(&self, mut entry: Entry) {
        let key = CountKey {
            server: entry.server,
            phase: entry
                .baggage
                .get("throng.phase")
                .map(|value| value.as_str().into()),
            step: entry
                .baggage
                .get("throng.step")
                .map(|value| value.as_str().into()),
            user: entry.user.clone(),
            tool: entry.tool.clone(),
            rpc_method: entry.rpc_method.clone(),
            method: entry.method.as_str().into(),
            route: Arc::clone(&entry.route),
            status: entry.status,
            outcome: entry.outcome,
            planted: entry
                .planted
                .as_ref()
                .and_then(|planted| planted.error.as_deref())
                .map(Arc::from),
        };
        let mut records = self.records();
        entry.seq = records.next;
        records.next += 1;
        records.total += 1;
        *records.counts.entry(key).or_insert(0) += 1;
        if records.capacity == 0 {
            records.dropped += 1;
            return;
        }
        if records.entries.len() == records.capacity {
            records.entries.pop_front();
            records.dropped += 1;
        }
        records.entries.push_back(entry);
    }
}

/// What a handler knows about its request and the journal cannot see from outside.
///
/// It is in every request's extensions (also in the `http::request::Parts` that the MCP server hands
/// to its tools); clones write to the same entry.
#[derive(Clone, Debug, Default)]
pub(crate) struct Note(Arc<Noted>);

#[derive(Debug, Default)]
struct Noted {
    user: OnceLock<Arc<str>>,
    outcome: OnceLock<Outcome>,
    planted_error: OnceLock<String>,
}

impl Note {
    /// Names the user that asks; the first name stays.
    pub(crate) fn user(&self, user: &str) {
        self.0.user.get_or_init(|| user.into());
    }

    /// Says how it ended, where the HTTP status does not (a tool error in a 200); the first stays.
    pub(crate) fn outcome(&self, outcome: Outcome) {
        self.0.outcome.get_or_init(|| outcome);
    }

    /// Marks a failure that the handler itself planted without showing it (`lost_append`).
    pub(crate) fn planted(&self, error: &str) {
        self.0.planted_error.get_or_init(|| error.to_owned());
    }
}

/// `CLOCK_MONOTONIC` in nanoseconds: comparable between the processes of one machine.
pub(crate) fn monotonic_ns() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    // Both are never negative on this clock.
    now.tv_sec.unsigned_abs() * 1_000_000_000 + now.tv_nsec.unsigned_abs()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(user: &str, step: &str) -> Entry {
        Entry {
            seq: 0,
            server: Server::Mcp,
            method: "POST".to_owned(),
            route: "/mcp".into(),
            status: 200,
            bytes: 2,
            user: Some(user.into()),
            tool: None,
            rpc_method: None,
            outcome: Outcome::Ok,
            baggage: Baggage::from([("throng.step".to_owned(), step.to_owned())]),
            started_ns: 1,
            ended_ns: 2,
            planted: None,
        }
    }

    #[test]
    fn the_ring_drops_the_oldest_and_counts_stay_exact() {
        let journal = Journal::new(3);
        for number in 0..5 {
            journal.push(entry(if number % 2 == 0 { "alice" } else { "bob" }, "s"));
        }
        let page = journal.page(0, 10);
        assert_eq!(
            page.entries.iter().map(|e| e.seq).collect::<Vec<_>>(),
            [3, 4, 5]
        );
        assert_eq!((page.dropped, page.last, page.more), (2, 5, false));
        let counts = journal.counts();
        assert_eq!((counts.total, counts.dropped), (5, 2));
        let by_user: Vec<_> = counts
            .counts
            .iter()
            .map(|c| (c.user.as_deref(), c.count))
            .collect();
        assert_eq!(by_user, [(Some("alice"), 3), (Some("bob"), 2)]);
    }

    #[test]
    fn pages_follow_each_other_and_numbers_go_on_after_clearing() {
        let journal = Journal::new(10);
        for _ in 0..3 {
            journal.push(entry("alice", "s"));
        }
        let first = journal.page(0, 2);
        assert!(first.more);
        let second = journal.page(first.last, 2);
        assert_eq!(
            second.entries.iter().map(|e| e.seq).collect::<Vec<_>>(),
            [3]
        );
        assert!(!second.more);
        journal.clear();
        journal.push(entry("alice", "s"));
        assert_eq!(journal.page(second.last, 2).entries[0].seq, 4);
        assert_eq!(journal.counts().total, 1);
    }
}

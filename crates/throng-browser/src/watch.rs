//! What happens in a tab while nobody looks: pages requested, answered or failed, and requests kept from being sent.

use std::collections::HashMap;
use std::fmt;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use tokio::sync::watch;

/// One page that a tab requested, each redirect for itself.
#[derive(Clone)]
pub struct Visit {
    /// `GET` or `POST`.
    pub method: String,
    /// The address, with whatever secrets are in it.
    pub url: String,
    /// The answer's status; none if there was none yet.
    pub status: Option<u16>,
    /// Since the tab was opened ([`Tab::opened`](crate::Tab::opened)).
    pub started: Duration,
    /// Until the head of the answer, or until it failed.
    pub took: Option<Duration>,
}

impl fmt::Debug for Visit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ... {:?}", self.method, self.status)
    }
}

/// A page that could not be had.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LoadFailure {
    /// The certificate is not believed. With the browser's words.
    Certificate(String),
    /// Anything else about the connection. With the browser's words.
    Connection(String),
}

impl LoadFailure {
    /// By the browser's words.
    pub(crate) fn of(words: &str) -> Self {
        let text = words.to_ascii_lowercase();
        let certificate = [
            "cert",
            "sec_error_",
            "ssl_error_bad_cert",
            "mozilla_pkix_error_",
            "unacceptable tls",
        ];
        if certificate.iter().any(|known| text.contains(known)) {
            Self::Certificate(words.to_owned())
        } else {
            Self::Connection(words.to_owned())
        }
    }
}

/// A request that was not sent.
#[derive(Clone)]
pub struct Intercepted {
    /// Its whole address.
    pub url: String,
    /// Its body, where the browser shows it.
    pub body: String,
}

impl fmt::Debug for Intercepted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Intercepted(..)")
    }
}

/// What a tab's events add up to.
#[derive(Debug)]
pub(crate) struct Watch {
    born: Instant,
    state: Mutex<State>,
    changes: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct State {
    visits: Vec<Visit>,
    /// The visits whose answers are still to come, by the browser's name for the request.
    pages: HashMap<String, usize>,
    /// Other requests without an answer.
    others: HashMap<String, ()>,
    quiet_since: Option<Instant>,
    failure: Option<LoadFailure>,
    intercepted: Option<Intercepted>,
    dialogs: Vec<String>,
    crashed: bool,
}

impl Watch {
    pub(crate) fn new() -> Self {
        Self {
            born: Instant::now(),
            state: Mutex::default(),
            changes: watch::Sender::new(0),
        }
    }

    pub(crate) fn born(&self) -> Instant {
        self.born
    }

    fn with<T>(&self, change: impl FnOnce(&mut State, Duration) -> T) -> T {
        let mut state = self.state.lock().expect("no panic while locked");
        let result = change(&mut state, self.born.elapsed());
        state.quiet_since = (state.pages.is_empty() && state.others.is_empty())
            .then(|| state.quiet_since.unwrap_or_else(Instant::now));
        result
    }

    /// Something has changed that makes another look at the page worth while.
    pub(crate) fn bump(&self) {
        self.changes.send_modify(|count| *count += 1);
    }

    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// A page is requested. A redirect is a request of the same name.
    pub(crate) fn requested(&self, request: &str, method: &str, url: &str) {
        self.with(|state, now| {
            state.failure = None;
            state.pages.insert(request.to_owned(), state.visits.len());
            state.visits.push(Visit {
                method: method.to_owned(),
                url: url.to_owned(),
                status: None,
                started: now,
                took: None,
            });
        });
    }

    /// The head of a page's answer has come.
    pub(crate) fn answered(&self, request: &str, status: Option<u16>) {
        self.with(|state, now| {
            if let Some(visit) = state
                .pages
                .get(request)
                .and_then(|at| state.visits.get_mut(*at))
            {
                visit.status = status;
                visit.took.get_or_insert(now.saturating_sub(visit.started));
            }
        });
    }

    /// A page was opened, or seen, that no event told of: it may be the one that was opened last.
    pub(crate) fn seen(
        &self,
        method: &str,
        url: &str,
        status: Option<u16>,
        took: Option<Duration>,
    ) {
        self.with(|state, now| {
            if let Some(last) = state.visits.last_mut()
                && last.url == url
                && last.took.is_none()
            {
                (last.status, last.took) = (status, took);
                return;
            }
            state.visits.push(Visit {
                method: method.to_owned(),
                url: url.to_owned(),
                status,
                started: now.saturating_sub(took.unwrap_or_default()),
                took,
            });
        });
    }

    /// Something that is no page is requested.
    pub(crate) fn requested_other(&self, request: &str) {
        self.with(|state, _| state.others.insert(request.to_owned(), ()));
    }

    /// A request has ended, one way or the other.
    pub(crate) fn ended(&self, request: &str, failure: Option<LoadFailure>) {
        let quiet = self.with(|state, now| {
            state.others.remove(request);
            if let Some(at) = state.pages.remove(request) {
                if let Some(visit) = state.visits.get_mut(at) {
                    visit.took.get_or_insert(now.saturating_sub(visit.started));
                }
                // A page that another one takes the place of is cancelled; the last one counts.
                if failure.is_some() && at + 1 == state.visits.len() {
                    state.failure = failure;
                }
            }
            state.pages.is_empty() && state.others.is_empty()
        });
        if quiet {
            self.bump();
        }
    }

    pub(crate) fn fail(&self, failure: LoadFailure) {
        self.with(|state, _| state.failure = Some(failure));
        self.bump();
    }

    pub(crate) fn intercept(&self, url: &str, body: &str) {
        self.with(|state, _| {
            state.intercepted.get_or_insert(Intercepted {
                url: url.to_owned(),
                body: body.to_owned(),
            });
        });
        self.bump();
    }

    pub(crate) fn dialog(&self, text: &str) {
        self.with(|state, _| state.dialogs.push(text.to_owned()));
        self.bump();
    }

    pub(crate) fn crash(&self) {
        self.with(|state, _| state.crashed = true);
        self.bump();
    }

    pub(crate) fn visits(&self) -> Vec<Visit> {
        self.with(|state, _| state.visits.clone())
    }

    pub(crate) fn failure(&self) -> Option<LoadFailure> {
        self.with(|state, _| state.failure.clone())
    }

    pub(crate) fn intercepted(&self) -> Option<Intercepted> {
        self.with(|state, _| state.intercepted.clone())
    }

    pub(crate) fn dialogs(&self) -> Vec<String> {
        self.with(|state, _| state.dialogs.clone())
    }

    pub(crate) fn has_crashed(&self) -> bool {
        self.with(|state, _| state.crashed)
    }

    /// For how long nothing has been under way; none while something is.
    pub(crate) fn quiet_for(&self) -> Option<Duration> {
        self.with(|state, _| state.quiet_since.map(|since| since.elapsed()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn redirects_are_visits_of_their_own_and_only_the_last_failure_counts() {
        let watch = Watch::new();
        assert!(watch.quiet_for().is_some() || watch.visits().is_empty());
        watch.requested("1", "GET", "http://h/a");
        watch.answered("1", Some(302));
        watch.requested("1", "GET", "http://h/b");
        watch.requested("2", "GET", "http://h/c");
        assert_eq!(watch.quiet_for(), None);
        watch.ended("1", Some(LoadFailure::of("net::ERR_ABORTED")));
        assert_eq!(watch.failure(), None, "another page took its place");
        watch.ended(
            "2",
            Some(LoadFailure::of("net::ERR_CERT_AUTHORITY_INVALID")),
        );
        assert!(matches!(watch.failure(), Some(LoadFailure::Certificate(_))));
        assert!(watch.quiet_for().is_some());
        let statuses: Vec<_> = watch.visits().iter().map(|visit| visit.status).collect();
        assert_eq!(statuses, [Some(302), None, None]);
        assert!(!format!("{:?}", watch.visits()).contains("http"));
    }
}

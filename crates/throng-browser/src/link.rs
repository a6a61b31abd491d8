//! Commands and their answers over one connection to a browser: numbered, in any order, with events between them. The Chrome
//! DevTools Protocol and WebDriver BiDi share this shape.

use std::collections::HashMap;
use std::fmt;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;

use crate::error::BrowserError;

/// Messages on their way to the browser. Commands are answered before a tab sends the next, so that this never fills up.
const QUEUE: usize = 1024;

/// What is done with an event of a tab: its name and its parameters.
pub(crate) type Route = Arc<dyn Fn(&Link, &str, &Value) + Send + Sync>;

/// Where messages come from.
pub(crate) type Incoming = Pin<Box<dyn Future<Output = Option<String>> + Send>>;

/// One connection. A clone is the same one.
#[derive(Clone)]
pub(crate) struct Link(Arc<Shared>);

struct Shared {
    next: AtomicU64,
    out: mpsc::Sender<String>,
    waiting: Mutex<HashMap<u64, oneshot::Sender<Result<Value, String>>>>,
    routes: Mutex<HashMap<String, Route>>,
    closed: AtomicBool,
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link").finish_non_exhaustive()
    }
}

impl Link {
    /// A connection whose messages go to `out`, and whose incoming ones are given to [`Link::take`].
    pub(crate) fn new() -> (Self, mpsc::Receiver<String>) {
        let (out, outgoing) = mpsc::channel(QUEUE);
        let link = Self(Arc::new(Shared {
            next: AtomicU64::new(1),
            out,
            waiting: Mutex::default(),
            routes: Mutex::default(),
            closed: AtomicBool::new(false),
        }));
        (link, outgoing)
    }

    /// Reads messages until there are no more.
    pub(crate) fn read_all(
        &self,
        tasks: &mut JoinSet<()>,
        mut read: impl FnMut() -> Incoming + Send + 'static,
    ) {
        let link = self.clone();
        tasks.spawn(async move {
            while let Some(message) = read().await {
                link.take(&message);
            }
            link.close();
        });
    }

    /// One message of the browser's.
    pub(crate) fn take(&self, message: &str) {
        let Ok(message) = serde_json::from_str::<Value>(message) else {
            tracing::warn!("a browser sent something that is no JSON");
            return;
        };
        if let Some(id) = message["id"].as_u64() {
            let waiting = self
                .0
                .waiting
                .lock()
                .expect("no panic while locked")
                .remove(&id);
            let Some(waiting) = waiting else { return };
            let answer = match &message["error"] {
                Value::Null => Ok(message["result"].clone()),
                // BiDi has the message beside the error's name.
                Value::String(name) => Err(format!(
                    "{name}: {}",
                    message["message"].as_str().unwrap_or_default()
                )),
                error => Err(error["message"].as_str().unwrap_or_default().to_owned()),
            };
            // Who no longer waits has given the command up.
            let _ = waiting.send(answer);
            return;
        }
        let Some(method) = message["method"].as_str() else {
            return;
        };
        let params = &message["params"];
        let of = message["sessionId"]
            .as_str()
            .or_else(|| params["context"].as_str())
            .or_else(|| params["targetId"].as_str());
        let route = of.and_then(|of| {
            let routes = self.0.routes.lock().expect("no panic while locked");
            routes.get(of).cloned()
        });
        if let Some(route) = route {
            route(self, method, params);
        }
    }

    /// Nothing more will come.
    fn close(&self) {
        self.0.closed.store(true, Ordering::Release);
        self.0
            .waiting
            .lock()
            .expect("no panic while locked")
            .clear();
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.0.closed.load(Ordering::Acquire)
    }

    /// What is done with the events of a tab or session.
    pub(crate) fn route(&self, of: &str, route: Route) {
        let mut routes = self.0.routes.lock().expect("no panic while locked");
        routes.insert(of.to_owned(), route);
    }

    pub(crate) fn forget(&self, of: &str) {
        self.0
            .routes
            .lock()
            .expect("no panic while locked")
            .remove(of);
    }

    fn message(id: u64, session: Option<&str>, method: &str, params: &Value) -> String {
        let mut message = json!({ "id": id, "method": method, "params": params });
        if let Some(session) = session {
            message["sessionId"] = session.into();
        }
        message.to_string()
    }

    /// Sends a command whose answer nobody needs.
    pub(crate) fn post(&self, session: Option<&str>, method: &str, params: &Value) {
        let id = self.0.next.fetch_add(1, Ordering::Relaxed);
        if self
            .0
            .out
            .try_send(Self::message(id, session, method, params))
            .is_err()
        {
            tracing::warn!(method, "a command to a browser was lost");
        }
    }

    /// Sends a command and waits for its answer.
    pub(crate) async fn call(
        &self,
        session: Option<&str>,
        method: &str,
        params: Value,
        limit: Duration,
    ) -> Result<Value, BrowserError> {
        let id = self.0.next.fetch_add(1, Ordering::Relaxed);
        let (answer, answered) = oneshot::channel();
        self.0
            .waiting
            .lock()
            .expect("no panic while locked")
            .insert(id, answer);
        let refused = |reason: String| BrowserError::Refused {
            command: method.to_owned(),
            reason,
        };
        let forget = || {
            let mut waiting = self.0.waiting.lock().expect("no panic while locked");
            waiting.remove(&id);
        };
        let gone = || {
            forget();
            refused("the connection to the browser is gone".to_owned())
        };
        if self.is_closed() {
            return Err(gone());
        }
        let message = Self::message(id, session, method, &params);
        if self.0.out.send(message).await.is_err() {
            return Err(gone());
        }
        match tokio::time::timeout(limit, answered).await {
            Ok(Ok(Ok(result))) => Ok(result),
            Ok(Ok(Err(reason))) => Err(refused(reason)),
            Ok(Err(_)) => Err(gone()),
            Err(_) => {
                forget();
                Err(BrowserError::Silent {
                    command: method.to_owned(),
                    waited: limit,
                })
            }
        }
    }
}

/// A text of an answer; empty where there is none.
pub(crate) fn text(value: &Value, key: &str) -> String {
    value[key].as_str().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn answers_find_their_commands_and_events_their_routes() {
        let (link, mut outgoing) = Link::new();
        let (seen, mut events) = mpsc::channel::<String>(4);
        link.route(
            "tab",
            Arc::new(move |_, method, _| seen.try_send(method.to_owned()).unwrap()),
        );
        let limit = Duration::from_secs(5);
        let first = link.call(None, "a", json!({}), limit);
        let second = link.call(Some("tab"), "b", json!({}), limit);
        let browser = async {
            let mut ids = Vec::new();
            for _ in 0..2 {
                let message: Value = serde_json::from_str(&outgoing.recv().await.unwrap()).unwrap();
                ids.push(message["id"].as_u64().unwrap());
            }
            link.take(r#"{"method":"Page.load","sessionId":"tab","params":{}}"#);
            link.take(r#"{"method":"load","params":{"context":"tab"}}"#);
            link.take(r#"{"method":"lost","params":{"context":"other"}}"#);
            link.take(
                &json!({ "id": ids[1], "error": { "message": "no such thing" } }).to_string(),
            );
            link.take(&json!({ "id": ids[0], "result": { "x": 1 } }).to_string());
        };
        let (first, second, ()) = tokio::join!(first, second, browser);
        assert_eq!(first.unwrap()["x"], 1);
        let error = second.unwrap_err().to_string();
        assert_eq!(error, "the browser refused b: no such thing");
        assert_eq!(events.recv().await.unwrap(), "Page.load");
        assert_eq!(events.recv().await.unwrap(), "load");
        link.close();
        assert!(events.try_recv().is_err());
        assert!(link.call(None, "c", json!({}), limit).await.is_err());
    }
}

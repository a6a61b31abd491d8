//! A tab with cookies and storage of its own, whichever browser it is of.

use std::fmt;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::sync::watch;

use crate::chromium;
use crate::error::BrowserError;
use crate::firefox;
use crate::watch::{Intercepted, LoadFailure, Visit, Watch};
use crate::webkit;

/// Covers what is secret before a picture is taken: passwords, given texts wherever they stand, and whatever looks like a token.
/// Frames of other origins can't be looked into and are covered whole.
const HIDE: &str = include_str!("hide.js");

/// A cookie as a browser keeps it. `Debug` leaves the value out.
#[derive(Clone, PartialEq, Eq)]
pub struct Cookie {
    /// Its name.
    pub name: String,
    /// Its value.
    pub value: String,
    /// The host, with a dot before it where it is also for hosts below.
    pub domain: String,
    /// The path.
    pub path: String,
    /// Only over encrypted connections.
    pub secure: bool,
    /// Not for scripts.
    pub http_only: bool,
    /// Seconds since 1970 at which it ends; none with the session.
    pub expires: Option<i64>,
}

impl fmt::Debug for Cookie {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}=... of {}{}", self.name, self.domain, self.path)
    }
}

impl Cookie {
    /// From a browser's description, which differ only in the names of two keys.
    pub(crate) fn read(value: &Value) -> Option<Self> {
        let text = |key: &str| value[key].as_str().map(str::to_owned);
        let content = match &value["value"] {
            Value::String(content) => content.clone(),
            // Bytes that are no text, and go as they are into no header of ours either.
            content if content["type"] == "base64" => return None,
            content => content["value"].as_str()?.to_owned(),
        };
        let expires = value.get("expires").or_else(|| value.get("expiry"));
        let expires = expires.and_then(Value::as_f64).filter(|at| *at > 0.0);
        Some(Self {
            name: text("name")?,
            value: content,
            domain: text("domain")?,
            path: text("path").unwrap_or_else(|| "/".to_owned()),
            secure: value["secure"].as_bool().unwrap_or(false),
            http_only: value["httpOnly"].as_bool().unwrap_or(false),
            expires: expires.map(|at| at as i64),
        })
    }
}

/// A tab. Dropping it lets the browser keep what it has until it ends; [`Tab::close`] takes it away.
#[derive(Debug)]
pub struct Tab {
    kind: Kind,
    changes: watch::Receiver<u64>,
}

#[derive(Debug)]
pub(crate) enum Kind {
    Chromium(chromium::Tab),
    Firefox(firefox::Tab),
    Webkit(Box<webkit::Tab>),
}

impl Tab {
    pub(crate) fn new(kind: Kind) -> Self {
        let changes = kind.watch().changes();
        Self { kind, changes }
    }

    /// Goes to an address. Returns when the browser has begun to, or knows that it can't ([`Tab::failure`]).
    ///
    /// # Errors
    /// The browser refuses, or has gone.
    pub async fn open(&self, url: &str) -> Result<(), BrowserError> {
        match &self.kind {
            Kind::Chromium(tab) => tab.open(url).await,
            Kind::Firefox(tab) => tab.open(url).await,
            Kind::Webkit(tab) => tab.open(url).await,
        }
    }

    /// The value of an expression in the page, as JSON. Promises are waited for.
    ///
    /// # Errors
    /// It threw, the page went away ([`BrowserError::is_page_change`]), or the browser did.
    pub async fn evaluate(&self, expression: &str) -> Result<Value, BrowserError> {
        // As text: three protocols describe values in three ways.
        let expression = format!("(async () => JSON.stringify((await ({expression})) ?? null))()");
        let text = match &self.kind {
            Kind::Chromium(tab) => tab.evaluate(&expression).await?,
            Kind::Firefox(tab) => tab.evaluate(&expression).await?,
            Kind::Webkit(tab) => tab.evaluate(&expression).await?,
        };
        serde_json::from_str(&text)
            .map_err(|_| BrowserError::Script("it gave something that is no JSON".to_owned()))
    }

    /// A picture of what is seen, as PNG, with passwords, `secrets` and whatever looks like a token covered. The page is not
    /// itself afterwards.
    ///
    /// # Errors
    /// Nothing is pictured unless everything could be covered.
    pub async fn picture(&self, secrets: &[&str]) -> Result<Vec<u8>, BrowserError> {
        let hidden = self
            .evaluate(&format!("({HIDE})({})", json!(secrets)))
            .await?;
        if hidden != Value::Bool(true) {
            return Err(BrowserError::Script(
                "the page's secrets could not be covered".to_owned(),
            ));
        }
        let encoded = match &self.kind {
            Kind::Chromium(tab) => tab.picture().await?,
            Kind::Firefox(tab) => tab.picture().await?,
            Kind::Webkit(tab) => tab.picture().await?,
        };
        base64::Engine::decode(&base64::engine::general_purpose::STANDARD, encoded)
            .map_err(|_| BrowserError::Script("the picture is no base64".to_owned()))
    }

    /// All cookies of this tab, `HttpOnly` ones included; of WebKit those that the page at hand would get.
    ///
    /// # Errors
    /// The browser refuses, or has gone.
    pub async fn cookies(&self) -> Result<Vec<Cookie>, BrowserError> {
        match &self.kind {
            Kind::Chromium(tab) => tab.cookies().await,
            Kind::Firefox(tab) => tab.cookies().await,
            Kind::Webkit(tab) => tab.cookies().await,
        }
    }

    /// Waits until something has happened in the tab since the last call, or `limit` has passed.
    pub async fn changed(&mut self, limit: Duration) {
        // The sender lives as long as the tab.
        let _elapsed = tokio::time::timeout(limit, self.changes.changed()).await;
    }

    /// Notes a page that no event told of; for browsers that tell of all, this does nothing.
    pub fn note_page(&self, method: &str, url: &str, status: Option<u16>, took: Option<Duration>) {
        if let Kind::Webkit(tab) = &self.kind {
            tab.watch().seen(method, url, status, took);
        }
    }

    /// Since when visits are counted.
    pub fn opened(&self) -> Instant {
        self.kind.watch().born()
    }

    /// The pages requested so far. WebKit tells of no redirects, only of pages that were looked at ([`Tab::note_page`]).
    pub fn visits(&self) -> Vec<Visit> {
        self.kind.watch().visits()
    }

    /// Why the page that was asked for last could not be had, if it couldn't. WebKit doesn't tell ([`Tab::tells_all`]).
    pub fn failure(&self) -> Option<LoadFailure> {
        self.kind.watch().failure()
    }

    /// The first request that was kept from being sent.
    pub fn intercepted(&self) -> Option<Intercepted> {
        self.kind.watch().intercepted()
    }

    /// What the page's dialogs said; they were accepted.
    pub fn dialogs(&self) -> Vec<String> {
        self.kind.watch().dialogs()
    }

    /// Whether the page's process crashed.
    pub fn has_crashed(&self) -> bool {
        self.kind.watch().has_crashed()
    }

    /// For how long nothing has been under way; none while something is. WebKit doesn't tell.
    pub fn quiet_for(&self) -> Option<Duration> {
        match &self.kind {
            Kind::Webkit(_) => None,
            kind => kind.watch().quiet_for(),
        }
    }

    /// Whether the browser tells of each request and of what becomes of it. WebKit doesn't: what it can't get leaves its tab at
    /// `about:blank`, or where it was, without a word.
    pub fn tells_all(&self) -> bool {
        !matches!(self.kind, Kind::Webkit(_))
    }

    /// Closes the tab and forgets its cookies and storage.
    ///
    /// # Errors
    /// The browser refuses, or has gone.
    pub async fn close(self) -> Result<(), BrowserError> {
        match self.kind {
            Kind::Chromium(tab) => tab.close().await,
            Kind::Firefox(tab) => tab.close().await,
            Kind::Webkit(tab) => tab.close().await,
        }
    }
}

impl Kind {
    fn watch(&self) -> &Watch {
        match self {
            Self::Chromium(tab) => tab.watch(),
            Self::Firefox(tab) => tab.watch(),
            Self::Webkit(tab) => tab.watch(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cookies_of_all_protocols_are_read_and_never_shown() {
        let of_chromium = json!({ "name": "s", "value": "v4lue", "domain": "h", "path": "/", "expires": -1, "httpOnly": true });
        let of_firefox = json!({ "name": "s", "value": { "type": "string", "value": "v4lue" }, "domain": "h", "path": "/", "httpOnly": true });
        let of_webkit = json!({ "name": "s", "value": "v4lue", "domain": "h", "path": "/", "httpOnly": true, "expiry": 0 });
        let read = [of_chromium, of_firefox, of_webkit].map(|value| Cookie::read(&value).unwrap());
        assert_eq!(read[0], read[1]);
        assert_eq!(read[0], read[2]);
        assert!(read[0].http_only && read[0].expires.is_none());
        assert!(!format!("{read:?}").contains("v4lue"));
        let no_text = json!({ "name": "s", "value": { "type": "base64", "value": "5A==" }, "domain": "h", "path": "/" });
        assert_eq!(Cookie::read(&no_text), None);
    }
}

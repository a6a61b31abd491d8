//! One identity's cookie jar (RFC 6265).
//!
//! A jar belongs to exactly one identity. Cloning the handle shares the jar, which is why only
//! [`Client::with_cookies`](crate::Client::with_cookies) makes one.

use std::{fmt, sync::Mutex};

use cookie_store::{CookieStore, RawCookie};
use http::{HeaderMap, HeaderValue, header};
use url::Url;

/// Cookies as a browser would keep them: by domain and path, with expiry, `Secure` and host-only rules.
///
/// Ports do not separate cookies (RFC 6265, section 8.5). `Debug` shows only how many there are: values are secrets.
#[derive(Default)]
pub struct Jar {
    store: Mutex<CookieStore>,
}

impl Jar {
    /// An empty jar.
    pub fn new() -> Self {
        Self::default()
    }

    /// The value of the `Cookie` header for a request to `url`, or `None` if no cookie applies.
    pub fn header(&self, url: &Url) -> Option<HeaderValue> {
        let store = self.lock();
        let mut text = String::new();
        for (name, value) in store.get_request_values(url) {
            if !text.is_empty() {
                text.push_str("; ");
            }
            text.push_str(name);
            text.push('=');
            text.push_str(value);
        }
        if text.is_empty() {
            return None;
        }
        // A server may have set bytes that no header may carry; such a cookie could never be sent back.
        let mut value = HeaderValue::from_str(&text).ok()?;
        value.set_sensitive(true);
        Some(value)
    }

    /// Keeps what the `Set-Cookie` headers of a response from `url` say; unusable ones are ignored, as browsers do.
    pub fn store(&self, url: &Url, headers: &HeaderMap) {
        let mut received = headers.get_all(header::SET_COOKIE).iter().peekable();
        if received.peek().is_none() {
            return;
        }
        let cookies = received
            .filter_map(|value| std::str::from_utf8(value.as_bytes()).ok())
            .filter_map(|text| RawCookie::parse(text.to_owned()).ok());
        self.lock().store_response_cookies(cookies, url);
    }

    /// The value of the cookie `name` that a request to `url` would carry.
    pub fn get(&self, url: &Url, name: &str) -> Option<String> {
        let store = self.lock();
        store
            .get_request_values(url)
            .find(|(found, _)| *found == name)
            .map(|(_, value)| value.to_owned())
    }

    /// Forgets every cookie.
    pub fn clear(&self) {
        self.lock().clear();
    }

    /// How many unexpired cookies there are.
    pub fn len(&self) -> usize {
        self.lock().iter_unexpired().count()
    }

    /// Whether there is no unexpired cookie.
    pub fn is_empty(&self) -> bool {
        self.lock().iter_unexpired().next().is_none()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, CookieStore> {
        // The store is never left half-changed by a panic of ours: no foreign code runs under the lock.
        self.store
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl fmt::Debug for Jar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Jar").field("cookies", &self.len()).finish()
    }
}

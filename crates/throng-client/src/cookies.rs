//! One identity's cookie jar (RFC 6265).
//!
//! A jar belongs to exactly one identity. Cloning the handle shares the jar, which is why only
//! [`Client::with_cookies`](crate::Client::with_cookies) makes one.

use std::{
    collections::HashSet,
    fmt,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, SystemTime},
};

use cookie_store::{Cookie, CookieExpiration, CookieStore, RawCookie};
use http::{HeaderMap, HeaderValue, header};
use url::Url;

use crate::request::Target;
use crate::spelling;

/// Cookies as a browser would keep them: by domain and path, with expiry, `Secure` and host-only rules.
///
/// Ports do not separate cookies (RFC 6265, section 8.5). `Debug` shows only how many there are: values are secrets.
#[derive(Default)]
pub struct Jar {
    state: Mutex<State>,
    /// Something has been stored. Spares most users of a target without cookies the look.
    used: AtomicBool,
}

#[derive(Default)]
struct State {
    store: CookieStore,
    /// What went with the last request, where it may go with the next one too.
    kept: Option<Kept>,
}

/// What goes with each request to an origin, whatever its path. Looking it up anew for each request costs as much as
/// everything else that a client does with its headers.
struct Kept {
    origin: Arc<str>,
    sent: Sent,
    /// When the first cookie of the jar ends.
    until: Option<SystemTime>,
}

impl Kept {
    /// `None` where the path matters: some cookie of the jar, wherever it goes, is for a part of its host only.
    fn of(store: &CookieStore, origin: &Arc<str>, sent: &Sent) -> Option<Self> {
        let mut until = None;
        for cookie in store.iter_unexpired() {
            if &*cookie.path != "/" {
                return None;
            }
            if let CookieExpiration::AtUtc(end) = cookie.expires {
                let seconds = u64::try_from(end.unix_timestamp()).ok()?;
                let end = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
                until = Some(until.map_or(end, |first: SystemTime| first.min(end)));
            }
        }
        Some(Self {
            origin: origin.clone(),
            sent: sent.clone(),
            until,
        })
    }

    fn serves(&self, origin: &Arc<str>, now: impl FnOnce() -> SystemTime) -> bool {
        (Arc::ptr_eq(&self.origin, origin) || self.origin == *origin)
            && self.until.is_none_or(|end| now() < end)
    }
}

/// What of a jar goes with a request.
#[derive(Clone, Default)]
pub(crate) struct Sent {
    /// The value of the `Cookie` header; none without cookies.
    pub(crate) header: Option<HeaderValue>,
    /// Each cookie's name and value.
    cookies: Arc<[(String, HeaderValue)]>,
}

impl Sent {
    /// The value of the cookie of this name.
    pub(crate) fn value(&self, name: &str) -> Option<&HeaderValue> {
        let found = self.cookies.iter().find(|(of, _)| of == name)?;
        Some(&found.1)
    }
}

/// Which cookies there were at some moment. Not `Debug`: their values are secrets.
pub struct Snapshot(HashSet<String>);

impl Snapshot {
    fn of(store: &CookieStore) -> Self {
        let cookies = store.iter_unexpired().map(|cookie| {
            let domain = String::from(&cookie.domain);
            let (name, value) = cookie.name_value();
            format!("{domain} {} {name}={value}", &*cookie.path)
        });
        Self(cookies.collect())
    }
}

impl Jar {
    /// An empty jar.
    pub fn new() -> Self {
        Self::default()
    }

    /// The value of the `Cookie` header for a request to `url`, or `None` if no cookie applies.
    pub fn header(&self, url: &Url) -> Option<HeaderValue> {
        put_together(&self.lock().store, url).header
    }

    /// What goes with a request.
    pub(crate) fn sent_to(&self, target: &Target) -> Sent {
        let mut state = self.lock();
        let origin = target.origin.text();
        if let Some(kept) = &state.kept
            && kept.serves(origin, SystemTime::now)
        {
            return kept.sent.clone();
        }
        let sent = match target.url() {
            Some(url) => put_together(&state.store, &url),
            None => Sent::default(),
        };
        state.kept = Kept::of(&state.store, origin, &sent);
        sent
    }

    /// Whether no server has ever set a cookie.
    pub(crate) fn never_used(&self) -> bool {
        !self.used.load(Ordering::Relaxed)
    }

    /// Keeps what the `Set-Cookie` headers of a response from `url` say; unusable ones are ignored, as browsers do.
    pub fn store(&self, url: &Url, headers: &HeaderMap) {
        let mut received = headers.get_all(header::SET_COOKIE).iter().peekable();
        if received.peek().is_none() {
            return;
        }
        let texts = received.filter_map(|value| std::str::from_utf8(value.as_bytes()).ok());
        self.keep(url, texts);
    }

    /// Keeps cookies that somebody else was given at `url`, as the `Set-Cookie` headers that would have brought them; unusable ones
    /// are ignored.
    pub fn keep<'t>(&self, url: &Url, set_cookies: impl IntoIterator<Item = &'t str>) {
        let cookies = set_cookies
            .into_iter()
            .filter_map(|text| RawCookie::parse(text.to_owned()).ok())
            .filter(keeps_its_prefix);
        self.used.store(true, Ordering::Relaxed);
        let mut state = self.lock();
        state.kept = None;
        state.store.store_response_cookies(cookies, url);
    }

    /// The value of the cookie `name` that a request to `url` would carry; of several the first, which is the one of the
    /// longest path.
    pub fn get(&self, url: &Url, name: &str) -> Option<String> {
        let store = &self.lock().store;
        in_order(store, url)
            .into_iter()
            .find(|cookie| cookie.name() == name)
            .map(|cookie| cookie.value().to_owned())
    }

    /// The values of all unexpired cookies. They may be secrets.
    pub fn values(&self) -> Vec<String> {
        let store = &self.lock().store;
        let values = store
            .iter_unexpired()
            .map(|cookie| cookie.value().to_owned());
        values.collect()
    }

    /// The text with the values of all cookies struck out, except short ones, which are no secrets and may stand anywhere.
    pub fn mask(&self, text: &str) -> String {
        const SHORTEST: usize = 8;
        let store = &self.lock().store;
        let values = store.iter_unexpired().map(|cookie| cookie.value());
        values
            .filter(|value| value.len() >= SHORTEST)
            .fold(text.to_owned(), strike_out)
    }

    /// Forgets every cookie.
    pub fn clear(&self) {
        *self.lock() = State::default();
    }

    /// What there is now, for [`Jar::gained_since`].
    pub fn snapshot(&self) -> Snapshot {
        Snapshot::of(&self.lock().store)
    }

    /// Whether there is a cookie that was not there before, or had another value.
    pub fn gained_since(&self, before: &Snapshot) -> bool {
        !self.snapshot().0.is_subset(&before.0)
    }

    /// How many unexpired cookies there are.
    pub fn len(&self) -> usize {
        self.lock().store.iter_unexpired().count()
    }

    /// Whether there is no unexpired cookie.
    pub fn is_empty(&self) -> bool {
        self.lock().store.iter_unexpired().next().is_none()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        // The store is never left half-changed by a panic of ours: no foreign code runs under the lock.
        self.state
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// The cookies that go with a request to `url`, in the order in which they do: those of longer paths before those of shorter
/// ones, and of one path the older ones before the newer ones (RFC 6265, section 5.4). Servers take the first of a name.
fn in_order<'s>(store: &'s CookieStore, url: &Url) -> Vec<&'s Cookie<'static>> {
    // They come in the order in which they were first set, and the sort keeps it.
    let mut cookies = store.matches(url);
    cookies.sort_by_key(|cookie| std::cmp::Reverse(cookie.path.len()));
    cookies
}

fn put_together(store: &CookieStore, url: &Url) -> Sent {
    let mut text = String::new();
    let mut cookies = Vec::new();
    for cookie in in_order(store, url) {
        let (name, value) = cookie.name_value();
        if let Ok(value) = HeaderValue::from_str(value) {
            cookies.push((name.to_owned(), sensitive(value)));
        }
        if !text.is_empty() {
            text.push_str("; ");
        }
        text.push_str(name);
        text.push('=');
        text.push_str(value);
    }
    if text.is_empty() {
        return Sent::default();
    }
    Sent {
        // A server may have set bytes that no header may carry; such a cookie could never be sent back.
        header: HeaderValue::from_str(&text).ok().map(sensitive),
        cookies: cookies.into(),
    }
}

/// The text without `secret` in any of its [spellings](spelling), and without the start of it at the end of a text that was cut off (which `…` tells).
pub fn strike_out(text: String, secret: &str) -> String {
    /// As much of a secret tells nothing.
    const HARMLESS: usize = 3;
    let mut text = spelling::replace(text, secret, "***");
    if let Some(kept) = text.strip_suffix('…')
        && let Some(at) = spelling::cut_off(kept, secret, HARMLESS)
    {
        text = format!("{}***…", &kept[..at]);
    }
    text
}

fn sensitive(mut value: HeaderValue) -> HeaderValue {
    value.set_sensitive(true);
    value
}

/// Whether a cookie is what the prefix of its name promises (RFC 6265bis, section 4.1.3).
fn keeps_its_prefix(cookie: &RawCookie<'_>) -> bool {
    let name = cookie.name().to_ascii_lowercase();
    let secure = cookie.secure() == Some(true);
    if name.starts_with("__host-") {
        secure && cookie.domain().is_none() && cookie.path() == Some("/")
    } else {
        secure || !name.starts_with("__secure-")
    }
}

impl fmt::Debug for Jar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Jar").field("cookies", &self.len()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What was sent last is looked up anew as soon as some cookie of it has ended.
    #[test]
    fn what_was_sent_last_is_kept_until_the_first_cookie_ends() {
        let jar = Jar::new();
        let url: Url = "http://localhost/".parse().unwrap();
        let mut headers = HeaderMap::new();
        for cookie in ["long=1; Path=/; Max-Age=600", "short=1; Path=/; Max-Age=60"] {
            headers.append(header::SET_COOKIE, HeaderValue::from_static(cookie));
        }
        jar.store(&url, &headers);
        let origin: Arc<str> = "http://localhost".into();
        let state = jar.lock();
        let sent = put_together(&state.store, &url);
        let kept = Kept::of(&state.store, &origin, &sent).unwrap();
        let after = |seconds| move || SystemTime::now() + Duration::from_secs(seconds);
        assert!(kept.serves(&origin, SystemTime::now));
        assert!(kept.serves(&origin, after(30)));
        assert!(!kept.serves(&origin, after(61)));
        assert!(!kept.serves(&"http://localhost:1".into(), SystemTime::now));
    }
}

//! Redirects, followed as browsers do (RFC 9110, section 15.4; Fetch, "HTTP-redirect fetch").

use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, Method, StatusCode, header};
use url::Url;

use crate::{
    client::Client,
    error::{TransportError, TransportFailure},
    exchange::Exchange,
    message::{Base, Message},
};

/// What came at the end of the redirects.
#[derive(Debug)]
pub struct Followed {
    /// The last answer. Its timings and bytes are those of the whole way.
    pub exchange: Exchange,
    /// How many redirects were followed.
    pub redirects: u32,
}

/// Headers that say something of a body.
const OF_THE_BODY: [HeaderName; 5] = [
    header::CONTENT_TYPE,
    header::CONTENT_LENGTH,
    header::CONTENT_ENCODING,
    header::CONTENT_LANGUAGE,
    header::CONTENT_LOCATION,
];

/// Headers that say what the client is and can take.
const OF_ANY_ORIGIN: [HeaderName; 5] = [
    header::ACCEPT,
    header::ACCEPT_CHARSET,
    header::ACCEPT_ENCODING,
    header::ACCEPT_LANGUAGE,
    header::USER_AGENT,
];

/// A request on its way.
struct Hop {
    url: Url,
    base: Base,
    method: Method,
    path: Bytes,
    headers: HeaderMap,
    body: Bytes,
    same_origin: bool,
}

impl Client {
    /// Sends a message and follows at most `limit` redirects; at most `timeout` long in all. Every answer's cookies go
    /// into the jar. A redirect that leads nowhere (no `Location`, or not to http) is the answer.
    ///
    /// A 303, and a 301 or 302 after POST, turn the request into a GET without a body. Of the message's headers, only those
    /// that say what the client takes, what the body is and which trace this belongs to (`Accept*`, `User-Agent`,
    /// `Content-*`, `baggage`, `traceparent`, `tracestate`) go to another origin, and neither does the double-submit token.
    ///
    /// # Errors
    /// As [`Client::send_to`], and if there are too many redirects.
    pub async fn send_following(
        &self,
        base: &Base,
        message: &Message<'_>,
        timeout: Duration,
        limit: u32,
    ) -> Result<Followed, TransportError> {
        let started = Instant::now();
        let first = self.send_to(base, message, timeout).await?;
        let Some(url) = Url::parse(base.origin())
            .and_then(|origin| origin.join(&String::from_utf8_lossy(&message.path)))
            .ok()
            .filter(|_| first.status.is_redirection())
        else {
            return Ok(Followed {
                exchange: first,
                redirects: 0,
            });
        };
        let mut headers = message.headers.clone();
        for (name, value) in message.more {
            headers.insert(name.clone(), value.clone());
        }
        let mut hop = Hop {
            url,
            base: base.clone(),
            method: message.method.clone(),
            path: message.path.clone(),
            headers,
            body: message.body.clone(),
            same_origin: true,
        };
        let (mut sent, mut received) = (first.sent, first.received);
        let mut resent = first.resent;
        let mut exchange = first;
        let mut redirects = 0;
        while let Some(location) = location(&hop.url, &exchange) {
            if redirects == limit {
                let failure = TransportFailure::TooManyRedirects { limit };
                return Err(TransportError::new(
                    failure,
                    hop.base.origin().into(),
                    exchange.timings,
                    sent,
                    received,
                    exchange.reused,
                ));
            }
            hop.follow(location, exchange.status)
                .map_err(|failure| TransportError::unsent(failure, started))?;
            redirects += 1;
            let next = Message {
                method: &hop.method,
                path: hop.path.clone(),
                headers: &hop.headers,
                more: &[],
                body: hop.body.clone(),
                double_submit: message.double_submit.filter(|_| hop.carries_token()),
            };
            let left = timeout.saturating_sub(started.elapsed());
            exchange = self.send_to(&hop.base, &next, left).await?;
            sent = sent.saturating_add(exchange.sent);
            received = received.saturating_add(exchange.received);
            resent |= exchange.resent;
        }
        exchange.resent = resent;
        exchange.timings.started = started;
        exchange.sent = sent;
        exchange.received = received;
        Ok(Followed {
            exchange,
            redirects,
        })
    }
}

/// Where an answer redirects to.
fn location(from: &Url, exchange: &Exchange) -> Option<Url> {
    if !matches!(exchange.status.as_u16(), 301 | 302 | 303 | 307 | 308) {
        return None;
    }
    let text = std::str::from_utf8(exchange.headers.get(header::LOCATION)?.as_bytes()).ok()?;
    let url = from.join(text).ok()?;
    matches!(url.scheme(), "http" | "https").then_some(url)
}

impl Hop {
    fn follow(&mut self, url: Url, status: StatusCode) -> Result<(), TransportFailure> {
        let becomes_get = match status {
            StatusCode::SEE_OTHER => self.method != Method::GET && self.method != Method::HEAD,
            StatusCode::MOVED_PERMANENTLY | StatusCode::FOUND => self.method == Method::POST,
            _ => false,
        };
        if becomes_get {
            self.method = Method::GET;
            self.body = Bytes::new();
            for name in OF_THE_BODY {
                self.headers.remove(name);
            }
        }
        if url.origin() != self.url.origin() {
            self.base = Base::new(url.as_str())?;
            self.same_origin = false;
            let given = std::mem::take(&mut self.headers);
            self.headers = given
                .iter()
                .filter(|(name, value)| !value.is_sensitive() && goes_anywhere(name))
                .map(|(name, value)| (name.clone(), value.clone()))
                .collect();
        }
        let path = match url.query() {
            Some(query) => format!("{}?{query}", url.path()),
            None => url.path().to_owned(),
        };
        self.path = path.into();
        self.url = url;
        Ok(())
    }

    /// A token that was meant for one origin's writing requests stays with them.
    fn carries_token(&self) -> bool {
        self.same_origin && !self.method.is_safe()
    }
}

/// Whether a header tells nothing that is meant for one origin only. Any other may: a cookie, a key by whatever name.
fn goes_anywhere(name: &HeaderName) -> bool {
    OF_ANY_ORIGIN.contains(name)
        || OF_THE_BODY.contains(name)
        || matches!(name.as_str(), "baggage" | "traceparent" | "tracestate")
}

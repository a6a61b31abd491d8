//! Sending one request for one account, and what came back.
//!
//! Everything is bounded: the time to the answer, the time that an event stream is looked at, and how much of a body is
//! kept. A fault of the transport is told apart from a request that no HTTP library would send.

use std::{
    sync::{Arc, OnceLock},
    time::{Duration, Instant},
};

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use serde_json::Value;
use throng_client::{
    Client, DoubleSubmit, Phase, TransportError, TransportFailure,
    content::{self, ContentError},
};
use url::Url;

use crate::{
    account::Account,
    openapi::essence,
    request::{Csrf, Filled},
    secrets::Secrets,
};

const BAGGAGE: HeaderName = HeaderName::from_static("baggage");

/// A token against forgery that a request repeats: cookie, header, and the methods that need it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CsrfRule {
    /// Cookie and header.
    pub double_submit: DoubleSubmit,
    /// The methods that need it.
    pub methods: Vec<Method>,
}

impl CsrfRule {
    /// The rule for POST, PUT, PATCH and DELETE.
    pub fn new(double_submit: DoubleSubmit) -> Self {
        Self {
            double_submit,
            methods: vec![Method::POST, Method::PUT, Method::PATCH, Method::DELETE],
        }
    }
}

/// How requests are sent.
#[derive(Debug, Clone)]
pub struct Sending {
    /// `scheme://host:port` of the target.
    pub origin: Url,
    /// How long an answer may take: beyond that it is a hang.
    pub timeout: Duration,
    /// How long an event stream, or any other answer that goes on, is looked at after its head.
    pub window: Duration,
    /// As much of a body is kept, in bytes; the rest is not read.
    pub largest_body: usize,
    /// The token against forgery, where the target has one.
    pub csrf: Option<CsrfRule>,
    /// Headers that every request carries, unless it says otherwise. They may hold secrets: no script and no report has them.
    pub headers: Vec<(HeaderName, HeaderValue)>,
}

/// What came of a request.
#[derive(Debug, Clone)]
pub enum Answer {
    /// An answer.
    Answered(Arc<Answered>),
    /// None, or not a whole one.
    Fault(Fault),
    /// It was never sent: a mistake of the generator.
    Unsent(String),
}

/// An answer.
#[derive(Debug)]
pub struct Answered {
    /// The status.
    pub status: u16,
    /// The headers. They may hold secrets.
    pub headers: HeaderMap,
    /// The body, decoded; of a stream or of a larger body only its start. It may hold secrets.
    pub body: Bytes,
    /// Whether there was more of it than is kept.
    pub cut: bool,
    /// Whether it is a stream of events.
    pub stream: bool,
    /// When it was asked for, and when it was there.
    pub span: (Instant, Instant),
    /// Bytes of HTTP sent and received.
    pub traffic: (u32, u32),
    json: OnceLock<Option<Value>>,
}

/// No whole answer.
#[derive(Debug, Clone)]
pub struct Fault {
    /// The cause in a few words without addresses or numbers.
    pub cause: &'static str,
    /// What is known beyond that.
    pub message: String,
    /// What kind of fault it is.
    pub kind: FaultKind,
    /// When it was asked for, and when it was given up.
    pub span: (Instant, Instant),
    /// Bytes of HTTP sent and received.
    pub traffic: (u32, u32),
}

/// The kinds of fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FaultKind {
    /// No connection: the target is down, or nothing is left to connect from. Nothing was asked.
    Unreachable,
    /// The connection broke, or what came was no HTTP.
    Broken,
    /// Nothing came in the time allowed.
    Hang,
}

impl Answer {
    /// The answer, if there is one.
    pub fn answered(&self) -> Option<&Answered> {
        match self {
            Self::Answered(answered) => Some(answered),
            _ => None,
        }
    }

    /// The status, if there is an answer.
    pub fn status(&self) -> Option<u16> {
        self.answered().map(|answered| answered.status)
    }

    /// Whether it is an answer of 2xx.
    pub fn succeeded(&self) -> bool {
        self.status()
            .is_some_and(|status| (200..300).contains(&status))
    }

    /// Whether it is an answer of 4xx.
    pub fn refused(&self) -> bool {
        self.status()
            .is_some_and(|status| (400..500).contains(&status))
    }

    /// The body as JSON.
    pub fn json(&self) -> Option<&Value> {
        self.answered().and_then(Answered::json)
    }
}

impl Answered {
    /// The body as JSON; parsed once. `None` if it is none, or was cut off.
    pub fn json(&self) -> Option<&Value> {
        let parse = || {
            let start = self.body.iter().find(|byte| !byte.is_ascii_whitespace())?;
            let json = matches!(start, b'{' | b'[') || self.media_type().ends_with("json");
            (json && !self.cut && !self.stream)
                .then(|| serde_json::from_slice(&self.body).ok())
                .flatten()
        };
        self.json.get_or_init(parse).as_ref()
    }

    /// Whether the body is JSON by its grammar (RFC 8259): numbers of any size, nesting of any depth and lone surrogates are,
    /// though no value is made of them here.
    pub(crate) fn is_json_text(&self) -> bool {
        std::str::from_utf8(&self.body)
            .is_ok_and(|text| serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok())
    }

    /// The media type without parameters, in lower case; empty where none is said.
    pub fn media_type(&self) -> String {
        self.header(&header::CONTENT_TYPE)
            .map(essence)
            .unwrap_or_default()
    }

    /// A header's value, if it is ASCII.
    pub fn header(&self, name: &HeaderName) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// The body as text.
    pub fn text(&self) -> std::borrow::Cow<'_, str> {
        String::from_utf8_lossy(&self.body)
    }
}

#[cfg(test)]
impl Answer {
    /// An answer for tests of what is judged on it.
    pub(crate) fn of(status: u16, media_type: &str, body: &str) -> Self {
        let mut headers = HeaderMap::new();
        let kind = HeaderValue::from_str(media_type).expect("a media type");
        headers.insert(header::CONTENT_TYPE, kind);
        let now = Instant::now();
        Self::Answered(Arc::new(Answered {
            status,
            headers,
            body: Bytes::copy_from_slice(body.as_bytes()),
            cut: false,
            stream: false,
            span: (now, now),
            traffic: (0, 0),
            json: OnceLock::new(),
        }))
    }
}

/// With what a request is sent.
pub(crate) struct Identity<'a> {
    pub(crate) client: &'a Client,
    pub(crate) authorization: Option<&'a HeaderValue>,
    /// Sent instead of what is in the client's jar.
    pub(crate) cookie: Option<&'a HeaderValue>,
    /// The token against forgery that goes with that cookie.
    pub(crate) token: Option<&'a HeaderValue>,
    /// Whether all of the target's headers go along; else those that can be no key.
    pub(crate) keys: bool,
}

impl<'a> Identity<'a> {
    pub(crate) fn nobody(client: &'a Client, keys: bool) -> Self {
        Self {
            client,
            authorization: None,
            cookie: None,
            token: None,
            keys,
        }
    }

    pub(crate) fn of(account: &'a Account) -> Self {
        Self {
            client: &account.client,
            authorization: account.authorization.as_ref(),
            cookie: None,
            token: None,
            keys: true,
        }
    }
}

/// Headers that say nothing of who asks. Any other may be a key, whatever its name.
const NO_KEYS: [HeaderName; 8] = [
    header::ACCEPT,
    header::ACCEPT_ENCODING,
    header::ACCEPT_LANGUAGE,
    header::CACHE_CONTROL,
    header::CONTENT_TYPE,
    header::ORIGIN,
    header::REFERER,
    header::USER_AGENT,
];

/// Whether a header of the target may be what lets somebody in.
pub(crate) fn may_be_key(name: &HeaderName) -> bool {
    !NO_KEYS.contains(name)
}

impl Sending {
    /// The token against forgery that an account's cookies hold.
    pub(crate) fn token_of(&self, client: &Client) -> Option<HeaderValue> {
        let rule = self.csrf.as_ref()?;
        let token = client
            .cookies()?
            .get(&self.origin, &rule.double_submit.cookie)?;
        HeaderValue::from_str(&token).ok()
    }

    /// Whether a request says by a header who asks: one that a browser would not add by itself.
    pub(crate) fn by_key(&self, identity: &Identity<'_>) -> bool {
        let key = || self.headers.iter().any(|(name, _)| may_be_key(name));
        identity.authorization.is_some() || (identity.keys && key())
    }

    /// Whether requests of this method need a token against forgery.
    pub(crate) fn needs_token(&self, method: &str) -> bool {
        self.csrf
            .as_ref()
            .is_some_and(|rule| rule.methods.iter().any(|needs| needs.as_str() == method))
    }

    /// Sends a request. `others` is the token of another session. `baggage` names step and phase for whoever compares.
    pub(crate) async fn send(
        &self,
        filled: &Filled,
        identity: &Identity<'_>,
        csrf: Csrf,
        others: Option<&HeaderValue>,
        baggage: Option<&HeaderValue>,
    ) -> Answer {
        let started = Instant::now();
        let mut headers = filled.headers.clone();
        for (name, value) in &self.headers {
            if !headers.contains_key(name) && (identity.keys || !may_be_key(name)) {
                headers.insert(name.clone(), value.clone());
            }
        }
        if let Some(baggage) = baggage {
            headers.insert(BAGGAGE, baggage.clone());
        }
        if let Some(token) = identity.authorization
            && !headers.contains_key(header::AUTHORIZATION)
        {
            headers.insert(header::AUTHORIZATION, token.clone());
        }
        if let Some(cookie) = identity.cookie {
            headers.insert(header::COOKIE, cookie.clone());
        }
        if let Some(rule) = &self.csrf
            && rule.methods.contains(&filled.method)
        {
            let token = match csrf {
                Csrf::Missing => None,
                Csrf::Others => others.cloned(),
                Csrf::Right => identity
                    .token
                    .cloned()
                    .or_else(|| self.token_of(identity.client)),
            };
            if let Some(token) = token {
                headers.insert(rule.double_submit.header.clone(), token);
            }
            // As from a page of the target itself: what is forged is the token, not where it comes from.
            let origin = self.origin.as_str().trim_end_matches('/');
            if let Ok(origin) = HeaderValue::from_str(origin)
                && !headers.contains_key(header::ORIGIN)
            {
                headers.insert(header::ORIGIN, origin);
            }
        }
        if !headers.contains_key(header::ACCEPT) {
            headers.insert(header::ACCEPT, HeaderValue::from_static("*/*"));
        }
        let origin = self.origin.as_str().trim_end_matches('/');
        let uri = format!("{origin}{}", filled.target);
        let Ok(uri) = uri.parse::<http::Uri>() else {
            return Answer::Unsent("no URL".to_owned());
        };
        let mut request = http::Request::new(filled.body.clone());
        *request.method_mut() = filled.method.clone();
        *request.uri_mut() = uri;
        *request.headers_mut() = headers;
        match self.exchange(identity.client, request.clone()).await {
            // A connection that was kept open and turned out to be closed says nothing about this request: a new one does.
            Err(error) if went_stale(&error) => match self.exchange(identity.client, request).await
            {
                Ok(answered) => Answer::Answered(Arc::new(answered)),
                Err(error) => fault(&error, started),
            },
            Ok(answered) => Answer::Answered(Arc::new(answered)),
            Err(error) => fault(&error, started),
        }
    }

    async fn exchange(
        &self,
        client: &Client,
        request: http::Request<Bytes>,
    ) -> Result<Answered, TransportError> {
        let mut open = client.open(request, self.timeout).await?;
        let head = open.timings();
        let kind = open.headers.get(header::CONTENT_TYPE);
        let stream = kind
            .and_then(|value| value.to_str().ok())
            .is_some_and(|text| essence(text) == "text/event-stream");
        let allowed = if stream { self.window } else { self.timeout };
        let deadline = Instant::now() + allowed;
        let mut body = BytesMut::new();
        let mut cut = false;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match open.chunk(left).await {
                Ok(None) => break,
                Ok(Some(piece)) => body.extend_from_slice(&piece),
                Err(error) if stream && error.is_timeout() => break,
                Err(error) => return Err(error),
            }
            if body.len() > self.largest_body {
                cut = true;
                body.truncate(self.largest_body);
                break;
            }
        }
        let ended = if stream {
            head.first_byte.unwrap_or(head.ended)
        } else {
            open.timings().ended
        };
        let body = body.freeze();
        let decoded = content::decode(&open.headers, &body, self.largest_body);
        cut |= matches!(decoded, Err(ContentError::TooLarge { .. }));
        Ok(Answered {
            status: open.status.as_u16(),
            span: (head.started, ended),
            traffic: (open.sent(), open.received()),
            // A body that does not decode is judged as it is.
            body: decoded.unwrap_or(body),
            headers: std::mem::take(&mut open.headers),
            cut,
            stream,
            json: OnceLock::new(),
        })
    }
}

/// Whether a kept-alive connection was closed by the server before it gave any answer.
fn went_stale(error: &TransportError) -> bool {
    error.reused()
        && error.received() == 0
        && matches!(
            error.failure(),
            TransportFailure::Closed | TransportFailure::Reset(_)
        )
}

fn fault(error: &TransportError, started: Instant) -> Answer {
    let kind = match error.failure() {
        TransportFailure::Request(why) => return Answer::Unsent(why.clone()),
        TransportFailure::Timeout {
            phase: Phase::Head | Phase::Body,
            ..
        } => FaultKind::Hang,
        _ if error.is_connect() => FaultKind::Unreachable,
        _ => FaultKind::Broken,
    };
    Answer::Fault(Fault {
        cause: error.cause(),
        message: error.failure().to_string(),
        kind,
        span: (started, error.timings().ended),
        traffic: (error.sent(), error.received()),
    })
}

/// The start of an answer's body in one line, without secrets.
pub(crate) fn excerpt(answered: &Answered, secrets: &Secrets, longest: usize) -> String {
    let most = longest * 8;
    let mut text =
        String::from_utf8_lossy(&answered.body[..answered.body.len().min(most)]).into_owned();
    if answered.body.len() > most {
        // What is cut off in the middle of a secret is known by this.
        text.push('…');
    }
    secrets.strike_start(&text, longest)
}

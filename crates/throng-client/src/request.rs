//! A request as it is kept until it is answered: where to, and what.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Uri, header, uri};
use http_body_util::Full;
use url::Url;

use crate::{cookies::Sent, error::TransportFailure, message::DoubleSubmit};

/// Scheme, host and port: what a connection is bound to (RFC 6454). Clones share it.
#[derive(Debug, Clone)]
pub(crate) struct Origin(Arc<OriginParts>);

#[derive(Debug)]
struct OriginParts {
    tls: bool,
    host: Arc<str>,
    port: u16,
    text: Arc<str>,
    /// As the URL spells it.
    authority: uri::Authority,
    /// The value of the `Host` header.
    host_header: HeaderValue,
}

impl PartialEq for Origin {
    fn eq(&self, other: &Self) -> bool {
        let (one, two) = (&self.0, &other.0);
        Arc::ptr_eq(one, two)
            || (one.tls == two.tls && one.port == two.port && one.host == two.host)
    }
}

impl Origin {
    fn of(uri: &Uri) -> Result<Self, TransportFailure> {
        let invalid = |what: &str| TransportFailure::Request(what.to_owned());
        let tls = match uri.scheme_str() {
            Some("http") => false,
            Some("https") => true,
            Some(other) => return Err(invalid(&format!("unsupported scheme `{other}`"))),
            None => return Err(invalid("the URL has no scheme")),
        };
        let authority = uri
            .authority()
            .ok_or_else(|| invalid("the URL has no host"))?;
        // `host()` keeps the brackets of an IPv6 address, which neither the resolver nor TLS wants.
        let bare = authority
            .host()
            .trim_start_matches('[')
            .trim_end_matches(']');
        if bare.is_empty() {
            return Err(invalid("the URL has no host"));
        }
        let host = bare.to_ascii_lowercase();
        // User information is for the `Authorization` header, if for anything; it must not leak into `Host`.
        let said = authority.as_str();
        let said = said.rsplit('@').next().unwrap_or(said);
        let port = match said.strip_prefix(authority.host()) {
            Some("" | ":") if tls => 443,
            Some("" | ":") => 80,
            _ => authority
                .port_u16()
                .ok_or_else(|| invalid("the URL has no valid port"))?,
        };
        let scheme = if tls { "https" } else { "http" };
        let text = if host.contains(':') {
            format!("{scheme}://[{host}]:{port}")
        } else {
            format!("{scheme}://{host}:{port}")
        };
        let host_header =
            HeaderValue::from_str(said).map_err(|_| invalid("the host is no header value"))?;
        Ok(Self(Arc::new(OriginParts {
            tls,
            host: host.into(),
            port,
            text: text.into(),
            authority: authority.clone(),
            host_header,
        })))
    }

    pub(crate) fn is_tls(&self) -> bool {
        self.0.tls
    }

    pub(crate) fn host(&self) -> &str {
        &self.0.host
    }

    pub(crate) fn host_shared(&self) -> Arc<str> {
        self.0.host.clone()
    }

    pub(crate) fn port(&self) -> u16 {
        self.0.port
    }

    /// `scheme://host:port`
    pub(crate) fn text(&self) -> &Arc<str> {
        &self.0.text
    }

    /// The value of the `Host` header.
    pub(crate) fn host_header(&self) -> &HeaderValue {
        &self.0.host_header
    }
}

/// Where a request goes, taken apart once so that repeated requests need not do it again.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    pub(crate) origin: Origin,
    /// What the request line of HTTP/1.1 wants.
    pub(crate) path: uri::PathAndQuery,
}

impl Target {
    pub(crate) fn new(absolute: &Uri) -> Result<Self, TransportFailure> {
        let origin = Origin::of(absolute)?;
        let path = absolute
            .path_and_query()
            .cloned()
            .unwrap_or_else(|| uri::PathAndQuery::from_static("/"));
        Self::at(origin, path)
    }

    /// A path of an origin. A query alone is one of the root (RFC 9112, section 3.2.1).
    pub(crate) fn at(origin: Origin, path: uri::PathAndQuery) -> Result<Self, TransportFailure> {
        let path = if path.as_str().starts_with('?') {
            format!("/{}", path.as_str())
                .parse()
                .map_err(|error: uri::InvalidUri| TransportFailure::Request(error.to_string()))?
        } else {
            path
        };
        Ok(Self { origin, path })
    }

    /// The whole URL, from which HTTP/2 makes its pseudo-headers.
    pub(crate) fn absolute(&self) -> Result<Uri, TransportFailure> {
        let scheme = if self.origin.is_tls() {
            uri::Scheme::HTTPS
        } else {
            uri::Scheme::HTTP
        };
        let mut parts = uri::Parts::default();
        parts.scheme = Some(scheme);
        parts.authority = Some(self.origin.0.authority.clone());
        parts.path_and_query = Some(self.path.clone());
        Uri::from_parts(parts).map_err(|error| TransportFailure::Request(error.to_string()))
    }

    /// The whole URL, as cookies are matched by it.
    pub(crate) fn url(&self) -> Option<Url> {
        Url::parse(&self.absolute().ok()?.to_string()).ok()
    }
}

/// A request that can be sent again on another connection, should the first turn out to have been closed.
pub(crate) trait Outgoing: Sync {
    fn target(&self) -> &Target;
    fn method(&self) -> &Method;
    /// Shows each header, without the jar's cookies and with `Host`.
    fn each_header(&self, see: &mut dyn FnMut(&HeaderName, &HeaderValue));
    /// The same as a map, for HTTP/2.
    fn headers(&self) -> HeaderMap {
        // With room for all that is usual: a map that grows is moved whole.
        let mut all = HeaderMap::with_capacity(12);
        self.each_header(&mut |name, value| {
            all.append(name.clone(), value.clone());
        });
        all
    }
    /// Whether there is a header of this name.
    fn says(&self, name: &HeaderName) -> bool {
        let mut said = false;
        self.each_header(&mut |of, _| said |= of == name);
        said
    }
    fn body(&self) -> Bytes;
    /// The cookie that a header repeats.
    fn double_submit(&self) -> Option<&DoubleSubmit> {
        None
    }
}

/// Any request.
#[derive(Debug)]
pub(crate) struct Plain {
    target: Target,
    method: Method,
    headers: HeaderMap,
    body: Bytes,
}

impl Plain {
    pub(crate) fn new(
        request: Request<Bytes>,
        user_agent: Option<&HeaderValue>,
    ) -> Result<Self, TransportFailure> {
        let (parts, body) = request.into_parts();
        let target = Target::new(&parts.uri)?;
        let mut headers = parts.headers;
        headers
            .entry(header::HOST)
            .or_insert_with(|| target.origin.host_header().clone());
        if let Some(agent) = user_agent {
            headers
                .entry(header::USER_AGENT)
                .or_insert_with(|| agent.clone());
        }
        Ok(Self {
            target,
            method: parts.method,
            headers,
            body,
        })
    }
}

impl Outgoing for Plain {
    fn target(&self) -> &Target {
        &self.target
    }

    fn method(&self) -> &Method {
        &self.method
    }

    fn headers(&self) -> HeaderMap {
        self.headers.clone()
    }

    fn each_header(&self, see: &mut dyn FnMut(&HeaderName, &HeaderValue)) {
        for (name, value) in &self.headers {
            see(name, value);
        }
    }

    fn says(&self, name: &HeaderName) -> bool {
        self.headers.contains_key(name)
    }

    fn body(&self) -> Bytes {
        self.body.clone()
    }
}

/// The request as HTTP/2 sends it: the authority is a pseudo-header (RFC 9113, section 8.3.1).
pub(crate) fn to_http2(
    outgoing: &dyn Outgoing,
    cookies: Option<&Sent>,
) -> Result<Request<Full<Bytes>>, TransportFailure> {
    let mut headers = outgoing.headers();
    if let Some(sent) = cookies
        && let Some(cookie) = &sent.header
        && !headers.contains_key(header::COOKIE)
    {
        headers.insert(header::COOKIE, cookie.clone());
        if let Some(csrf) = outgoing.double_submit()
            && let Some(token) = sent.value(&csrf.cookie)
        {
            headers.insert(csrf.header.clone(), token.clone());
        }
    }
    headers.remove(header::HOST);
    headers.remove(header::CONNECTION);
    // The body's length is told by what sends it.
    headers.remove(header::CONTENT_LENGTH);
    let mut request = Request::new(Full::new(outgoing.body()));
    *request.method_mut() = outgoing.method().clone();
    *request.uri_mut() = outgoing.target().absolute()?;
    *request.headers_mut() = headers;
    Ok(request)
}

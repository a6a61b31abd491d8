//! A request as it is kept until it is answered: where to, and what.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, Uri, header, uri};
use http_body_util::Full;
use url::Url;

use crate::{error::TransportFailure, message::DoubleSubmit};

/// Scheme, host and port: what a connection is bound to (RFC 6454).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Origin {
    tls: bool,
    host: Arc<str>,
    port: u16,
    text: Arc<str>,
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
        let port = authority.port_u16().unwrap_or(if tls { 443 } else { 80 });
        let scheme = if tls { "https" } else { "http" };
        let text = if host.contains(':') {
            format!("{scheme}://[{host}]:{port}")
        } else {
            format!("{scheme}://{host}:{port}")
        };
        Ok(Self {
            tls,
            host: host.into(),
            port,
            text: text.into(),
        })
    }

    pub(crate) fn is_tls(&self) -> bool {
        self.tls
    }

    pub(crate) fn host(&self) -> &str {
        &self.host
    }

    pub(crate) fn host_shared(&self) -> Arc<str> {
        self.host.clone()
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// `scheme://host:port`
    pub(crate) fn text(&self) -> &Arc<str> {
        &self.text
    }
}

/// Where a request goes, taken apart once so that repeated requests need not do it again.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    pub(crate) origin: Origin,
    /// `path?query`, as the request line of HTTP/1.1 wants it.
    pub(crate) relative: Uri,
    /// The whole URL, from which HTTP/2 makes its pseudo-headers.
    pub(crate) absolute: Uri,
    /// The value of the `Host` header.
    pub(crate) host: HeaderValue,
}

impl Target {
    pub(crate) fn new(absolute: Uri) -> Result<Self, TransportFailure> {
        let origin = Origin::of(&absolute)?;
        let path = absolute
            .path_and_query()
            .cloned()
            .unwrap_or_else(|| uri::PathAndQuery::from_static("/"));
        let relative = Uri::from(path);
        let authority = absolute.authority().map_or("", uri::Authority::as_str);
        // User information is for the `Authorization` header, if for anything; it must not leak into `Host`.
        let host = authority.rsplit('@').next().unwrap_or(authority);
        let host = HeaderValue::from_str(host)
            .map_err(|_| TransportFailure::Request("the host is no header value".to_owned()))?;
        Ok(Self {
            origin,
            relative,
            absolute,
            host,
        })
    }

    /// The whole URL, as cookies are matched by it.
    pub(crate) fn url(&self) -> Option<Url> {
        Url::parse(&self.absolute.to_string()).ok()
    }
}

/// A request that can be sent again on another connection, should the first turn out to have been closed.
pub(crate) trait Outgoing: Sync {
    fn target(&self) -> &Target;
    fn method(&self) -> Method;
    /// The headers without `Cookie` and with `Host`.
    fn headers(&self) -> HeaderMap;
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
        let target = Target::new(parts.uri)?;
        let mut headers = parts.headers;
        headers
            .entry(header::HOST)
            .or_insert_with(|| target.host.clone());
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

    fn method(&self) -> Method {
        self.method.clone()
    }

    fn headers(&self) -> HeaderMap {
        self.headers.clone()
    }

    fn body(&self) -> Bytes {
        self.body.clone()
    }
}

/// The request as HTTP/1.1 sends it.
pub(crate) fn to_http1(outgoing: &dyn Outgoing, headers: HeaderMap) -> Request<Full<Bytes>> {
    let mut request = Request::new(Full::new(outgoing.body()));
    *request.method_mut() = outgoing.method();
    *request.uri_mut() = outgoing.target().relative.clone();
    *request.headers_mut() = headers;
    request
}

/// The request as HTTP/2 sends it: the authority is a pseudo-header (RFC 9113, section 8.3.1).
pub(crate) fn to_http2(outgoing: &dyn Outgoing, mut headers: HeaderMap) -> Request<Full<Bytes>> {
    headers.remove(header::HOST);
    headers.remove(header::CONNECTION);
    let mut request = Request::new(Full::new(outgoing.body()));
    *request.method_mut() = outgoing.method();
    *request.uri_mut() = outgoing.target().absolute.clone();
    *request.headers_mut() = headers;
    request
}

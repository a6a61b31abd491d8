//! The client against real sockets: servers that misbehave by script, hyper over TLS and HTTP/2, and MCP servers of
//! both eras, one of them the `rmcp` crate's.

#![allow(
    clippy::disallowed_methods,
    reason = "a test starts what it needs, and ends it"
)]

/// Asserts why an exchange failed, and shows it if otherwise.
macro_rules! assert_failure {
    ($error:expr, $failure:pat) => {
        assert!(matches!($error.failure(), $failure), "{:?}", $error)
    };
}

mod cookies;
mod framing;
mod http1;
mod http2_tls;
mod interop;
mod listening;
mod mcp_calls;
mod mcp_open;
mod messages;
mod redirects;
mod script;
mod streams;

use std::time::Duration;

use bytes::Bytes;
use http::Request;
use throng_client::{Connector, ConnectorOptions};

/// Longer than anything here takes, so that only a hang meets it.
const LONG: Duration = Duration::from_secs(20);

fn connector() -> Connector {
    Connector::new(ConnectorOptions::default()).expect("default options")
}

fn get(url: &str) -> Request<Bytes> {
    Request::get(url).body(Bytes::new()).expect("a request")
}

fn post(url: &str, body: &'static str) -> Request<Bytes> {
    Request::post(url)
        .body(Bytes::from_static(body.as_bytes()))
        .expect("a request")
}

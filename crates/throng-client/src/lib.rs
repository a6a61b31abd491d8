//! The client side of a load test: HTTP, server-sent events and MCP for one identity at a time.
//!
//! This crate knows nothing of scenarios, users or metrics. It performs an exchange and says what happened and when;
//! the step that asked for the exchange makes a sample of it. In particular it
//!
//! - never follows a redirect unless it is told to, never retries an answered request and never logs in by itself;
//! - keeps the connections of one [`Client`] apart from those of every other one (one identity, one [`Client`]);
//! - replaces a kept-alive connection that the server had already closed, because that is a property of the pause
//!   between two steps and not a failure of the server.
//!
//! Layers, from below: [`Connector`] (TLS, addresses), [`Client`] (connections and cookies of one identity), [`sse`]
//! (incremental event-stream parser), [`mcp`] (the Model Context Protocol over streamable HTTP, both eras).

mod client;
mod connection;
mod connector;
pub mod content;
pub mod cookies;
mod error;
mod exchange;
mod http1;
mod listen;
pub mod mcp;
mod message;
mod redirect;
mod request;
pub mod spelling;
pub mod sse;
mod stream;
mod tls;

pub use client::Client;
pub use connector::{Connector, ConnectorError, ConnectorOptions, HttpVersion, Trust};
pub use error::{Phase, TransportError, TransportFailure};
pub use exchange::{EventStream, Exchange, OpenExchange, Timings};
pub use listen::{Listened, Listener, Next};
pub use message::{Base, DoubleSubmit, Message};
pub use redirect::Followed;

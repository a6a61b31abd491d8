//! What is known of one MCP endpoint, shared by all sessions to it.

use std::{
    fmt,
    sync::{Arc, OnceLock},
};

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Uri, header};
use serde_json::{Value, json};
use tokio::sync::OnceCell;
use url::Url;

use super::{STATELESS, tools::Tools};
use crate::request::Target;

pub(crate) const PROTOCOL_VERSION: HeaderName = HeaderName::from_static("mcp-protocol-version");
pub(crate) const SESSION_ID: HeaderName = HeaderName::from_static("mcp-session-id");
pub(crate) const METHOD: HeaderName = HeaderName::from_static("mcp-method");
pub(crate) const NAME: HeaderName = HeaderName::from_static("mcp-name");

/// The two ways in which MCP has been spoken over streamable HTTP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Era {
    /// `initialize`, then a session (2024-11-05 to 2025-11-25).
    Sessions,
    /// Every message stands alone (2026-07-28).
    Stateless,
}

/// How the era is chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum EraChoice {
    /// Ask with `server/discover`, fall back to `initialize`.
    #[default]
    Detect,
    /// `initialize` at once.
    Sessions,
    /// Stateless at once, without asking.
    Stateless,
}

/// What a [`Server`] is made from, besides its URL.
#[derive(Clone)]
pub struct ServerOptions {
    /// The client's name, as told to the server.
    pub client_name: String,
    /// The client's version, as told to the server.
    pub client_version: String,
    /// The era to speak.
    pub era: EraChoice,
    /// The capabilities declared, a JSON object. What is declared here, `handler` must answer.
    pub capabilities: Value,
    /// Answers what the server asks; without one, everything but `ping` is refused.
    pub handler: Option<Arc<dyn Handler>>,
}

impl Default for ServerOptions {
    /// `throng`, either era, no capabilities.
    fn default() -> Self {
        Self {
            client_name: "throng".to_owned(),
            client_version: env!("CARGO_PKG_VERSION").to_owned(),
            era: EraChoice::Detect,
            capabilities: json!({}),
            handler: None,
        }
    }
}

impl fmt::Debug for ServerOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerOptions")
            .field("client_name", &self.client_name)
            .field("client_version", &self.client_version)
            .field("era", &self.era)
            .field("capabilities", &self.capabilities)
            .field("handler", &self.handler.is_some())
            .finish()
    }
}

/// Answers the server, while a call is being measured: it must not block.
pub trait Handler: Send + Sync {
    /// Answers a request of the server (`elicitation/create`, `sampling/createMessage`, `roots/list`, ...), sent as a
    /// message or as part of an `input_required` result. `ping` never comes here.
    fn answer(&self, method: &str, params: &Value) -> Answer;

    /// Takes note of a notification.
    fn notified(&self, method: &str, params: Option<&[u8]>) {
        let _ = (method, params);
    }
}

/// The answer to a request of the server.
#[derive(Debug, Clone, PartialEq)]
pub enum Answer {
    /// The result.
    Result(Value),
    /// Not supported: refused with -32601.
    Unsupported,
}

/// A URL to which MCP cannot be spoken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{url}` is no URL of an MCP server: {reason}")]
pub struct InvalidUrl {
    /// The URL without user information.
    pub url: String,
    /// What is wrong with it.
    pub reason: String,
}

/// One MCP endpoint as learnt so far.
#[derive(Debug)]
pub struct Server {
    pub(crate) target: Target,
    pub(crate) options: ServerOptions,
    /// Which era is spoken; asked once, however many sessions open at the same time.
    pub(crate) era: OnceCell<Era>,
    /// What the first session agreed on.
    pub(crate) negotiated: OnceLock<Arc<Negotiated>>,
    pub(crate) tools: OnceCell<Arc<Tools>>,
}

impl Server {
    /// A server at `url` (`http` or `https`), of which nothing is known yet. Nothing is sent.
    ///
    /// # Errors
    /// If the URL has another scheme or no host.
    pub fn new(url: &Url, options: ServerOptions) -> Result<Arc<Self>, InvalidUrl> {
        let mut bare = url.clone();
        bare.set_fragment(None);
        // Only `cannot-be-a-base` URLs refuse this, and they are refused below.
        let _ = bare.set_username("");
        let _ = bare.set_password(None);
        let invalid = |reason: String| InvalidUrl {
            url: bare.to_string(),
            reason,
        };
        let uri: Uri = bare
            .as_str()
            .parse()
            .map_err(|error: http::uri::InvalidUri| invalid(error.to_string()))?;
        let target = Target::new(&uri).map_err(|failure| invalid(failure.to_string()))?;
        Ok(Arc::new(Self {
            target,
            options,
            era: OnceCell::new(),
            negotiated: OnceLock::new(),
            tools: OnceCell::new(),
        }))
    }

    /// The era spoken, once known.
    pub fn era(&self) -> Option<Era> {
        self.era.get().copied()
    }

    /// The protocol version agreed on by the first session, once known.
    pub fn protocol_version(&self) -> Option<&str> {
        self.negotiated.get().map(|known| known.version.as_str())
    }

    /// What the server told the first session about itself (`serverInfo`), once known.
    pub fn info(&self) -> Option<&Value> {
        self.negotiated.get().map(|known| &known.info)
    }

    /// The server's capabilities as told to the first session, once known.
    pub fn capabilities(&self) -> Option<&Value> {
        self.negotiated.get().map(|known| &known.capabilities)
    }

    /// The server's tools, once a session has listed them.
    pub fn tools(&self) -> Option<&Arc<Tools>> {
        self.tools.get()
    }

    pub(crate) fn client_info(&self) -> Value {
        json!({ "name": self.options.client_name, "version": self.options.client_version })
    }
}

/// What a header of every POST says.
#[derive(Debug, Clone)]
pub(crate) enum Said {
    /// The same each time.
    Always(HeaderValue),
    /// The identity's current token, if it has one.
    Authorization,
    /// The session's id, once there is one.
    Session,
    /// The message's method.
    Method,
    /// The tool's name, or the resource's URI, if the message has one.
    Name,
}

/// What a session and its server have agreed on. Equal for all sessions as a rule, and then shared by them.
#[derive(Debug, Clone)]
pub(crate) struct Negotiated {
    pub(crate) era: Era,
    pub(crate) version: String,
    /// The headers of every POST.
    pub(crate) headers: Vec<(HeaderName, Said)>,
    /// The `_meta` of every request in the stateless era, JSON.
    pub(crate) meta: Bytes,
    pub(crate) info: Value,
    pub(crate) capabilities: Value,
}

impl Negotiated {
    /// Headers and `_meta` for `version`; for `initialize` itself there is none yet.
    pub(crate) fn new(
        server: &Server,
        user_agent: Option<&HeaderValue>,
        era: Era,
        version: Option<&str>,
    ) -> Self {
        let mut headers = Vec::with_capacity(8);
        let mut always = |name, value| headers.push((name, Said::Always(value)));
        always(header::HOST, server.target.origin.host_header().clone());
        if let Some(agent) = user_agent {
            always(header::USER_AGENT, agent.clone());
        }
        always(
            header::ACCEPT,
            HeaderValue::from_static("application/json, text/event-stream"),
        );
        always(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/json"),
        );
        if let Some(value) = version.and_then(|version| HeaderValue::from_str(version).ok()) {
            always(PROTOCOL_VERSION, value);
        }
        headers.push((header::AUTHORIZATION, Said::Authorization));
        match era {
            Era::Sessions => headers.push((SESSION_ID, Said::Session)),
            Era::Stateless => {
                headers.extend([(METHOD, Said::Method), (NAME, Said::Name)]);
            }
        }
        let version = version.unwrap_or(STATELESS);
        let meta = json!({
            "io.modelcontextprotocol/protocolVersion": version,
            "io.modelcontextprotocol/clientInfo": server.client_info(),
            "io.modelcontextprotocol/clientCapabilities": server.options.capabilities,
        });
        Self {
            era,
            version: version.to_owned(),
            headers,
            meta: meta.to_string().into(),
            info: Value::Null,
            capabilities: Value::Null,
        }
    }
}

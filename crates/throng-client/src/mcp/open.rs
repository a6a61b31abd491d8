//! How a session begins: which era the server speaks, and the handshake where there is one.

use std::{
    sync::{Arc, atomic::AtomicU64},
    time::Duration,
};

use http::StatusCode;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{
    Authorize, CallError, CallOptions, Era, EraChoice, LATEST_WITH_SESSIONS, STATELESS, Server,
    Session, WITH_SESSIONS,
    server::Negotiated,
    session::{Params, Request},
    trace::Trace,
};
use crate::client::Client;

/// The error code for a protocol version that the server does not speak (2026-07-28).
const UNSUPPORTED_VERSION: i64 = -32022;
/// Error codes that only a server of the stateless era sends: header mismatch, missing capability.
const STATELESS_ONLY: [i64; 2] = [-32020, -32021];

/// Where an answer's `_meta` says which server it is from (2026-07-28; with sessions it is in the answer to `initialize`).
const SERVER_INFO: &str = "io.modelcontextprotocol/serverInfo";

/// How a session is opened.
#[derive(Debug, Clone)]
pub struct OpenOptions {
    /// Time allowed for each request of the opening.
    pub timeout: Duration,
    /// The version asked for in `initialize`; the server may choose an older one.
    pub version: String,
}

impl Default for OpenOptions {
    /// 30 s, the latest version with sessions.
    fn default() -> Self {
        Self {
            timeout: Duration::from_secs(30),
            version: LATEST_WITH_SESSIONS.to_owned(),
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Initialized {
    protocol_version: String,
    #[serde(default)]
    capabilities: Value,
    #[serde(default)]
    server_info: Value,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Discovered {
    #[serde(default)]
    supported_versions: Vec<String>,
    #[serde(default)]
    capabilities: Value,
    #[serde(default, rename = "_meta")]
    meta: Map<String, Value>,
}

impl Session {
    /// Opens a session for one identity.
    ///
    /// The first session to a server finds out its era (`server/discover`, unless [`ServerOptions::era`] decides); others
    /// that open meanwhile wait for that. With sessions, `initialize` and `notifications/initialized` follow; in the
    /// stateless era nothing needs to be sent.
    ///
    /// # Errors
    /// If the server cannot be reached, refuses (an HTTP 401 is [`CallError::Http`] with its challenge), or speaks no
    /// version that is spoken here.
    ///
    /// [`ServerOptions::era`]: super::ServerOptions::era
    pub async fn open(
        server: Arc<Server>,
        client: Client,
        authorize: Arc<dyn Authorize>,
        options: &OpenOptions,
    ) -> Result<Session, CallError> {
        let mut session = Session {
            negotiated: blank(&server, &client, Era::Stateless),
            server,
            client,
            authorize,
            id: None,
            next: AtomicU64::new(1),
        };
        let era = match session.server.options.era {
            EraChoice::Sessions => Era::Sessions,
            EraChoice::Stateless => Era::Stateless,
            EraChoice::Detect => {
                let detected = session
                    .server
                    .era
                    .get_or_try_init(|| detect(&session, options));
                *detected.await?
            }
        };
        // Decided by the options, it is known all the same; already known, this changes nothing.
        let _ = session.server.era.set(era);
        match era {
            Era::Stateless => {
                let known = session
                    .server
                    .negotiated
                    .get_or_init(|| session.negotiated.clone());
                session.negotiated = known.clone();
            }
            Era::Sessions => initialize(&mut session, options).await?,
        }
        Ok(session)
    }

    /// The id of the session, if the server gave one. A secret: whoever knows it may use the session.
    pub fn id(&self) -> Option<&http::HeaderValue> {
        self.id.as_ref()
    }
}

/// Headers and `_meta` before anything is agreed on.
fn blank(server: &Server, client: &Client, era: Era) -> Arc<Negotiated> {
    if era == Era::Stateless
        && let Some(known) = server.negotiated.get()
        && known.era == era
    {
        return known.clone();
    }
    let agent = client.connector().options().user_agent.as_ref();
    let version = (era == Era::Stateless).then_some(STATELESS);
    Arc::new(Negotiated::new(server, agent, era, version))
}

/// Asks with `server/discover`; a server that does not understand it has sessions.
async fn detect(session: &Session, options: &OpenOptions) -> Result<Era, CallError> {
    let request = Request {
        method: "server/discover",
        name: None,
        params: Params::Object(b"{}"),
        mirrored: Vec::new(),
    };
    let options = CallOptions::timeout(options.timeout);
    let mut asked_again = false;
    loop {
        match session.call(&request, &options).await.result {
            Ok(result) => return Ok(discovered(session, &result)),
            Err(CallError::Rpc {
                code: UNSUPPORTED_VERSION,
                data,
                message,
                status,
            }) => {
                let supported = supported(data.as_deref());
                let is = |version: &str| supported.iter().any(|other| other == version);
                if is(STATELESS) && !asked_again {
                    // It refused the very version it supports: once may be a slip on its side.
                    asked_again = true;
                } else if WITH_SESSIONS.into_iter().any(is) {
                    return Ok(Era::Sessions);
                } else {
                    return Err(CallError::Rpc {
                        code: UNSUPPORTED_VERSION,
                        message,
                        data,
                        status,
                    });
                }
            }
            Err(error @ CallError::Rpc { code, .. }) if STATELESS_ONLY.contains(&code) => {
                return Err(error);
            }
            // Another JSON-RPC error, whatever its status, comes from a server that expected `initialize`.
            Err(CallError::Rpc { .. }) => return Ok(Era::Sessions),
            Err(CallError::Http { status, .. }) if falls_back(status) => return Ok(Era::Sessions),
            Err(CallError::Protocol(reason)) => {
                tracing::debug!(reason, "server/discover was not understood");
                return Ok(Era::Sessions);
            }
            Err(error) => return Err(error),
        }
    }
}

/// A refusal of the message, not of the sender.
fn falls_back(status: StatusCode) -> bool {
    status.is_client_error()
        && !matches!(
            status,
            StatusCode::UNAUTHORIZED
                | StatusCode::FORBIDDEN
                | StatusCode::REQUEST_TIMEOUT
                | StatusCode::TOO_MANY_REQUESTS
        )
}

fn supported(data: Option<&Value>) -> Vec<String> {
    data.and_then(|data| data.get("supported"))
        .and_then(Value::as_array)
        .map(|versions| {
            let texts = versions.iter().filter_map(Value::as_str);
            texts.map(str::to_owned).collect()
        })
        .unwrap_or_default()
}

/// Judges the answer to `server/discover`. An answer that names no version came from a server that says yes to anything.
fn discovered(session: &Session, result: &[u8]) -> Era {
    let Ok(discovered) = serde_json::from_slice::<Discovered>(result) else {
        return Era::Sessions;
    };
    if !discovered
        .supported_versions
        .iter()
        .any(|version| version == STATELESS)
    {
        return Era::Sessions;
    }
    let mut meta = discovered.meta;
    let known = Negotiated {
        info: meta.remove(SERVER_INFO).unwrap_or_default(),
        capabilities: discovered.capabilities,
        ..(*session.negotiated).clone()
    };
    session.server.negotiated.get_or_init(|| Arc::new(known));
    Era::Stateless
}

async fn initialize(session: &mut Session, options: &OpenOptions) -> Result<(), CallError> {
    session.negotiated = blank(&session.server, &session.client, Era::Sessions);
    let params = json!({
        "protocolVersion": options.version,
        "capabilities": session.server.options.capabilities,
        "clientInfo": session.server.client_info(),
    })
    .to_string();
    let request = Request {
        method: "initialize",
        name: None,
        params: Params::Object(params.as_bytes()),
        mirrored: Vec::new(),
    };
    let timed = CallOptions::timeout(options.timeout);
    let mut trace = Trace::new();
    let result = session.traced(&request, &timed, &mut trace).await?;
    let initialized: Initialized = serde_json::from_slice(&result)
        .map_err(|error| CallError::protocol(format_args!("initialize: {error}")))?;
    if !WITH_SESSIONS.contains(&initialized.protocol_version.as_str()) {
        return Err(CallError::protocol(format_args!(
            "the server speaks version `{}`, which is unknown here",
            initialized.protocol_version
        )));
    }
    session.negotiated = agreed(session, initialized);
    if let Some(mut id) = trace.session_id {
        id.set_sensitive(true);
        session.id = Some(id);
    }
    let done = session.notify("notifications/initialized", &Value::Null, &timed);
    done.await.result
}

/// What was agreed on: that of the first session where it is the same.
fn agreed(session: &Session, initialized: Initialized) -> Arc<Negotiated> {
    let make = |initialized: Initialized| {
        let agent = session.client.connector().options().user_agent.as_ref();
        let version = Some(initialized.protocol_version.as_str());
        Negotiated {
            info: initialized.server_info,
            capabilities: initialized.capabilities,
            ..Negotiated::new(&session.server, agent, Era::Sessions, version)
        }
    };
    match session.server.negotiated.get() {
        Some(known) if known.version == initialized.protocol_version => known.clone(),
        Some(_) => Arc::new(make(initialized)),
        None => {
            let made = Arc::new(make(initialized));
            let first = session.server.negotiated.get_or_init(|| made.clone());
            if first.version == made.version {
                first.clone()
            } else {
                made
            }
        }
    }
}

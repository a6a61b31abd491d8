//! One identity's connections and cookies.

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::Poll,
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::{Request, header};

use crate::{
    connection::{Body, Connection, Unanswered},
    connector::Connector,
    cookies::Jar,
    error::{Phase, TransportError, TransportFailure},
    exchange::{Exchange, OpenExchange, Timings},
    http1::Head,
    request::{Origin, Outgoing, Plain, Target},
    stream::Traffic,
};

/// The HTTP client of ONE identity.
///
/// A clone is the same identity: it shares connections and cookies. Two identities never share a client, since they
/// would share connections, and with them whatever the target attaches to a connection.
#[derive(Clone)]
pub struct Client {
    connector: Connector,
    idle: Arc<Mutex<Vec<(Origin, Connection)>>>,
    cookies: Option<Arc<Jar>>,
}

impl Client {
    /// A client without cookies.
    pub fn new(connector: &Connector) -> Self {
        Self {
            connector: connector.clone(),
            idle: Arc::default(),
            cookies: None,
        }
    }

    /// A client with a cookie jar of its own, empty at first.
    pub fn with_cookies(connector: &Connector) -> Self {
        Self {
            cookies: Some(Arc::new(Jar::new())),
            ..Self::new(connector)
        }
    }

    /// The same identity's connections, but neither sending nor keeping cookies: for an API beside a login, as a browser
    /// fetches with `credentials: "omit"`.
    pub fn without_cookies(&self) -> Self {
        Self {
            cookies: None,
            ..self.clone()
        }
    }

    /// The same identity's connections with a new, empty cookie jar: for a login that owes nothing to an earlier one.
    pub fn with_new_cookies(&self) -> Self {
        Self {
            cookies: Some(Arc::new(Jar::new())),
            ..self.clone()
        }
    }

    /// This identity's cookie jar, if it has one.
    pub fn cookies(&self) -> Option<&Jar> {
        self.cookies.as_deref()
    }

    /// What makes this client's connections.
    pub fn connector(&self) -> &Connector {
        &self.connector
    }

    /// How many connections are open and unused.
    pub fn idle_connections(&self) -> usize {
        self.idle().len()
    }

    /// Sends a request with an absolute URL and receives the whole response; at most `timeout` long, connecting
    /// included. Redirects are answers like any other.
    ///
    /// # Errors
    /// If no complete response arrives in time, or its body is larger than allowed.
    pub async fn send(
        &self,
        request: Request<Bytes>,
        timeout: Duration,
    ) -> Result<Exchange, TransportError> {
        let started = Instant::now();
        let outgoing = self.prepare(request, started)?;
        self.exchange(&outgoing, started, timeout).await
    }

    /// Sends a request with an absolute URL and waits, at most `timeout`, for the head of the response.
    ///
    /// # Errors
    /// If no response head arrives in time.
    pub async fn open(
        &self,
        request: Request<Bytes>,
        timeout: Duration,
    ) -> Result<OpenExchange, TransportError> {
        let started = Instant::now();
        let outgoing = self.prepare(request, started)?;
        self.open_outgoing(&outgoing, started, timeout).await
    }

    /// [`Client::open`] for any outgoing request.
    pub(crate) async fn open_outgoing(
        &self,
        outgoing: &dyn Outgoing,
        started: Instant,
        timeout: Duration,
    ) -> Result<OpenExchange, TransportError> {
        let mut progress = Progress::new(started);
        let result = tokio::time::timeout(timeout, self.begin(outgoing, &mut progress)).await;
        let failure = match result {
            Ok(Ok(open)) => return Ok(open),
            Ok(Err(failure)) => failure,
            Err(_elapsed) => progress.timeout(timeout),
        };
        Err(progress.fail(failure, &outgoing.target().origin))
    }

    fn prepare(&self, request: Request<Bytes>, started: Instant) -> Result<Plain, TransportError> {
        let agent = self.connector.options().user_agent.as_ref();
        Plain::new(request, agent).map_err(|failure| TransportError::unsent(failure, started))
    }

    /// Sends and receives the whole response.
    pub(crate) async fn exchange(
        &self,
        outgoing: &dyn Outgoing,
        started: Instant,
        timeout: Duration,
    ) -> Result<Exchange, TransportError> {
        let mut progress = Progress::new(started);
        let result = {
            // Pinned: it is large, and would be moved into the timeout.
            let whole = std::pin::pin!(async {
                let mut open = self.begin(outgoing, &mut progress).await?;
                match open.read_all().await {
                    Ok(body) => Ok(Ok(open.finish(body))),
                    Err(failure) => Ok(Err(open.fail(failure))),
                }
            });
            tokio::time::timeout(timeout, whole).await
        };
        let failure = match result {
            Ok(Ok(result)) => return result,
            Ok(Err(failure)) => failure,
            Err(_elapsed) => progress.timeout(timeout),
        };
        Err(progress.fail(failure, &outgoing.target().origin))
    }

    /// Sends and waits for the response head, without a limit in time. A kept-alive connection that the server has closed
    /// meanwhile is replaced by a new one.
    pub(crate) async fn begin(
        &self,
        outgoing: &dyn Outgoing,
        progress: &mut Progress,
    ) -> Result<OpenExchange, TransportFailure> {
        let target = outgoing.target();
        if let Some(mut connection) = self.take_idle(&target.origin).await {
            progress.reused = true;
            progress.on(connection.traffic());
            progress.phase = Phase::Head;
            match self.request(outgoing, &mut connection).await {
                Ok(answer) => return Ok(self.opened(target, answer, connection, progress)),
                // Closed between the look at it and the answer, and nothing came back.
                Err(unanswered) => {
                    let (sent, received) = progress.traffic();
                    let unwritten = sent == 0 || unanswered.is_canceled();
                    let method = outgoing.method();
                    if received > 0 || !connection.is_replaceable(&unanswered, method, unwritten) {
                        return Err(unanswered.into());
                    }
                    // What was never under way is not sent again, but sent.
                    progress.resent |= !unwritten;
                }
            }
        }
        progress.reused = false;
        progress.phase = Phase::Connect;
        let mut connection = self.connector.connect(&target.origin).await?;
        progress.connected = Some(Instant::now());
        progress.on(connection.traffic());
        progress.phase = Phase::Head;
        if let Connection::Http2(shared) = &connection {
            // Others may use it from now on, at the same time.
            let shared = Connection::Http2(shared.clone());
            self.give_back(&target.origin, shared);
        }
        match self.request(outgoing, &mut connection).await {
            Ok(answer) => Ok(self.opened(target, answer, connection, progress)),
            Err(unanswered) => Err(unanswered.into()),
        }
    }

    async fn request(
        &self,
        outgoing: &dyn Outgoing,
        connection: &mut Connection,
    ) -> Result<(Head, Body), Unanswered> {
        let jar = self.cookies.as_ref().filter(|jar| !jar.never_used());
        let cookies = jar.map(|jar| jar.sent_to(outgoing.target()));
        connection.send(outgoing, cookies.as_ref()).await
    }

    fn opened(
        &self,
        target: &Target,
        (head, body): (Head, Body),
        connection: Connection,
        progress: &mut Progress,
    ) -> OpenExchange {
        progress.first_byte = Some(Instant::now());
        progress.phase = Phase::Body;
        // Without path and query, in which codes and tokens travel.
        tracing::debug!(
            origin = %target.origin.text(),
            status = head.status.as_u16(),
            reused = progress.reused,
            took = ?progress.started.elapsed(),
            "answered"
        );
        if let Some(jar) = &self.cookies
            && head.headers.contains_key(header::SET_COOKIE)
            && let Some(url) = target.url()
        {
            jar.store(&url, &head.headers);
        }
        let ended = connection.has_ended(&body);
        let mut open = OpenExchange {
            status: head.status,
            headers: head.headers,
            version: head.version,
            ended: None,
            connection: Some(connection),
            client: self.clone(),
            origin: target.origin.clone(),
            progress: progress.clone(),
            body,
        };
        if ended {
            open.release();
        }
        open
    }

    /// An idle connection to `origin` that is not known to be closed.
    async fn take_idle(&self, origin: &Origin) -> Option<Connection> {
        loop {
            let mut kept = {
                let mut idle = self.idle();
                // The one used last is the least likely to have been closed meanwhile.
                let position = idle.iter().rposition(|(of, _)| of == origin)?;
                match &idle[position].1 {
                    Connection::Http2(shared) if !shared.is_closed() => {
                        return Some(Connection::Http2(shared.clone()));
                    }
                    _ => idle.swap_remove(position).1,
                }
            };
            let gone = std::future::poll_fn(|cx| Poll::Ready(kept.poll_gone(cx)));
            // A task that has used up its turn is told that nothing has come, whatever has.
            if !tokio::task::unconstrained(gone).await {
                return Some(kept);
            }
        }
    }

    /// Keeps a connection for the next exchange. One of HTTP/2 is kept once however many exchanges share it.
    pub(crate) fn give_back(&self, origin: &Origin, connection: Connection) {
        if !connection.reusable() {
            return;
        }
        let mut idle = self.idle();
        let shared = |(of, other): &(Origin, Connection)| {
            of == origin && matches!(other, Connection::Http2(_))
        };
        if matches!(connection, Connection::Http2(_)) && idle.iter().any(shared) {
            return;
        }
        idle.push((origin.clone(), connection));
    }

    fn idle(&self) -> MutexGuard<'_, Vec<(Origin, Connection)>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("idle_connections", &self.idle_connections())
            .field("cookies", &self.cookies)
            .finish_non_exhaustive()
    }
}

/// How far an exchange has come. It outlives the future that does the work, so that a timeout can tell.
#[derive(Debug, Clone)]
pub(crate) struct Progress {
    started: Instant,
    connected: Option<Instant>,
    first_byte: Option<Instant>,
    phase: Phase,
    pub(crate) reused: bool,
    /// The request was written twice: the connection that it went out on first was closed.
    pub(crate) resent: bool,
    traffic: Count,
}

/// The bytes of an exchange: counted as long as it has the connection, then fixed.
#[derive(Debug, Clone)]
enum Count {
    Running {
        traffic: Arc<Traffic>,
        /// The connection's counters when this exchange began to use it.
        base: (u64, u64),
    },
    Fixed(u32, u32),
}

impl Progress {
    pub(crate) fn new(started: Instant) -> Self {
        Self {
            started,
            connected: None,
            first_byte: None,
            phase: Phase::Connect,
            reused: false,
            resent: false,
            traffic: Count::Fixed(0, 0),
        }
    }

    pub(crate) fn timings(&self, ended: Instant) -> Timings {
        Timings {
            started: self.started,
            connected: self.connected,
            first_byte: self.first_byte,
            ended,
        }
    }

    /// What is being waited for.
    pub(crate) fn phase(&self) -> Phase {
        self.phase
    }

    /// Bytes sent and received for this exchange so far.
    pub(crate) fn traffic(&self) -> (u32, u32) {
        match &self.traffic {
            Count::Running { traffic, base } => {
                let (sent, received) = traffic.now();
                let since = |now: u64, base: u64| u32::try_from(now - base).unwrap_or(u32::MAX);
                (since(sent, base.0), since(received, base.1))
            }
            Count::Fixed(sent, received) => (*sent, *received),
        }
    }

    /// The connection is about to serve somebody else.
    pub(crate) fn fix_traffic(&mut self) {
        let (sent, received) = self.traffic();
        self.traffic = Count::Fixed(sent, received);
    }

    pub(crate) fn timeout(&self, after: Duration) -> TransportFailure {
        TransportFailure::Timeout {
            after,
            phase: self.phase,
        }
    }

    pub(crate) fn fail(&self, failure: TransportFailure, origin: &Origin) -> TransportError {
        let (sent, received) = self.traffic();
        TransportError::new(
            failure,
            origin.text().clone(),
            self.timings(Instant::now()),
            sent,
            received,
            self.reused,
        )
        .after_resending(self.resent)
    }

    fn on(&mut self, traffic: &Arc<Traffic>) {
        self.traffic = Count::Running {
            base: traffic.now(),
            traffic: traffic.clone(),
        };
    }
}

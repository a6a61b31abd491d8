//! The users of a run with their open sessions, of MCP or HTTP: what carries the steps out.
//!
//! Creating users and logging them in comes before (`throng-identity`), load after (`throng-engine`).

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use futures_util::{StreamExt, stream};
use http::{HeaderName, HeaderValue};
use throng_client::mcp::{
    Anonymous, Authorize, CallError, CallOptions, OpenOptions, Server, Session, Tools,
};
use throng_client::{Base, Client, TransportFailure};
use throng_engine::StopSignals;
use throng_identity::hooks::Values;
use throng_identity::provision::Identity;
use throng_identity::tokens::{Recovery, Refusal};
use throng_identity::{Secret, TokenCell};
use throng_metrics::{Failure, FailureKind};

use crate::http_session::{Sender, hide_saved, mask, secret_headers};
use crate::logout::Logout;
use crate::renewal::{Told, Way};
use crate::run::failure::failure;
use crate::run::{Driver, Performed, Prepared, Readied, Task, UserNames};

/// How sessions are opened and used.
#[derive(Clone, Debug)]
pub struct CrowdOptions {
    /// How many sessions are opened or closed at once, at least 1.
    pub concurrency: usize,
    /// Time allowed for each request of the opening and for the closing of a session.
    pub timeout: Duration,
    /// Headers that every call carries.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// What is unique to this run: letters and digits, a part of every `{uid}`.
    pub run_id: String,
}

/// The users and their sessions.
pub struct Crowd {
    members: Vec<Member>,
    target: Target,
    options: CrowdOptions,
}

/// What they all speak to.
enum Target {
    Mcp(Arc<Server>),
    Http(Box<Base>),
}

/// Somebody who can open a session. For an HTTP target the client holds the cookies of a login, where there was one.
#[derive(Debug)]
pub struct Person {
    /// Login name.
    pub name: String,
    /// Display name.
    pub display_name: String,
    /// Mail address.
    pub email: String,
    /// Connections of this user alone.
    pub client: Client,
    /// The access token; none where the target asks for no login.
    pub tokens: Option<TokenCell>,
    /// What the requests of the login saved, by name.
    pub saved: Values,
    /// How the user logs out when the session is closed; none where that is not said. For HTTP targets only.
    pub logout: Option<Box<Logout>>,
}

impl From<Identity> for Person {
    fn from(identity: Identity) -> Self {
        // With tokens, the cookies are those of the provider's pages; a jar knows no ports, so that the target could get them
        // too. Without, they are the session.
        let client = match &identity.tokens {
            Some(_) => identity.client.without_cookies(),
            None => identity.client,
        };
        Self {
            name: identity.name,
            display_name: identity.display_name,
            email: identity.email,
            client,
            tokens: identity.tokens,
            saved: identity.saved,
            logout: None,
        }
    }
}

pub(crate) struct Member {
    name: String,
    display_name: String,
    email: String,
    pub(crate) tokens: Option<TokenCell>,
    /// What the requests of the login saved, by name; without the names.
    pub(crate) saved: Box<[Secret]>,
    logout: Option<Box<Logout>>,
    seat: Seat,
    /// How far [`TokenCell::changes`] were told.
    pub(crate) changes: AtomicU64,
    pub(crate) told: Box<Told>,
}

/// What a member sends by.
enum Seat {
    Mcp(Session),
    Http(Client),
}

/// What came of opening the sessions.
#[derive(Debug)]
pub struct Opened {
    /// The users, if all sessions could be opened.
    pub crowd: Crowd,
    /// How long each session took to open, in the order of the users.
    pub timings: Vec<Duration>,
    /// The whole.
    pub took: Duration,
}

/// A session that could not be opened or closed.
#[derive(Debug, thiserror::Error)]
#[error("{what} the session of {name}: {source}")]
pub struct SessionError {
    /// Whose session.
    pub name: String,
    /// What was tried.
    pub what: &'static str,
    /// What went wrong.
    #[source]
    pub source: Box<dyn std::error::Error + Send + Sync>,
}

impl Crowd {
    /// Opens a session for each of them, some at a time. `on_open` is called after each with how many are open. A drain lets those
    /// that are being opened get so far, so that they can be closed; an abort gives them up.
    ///
    /// # Errors
    /// Every session that could not be opened, or was not to be any more. Those that could are closed again.
    pub async fn open(
        people: Vec<Person>,
        server: Arc<Server>,
        options: CrowdOptions,
        stop: &StopSignals,
        on_open: impl Fn(usize) + Sync,
    ) -> Result<Opened, Vec<SessionError>> {
        let started = Instant::now();
        let (server_ref, on_open, count) = (&server, &on_open, &AtomicUsize::new(0));
        let timeout = options.timeout;
        let opened: Vec<_> = stream::iter(people)
            .map(|person| async move {
                let begun = Instant::now();
                let stopped = |name| SessionError {
                    name,
                    what: "opening",
                    source: "the run was stopped".into(),
                };
                if stop.drain.is_cancelled() {
                    return Err(stopped(person.name));
                }
                let name = person.name.clone();
                let member = tokio::select! {
                    biased;
                    member = open_one(person, server_ref.clone(), timeout) => member?,
                    () = stop.abort.cancelled() => return Err(stopped(name)),
                };
                on_open(count.fetch_add(1, Ordering::Relaxed) + 1);
                Ok((member, begun.elapsed()))
            })
            .buffered(options.concurrency.max(1))
            .collect()
            .await;
        let mut members = Vec::with_capacity(opened.len());
        let mut timings = Vec::with_capacity(opened.len());
        let mut errors = Vec::new();
        for result in opened {
            match result {
                Ok((member, took)) => {
                    members.push(member);
                    timings.push(took);
                }
                Err(error) => errors.push(error),
            }
        }
        let crowd = Self {
            members,
            target: Target::Mcp(server),
            options,
        };
        if errors.is_empty() && !stop.drain.is_cancelled() {
            Ok(Opened {
                crowd,
                timings,
                took: started.elapsed(),
            })
        } else {
            tokio::select! {
                biased;
                failed = crowd.close() => errors.extend(failed),
                () = stop.abort.cancelled() => {}
            }
            Err(errors)
        }
    }

    /// Users of an HTTP target at `url`, logged in already as far as they ever will be. Nothing is sent.
    ///
    /// # Errors
    /// If `url` is no absolute http or https URL.
    pub fn over_http(
        people: Vec<Person>,
        url: &str,
        options: CrowdOptions,
    ) -> Result<Self, TransportFailure> {
        let base = Base::new(url)?;
        let members = people
            .into_iter()
            .map(|person| Member {
                name: person.name,
                display_name: person.display_name,
                email: person.email,
                tokens: person.tokens,
                saved: person.saved.into_values().collect(),
                logout: person.logout,
                seat: Seat::Http(person.client),
                changes: AtomicU64::new(0),
                told: Box::default(),
            })
            .inspect(Member::forget_token_history)
            .collect();
        Ok(Self {
            members,
            target: Target::Http(Box::new(base)),
            options,
        })
    }

    /// How many users there are.
    pub fn len(&self) -> usize {
        self.members.len()
    }

    /// Whether there is nobody.
    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// What is known of the MCP server; `None` of an HTTP target.
    pub fn server(&self) -> Option<&Arc<Server>> {
        match &self.target {
            Target::Mcp(server) => Some(server),
            Target::Http(_) => None,
        }
    }

    /// The server's tools, listed by the first user once.
    ///
    /// # Errors
    /// If they cannot be listed, or there is nobody to ask.
    pub async fn tools(&self) -> Result<Arc<Tools>, CallError> {
        match self.members.first().map(|member| (member, &member.seat)) {
            Some((_, Seat::Http(_))) => Err(CallError::Protocol(
                "an HTTP target has no tools".to_owned(),
            )),
            Some((member, Seat::Mcp(session))) => {
                // Opening a large crowd may have taken longer than a token lives. Where it can't be renewed, the server's
                // answer says more than this would.
                if let Some(tokens) = &member.tokens
                    && let Err(error) = tokens.ensure_fresh().await
                {
                    tracing::info!(user = member.name, %error, "the token couldn't be renewed");
                }
                let options = CallOptions::timeout(self.options.timeout);
                let Some(tokens) = &member.tokens else {
                    return session.list_tools(&options).await;
                };
                // A token may end a second sooner than was said, where the server counts in whole ones.
                let mut recovery = Recovery::default();
                loop {
                    let token = tokens.header();
                    let listed = session.list_tools(&options).await;
                    let refusal = listed.as_ref().err().and_then(Refusal::of_call);
                    match refusal {
                        Some(refusal)
                            if matches!(
                                recovery.after(tokens, &token, &refusal).await,
                                Ok(true)
                            ) => {}
                        _ => return listed,
                    }
                }
            }
            None => Err(CallError::Protocol(
                "there is no user who could list the tools".to_owned(),
            )),
        }
    }

    /// How many users log out when the sessions are closed.
    pub fn logouts(&self) -> usize {
        let members = self.members.iter();
        members.filter(|member| member.logout.is_some()).count()
    }

    /// Ends all sessions, some at a time: MCP's by its own means, those of an HTTP target by their logouts. Returns those that
    /// could not be ended properly.
    pub async fn close(self) -> Vec<SessionError> {
        let timeout = self.options.timeout;
        stream::iter(self.members)
            .map(|member| member.close(timeout))
            .buffer_unordered(self.options.concurrency.max(1))
            .filter_map(|error| async move { error })
            .collect()
            .await
    }

    fn member(&self, user: u32) -> &Member {
        &self.members[user as usize]
    }
}

impl fmt::Debug for Crowd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Crowd")
            .field("members", &self.members.len())
            .finish_non_exhaustive()
    }
}

async fn open_one(
    person: Person,
    server: Arc<Server>,
    timeout: Duration,
) -> Result<Member, SessionError> {
    let Person {
        name,
        display_name,
        email,
        client,
        tokens,
        saved,
        logout: _,
    } = person;
    let error = |source: Box<dyn std::error::Error + Send + Sync>| SessionError {
        name: name.clone(),
        what: "opening",
        source,
    };
    let authorize: Arc<dyn Authorize> = match &tokens {
        Some(tokens) => {
            // Logins of a large crowd may have taken longer than a token lives.
            tokens
                .ensure_fresh()
                .await
                .map_err(|source| error(source.into()))?;
            Arc::new(tokens.clone())
        }
        None => Arc::new(Anonymous),
    };
    let options = OpenOptions {
        timeout,
        ..OpenOptions::default()
    };
    let open = || Session::open(server.clone(), client.clone(), authorize.clone(), &options);
    let mut recovery = Recovery::default();
    let session = loop {
        let token = tokens.as_ref().map(|tokens| (tokens, tokens.header()));
        match open().await {
            Ok(session) => break session,
            Err(refused) => {
                let refusal = token.zip(Refusal::of_call(&refused));
                let helped = match &refusal {
                    Some(((tokens, token), refusal)) => {
                        matches!(recovery.after(tokens, token, refusal).await, Ok(true))
                    }
                    None => false,
                };
                if !helped {
                    return Err(error(refused.into()));
                }
            }
        }
    };
    let member = Member {
        name,
        display_name,
        email,
        tokens,
        saved: saved.into_values().collect(),
        logout: None,
        seat: Seat::Mcp(session),
        changes: AtomicU64::new(0),
        told: Box::default(),
    };
    member.forget_token_history();
    Ok(member)
}

impl Member {
    async fn close(self, timeout: Duration) -> Option<SessionError> {
        let Self {
            name, seat, logout, ..
        } = self;
        let (what, source): (_, Box<dyn std::error::Error + Send + Sync>) = match (seat, logout) {
            (Seat::Mcp(session), _) => {
                ("closing", session.close(timeout).await.result.err()?.into())
            }
            (Seat::Http(client), Some(logout)) => {
                ("ending", logout.send(&client, timeout).await.err()?.into())
            }
            // Its connections close with it.
            (Seat::Http(_), None) => return None,
        };
        Some(SessionError { name, what, source })
    }
}

/// The compiler lets no step of one protocol into a scenario of the other; a driver may be given any.
pub(crate) fn misfit() -> Failure {
    failure(
        FailureKind::Scenario,
        "the step is not of the target's protocol",
    )
}

pub(crate) async fn exchange(sender: Sender<'_>, task: &Task<'_>) -> Performed {
    match task {
        Task::Request(task) => sender.request(task).await,
        // Rare beside requests, and large: it must not make every step's future so.
        Task::Listen(task) => Box::pin(sender.listen(task)).await,
        Task::Call(..) | Task::Resource(_) | Task::Token(_) => Performed::failed(misfit()),
    }
}

impl Driver for Crowd {
    fn names(&self, user: u32) -> UserNames<'_> {
        let Member {
            name,
            display_name,
            email,
            ..
        } = self.member(user);
        UserNames {
            name,
            display_name,
            email,
        }
    }

    fn saved(&self, user: u32, index: usize) -> Option<&str> {
        self.member(user).saved.get(index).map(Secret::expose)
    }

    fn run_id(&self) -> &str {
        &self.options.run_id
    }

    async fn ready(&self, user: u32, limit: Duration) -> Readied {
        self.member(user).ready(limit).await
    }

    fn conceal(&self, user: u32, task: &Prepared<'_>, text: String) -> String {
        let member = self.member(user);
        let (Seat::Http(client), Some(task)) = (&member.seat, task.task.http()) else {
            return hide_saved(&member.saved, text);
        };
        let token = member.tokens.as_ref().map(TokenCell::header);
        let text = mask(client, token.as_ref(), &secret_headers(task), &text);
        hide_saved(&member.saved, text)
    }

    async fn perform(&self, user: u32, task: &Prepared<'_>) -> Performed {
        let member = self.member(user);
        let way = match (&member.seat, &self.target, &task.task) {
            // Rare beside calls.
            (_, _, Task::Token(action)) => return Box::pin(member.act(*action, task)).await,
            (Seat::Mcp(session), Target::Mcp(_), _) => Way::Mcp(session, &self.options.headers),
            (Seat::Http(client), Target::Http(base), _) => Way::Http(client, base),
            _ => return Performed::failed(misfit()),
        };
        member.perform(way, task).await
    }
}

//! One user on the way: created, logged in, hooks run.

use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use throng_client::Client;
use tokio_util::sync::CancellationToken;

use super::{
    HalfReady, Identity, KnownUser, LoginWay, OnEvent, ProvisionError, ProvisionEvent,
    ProvisionPlan, UserTimings,
};
use crate::directory::names::UserName;
use crate::directory::{Creation, Directory, DirectoryError, NewUser, password};
use crate::hooks::{self, Hook, Values};
use crate::ledger::{EntryId, Kind, Ledger, LedgerError, Place, State};
use crate::login::token::Tokens;
use crate::login::{
    FormLogin, GrantPlan, Hop, LoginError, LoginPlan, Whom, log_in, log_in_by_form, log_in_by_grant,
};
use crate::secret::Secret;
use crate::tokens::TokenCell;

/// How a user came to be there.
#[derive(Debug, Clone)]
enum Came {
    /// Nobody asked: there is no directory.
    There,
    /// By this run.
    Created,
    /// Before this run.
    Reused,
    /// By an attempt of this run that may have failed, or before it, or not at all. The entry is that of the attempt, `said` what
    /// answered it, if not that there is such a user.
    Perhaps {
        entry: EntryId,
        said: Option<String>,
    },
}

/// The token that a login brought, and what brings the next one.
enum Got {
    Login(Tokens, Arc<LoginPlan>),
    Grant(Tokens, Arc<GrantPlan>),
    /// Somebody else brings it.
    Given(Secret),
}

impl Got {
    fn access(&self) -> &Secret {
        match self {
            Self::Login(tokens, _) | Self::Grant(tokens, _) => &tokens.access,
            Self::Given(token) => token,
        }
    }
}

/// What came of one user.
pub(super) struct Outcome {
    pub(super) timings: UserTimings,
    pub(super) result: Result<Identity, ProvisionError>,
    /// What there may be of a session, where the result is an error.
    pub(super) half_ready: Option<HalfReady>,
}

/// One user on the way.
pub(super) struct User {
    pub(super) names: UserName,
    /// Where it was there already, by name.
    pub(super) known: Option<KnownUser>,
    pub(super) plan: Arc<ProvisionPlan>,
    pub(super) ledger: Ledger,
    pub(super) cancel: CancellationToken,
    pub(super) on_event: OnEvent,
}

impl User {
    pub(super) async fn bring_up(&self) -> Outcome {
        let mut timings = UserTimings {
            n: self.names.n,
            name: self.names.name.clone(),
            create: None,
            login: None,
            queued: Duration::ZERO,
            after_login: None,
            login_attempts: 0,
            hops: Vec::new(),
        };
        (self.on_event)(ProvisionEvent::Started(&self.names));
        let mut half_ready = None;
        let result = self.stages(&mut timings, &mut half_ready).await;
        (self.on_event)(match &result {
            Ok(_) => ProvisionEvent::Ready(&self.names),
            Err(error) => ProvisionEvent::Failed(&self.names, error),
        });
        Outcome {
            timings,
            result,
            half_ready,
        }
    }

    async fn stages(
        &self,
        timings: &mut UserTimings,
        half_ready: &mut Option<HalfReady>,
    ) -> Result<Identity, ProvisionError> {
        let begun = Instant::now();
        let own = self
            .known
            .as_ref()
            .and_then(|known| known.password.as_ref());
        let given = own.or(self.plan.password.as_ref());
        let password = given.cloned().unwrap_or_else(password::generate);
        let came = match &self.plan.directory {
            Some(directory) => {
                let came = self.create(&**directory, &password).await;
                timings.create = Some(begun.elapsed());
                came?
            }
            None => Came::There,
        };
        let took = begun.elapsed();
        match came {
            Came::Created => (self.on_event)(ProvisionEvent::Created(&self.names, took)),
            Came::Reused => (self.on_event)(ProvisionEvent::Reused(&self.names)),
            Came::There | Came::Perhaps { .. } => {}
        }

        let client = Client::with_cookies(&self.plan.connector);
        let mut values = self.values(&password);
        let result = self
            .enter((came, took), &client, &mut values, timings)
            .await;
        if let Err(error) = &result
            && !error.refuses_password()
            && client.cookies().is_some_and(|jar| !jar.is_empty())
        {
            *half_ready = Some(HalfReady {
                name: self.names.name.clone(),
                client: client.clone(),
                values: values.clone(),
            });
        }
        let tokens = result?;
        self.keep_saved(&mut values);
        Ok(Identity {
            index: 0,
            n: self.names.n,
            name: self.names.name.clone(),
            display_name: self.names.display_name.clone(),
            email: self.names.email.clone(),
            tokens: tokens.map(|got| self.cell(got, &client, &password)),
            client,
            password,
            saved: values,
        })
    }

    /// Logs in somebody who came to be there in some way, which took so long, and runs what follows the login.
    async fn enter(
        &self,
        (came, took): (Came, Duration),
        client: &Client,
        values: &mut Values,
        timings: &mut UserTimings,
    ) -> Result<Option<Got>, ProvisionError> {
        let begun = Instant::now();
        let password = values["password"].clone();
        let logged_in = match &self.plan.login {
            LoginWay::OAuth(plan) => self.log_in(plan, client, &password, timings).await,
            LoginWay::Grant(plan) => self.ask(plan, client, &password, timings).await,
            LoginWay::Bearer(shared) => match self.given(shared.as_ref()) {
                Some(token) => Ok(Some(Got::Given(token.clone()))),
                None => Err(ProvisionError::NoToken {
                    name: self.names.name.clone(),
                }),
            },
            LoginWay::Requests(requests) => self
                .sign_in(requests, client, values, timings)
                .await
                .map(|()| None),
            LoginWay::Form(form) => self
                .fill_form(form, client, values, timings)
                .await
                .map(|()| None),
        };
        let login = begun.elapsed().saturating_sub(timings.queued);
        timings.login = Some(login);
        if let Came::Perhaps { entry, said } = came {
            self.settle(entry, said, &logged_in, took).await?;
        }
        let tokens = logged_in?;
        (self.on_event)(ProvisionEvent::LoggedIn(&self.names, login));

        let begun = Instant::now();
        if let Some(got) = &tokens {
            values.insert("token".to_owned(), got.access().clone());
        }
        let hooks = self.after_login(client, values).await;
        if !self.plan.after_login.is_empty() {
            timings.after_login = Some(begun.elapsed());
        }
        hooks?;
        Ok(tokens)
    }

    /// Ledger first, then the directory. Not interrupted: half a creation is no user's friend.
    async fn create(
        &self,
        directory: &dyn Directory,
        password: &Secret,
    ) -> Result<Came, ProvisionError> {
        let (run, place, name) = (
            self.plan.run.clone(),
            Place::of(directory),
            self.names.name.clone(),
        );
        let entry = self
            .ledger
            .run(move |ledger| ledger.plan(&run, Kind::User, &place, &name))
            .await?;
        let user = NewUser {
            name: self.names.name.clone(),
            display_name: self.names.display_name.clone(),
            email: self.names.email.clone(),
            password: password.clone(),
        };
        let mut attempts = self.plan.retry.start();
        // Set once an attempt may have created the user although it looked like a failure.
        let mut perhaps = false;
        let outcome = loop {
            match directory.create(&user).await {
                // It was the earlier attempt: the name was free when the run began, and nobody else creates it now.
                Ok(Creation::Reused) | Err(DirectoryError::Exists { .. })
                    if perhaps && directory.can_list() =>
                {
                    break Ok(Creation::Created);
                }
                // Nobody knows whether the name was free. A password that only this run knows will tell.
                Err(DirectoryError::Exists { .. }) if perhaps && self.plan.password.is_none() => {
                    return Ok(Came::Perhaps { entry, said: None });
                }
                Err(error @ DirectoryError::Exists { .. }) => {
                    perhaps = false;
                    break Err(error);
                }
                Ok(Creation::Unproven { said, likely }) => {
                    if likely {
                        self.set_state(entry, State::Created).await?;
                    }
                    let said = Some(said);
                    return Ok(Came::Perhaps { entry, said });
                }
                Ok(creation) => break Ok(creation),
                Err(error) => {
                    perhaps |= !error.nothing_was_created();
                    let wait = if error.is_passing() {
                        attempts.next_wait(error.retry_after())
                    } else {
                        None
                    };
                    match wait.filter(|_| !self.cancel.is_cancelled()) {
                        Some(wait) => tokio::time::sleep(wait).await,
                        None => break Err(error),
                    }
                }
            }
        };
        let reused = match &outcome {
            Ok(Creation::Created) => {
                self.set_state(entry, State::Created).await?;
                return Ok(Came::Created);
            }
            Ok(_) => true,
            Err(_) => false,
        };
        if reused || !perhaps {
            // Nothing of ours, as far as can be known: a later cleanup must not take it for that.
            self.ledger.run(move |ledger| ledger.forget(entry)).await?;
        }
        outcome
            .map(|_| Came::Reused)
            .map_err(|source| self.not_created(source))
    }

    fn not_created(&self, source: DirectoryError) -> ProvisionError {
        ProvisionError::Create {
            name: self.names.name.clone(),
            source,
        }
    }

    /// Whose user it is that was there after an attempt whose outcome is unknown: this run's if it logs in with the password
    /// that it was given, a stranger's, or nobody's, if that is refused. Anything else doesn't tell.
    async fn settle<T>(
        &self,
        entry: EntryId,
        said: Option<String>,
        logged_in: &Result<T, ProvisionError>,
        took: Duration,
    ) -> Result<(), ProvisionError> {
        match logged_in {
            Ok(_) => {
                self.set_state(entry, State::Created).await?;
                (self.on_event)(ProvisionEvent::Created(&self.names, took));
            }
            Err(error) if error.refuses_password() => {
                self.ledger.run(move |ledger| ledger.forget(entry)).await?;
                let directory = self.plan.directory.as_ref();
                let url = directory.map_or(String::new(), |directory| directory.url().to_string());
                let name = self.names.name.clone();
                return Err(self.not_created(match said {
                    Some(said) => DirectoryError::NotOurs { name, said },
                    None => DirectoryError::Exists {
                        name,
                        url,
                        cleanable: false,
                    },
                }));
            }
            Err(_) => {}
        }
        Ok(())
    }

    async fn set_state(&self, entry: EntryId, state: State) -> Result<(), LedgerError> {
        self.ledger
            .run(move |ledger| ledger.set_state(entry, state))
            .await
    }

    async fn log_in(
        &self,
        plan: &Arc<LoginPlan>,
        client: &Client,
        password: &Secret,
        timings: &mut UserTimings,
    ) -> Result<Option<Got>, ProvisionError> {
        let login = log_in(plan, client, &self.names.name, password);
        match self.unless_cancelled(login).await? {
            Ok(login) => {
                note(timings, login.attempts, login.hops, login.queued);
                Ok(Some(Got::Login(login.tokens, plan.clone())))
            }
            Err(error) => Err(failed(timings, error)),
        }
    }

    async fn ask(
        &self,
        plan: &Arc<GrantPlan>,
        client: &Client,
        password: &Secret,
        timings: &mut UserTimings,
    ) -> Result<Option<Got>, ProvisionError> {
        let whom = self.whom(password);
        let login = log_in_by_grant(plan, client, &whom, None);
        match self.unless_cancelled(login).await? {
            Ok(login) => {
                note(timings, login.attempts, login.hops, login.queued);
                Ok(Some(Got::Grant(login.tokens, plan.clone())))
            }
            Err(error) => Err(failed(timings, error)),
        }
    }

    /// The token that all have, else this user's own.
    fn given<'a>(&'a self, shared: Option<&'a Secret>) -> Option<&'a Secret> {
        let own = || self.known.as_ref()?.token.as_ref();
        shared.or_else(own)
    }

    fn whom(&self, password: &Secret) -> Whom {
        Whom {
            name: self.names.name.clone(),
            password: password.clone(),
            token: self.known.as_ref().and_then(|known| known.token.clone()),
        }
    }

    fn cell(&self, got: Got, client: &Client, password: &Secret) -> TokenCell {
        let name = &self.names.name;
        match got {
            Got::Login(tokens, plan) => {
                TokenCell::new(tokens, plan, client, name, password.clone())
            }
            Got::Grant(tokens, plan) => {
                TokenCell::of_grant(tokens, plan, client, self.whom(password))
            }
            Got::Given(token) => TokenCell::fixed(name, &token),
        }
    }

    async fn fill_form(
        &self,
        form: &FormLogin,
        client: &Client,
        values: &Values,
        timings: &mut UserTimings,
    ) -> Result<(), ProvisionError> {
        let (name, password) = (&self.names.name, &values["password"]);
        let login = log_in_by_form(form, client, name, password, values);
        match self.soon_after_cancel(login).await? {
            Ok(session) => {
                note(timings, session.attempts, session.hops, session.queued);
                Ok(())
            }
            Err(error) => Err(failed(timings, error)),
        }
    }

    async fn sign_in(
        &self,
        requests: &[Hook],
        client: &Client,
        values: &mut Values,
        timings: &mut UserTimings,
    ) -> Result<(), ProvisionError> {
        let (policy, timeout) = (&self.plan.retry, self.plan.timeout);
        for request in requests {
            let sent = hooks::send(request, client, values, policy, timeout);
            // Those of the last: it logs in.
            timings.login_attempts =
                self.soon_after_cancel(sent)
                    .await?
                    .map_err(|source| ProvisionError::SignIn {
                        name: self.names.name.clone(),
                        source,
                    })?;
        }
        Ok(())
    }

    async fn after_login(
        &self,
        client: &Client,
        values: &mut Values,
    ) -> Result<(), ProvisionError> {
        let plan = &self.plan;
        let run = hooks::run(&plan.after_login, client, values, &plan.retry, plan.timeout);
        self.unless_cancelled(run)
            .await?
            .map_err(|source| ProvisionError::Hook {
                name: self.names.name.clone(),
                source,
            })
    }

    /// What declared requests may use of a user.
    fn values(&self, password: &Secret) -> Values {
        let names = &self.names;
        [
            ("name", Secret::new(names.name.clone())),
            ("display_name", Secret::new(names.display_name.clone())),
            ("email", Secret::new(names.email.clone())),
            ("n", Secret::new(names.n.to_string())),
            ("password", password.clone()),
        ]
        .into_iter()
        .map(|(key, value)| (key.to_owned(), value))
        .collect()
    }

    /// Only what requests saved is kept.
    fn keep_saved(&self, values: &mut Values) {
        let login: &[Hook] = match &self.plan.login {
            LoginWay::OAuth(_) | LoginWay::Grant(_) | LoginWay::Bearer(_) | LoginWay::Form(_) => {
                &[]
            }
            LoginWay::Requests(requests) => requests,
        };
        let requests = || self.plan.after_login.iter().chain(login);
        values
            .retain(|key, _| requests().any(|hook| hook.save.iter().any(|(name, _)| name == key)));
    }

    async fn unless_cancelled<T>(
        &self,
        work: impl Future<Output = T>,
    ) -> Result<T, ProvisionError> {
        tokio::select! {
            biased;
            () = self.cancel.cancelled() => Err(self.interrupted()),
            result = work => Ok(result),
        }
    }

    /// The same for what may begin a session: it may still end by itself, as long as the plan grants it. Its cookies are then in
    /// the client's jar, though the user is no longer wanted.
    async fn soon_after_cancel<T>(
        &self,
        work: impl Future<Output = T>,
    ) -> Result<T, ProvisionError> {
        let Some(grace) = &self.plan.login_grace else {
            return self.unless_cancelled(work).await;
        };
        let mut work = pin!(work);
        tokio::select! {
            biased;
            () = self.cancel.cancelled() => {}
            result = &mut work => return Ok(result),
        }
        (self.on_event)(ProvisionEvent::Ending(&self.names));
        let abandoned = tokio::select! {
            biased;
            _ = work => false,
            () = grace.give_up.cancelled() => true,
            () = tokio::time::sleep(grace.limit) => true,
        };
        Err(ProvisionError::Interrupted {
            name: self.names.name.clone(),
            abandoned,
        })
    }

    fn interrupted(&self) -> ProvisionError {
        ProvisionError::Interrupted {
            name: self.names.name.clone(),
            abandoned: false,
        }
    }
}

fn note(timings: &mut UserTimings, attempts: u32, hops: Vec<Hop>, queued: Duration) {
    timings.login_attempts = attempts;
    timings.hops = hops;
    timings.queued = queued;
}

fn failed(timings: &mut UserTimings, error: LoginError) -> ProvisionError {
    note(
        timings,
        error.attempts(),
        error.hops().to_vec(),
        error.queued(),
    );
    error.into()
}

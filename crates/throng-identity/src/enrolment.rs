//! How a run becomes a client of whatever authorization server its target names, and follows the target to another one.
//!
//! A target may change its authorization server while a run lasts. Its metadata then names another issuer, where the tokens and
//! the client of the old one are worth nothing: they must not even be shown there (MCP 2026-07-28, authorization, "authorization
//! server binding"). So the run registers there anew, and every identity logs in again at the next occasion.

use std::sync::{Arc, Mutex, RwLock};
use std::time::Duration;

use throng_client::Client;
use tokio::time::Instant;
use url::Url;

use crate::discovery::{self, Authorization, DiscoveryError, Flow};
use crate::ledger::{Kind, Ledger, LedgerError, Place, RunId, State};
use crate::login::{Keys, LoginPlan};
use crate::provision::{ClientError, oauth_client};
use crate::registration::{self, ClientSource, OAuthClient, RegistrationRequest, Unregistered};
use crate::retry::RetryPolicy;
use crate::scopes;

/// How long an answer that the target has not moved holds: refusals come in crowds.
const LOOK_AGAIN: Duration = Duration::from_secs(10);

/// What a run needs to know in order to enrol. Shared by all its users.
#[derive(Debug)]
pub struct Enrolment {
    /// Connections of the run itself, without cookies.
    pub http: Client,
    /// The MCP server.
    pub target: Url,
    /// Where the OAuth client comes from.
    pub source: ClientSource,
    /// Scopes that the scenario names.
    pub scopes: Option<Vec<String>>,
    /// Where codes are sent.
    pub redirect_uri: Url,
    /// Under what name clients are registered.
    pub client_name: String,
    /// Where registrations are written before they are made.
    pub ledger: Ledger,
    /// The run.
    pub run: RunId,
    /// What tokens are got by.
    pub flow: Flow,
    /// Time allowed for each request.
    pub timeout: Duration,
    /// What has changed since the run began.
    pub moved: Moved,
}

/// What an [`Enrolment`] has come to.
#[derive(Debug, Default)]
pub struct Moved {
    /// The client taken last.
    client: Mutex<Option<Arc<OAuthClient>>>,
    /// The plan of the authorization server that the target moved to; none as long as it hasn't.
    plan: RwLock<Option<Arc<LoginPlan>>>,
    /// When somebody looked last and found nothing new. One looks at a time.
    looked: tokio::sync::Mutex<Option<Instant>>,
}

/// Why the run cannot follow its target.
#[derive(Debug, thiserror::Error)]
pub enum FollowError {
    /// The target's metadata is not there any more, or wrong.
    #[error(transparent)]
    Discovery(#[from] DiscoveryError),
    /// The new authorization server takes no client of ours.
    #[error("the target has moved to the authorization server {issuer}: {source}")]
    Client {
        /// The new one.
        issuer: String,
        /// What went wrong.
        source: ClientError,
    },
    /// The client is one of the old authorization server.
    #[error(
        "the target has moved from the authorization server {from} to {to}, where the client that the scenario names is not known: client credentials belong to one authorization server"
    )]
    Bound {
        /// The old one.
        from: String,
        /// The new one.
        to: String,
    },
}

impl Enrolment {
    /// Finds out where users log in, or where else their tokens come from.
    ///
    /// # Errors
    /// See [`DiscoveryError`].
    pub async fn discover(&self) -> Result<Authorization, DiscoveryError> {
        discovery::discover_for(self.flow, &self.http, &self.target, self.timeout).await
    }

    /// The scopes to ask for.
    pub fn choose_scopes(&self, authorization: &Authorization) -> Vec<String> {
        let known = scopes::Known::of(authorization, self.scopes.as_deref());
        match self.flow {
            Flow::Code => scopes::choose(&known),
            Flow::Direct => scopes::choose_for_machine(&known),
        }
    }

    /// Takes the run's OAuth client.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn take_client(
        &self,
        authorization: &Authorization,
        scopes: &[String],
    ) -> Result<Arc<OAuthClient>, ClientError> {
        let request = RegistrationRequest {
            client_name: self.client_name.clone(),
            redirect_uri: self.redirect_uri.clone(),
            scopes: scopes::to_register(scopes, &authorization.resource_scopes),
        };
        let entered = (&self.ledger, &self.run);
        let (http, timeout) = (&self.http, self.timeout);
        let client = oauth_client(
            &self.source,
            http,
            authorization,
            &request,
            entered,
            timeout,
        );
        let client = Arc::new(client.await?);
        *self.moved.client.lock().expect("no panic while locked") = Some(client.clone());
        Ok(client)
    }

    /// The client taken last, which is the one to be unregistered in the end.
    pub fn oauth_client(&self) -> Option<Arc<OAuthClient>> {
        let client = self.moved.client.lock().expect("no panic while locked");
        client.clone()
    }

    /// The plan that has taken the first one's place, if the target has moved.
    pub(crate) fn latest(&self) -> Option<Arc<LoginPlan>> {
        let plan = self.moved.plan.read().expect("no panic while locked");
        plan.clone()
    }

    /// Looks whether the target has moved away from where `used` logs in, and enrols there if so. Nothing if it hasn't, or somebody
    /// looked just now.
    pub(crate) async fn follow(
        &self,
        used: &LoginPlan,
    ) -> Result<Option<Arc<LoginPlan>>, FollowError> {
        let mut looked = self.moved.looked.lock().await;
        let from = &used.authorization.issuer;
        if let Some(latest) = self
            .latest()
            .filter(|plan| plan.authorization.issuer != *from)
        {
            return Ok(Some(latest));
        }
        if looked.is_some_and(|at| at.elapsed() < LOOK_AGAIN) {
            return Ok(None);
        }
        let found = self.discover().await;
        *looked = Some(Instant::now());
        let authorization = found?;
        let to = authorization.issuer.clone();
        if to == *from {
            return Ok(None);
        }
        if let ClientSource::PreRegistered { .. } = self.source {
            let from = from.clone();
            return Err(FollowError::Bound { from, to });
        }
        tracing::warn!(%from, %to, "the target has moved to another authorization server; users log in there from now on");
        let client = |source| FollowError::Client {
            issuer: to.clone(),
            source,
        };
        let scopes = self.choose_scopes(&authorization);
        let before = self.oauth_client();
        let taken = self.take_client(&authorization, &scopes).await;
        let plan = Arc::new(LoginPlan {
            keys: Keys::of(&authorization),
            authorization: Arc::new(authorization),
            oauth_client: taken.map_err(client)?,
            scopes,
            ..used.clone()
        });
        if let Some(before) = before {
            self.retire(&before, from)
                .await
                .map_err(|error| client(error.into()))?;
        }
        *self.moved.plan.write().expect("no panic while locked") = Some(plan.clone());
        *looked = None;
        Ok(Some(plan))
    }

    /// Takes the registration at `issuer` back, which nobody uses any more. The one at the end of the run will be another.
    async fn retire(&self, client: &OAuthClient, issuer: &str) -> Result<(), LedgerError> {
        let Some(registration) = &client.registration else {
            return Ok(());
        };
        let policy = RetryPolicy::once();
        let outcome =
            registration::unregister(&self.http, registration, &policy, self.timeout).await;
        let state = match outcome {
            Unregistered::Deleted => State::Deleted,
            Unregistered::NotPossible { why } | Unregistered::Left { why } => {
                tracing::warn!(
                    client_id = client.id,
                    why,
                    "the client's registration stays"
                );
                State::Stays
            }
        };
        let (run, id, place) = (self.run.clone(), client.id.clone(), Place::issuer(issuer));
        self.ledger
            .run(move |ledger| {
                for entry in ledger.open_entries_of(&run)? {
                    // Two authorization servers may call their clients the same.
                    if entry.kind == Kind::Client && entry.name == id && entry.place == place {
                        ledger.set_state(entry.id, state)?;
                    }
                }
                Ok(())
            })
            .await
    }
}

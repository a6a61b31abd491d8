//! An OpenID provider that is not the sandbox's own, whose access tokens the MCP server takes.
//!
//! Who checks tokens by their signature does it here with the published keys; who was given a client at the provider asks there
//! about each token (RFC 7662), so that opaque tokens are understood and revocations are noticed. Users log in and are created
//! elsewhere: the Nextcloud makes an account of whoever calls or gets a share for the first time.

mod fetch;
mod jwt;
mod token;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::sync::Mutex as AsyncMutex;
use url::Url;

use self::fetch::Fetch;
use self::jwt::Keys;
use crate::oidc::{Principal, TokenError};
use crate::secret::{Secret, digest};
use crate::store::unix_now;

/// How long an answer about a token is believed (RFC 7662 section 4): a revoked one works for so long.
const REMEMBERED: Duration = Duration::from_secs(5);
/// Between two fetches of the keys, for tokens that name an unknown one.
const REFETCH: Duration = Duration::from_secs(10);
/// Answers remembered before old ones are thrown away.
const MOST_REMEMBERED: usize = 10_000;

/// An OpenID provider outside the sandbox, and what its tokens look like.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IssuerConfig {
    /// Its identifier: a URL under which its metadata is found, and `iss` of its tokens, exactly.
    pub issuer: String,
    /// What tokens must be for (`aud`); none is the MCP endpoint's URL, which clients ask for by RFC 8707. Providers that don't
    /// know that name the resource in their own way.
    pub audience: Option<String>,
    /// The claim that is the user's name here.
    pub user_claim: String,
    /// Id and secret of a client that may introspect; with it every token is asked about, without it tokens must be JWTs.
    pub introspection: Option<(String, Secret)>,
}

impl IssuerConfig {
    /// A provider that knows RFC 8707 and whose JWTs have the user's name as `sub`.
    pub fn new(issuer: impl Into<String>) -> Self {
        Self {
            issuer: issuer.into(),
            audience: None,
            user_claim: "sub".to_owned(),
            introspection: None,
        }
    }
}

/// Why an outside provider cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum IssuerError {
    /// The identifier is no address.
    #[error("the issuer {0} is no http(s) URL")]
    Address(String),
    /// Its certificates cannot be checked.
    #[error("cannot read the certificates of this machine: {0}")]
    Certificates(String),
    /// It did not answer.
    #[error("GET {url}: {problem}")]
    Unreachable {
        /// What was asked for.
        url: String,
        /// What went wrong.
        problem: String,
    },
    /// There is no metadata.
    #[error("no metadata of the issuer {issuer} found (tried {tried})")]
    NoMetadata {
        /// The issuer.
        issuer: String,
        /// What was fetched and what came back.
        tried: String,
    },
    /// The metadata is that of somebody else, or lacks what is needed.
    #[error("{url}: {problem}")]
    Metadata {
        /// Where the document is.
        url: String,
        /// What is wrong.
        problem: String,
    },
}

/// A provider whose metadata was read.
pub(crate) struct OutsideIssuer {
    config: IssuerConfig,
    fetch: Fetch,
    jwks_uri: Option<Url>,
    introspection_endpoint: Option<Url>,
    keys: AsyncMutex<FetchedKeys>,
    remembered: Mutex<Answers>,
}

/// What was said about tokens, by their digests, and when.
type Answers = HashMap<[u8; 32], (Instant, Arc<Value>)>;

struct FetchedKeys {
    keys: Arc<Keys>,
    at: Option<Instant>,
}

impl OutsideIssuer {
    /// Reads its metadata (RFC 8414, OpenID Connect Discovery 1.0).
    ///
    /// # Errors
    /// Where there is none, or none that is of use.
    pub(crate) async fn discover(config: &IssuerConfig) -> Result<Self, IssuerError> {
        let base = Url::parse(&config.issuer)
            .ok()
            .filter(|url| matches!(url.scheme(), "http" | "https"))
            .ok_or_else(|| IssuerError::Address(config.issuer.clone()))?;
        let fetch = Fetch::new(&base)?;
        let (metadata, at) = metadata(&fetch, &base, &config.issuer).await?;
        let wrong = |problem: String| IssuerError::Metadata {
            url: at.to_string(),
            problem,
        };
        if metadata["issuer"] != config.issuer.as_str() {
            return Err(wrong(format!(
                "its issuer is {}, expected exactly {:?}",
                metadata["issuer"], config.issuer
            )));
        }
        let address = |name: &str| -> Option<Url> { metadata[name].as_str()?.parse().ok() };
        let issuer = Self {
            config: config.clone(),
            fetch,
            jwks_uri: address("jwks_uri"),
            introspection_endpoint: address("introspection_endpoint"),
            keys: AsyncMutex::new(FetchedKeys {
                keys: Arc::default(),
                at: None,
            }),
            remembered: Mutex::default(),
        };
        match &config.introspection {
            Some(_) if issuer.introspection_endpoint.is_none() => {
                Err(wrong("has no introspection_endpoint".to_owned()))
            }
            None if issuer.jwks_uri.is_none() => Err(wrong(
                "has no jwks_uri, so that its tokens cannot be checked; give a client that may introspect".to_owned(),
            )),
            _ => Ok(issuer),
        }
    }

    /// Its identifier.
    pub(crate) fn id(&self) -> &str {
        &self.config.issuer
    }

    /// Checks an access token for a resource, the URL of the MCP endpoint.
    ///
    /// # Errors
    /// Why it is not accepted, or [`TokenError::Issuer`] where the provider could not be asked.
    pub(crate) async fn verify(
        &self,
        token: &str,
        resource: &str,
    ) -> Result<Principal, TokenError> {
        let claims = match &self.config.introspection {
            Some(client) => self.introspected(token, client).await?,
            None => Arc::new(self.signed(token).await?),
        };
        let expected = token::Expected {
            issuer: &self.config.issuer,
            audience: self.config.audience.as_deref().unwrap_or(resource),
            user_claim: &self.config.user_claim,
            // An answer about a token comes from the issuer in any case.
            needs_issuer: self.config.introspection.is_none(),
        };
        token::principal(&claims, &expected, unix_now())
    }

    /// The claims of a JWT whose signature is right.
    async fn signed(&self, token: &str) -> Result<Value, TokenError> {
        let parsed = jwt::parse(token).ok_or(TokenError::Unknown)?;
        let mut fetched = self.keys.lock().await;
        let known = fetched.keys.candidates(&parsed).next().is_some();
        if !known && fetched.at.is_none_or(|at| at.elapsed() >= REFETCH) {
            let url = self.jwks_uri.as_ref().ok_or(TokenError::Unknown)?;
            let set = self.fetch.get(url).await.map_err(TokenError::Issuer)?;
            fetched.keys = Arc::new(Keys::parse(&set));
            fetched.at = Some(Instant::now());
        }
        let keys = fetched.keys.clone();
        drop(fetched);
        if !keys.candidates(&parsed).any(|key| key.verifies(&parsed)) {
            return Err(TokenError::Unknown);
        }
        Ok(parsed.claims)
    }

    /// What the provider says of a token, now or a moment ago.
    async fn introspected(
        &self,
        token: &str,
        (id, secret): &(String, Secret),
    ) -> Result<Arc<Value>, TokenError> {
        let key = digest(token);
        let fresh = |at: &Instant| at.elapsed() < REMEMBERED;
        if let Some((at, said)) = self.lock().get(&key)
            && fresh(at)
        {
            return Ok(said.clone());
        }
        let url = self.introspection_endpoint.as_ref();
        let url = url.ok_or(TokenError::Unknown)?;
        let form = [("token", token), ("token_type_hint", "access_token")];
        let said = self.fetch.post(url, &form, (id, secret)).await;
        let said = Arc::new(said.map_err(TokenError::Issuer)?);
        if said["active"] != true {
            return Err(TokenError::Unknown);
        }
        let mut remembered = self.lock();
        if remembered.len() >= MOST_REMEMBERED {
            remembered.retain(|_, (at, _)| fresh(at));
        }
        remembered.insert(key, (Instant::now(), said.clone()));
        Ok(said)
    }

    fn lock(&self) -> MutexGuard<'_, Answers> {
        // Each change is a single call: nothing can be half done.
        self.remembered
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// The first metadata document that is there, and where.
async fn metadata(fetch: &Fetch, base: &Url, issuer: &str) -> Result<(Value, Url), IssuerError> {
    let path = base.path().trim_end_matches('/');
    let mut places = vec![
        format!("/.well-known/oauth-authorization-server{path}"),
        format!("/.well-known/openid-configuration{path}"),
    ];
    if !path.is_empty() {
        places.push(format!("{path}/.well-known/openid-configuration"));
    }
    let mut tried = Vec::new();
    for place in places {
        let mut url = base.clone();
        url.set_path(&place);
        url.set_query(None);
        match fetch.get(&url).await {
            Ok(document) => return Ok((document, url)),
            Err(IssuerError::Unreachable { url, problem }) => {
                tried.push(format!("{url}: {problem}"))
            }
            Err(error) => return Err(error),
        }
    }
    Err(IssuerError::NoMetadata {
        issuer: issuer.to_owned(),
        tried: tried.join("; "),
    })
}

//! Id tokens: fetched keys, signature, and the claims that tie a token to this very login (OpenID Connect Core 1.0 section
//! 3.1.3.7).

use std::sync::{Arc, RwLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use jsonwebtoken::jwk::{AlgorithmParameters, Jwk, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use serde::Deserialize;
use throng_client::Client;
use tokio::time::Instant;
use url::Url;

use crate::discovery::Authorization;
use crate::redact;
use crate::secret::Secret;
use crate::wire::{self, FetchError};

/// Clock difference allowed, in seconds.
const LEEWAY: i64 = 60;

/// A key id that is not known makes us look again, but not more often than this: the provider may have changed its keys,
/// or the token may be wrong.
const REFETCH: Duration = Duration::from_secs(10);

/// What an id token must say.
#[derive(Debug)]
pub struct Expected<'a> {
    /// `iss`
    pub issuer: &'a str,
    /// `aud`, and `azp` where it is there
    pub client_id: &'a str,
    /// `nonce`; none for one that came with a refresh
    pub nonce: Option<&'a str>,
    /// What time it was at the provider when it sent the token, since 1970, where it says so
    pub server_time: Option<Duration>,
}

/// The claims of a valid id token, as far as they are of use.
#[derive(Debug, Clone, Deserialize, PartialEq, Eq)]
pub struct IdClaims {
    /// The provider's name for the user.
    pub sub: String,
    /// Who it was issued for, if the provider says so separately.
    pub azp: Option<String>,
    nonce: Option<Secret>,
    aud: Audience,
    #[serde(default, deserialize_with = "whole_seconds")]
    exp: Option<i64>,
}

/// A NumericDate (RFC 7519 section 2), which may have a fraction.
fn whole_seconds<'de, D: serde::Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<i64>, D::Error> {
    Ok(Option::<f64>::deserialize(deserializer)?.map(|seconds| seconds as i64))
}

#[derive(Debug, Clone, Deserialize, PartialEq, Eq)]
#[serde(untagged)]
enum Audience {
    One(String),
    Many(Vec<String>),
}

/// Why an id token is refused.
#[derive(Debug, thiserror::Error)]
pub enum IdTokenError {
    /// The keys could not be fetched.
    #[error("cannot fetch the provider's keys: {0}")]
    Keys(#[from] FetchError),
    /// The answer at `jwks_uri` is no key set.
    #[error("{url}: {problem}")]
    KeySet {
        /// The address.
        url: String,
        /// What is wrong.
        problem: String,
    },
    /// The token's header cannot be used.
    #[error("its header is not usable: {0}")]
    Header(String),
    /// No published key fits.
    #[error("no published key fits (kid {kid}, {algorithm:?})")]
    NoKey {
        /// The token's key id.
        kid: String,
        /// The token's algorithm.
        algorithm: Algorithm,
    },
    /// Signature, issuer, audience or expiry.
    #[error("{0}")]
    Invalid(String),
}

impl IdTokenError {
    /// A further attempt may succeed.
    pub fn is_passing(&self) -> bool {
        matches!(self, Self::Keys(FetchError::Transport { .. }))
    }
}

/// The provider's signing keys, fetched when first needed and shared by all logins.
#[derive(Debug)]
pub struct Keys {
    uri: Url,
    known: RwLock<Arc<Known>>,
    /// One fetch at a time.
    fetching: tokio::sync::Mutex<Option<Instant>>,
}

#[derive(Debug, Default)]
struct Known(Vec<Key>);

struct Key {
    id: Option<String>,
    kind: Kind,
    key: DecodingKey,
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Key({:?}, {:?})", self.id, self.kind)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Rsa,
    EllipticCurve,
    Edwards,
}

impl Kind {
    /// The kind of key that signs with this algorithm; nothing for shared secrets, with which anybody who can check could sign.
    fn of(algorithm: Algorithm) -> Option<Self> {
        use Algorithm as A;
        Some(match algorithm {
            A::RS256 | A::RS384 | A::RS512 | A::PS256 | A::PS384 | A::PS512 => Self::Rsa,
            A::ES256 | A::ES384 => Self::EllipticCurve,
            A::EdDSA => Self::Edwards,
            _ => return None,
        })
    }
}

impl Keys {
    /// Those of an OpenID provider; none where the metadata names none.
    pub fn of(authorization: &Authorization) -> Option<Arc<Self>> {
        let uri = authorization.jwks_uri.clone()?;
        Some(Arc::new(Self::new(uri)))
    }

    /// Keys to be fetched from a `jwks_uri`.
    pub fn new(uri: Url) -> Self {
        Self {
            uri,
            known: RwLock::default(),
            fetching: tokio::sync::Mutex::new(None),
        }
    }

    /// Checks signature and claims.
    pub async fn validate(
        &self,
        client: &Client,
        token: &Secret,
        expected: &Expected<'_>,
        timeout: Duration,
    ) -> Result<IdClaims, IdTokenError> {
        let header = jsonwebtoken::decode_header(token.expose())
            .map_err(|error| IdTokenError::Header(error.to_string()))?;
        let kind = Kind::of(header.alg).ok_or_else(|| {
            IdTokenError::Header(format!(
                "it is signed with {:?}, which is no public-key algorithm known here",
                header.alg
            ))
        })?;
        let mut known = self.known.read().expect("no panic while locked").clone();
        if known
            .candidates(header.kid.as_deref(), kind)
            .next()
            .is_none()
        {
            known = self
                .fetch(client, timeout, header.kid.as_deref(), kind)
                .await?;
        }
        let mut outcome = Err(IdTokenError::NoKey {
            kid: header
                .kid
                .as_deref()
                .map_or_else(|| "none".to_owned(), |kid| redact::text(kid, &[])),
            algorithm: header.alg,
        });
        // Without a key id, whichever key of the right kind fits.
        for key in known.candidates(header.kid.as_deref(), kind) {
            outcome = check(token, &key.key, header.alg, expected);
            if outcome.is_ok() {
                break;
            }
        }
        outcome
    }

    async fn fetch(
        &self,
        client: &Client,
        timeout: Duration,
        kid: Option<&str>,
        kind: Kind,
    ) -> Result<Arc<Known>, IdTokenError> {
        let mut last = self.fetching.lock().await;
        let known = self.known.read().expect("no panic while locked").clone();
        // Another login may have fetched them while this one waited.
        if known.candidates(kid, kind).next().is_some()
            || last.is_some_and(|last| last.elapsed() < REFETCH)
        {
            return Ok(known);
        }
        let (exchange, at) = wire::fetch(client, &self.uri, timeout).await?;
        let problem = |problem: String| IdTokenError::KeySet {
            url: redact::url(&at),
            problem,
        };
        if !exchange.status.is_success() {
            return Err(problem(format!(
                "expected a key set, got {}",
                exchange.status
            )));
        }
        let known = Arc::new(Known::parse(&exchange.body).map_err(problem)?);
        *self.known.write().expect("no panic while locked") = known.clone();
        *last = Some(Instant::now());
        Ok(known)
    }
}

impl Known {
    /// Keys of kinds that are not known here are left out, as RFC 7517 section 5 wants.
    fn parse(body: &[u8]) -> Result<Self, String> {
        #[derive(Deserialize)]
        struct Set {
            keys: Vec<serde_json::Value>,
        }
        let set: Set =
            serde_json::from_slice(body).map_err(|error| format!("not a key set: {error}"))?;
        let keys = set.keys.into_iter().filter_map(|value| {
            let jwk: Jwk = serde_json::from_value(value).ok()?;
            if jwk
                .common
                .public_key_use
                .as_ref()
                .is_some_and(|u| *u != PublicKeyUse::Signature)
            {
                return None;
            }
            let kind = match jwk.algorithm {
                AlgorithmParameters::RSA(_) => Kind::Rsa,
                AlgorithmParameters::EllipticCurve(_) => Kind::EllipticCurve,
                AlgorithmParameters::OctetKeyPair(_) => Kind::Edwards,
                _ => return None,
            };
            Some(Key {
                key: DecodingKey::from_jwk(&jwk).ok()?,
                id: jwk.common.key_id,
                kind,
            })
        });
        Ok(Self(keys.collect()))
    }

    fn candidates<'a>(&'a self, kid: Option<&'a str>, kind: Kind) -> impl Iterator<Item = &'a Key> {
        self.0.iter().filter(move |key| {
            key.kind == kind && (kid.is_none() || key.id.is_none() || key.id.as_deref() == kid)
        })
    }
}

/// A token that came in the answer to our own request is as good as the provider's clock says: one that is off by hours issues
/// tokens that are over by ours, and nobody would log in. So it is refused only where it is over by both clocks. `iat`, `nbf` and
/// `auth_time` are not looked at: they could only say that the clocks differ.
fn check_end(exp: Option<i64>, server_time: Option<Duration>) -> Result<(), IdTokenError> {
    let seconds = |time: Duration| i64::try_from(time.as_secs()).unwrap_or(i64::MAX);
    let ours = SystemTime::now().duration_since(UNIX_EPOCH);
    let ours = seconds(ours.unwrap_or_default());
    let now = server_time.map_or(ours, |theirs| seconds(theirs).min(ours));
    match exp {
        None => Err(IdTokenError::Invalid("it has no exp".to_owned())),
        Some(exp) if exp.saturating_add(LEEWAY) < now => Err(IdTokenError::Invalid(format!(
            "it has expired (allowing {LEEWAY} s of clock difference)"
        ))),
        Some(_) => Ok(()),
    }
}

fn check(
    token: &Secret,
    key: &DecodingKey,
    algorithm: Algorithm,
    expected: &Expected<'_>,
) -> Result<IdClaims, IdTokenError> {
    let mut validation = Validation::new(algorithm);
    // Looked at below, by both clocks.
    validation.validate_exp = false;
    validation.set_audience(&[expected.client_id]);
    validation.set_issuer(&[expected.issuer]);
    validation.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
    let data =
        jsonwebtoken::decode::<IdClaims>(token.expose(), key, &validation).map_err(|error| {
            use jsonwebtoken::errors::ErrorKind;
            IdTokenError::Invalid(match error.kind() {
                ErrorKind::InvalidSignature => "its signature is wrong".to_owned(),
                ErrorKind::InvalidIssuer => format!("its iss is not {}", expected.issuer),
                ErrorKind::InvalidAudience => format!(
                    "its aud does not contain the client id {}",
                    redact::text(expected.client_id, &[])
                ),
                // The kind alone: a message may quote the token.
                ErrorKind::MissingRequiredClaim(claim) => format!("it has no {claim}"),
                ErrorKind::Json(_) | ErrorKind::Base64(_) | ErrorKind::Utf8(_) => {
                    "its parts cannot be decoded".to_owned()
                }
                other => format!("{other:?}"),
            })
        })?;
    let claims = data.claims;
    check_end(claims.exp, expected.server_time)?;
    // Several audiences without `azp` are right, since we are among them (OpenID Connect Core 1.0 with errata set 2, section
    // 3.1.3.7): a provider names the resources beside the client.
    if claims
        .azp
        .as_ref()
        .is_some_and(|azp| azp != expected.client_id)
    {
        return Err(IdTokenError::Invalid(
            "its azp is another client".to_owned(),
        ));
    }
    if let Some(nonce) = expected.nonce
        && claims.nonce.as_ref().map(Secret::expose) != Some(nonce)
    {
        let found = if claims.nonce.is_some() {
            "another nonce"
        } else {
            "no nonce"
        };
        return Err(IdTokenError::Invalid(format!(
            "it has {found} than the one sent"
        )));
    }
    Ok(claims)
}

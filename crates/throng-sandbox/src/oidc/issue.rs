//! Authorization codes, and the tokens that are issued for a grant.

use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::Provider;
use super::authorize::AuthorizationRequest;
use super::error::OAuthError;
use super::store::Grant;
use crate::secret::random_alphanumeric;
use crate::state::AppState;
use crate::store::{Account, unix_now};

/// How long a code may wait to be exchanged.
const CODE_LIFETIME: Duration = Duration::from_secs(300);

/// A PKCE challenge (RFC 7636).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Challenge {
    S256(String),
    Plain(String),
}

impl Challenge {
    /// Whether this is the challenge made from a verifier.
    pub(super) fn is_met_by(&self, verifier: &str) -> bool {
        match self {
            Self::S256(challenge) => *challenge == URL_SAFE_NO_PAD.encode(Sha256::digest(verifier)),
            Self::Plain(challenge) => challenge == verifier,
        }
    }
}

/// An authorization code that was given out, kept until its time is over even when it has been used:
/// its second use ends the grant (RFC 6749 section 4.1.2).
#[derive(Clone, Debug)]
pub(super) struct Code {
    pub(super) client_id: String,
    pub(super) redirect_uri: String,
    pub(super) user: String,
    pub(super) scope: String,
    pub(super) resource: Option<String>,
    pub(super) nonce: Option<String>,
    pub(super) challenge: Option<Challenge>,
    pub(super) auth_time: i64,
    pub(super) use_: CodeUse,
    given: Instant,
}

/// What became of a code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CodeUse {
    /// Not presented yet.
    Unused,
    /// Presented, and refused or still being exchanged.
    Presented,
    /// Exchanged for this grant.
    Granted(i64),
}

impl Code {
    pub(super) fn new(
        request: &AuthorizationRequest,
        user: String,
        auth_time: i64,
        scope: String,
        challenge: Option<Challenge>,
    ) -> Self {
        Self {
            client_id: request.client_id.clone(),
            redirect_uri: request.redirect_uri.clone().unwrap_or_default(),
            user,
            scope,
            resource: request.resource.clone(),
            nonce: request.nonce.clone(),
            challenge,
            auth_time,
            use_: CodeUse::Unused,
            given: Instant::now(),
        }
    }
}

impl Provider {
    /// Keeps a code that is being given out.
    pub(super) fn keep_code(&self, digest: [u8; 32], code: Code) {
        let mut codes = self.codes();
        // Only when the map would grow anyway, so that the sweep's cost stays in proportion.
        if codes.len() == codes.capacity() {
            codes.retain(|_, code| code.given.elapsed() < CODE_LIFETIME);
        }
        codes.insert(digest, code);
    }

    /// Takes a code to exchange it. What is given back shows the use *before* this one.
    pub(super) fn present_code(&self, digest: &[u8; 32]) -> Option<Code> {
        let mut codes = self.codes();
        let code = codes
            .get_mut(digest)
            .filter(|code| code.given.elapsed() < CODE_LIFETIME)?;
        let before = code.clone();
        if code.use_ == CodeUse::Unused {
            code.use_ = CodeUse::Presented;
        }
        Some(before)
    }

    /// Remembers what a code was exchanged for.
    pub(super) fn code_granted(&self, digest: &[u8; 32], grant: i64) {
        if let Some(code) = self.codes().get_mut(digest) {
            code.use_ = CodeUse::Granted(grant);
        }
    }
}

/// An access token before it is kept.
pub(super) struct AccessToken {
    pub(super) value: String,
    pub(super) audience: String,
    pub(super) issued_at: i64,
    pub(super) expires_at: i64,
    /// What the client is told.
    pub(super) expires_in: i64,
}

/// Makes an access token: a JWT (RFC 9068) where a resource was asked for or the client wants it,
/// otherwise 72 opaque characters.
pub(super) fn access_token(
    state: &AppState,
    grant: &Grant,
    scope: &str,
    jwt: bool,
) -> Result<AccessToken, OAuthError> {
    let issued_at = unix_now();
    let (expires_at, expires_in) = state.knobs.token_end(issued_at);
    let audience = if grant.resource.is_empty() {
        grant.client_id.clone()
    } else {
        grant.resource.clone()
    };
    let value = if jwt || !grant.resource.is_empty() {
        let claims = json!({
            "iss": state.url,
            "sub": grant.user,
            "aud": audience,
            "exp": expires_at,
            "iat": issued_at,
            "auth_time": grant.auth_time,
            "client_id": grant.client_id,
            "scope": scope,
            "jti": random_alphanumeric(32),
        });
        state.oidc.key.sign("at+JWT", &claims)?
    } else {
        random_alphanumeric(72)
    };
    Ok(AccessToken {
        value,
        audience,
        issued_at,
        expires_at,
        expires_in,
    })
}

/// Makes an id token (OpenID Connect Core section 2).
pub(super) fn id_token(
    state: &AppState,
    grant: &Grant,
    account: &Account,
    scope: &str,
    access: &AccessToken,
    nonce: Option<&str>,
) -> Result<String, OAuthError> {
    let access_hash = Sha256::digest(&access.value);
    let mut claims = json!({
        "iss": state.url,
        "sub": grant.user,
        "aud": grant.client_id,
        "exp": access.expires_at,
        "iat": access.issued_at,
        "auth_time": grant.auth_time,
        "azp": grant.client_id,
        "at_hash": URL_SAFE_NO_PAD.encode(&access_hash[..16]),
        "jti": random_alphanumeric(32),
    });
    if let Some(nonce) = nonce {
        claims["nonce"] = nonce.into();
    }
    add_profile(&mut claims, account, scope);
    Ok(state.oidc.key.sign("JWT", &claims)?)
}

/// Adds what the scopes say about the user (OpenID Connect Core section 5.4).
pub(super) fn add_profile(claims: &mut Value, account: &Account, scope: &str) {
    let has = |word: &str| scope.split_whitespace().any(|scope| scope == word);
    if has("profile") {
        claims["name"] = account.display_name.as_str().into();
        claims["preferred_username"] = account.id.as_str().into();
    }
    if has("email") && !account.email.is_empty() {
        claims["email"] = account.email.as_str().into();
        claims["email_verified"] = true.into();
    }
    let groups = if account.admin {
        json!(["admin"])
    } else {
        json!([])
    };
    for word in ["roles", "groups"] {
        if has(word) {
            claims[word] = groups.clone();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_challenge_of_rfc_7636_appendix_b() {
        let challenge = Challenge::S256("E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM".to_owned());
        assert!(challenge.is_met_by("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"));
        assert!(!challenge.is_met_by("E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"));
        assert!(Challenge::Plain("abc".to_owned()).is_met_by("abc"));
    }
}

//! Clients that prove who they are by signed assertions (`private_key_jwt`, RFC 7523 section 2.2), and the public keys that they
//! registered.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents, UnparsedPublicKey,
};
use serde::Deserialize;

use crate::state::AppState;
use crate::store::unix_now;

/// The value of `client_assertion_type`.
pub(super) const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// How long after it was made an assertion may end, in seconds: a longer one could be found and used by others.
const LONGEST_S: i64 = 3600;

/// A set of public keys (RFC 7517), of which the usable ones are read.
#[derive(Deserialize)]
pub(super) struct KeySet {
    keys: Vec<Key>,
}

#[derive(Deserialize)]
struct Key {
    kty: String,
    kid: Option<String>,
    crv: Option<String>,
    x: Option<String>,
    y: Option<String>,
    n: Option<String>,
    e: Option<String>,
}

#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: Option<String>,
}

#[derive(Deserialize)]
struct Claims {
    iss: String,
    sub: String,
    aud: Audience,
    exp: i64,
    #[serde(rename = "jti")]
    _id: String,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Audience {
    One(String),
    Many(Vec<String>),
}

/// The client that an assertion says it is from, before anything of it is believed.
pub(super) fn claimed_client(assertion: &str) -> Option<String> {
    let payload = assertion.split('.').nth(1)?;
    let claims: Claims = serde_json::from_slice(&decode(payload)?).ok()?;
    Some(claims.sub)
}

/// Whether an assertion is good: signed by one of the client's keys, of the client about itself, for this provider, and not over.
pub(super) fn is_good(state: &AppState, client: &str, keys: &KeySet, assertion: &str) -> bool {
    let Some(claims) = verified(keys, assertion) else {
        return false;
    };
    let token_endpoint = format!("{}/apps/oidc/token", state.url);
    let for_us = |audience: &String| {
        let audience = audience.trim_end_matches('/');
        audience == state.url || audience == token_endpoint
    };
    let audience = match &claims.aud {
        Audience::One(one) => for_us(one),
        Audience::Many(many) => many.iter().any(for_us),
    };
    let now = unix_now();
    claims.iss == client
        && claims.sub == client
        && audience
        && claims.exp > now
        && claims.exp <= now + LONGEST_S
}

fn verified(keys: &KeySet, assertion: &str) -> Option<Claims> {
    let (message, signature) = assertion.rsplit_once('.')?;
    let (header, payload) = message.split_once('.')?;
    let header: Header = serde_json::from_slice(&decode(header)?).ok()?;
    let signature = decode(signature)?;
    let fits = |key: &&Key| header.kid.is_none() || key.kid.is_none() || key.kid == header.kid;
    let mut keys = keys.keys.iter().filter(fits);
    let signed = keys.any(|key| key.has_signed(&header.alg, message.as_bytes(), &signature));
    signed.then_some(())?;
    serde_json::from_slice(&decode(payload)?).ok()
}

impl Key {
    fn has_signed(&self, algorithm: &str, message: &[u8], signature: &[u8]) -> bool {
        let part = |text: &Option<String>| text.as_deref().and_then(decode);
        match (algorithm, self.kty.as_str()) {
            ("ES256", "EC") if self.crv.as_deref() == Some("P-256") => {
                let (Some(x), Some(y)) = (part(&self.x), part(&self.y)) else {
                    return false;
                };
                // An uncompressed point (SEC 1, section 2.3.3).
                let point = [&[4], x.as_slice(), &y].concat();
                UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point)
                    .verify(message, signature)
                    .is_ok()
            }
            ("RS256", "RSA") => {
                let (Some(n), Some(e)) = (part(&self.n), part(&self.e)) else {
                    return false;
                };
                RsaPublicKeyComponents { n, e }
                    .verify(&RSA_PKCS1_2048_8192_SHA256, message, signature)
                    .is_ok()
            }
            _ => false,
        }
    }
}

fn decode(text: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(text).ok()
}

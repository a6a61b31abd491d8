//! Signed assertions by which an OAuth client proves who it is (RFC 7523 section 2.2, `private_key_jwt`).

use std::fmt;
use std::time::{SystemTime, UNIX_EPOCH};

pub use jsonwebtoken::Algorithm;
use jsonwebtoken::{EncodingKey, Header};
use serde_json::json;

use crate::pkce::random_token;
use crate::secret::Secret;

/// How long an assertion is good for, in seconds. Each request gets its own.
const LIFETIME_S: u64 = 300;

/// The value of `client_assertion_type` (RFC 7523 section 2.2).
pub(crate) const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// Reads the PEM text of one kind of key.
type Read = fn(&[u8]) -> jsonwebtoken::errors::Result<EncodingKey>;

/// A private key that signs assertions.
pub struct AssertionKey {
    key: EncodingKey,
    header: Header,
}

/// Why a private key cannot be used. Says nothing of its content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AssertionKeyError {
    /// It is no PEM file of a private key.
    #[error(
        "not a private key in PEM (expected PKCS #8, `-----BEGIN PRIVATE KEY-----`, of an RSA, P-256, P-384 or Ed25519 key)"
    )]
    NotAKey,
    /// The key cannot sign by the algorithm that was asked for.
    #[error("the private key cannot sign by {0:?}")]
    Algorithm(Algorithm),
}

impl AssertionKey {
    /// Reads a private key in PEM. Without an algorithm it signs by the usual one of its kind: RS256, ES256, ES384 or EdDSA.
    ///
    /// # Errors
    /// If it is no such key, or of another kind than the algorithm wants. It was tried: what is returned signs.
    pub fn from_pem(
        pem: &Secret,
        algorithm: Option<Algorithm>,
        key_id: Option<&str>,
    ) -> Result<Self, AssertionKeyError> {
        let bytes = pem.expose().as_bytes();
        let kinds: [(Read, &[Algorithm]); 3] = [
            (
                EncodingKey::from_ec_pem,
                &[Algorithm::ES256, Algorithm::ES384],
            ),
            (
                EncodingKey::from_rsa_pem,
                &[
                    Algorithm::RS256,
                    Algorithm::RS384,
                    Algorithm::RS512,
                    Algorithm::PS256,
                    Algorithm::PS384,
                    Algorithm::PS512,
                ],
            ),
            (EncodingKey::from_ed_pem, &[Algorithm::EdDSA]),
        ];
        let mut is_key = false;
        for (read, algorithms) in kinds {
            let Ok(key) = read(bytes) else {
                continue;
            };
            is_key = true;
            for candidate in algorithms {
                if algorithm.is_some_and(|wanted| wanted != *candidate) {
                    continue;
                }
                let mut header = Header::new(*candidate);
                header.kid = key_id.map(str::to_owned);
                // A key of one curve is read for the other, too: only signing tells.
                if jsonwebtoken::encode(&header, &json!({}), &key).is_ok() {
                    return Ok(Self { key, header });
                }
            }
        }
        Err(match algorithm {
            Some(algorithm) if is_key => AssertionKeyError::Algorithm(algorithm),
            _ => AssertionKeyError::NotAKey,
        })
    }

    /// A fresh assertion that `client_id` makes to the authorization server `issuer`.
    pub fn assertion(&self, client_id: &str, issuer: &str) -> Secret {
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |since| since.as_secs());
        let claims = json!({
            "iss": client_id,
            "sub": client_id,
            "aud": issuer,
            "iat": now,
            "exp": now + LIFETIME_S,
            "jti": random_token(),
        });
        let signed = jsonwebtoken::encode(&self.header, &claims, &self.key);
        Secret::new(signed.expect("the key signed when it was read"))
    }
}

impl fmt::Debug for AssertionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AssertionKey({:?})", self.header.alg)
    }
}

#[cfg(test)]
mod tests {
    use base64::Engine;
    use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING};

    use super::*;

    fn pem(der: &[u8]) -> Secret {
        let text = base64::engine::general_purpose::STANDARD.encode(der);
        Secret::new(format!(
            "-----BEGIN PRIVATE KEY-----\n{text}\n-----END PRIVATE KEY-----\n"
        ))
    }

    fn elliptic(algorithm: &'static ring::signature::EcdsaSigningAlgorithm) -> Secret {
        let random = ring::rand::SystemRandom::new();
        let key = ring::signature::EcdsaKeyPair::generate_pkcs8(algorithm, &random).unwrap();
        pem(key.as_ref())
    }

    fn rsa() -> Secret {
        use rsa::pkcs8::EncodePrivateKey;
        let key = rsa::RsaPrivateKey::new(&mut rsa::rand_core::OsRng, 2048).unwrap();
        pem(key.to_pkcs8_der().unwrap().as_bytes())
    }

    fn claims(token: &Secret) -> serde_json::Value {
        let part = token.expose().split('.').nth(1).unwrap();
        let bytes = base64::engine::general_purpose::URL_SAFE_NO_PAD
            .decode(part)
            .unwrap();
        serde_json::from_slice(&bytes).unwrap()
    }

    #[test]
    fn keys_sign_by_their_kind_and_never_show_themselves() {
        let p256 = elliptic(&ECDSA_P256_SHA256_FIXED_SIGNING);
        let p384 = elliptic(&ECDSA_P384_SHA384_FIXED_SIGNING);
        for (pem, algorithm) in [
            (p256, Algorithm::ES256),
            (p384, Algorithm::ES384),
            (rsa(), Algorithm::RS256),
        ] {
            let key = AssertionKey::from_pem(&pem, None, Some("k1")).unwrap();
            assert_eq!(format!("{key:?}"), format!("AssertionKey({algorithm:?})"));
            let (one, two) = (
                key.assertion("me", "http://as"),
                key.assertion("me", "http://as"),
            );
            assert_ne!(one.expose(), two.expose());
            let header = jsonwebtoken::decode_header(one.expose()).unwrap();
            assert_eq!((header.alg, header.kid.as_deref()), (algorithm, Some("k1")));
            let claims = claims(&one);
            assert_eq!(
                (&claims["iss"], &claims["sub"], &claims["aud"]),
                (&json!("me"), &json!("me"), &json!("http://as"))
            );
            assert_eq!(
                claims["exp"].as_u64().unwrap() - claims["iat"].as_u64().unwrap(),
                LIFETIME_S
            );
        }
    }

    #[test]
    fn a_wrong_key_is_refused_without_being_shown() {
        let p256 = elliptic(&ECDSA_P256_SHA256_FIXED_SIGNING);
        let wrong = AssertionKey::from_pem(&p256, Some(Algorithm::RS256), None);
        assert_eq!(
            wrong.unwrap_err(),
            AssertionKeyError::Algorithm(Algorithm::RS256)
        );
        for text in [
            "",
            "s3cret",
            "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
        ] {
            let error = AssertionKey::from_pem(&text.into(), None, None).unwrap_err();
            assert_eq!(error, AssertionKeyError::NotAKey);
            assert!(!error.to_string().contains("AAAA"));
        }
    }
}

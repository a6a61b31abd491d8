//! Proof key for code exchange (RFC 7636), and the random values of an authorization request.
//!
//! Only `S256` exists here: a provider that offers no more than `plain` is refused by discovery.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rand::RngCore;
use sha2::{Digest, Sha256};

use crate::secret::Secret;

/// A code verifier and its challenge.
#[derive(Debug, Clone)]
pub struct Pkce {
    /// 43 characters, 256 random bits (RFC 7636 section 4.1).
    pub verifier: Secret,
    /// BASE64URL(SHA256(verifier)) (RFC 7636 section 4.2).
    pub challenge: String,
}

impl Pkce {
    /// A fresh pair from the operating system's randomness, via the thread's generator.
    pub fn generate() -> Self {
        Self::from_verifier(random_token())
    }

    fn from_verifier(verifier: String) -> Self {
        let challenge = URL_SAFE_NO_PAD.encode(Sha256::digest(verifier.as_bytes()));
        Self {
            verifier: Secret::new(verifier),
            challenge,
        }
    }
}

/// 256 random bits in base64url: a `state`, a `nonce`, a verifier.
pub(crate) fn random_token() -> String {
    let mut bytes = [0u8; 32];
    rand::rng().fill_bytes(&mut bytes);
    URL_SAFE_NO_PAD.encode(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn challenge_is_the_rfc_example() {
        // RFC 7636 appendix B.
        let pkce = Pkce::from_verifier("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk".to_owned());
        assert_eq!(
            pkce.challenge,
            "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"
        );
    }

    #[test]
    fn verifiers_have_the_demanded_length_and_differ() {
        let (a, b) = (Pkce::generate(), Pkce::generate());
        assert_eq!(a.verifier.expose().len(), 43);
        assert_ne!(a.verifier.expose(), b.verifier.expose());
    }
}

//! Access tokens and CSRF tokens: made, signed, checked.
//!
//! Both are signed with a key that lives as long as the process. An access token is a JWT (RFC 7519)
//! in form, but it is looked up and not believed: that is how logging out ends it.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::hmac;
use serde_json::json;

use crate::secret::random_alphanumeric;
use crate::timestamp::unix_seconds;

/// How long an access token is valid, in seconds.
pub(super) const LIFETIME_S: i64 = 86_400;

/// The key that signs.
pub(super) struct Signer(hmac::Key);

impl Signer {
    pub(super) fn new() -> Self {
        Self(hmac::Key::new(
            hmac::HMAC_SHA256,
            random_alphanumeric(48).as_bytes(),
        ))
    }

    /// A new access token.
    pub(super) fn access_token(&self, username: &str) -> String {
        let encoded = |value: serde_json::Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let head = encoded(json!({ "alg": "HS256", "typ": "JWT" }));
        let claims = encoded(json!({
            "sub": username,
            "exp": unix_seconds() + LIFETIME_S,
            "jti": random_alphanumeric(16),
        }));
        let signed = format!("{head}.{claims}");
        let signature = hmac::sign(&self.0, signed.as_bytes());
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
    }

    /// A new CSRF token for a session: `{nonce}.{hmac of nonce and access token}`.
    pub(super) fn csrf_token(&self, access_token: &str) -> String {
        let nonce = hex(random_alphanumeric(16).as_bytes());
        let signature = hmac::sign(&self.0, bound(&nonce, access_token).as_bytes());
        format!("{nonce}.{}", hex(signature.as_ref()))
    }

    /// Whether a CSRF token was made here for this access token.
    pub(super) fn belongs(&self, csrf_token: &str, access_token: &str) -> bool {
        let Some((nonce, signature)) = csrf_token.split_once('.') else {
            return false;
        };
        let Some(signature) = unhex(signature) else {
            return false;
        };
        hmac::verify(&self.0, bound(nonce, access_token).as_bytes(), &signature).is_ok()
    }
}

fn bound(nonce: &str, access_token: &str) -> String {
    format!("csrf:{nonce}:{access_token}")
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    if !text.len().is_multiple_of(2) {
        return None;
    }
    let digits: Option<Vec<u8>> = text
        .chars()
        .map(|digit| {
            digit
                .to_digit(16)
                .and_then(|value| u8::try_from(value).ok())
        })
        .collect();
    Some(
        digits?
            .chunks(2)
            .map(|pair| pair[0] * 16 + pair[1])
            .collect(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_csrf_token_is_good_for_its_own_session_only() {
        let signer = Signer::new();
        let (mine, other) = (signer.access_token("a"), signer.access_token("a"));
        assert_ne!(mine, other);
        let token = signer.csrf_token(&mine);
        assert!(signer.belongs(&token, &mine));
        assert!(!signer.belongs(&token, &other));
        assert!(!Signer::new().belongs(&token, &mine));
        for wrong in ["", ".", "x", "ab.cd", "ab.zz", &token[1..]] {
            assert!(!signer.belongs(wrong, &mine), "{wrong}");
        }
    }
}

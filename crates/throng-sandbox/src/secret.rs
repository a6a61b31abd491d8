//! A string that must not be printed: passwords, tokens, codes, cookies.

use std::fmt;

/// A secret string. `Debug` shows `[redacted]`; there is no `Display` and no `Serialize`, so that
/// it cannot leave the process by accident. [`Secret::expose`] is the only way to read it.
#[derive(Clone, PartialEq, Eq, Hash, serde::Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// Wraps a secret value.
    pub fn new(value: impl Into<String>) -> Self {
        Self(value.into())
    }

    /// The secret in plain text.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl From<&str> for Secret {
    fn from(value: &str) -> Self {
        Self::new(value)
    }
}

impl From<String> for Secret {
    fn from(value: String) -> Self {
        Self::new(value)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("[redacted]")
    }
}

/// Random letters and digits from the operating system's generator, about 5.95 bits a character.
pub(crate) fn random_alphanumeric(length: usize) -> String {
    use rand::{Rng, distr::Alphanumeric};
    rand::rng()
        .sample_iter(Alphanumeric)
        .take(length)
        .map(char::from)
        .collect()
}

/// SHA-256 of a secret: what is stored and looked up instead of the secret itself.
pub(crate) fn digest(secret: &str) -> [u8; 32] {
    use sha2::{Digest, Sha256};
    Sha256::digest(secret.as_bytes()).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_does_not_show_the_secret() {
        let shown = format!("{:?}", Secret::new("hunter2"));
        assert_eq!(shown, "[redacted]");
    }

    #[test]
    fn random_values_differ_and_have_the_asked_length() {
        let first = random_alphanumeric(72);
        assert_eq!(first.len(), 72);
        assert!(first.bytes().all(|byte| byte.is_ascii_alphanumeric()));
        assert_ne!(first, random_alphanumeric(72));
    }
}

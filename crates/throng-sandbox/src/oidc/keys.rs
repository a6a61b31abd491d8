//! The provider's RSA key: made once, kept in the data directory if there is one, signs JWTs (RS256).
//!
//! The key is made with `rsa` and used with `ring`, which signs several times faster.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::SystemRandom;
use ring::signature::{
    KeyPair, RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_SHA256, RsaKeyPair, UnparsedPublicKey,
};
use rsa::pkcs8::EncodePrivateKey;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// Bits of a new key: what RS256 is used with everywhere, and the least that RFC 7518 allows.
const KEY_BITS: usize = 2048;

/// Why there is no signing key.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// No key could be made.
    #[error("cannot make a signing key: {0}")]
    Generate(String),
    /// The key file could not be read or written.
    #[error("cannot use the key file {}", path.display())]
    File {
        /// The key file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The key is no RSA key in PKCS #8.
    #[error("the signing key was rejected: {0}")]
    Rejected(ring::error::KeyRejected),
}

/// The signing key.
pub(crate) struct SigningKey {
    pair: RsaKeyPair,
    random: SystemRandom,
    id: String,
}

/// The key of sandboxes without a data directory. They share it within a process: nothing depends on
/// its being different, and making one takes most of a sandbox's start.
static EPHEMERAL: Mutex<Option<Vec<u8>>> = Mutex::new(None);

impl SigningKey {
    /// Reads the key from `signing-key.der` in the directory, or makes one and puts it there.
    pub(crate) fn load_or_generate(data: Option<&Path>) -> Result<Self, KeyError> {
        let Some(directory) = data else {
            let mut shared = EPHEMERAL.lock().unwrap_or_else(PoisonError::into_inner);
            let document = match shared.as_ref() {
                Some(document) => document,
                None => shared.insert(generate()?),
            };
            return Self::new(document);
        };
        let path = directory.join("signing-key.der");
        let failed = |source| KeyError::File {
            path: path.clone(),
            source,
        };
        match std::fs::read(&path) {
            Ok(document) => Self::new(&document),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                let document = generate()?;
                write_private(&path, &document).map_err(failed)?;
                Self::new(&document)
            }
            Err(error) => Err(failed(error)),
        }
    }

    fn new(document: &[u8]) -> Result<Self, KeyError> {
        let pair = RsaKeyPair::from_pkcs8(document).map_err(KeyError::Rejected)?;
        let id = URL_SAFE_NO_PAD.encode(&Sha256::digest(pair.public_key().as_ref())[..12]);
        Ok(Self {
            pair,
            random: SystemRandom::new(),
            id,
        })
    }

    /// The public key as a JWK (RFC 7517).
    pub(crate) fn jwk(&self) -> Value {
        let public: ring::rsa::PublicKeyComponents<Vec<u8>> = self.pair.public().into();
        json!({
            "kty": "RSA",
            "use": "sig",
            "alg": "RS256",
            "key_ops": ["verify"],
            "kid": self.id,
            "n": URL_SAFE_NO_PAD.encode(&public.n),
            "e": URL_SAFE_NO_PAD.encode(&public.e),
        })
    }

    /// The `typ` and the claims of a JWT that this key signed; none of any other text.
    pub(crate) fn verified(&self, token: &str) -> Option<(String, Value)> {
        let (message, signature) = token.rsplit_once('.')?;
        let (header, payload) = message.split_once('.')?;
        let decode = |text: &str| URL_SAFE_NO_PAD.decode(text).ok();
        let key = UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, self.pair.public().as_ref());
        key.verify(message.as_bytes(), &decode(signature)?).ok()?;
        let header: Value = serde_json::from_slice(&decode(header)?).ok()?;
        let claims = serde_json::from_slice(&decode(payload)?).ok()?;
        Some((header["typ"].as_str()?.to_owned(), claims))
    }

    /// Signs claims as a JWT of this `typ` (`JWT`, `at+JWT`).
    pub(crate) fn sign(&self, token_type: &str, claims: &Value) -> Result<String, SignError> {
        let header = json!({ "typ": token_type, "alg": "RS256", "kid": self.id });
        let mut token = URL_SAFE_NO_PAD.encode(header.to_string());
        token.push('.');
        URL_SAFE_NO_PAD.encode_string(claims.to_string(), &mut token);
        let mut signature = vec![0; self.pair.public().modulus_len()];
        self.pair
            .sign(
                &RSA_PKCS1_SHA256,
                &self.random,
                token.as_bytes(),
                &mut signature,
            )
            .map_err(|ring::error::Unspecified| SignError)?;
        token.push('.');
        URL_SAFE_NO_PAD.encode_string(signature, &mut token);
        Ok(token)
    }
}

/// The key could not sign (the system has no randomness).
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("cannot sign a token")]
pub(crate) struct SignError;

fn generate() -> Result<Vec<u8>, KeyError> {
    let failed = |error: &dyn std::error::Error| KeyError::Generate(error.to_string());
    let key = rsa::RsaPrivateKey::new(&mut rsa::rand_core::OsRng, KEY_BITS)
        .map_err(|error| failed(&error))?;
    let document = key.to_pkcs8_der().map_err(|error| failed(&error))?;
    Ok(document.as_bytes().to_vec())
}

/// Writes a file that only its owner can read.
fn write_private(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    use std::io::Write as _;
    use std::os::unix::fs::OpenOptionsExt as _;
    std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?
        .write_all(bytes)
}

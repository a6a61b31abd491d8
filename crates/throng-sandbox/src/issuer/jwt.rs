//! Signed tokens (RFC 7515, RFC 7518) and the keys that their issuer publishes (RFC 7517).

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::signature::{self, RsaParameters, RsaPublicKeyComponents, UnparsedPublicKey};
use serde::Deserialize;
use serde_json::Value;

/// A token taken apart; nothing of it is checked.
pub(super) struct Parsed<'t> {
    algorithm: Algorithm,
    key_id: Option<String>,
    /// What is signed.
    message: &'t str,
    signature: Vec<u8>,
    pub(super) claims: Value,
}

/// What tokens may be signed with: nothing symmetric, since the keys are published.
#[derive(Clone, Copy)]
enum Algorithm {
    Rsa(&'static RsaParameters),
    P256,
    P384,
    Ed25519,
}

impl Algorithm {
    fn named(name: &str) -> Option<Self> {
        Some(match name {
            "RS256" => Self::Rsa(&signature::RSA_PKCS1_2048_8192_SHA256),
            "RS384" => Self::Rsa(&signature::RSA_PKCS1_2048_8192_SHA384),
            "RS512" => Self::Rsa(&signature::RSA_PKCS1_2048_8192_SHA512),
            "PS256" => Self::Rsa(&signature::RSA_PSS_2048_8192_SHA256),
            "PS384" => Self::Rsa(&signature::RSA_PSS_2048_8192_SHA384),
            "PS512" => Self::Rsa(&signature::RSA_PSS_2048_8192_SHA512),
            "ES256" => Self::P256,
            "ES384" => Self::P384,
            "EdDSA" | "Ed25519" => Self::Ed25519,
            _ => return None,
        })
    }
}

/// Takes a JWT apart; nothing where it is none, or is signed by a way that is not known.
pub(super) fn parse(token: &str) -> Option<Parsed<'_>> {
    #[derive(Deserialize)]
    struct Header {
        alg: String,
        kid: Option<String>,
        /// Extensions that must be understood (RFC 7515 section 4.1.11); none is.
        crit: Option<Value>,
    }
    let (message, signature) = token.rsplit_once('.')?;
    let (header, claims) = message.split_once('.')?;
    let decoded = |part: &str| URL_SAFE_NO_PAD.decode(part).ok();
    let header: Header = serde_json::from_slice(&decoded(header)?).ok()?;
    if header.crit.is_some() {
        return None;
    }
    let claims: Value = serde_json::from_slice(&decoded(claims)?).ok()?;
    claims.is_object().then_some(Parsed {
        algorithm: Algorithm::named(&header.alg)?,
        key_id: header.kid,
        message,
        signature: decoded(signature)?,
        claims,
    })
}

/// Published keys, as far as they sign.
#[derive(Default)]
pub(super) struct Keys(Vec<Key>);

/// A published key.
pub(super) struct Key {
    id: Option<String>,
    material: Material,
}

enum Material {
    Rsa { n: Vec<u8>, e: Vec<u8> },
    P256(Vec<u8>),
    P384(Vec<u8>),
    Ed25519(Vec<u8>),
}

impl Keys {
    /// Reads a key set. Keys of other kinds and uses are left out.
    pub(super) fn parse(set: &Value) -> Self {
        let keys = set["keys"].as_array().into_iter().flatten();
        Self(keys.filter_map(Key::parse).collect())
    }

    /// Those that may have signed this: of its name, if it and they have one, and of its kind.
    pub(super) fn candidates(&self, token: &Parsed<'_>) -> impl Iterator<Item = &Key> {
        self.0.iter().filter(|key| {
            let named = match (&key.id, &token.key_id) {
                (Some(key), Some(token)) => key == token,
                _ => true,
            };
            named && key.fits(token.algorithm)
        })
    }
}

impl Key {
    fn parse(key: &Value) -> Option<Self> {
        if key["use"].as_str().is_some_and(|used| used != "sig") {
            return None;
        }
        let part = |name: &str| URL_SAFE_NO_PAD.decode(key[name].as_str()?).ok();
        // SEC 1 section 2.3.3, uncompressed.
        let point = || -> Option<Vec<u8>> { Some([vec![4], part("x")?, part("y")?].concat()) };
        let material = match (key["kty"].as_str()?, key["crv"].as_str()) {
            ("RSA", _) => Material::Rsa {
                n: part("n")?,
                e: part("e")?,
            },
            ("EC", Some("P-256")) => Material::P256(point()?),
            ("EC", Some("P-384")) => Material::P384(point()?),
            ("OKP", Some("Ed25519")) => Material::Ed25519(part("x")?),
            _ => return None,
        };
        Some(Self {
            id: key["kid"].as_str().map(str::to_owned),
            material,
        })
    }

    fn fits(&self, algorithm: Algorithm) -> bool {
        matches!(
            (&self.material, algorithm),
            (Material::Rsa { .. }, Algorithm::Rsa(_))
                | (Material::P256(_), Algorithm::P256)
                | (Material::P384(_), Algorithm::P384)
                | (Material::Ed25519(_), Algorithm::Ed25519)
        )
    }

    /// Whether this key signed the token.
    pub(super) fn verifies(&self, token: &Parsed<'_>) -> bool {
        let (message, signature) = (token.message.as_bytes(), &token.signature);
        let right = match (&self.material, token.algorithm) {
            (Material::Rsa { n, e }, Algorithm::Rsa(parameters)) => {
                RsaPublicKeyComponents { n, e }.verify(parameters, message, signature)
            }
            (Material::P256(point), Algorithm::P256) => {
                UnparsedPublicKey::new(&signature::ECDSA_P256_SHA256_FIXED, point)
                    .verify(message, signature)
            }
            (Material::P384(point), Algorithm::P384) => {
                UnparsedPublicKey::new(&signature::ECDSA_P384_SHA384_FIXED, point)
                    .verify(message, signature)
            }
            (Material::Ed25519(point), Algorithm::Ed25519) => {
                UnparsedPublicKey::new(&signature::ED25519, point).verify(message, signature)
            }
            _ => return false,
        };
        right.is_ok()
    }
}

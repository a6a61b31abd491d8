//! Id tokens: signatures of both elliptic kinds, and every claim that ties a token to its login. (RS256 is the sandbox's.)

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, EncodingKey};
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair};
use serde_json::{Value, json};
use throng_identity::login::{Problem, log_in};
use throng_identity::tokens::Freshness;
use throng_identity::{Secret, TokenCell};

use crate::provider::{Config, PASSWORD, Pages, Provider, Refresh, Signer, USER, client};

fn es256(kid: Option<&'static str>) -> Signer {
    let random = SystemRandom::new();
    let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).unwrap();
    let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8.as_ref(), &random)
        .unwrap();
    // An uncompressed point: 4, x, y.
    let point = pair.public_key().as_ref();
    let (x, y) = (
        URL_SAFE_NO_PAD.encode(&point[1..33]),
        URL_SAFE_NO_PAD.encode(&point[33..]),
    );
    let jwks = json!({"keys": [
        {"kty": "unheard-of", "kid": "k0"},
        {"kty": "EC", "crv": "P-256", "x": x, "y": y, "kid": "k1", "use": "sig", "alg": "ES256"},
    ]});
    Signer {
        key: EncodingKey::from_ec_der(pkcs8.as_ref()),
        algorithm: Algorithm::ES256,
        kid,
        jwks,
    }
}

fn eddsa() -> Signer {
    let pkcs8 = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap();
    let pair = Ed25519KeyPair::from_pkcs8(pkcs8.as_ref()).unwrap();
    let x = URL_SAFE_NO_PAD.encode(pair.public_key().as_ref());
    let jwks = json!({"keys": [{"kty": "OKP", "crv": "Ed25519", "x": x, "kid": "e1"}]});
    Signer {
        key: EncodingKey::from_ed_der(pkcs8.as_ref()),
        algorithm: Algorithm::EdDSA,
        kid: Some("e1"),
        jwks,
    }
}

async fn log_in_with(signer: Signer, claims: Value) -> Result<String, String> {
    let config = Config {
        pages: Pages::None,
        signer: Some(Arc::new(signer)),
        claims,
        ..Config::default()
    };
    let provider = Provider::start(config).await;
    let plan = provider.plan().await;
    match log_in(&plan, &client(), USER, &Secret::new(PASSWORD)).await {
        Ok(login) => Ok(login.tokens.claims.unwrap().sub),
        Err(error) => {
            assert!(matches!(error.problem(), Problem::IdToken(_)), "{error}");
            Err(error.to_string())
        }
    }
}

#[tokio::test]
async fn good_tokens_are_accepted() {
    assert_eq!(
        log_in_with(es256(Some("k1")), json!({})).await.unwrap(),
        USER
    );
    assert_eq!(log_in_with(es256(None), json!({})).await.unwrap(), USER);
    assert_eq!(log_in_with(eddsa(), json!({})).await.unwrap(), USER);
    for several in [
        json!({"aud": ["x", "throng-client"], "azp": "throng-client"}),
        json!({"aud": ["throng-client", "x"]}),
    ] {
        assert_eq!(log_in_with(eddsa(), several).await.unwrap(), USER);
    }
    // A clock that is half a minute off.
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap()
        .as_secs();
    assert_eq!(
        log_in_with(eddsa(), json!({"exp": now - 30}))
            .await
            .unwrap(),
        USER
    );
}

#[tokio::test]
async fn a_provider_whose_clock_is_off_by_hours_logs_users_in_and_renews_their_tokens() {
    for ahead in [-7_200, 7_200] {
        let provider = Provider::start(Config {
            pages: Pages::None,
            signer: Some(Arc::new(eddsa())),
            refresh: Refresh::Rotating,
            ahead,
            ..Config::default()
        })
        .await;
        let plan = Arc::new(provider.plan().await);
        let (identity, password) = (client(), Secret::new(PASSWORD));
        let login = log_in(&plan, &identity, USER, &password).await.unwrap();
        assert_eq!(login.tokens.claims.as_ref().unwrap().sub, USER, "{ahead}");
        let cell = TokenCell::new(login.tokens, plan, &identity, USER, password);
        assert_eq!(cell.freshness(), Freshness::Fresh, "{ahead}");
        cell.renew(&cell.header()).await.unwrap();
        assert_eq!(cell.stats().refreshes, 1, "{ahead}");
    }
    // One that is over by its own clock, too.
    for ahead in [-7_200, 7_200] {
        let provider = Provider::start(Config {
            pages: Pages::None,
            signer: Some(Arc::new(eddsa())),
            claims: json!({"exp": 1_000_000_000}),
            ahead,
            ..Config::default()
        })
        .await;
        let plan = provider.plan().await;
        let error = log_in(&plan, &client(), USER, &Secret::new(PASSWORD)).await;
        let error = error.unwrap_err().to_string();
        assert!(error.contains("it has expired"), "{error}");
    }
}

#[tokio::test]
async fn bad_tokens_are_refused_and_the_reason_is_said() {
    for (claims, says) in [
        (json!({"iss": "http://evil.test"}), "its iss is not"),
        (json!({"aud": "other"}), "its aud does not contain"),
        (json!({"aud": ["x", "y"]}), "its aud does not contain"),
        (json!({"aud": null}), "cannot be decoded"),
        (json!({"azp": "other"}), "its azp is another client"),
        (json!({"exp": 1_000_000_000}), "it has expired"),
        (json!({"exp": null}), "it has no exp"),
        (json!({"nonce": "other"}), "another nonce"),
        (json!({"nonce": null}), "no nonce"),
    ] {
        let error = log_in_with(eddsa(), claims).await.unwrap_err();
        assert!(error.contains(says), "{says}: {error}");
    }
    let forged = Signer {
        key: es256(None).key,
        ..es256(Some("k1"))
    };
    assert!(
        log_in_with(forged, json!({}))
            .await
            .unwrap_err()
            .contains("signature is wrong")
    );
    let unknown = log_in_with(es256(Some("k9")), json!({})).await.unwrap_err();
    assert!(
        unknown.contains("no published key fits (kid k9"),
        "{unknown}"
    );
    let shared = Signer {
        key: EncodingKey::from_secret(b"x"),
        algorithm: Algorithm::HS256,
        ..eddsa()
    };
    assert!(
        log_in_with(shared, json!({}))
            .await
            .unwrap_err()
            .contains("no public-key algorithm")
    );
}

#[tokio::test]
async fn keys_are_fetched_once_for_all_logins() {
    let config = Config {
        pages: Pages::None,
        signer: Some(Arc::new(eddsa())),
        ..Config::default()
    };
    let provider = Provider::start(config).await;
    let plan = provider.plan().await;
    let logins = (0..20).map(|_| async {
        log_in(&plan, &client(), USER, &Secret::new(PASSWORD))
            .await
            .unwrap()
    });
    futures_util::future::join_all(logins).await;
    assert_eq!(provider.seen("/token").len(), 20);
    assert_eq!(provider.seen("/jwks").len(), 1);
}

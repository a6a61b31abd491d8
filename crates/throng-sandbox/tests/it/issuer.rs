//! Access tokens of an OpenID provider outside the sandbox: what the MCP server makes of them.

use std::sync::{Arc, Mutex};

use axum::extract::State;
use axum::routing::{get, post};
use axum::{Form, Json, Router};
use http::{HeaderMap, Method, StatusCode};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use rcgen::PublicKeyData as _;
use serde_json::{Value, json};
use throng_sandbox::{IssuerConfig, McpAuth, NextcloudSandbox, SandboxError, Secret};
use tokio::net::TcpListener;

use crate::support::{Http, Reply, sandbox};

/// A provider that says what it is told to.
#[derive(Clone)]
struct Provider {
    origin: String,
    keys: Arc<Mutex<Vec<rcgen::KeyPair>>>,
    /// Answers to introspection, and how often was asked.
    said: Arc<Mutex<(Value, u32)>>,
}

impl Provider {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let provider = Self {
            origin: format!("http://{}", listener.local_addr().expect("an address")),
            keys: Arc::new(Mutex::new(vec![key()])),
            said: Arc::default(),
        };
        let app = Router::new()
            .route("/.well-known/openid-configuration", get(metadata))
            .route("/jwks", get(jwks))
            .route("/introspect", post(introspect))
            .with_state(provider.clone());
        tokio::spawn(async move { axum::serve(listener, app).await });
        provider
    }

    fn config(&self) -> IssuerConfig {
        IssuerConfig::new(&*self.origin)
    }

    /// A token that is right, but for these changes, signed by the key published last.
    fn token(&self, sandbox: &NextcloudSandbox, change: Value) -> String {
        let mut claims = json!({
            "iss": self.origin,
            "aud": sandbox.mcp_url(),
            "exp": now() + 60,
            "sub": "ann",
            "scope": "openid notes.read",
        });
        for (name, value) in change.as_object().expect("changes") {
            claims[name] = value.clone();
        }
        let keys = self.keys.lock().expect("no panic while locked");
        signed(keys.last().expect("a key"), keys.len(), &claims)
    }
}

fn key() -> rcgen::KeyPair {
    rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).expect("a key")
}

fn signed(key: &rcgen::KeyPair, id: usize, claims: &Value) -> String {
    let header = Header {
        kid: Some(format!("k{id}")),
        ..Header::new(Algorithm::ES256)
    };
    let key = EncodingKey::from_ec_der(key.serialized_der());
    jsonwebtoken::encode(&header, claims, &key).expect("a token")
}

fn now() -> u64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    now.expect("after 1970").as_secs()
}

async fn metadata(State(provider): State<Provider>) -> Json<Value> {
    let origin = &provider.origin;
    Json(json!({
        "issuer": origin,
        "jwks_uri": format!("{origin}/jwks"),
        "introspection_endpoint": format!("{origin}/introspect"),
    }))
}

async fn jwks(State(provider): State<Provider>) -> Json<Value> {
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    let keys = provider.keys.lock().expect("no panic while locked");
    let keys = keys.iter().zip(1..).map(|(key, id)| {
        // The last 64 bytes of the key are its point.
        let der = key.der_bytes();
        let point = &der[der.len() - 64..];
        json!({
            "kty": "EC",
            "crv": "P-256",
            "kid": format!("k{id}"),
            "x": URL_SAFE_NO_PAD.encode(&point[..32]),
            "y": URL_SAFE_NO_PAD.encode(&point[32..]),
        })
    });
    Json(json!({ "keys": keys.collect::<Vec<_>>() }))
}

async fn introspect(
    State(provider): State<Provider>,
    headers: HeaderMap,
    Form(form): Form<Vec<(String, String)>>,
) -> Result<Json<Value>, StatusCode> {
    // `mcp:s3cret` in base64.
    if headers["authorization"] != "Basic bWNwOnMzY3JldA==" {
        return Err(StatusCode::UNAUTHORIZED);
    }
    assert_eq!(form[0].0, "token");
    let mut said = provider.said.lock().expect("no panic while locked");
    said.1 += 1;
    Ok(Json(if form[0].1 == "opaque" {
        said.0.clone()
    } else {
        json!({ "active": false })
    }))
}

async fn outside(config: IssuerConfig) -> NextcloudSandbox {
    sandbox(|nextcloud| nextcloud.mcp.auth = McpAuth::Outside(config)).await
}

/// What the MCP server answers to a ping with this token.
async fn ping(sandbox: &NextcloudSandbox, token: &str) -> Reply {
    let origin = sandbox.mcp_url().trim_end_matches("/mcp");
    let authorization = format!("Bearer {token}");
    let headers = [
        ("authorization", &*authorization),
        ("content-type", "application/json"),
        ("accept", "application/json, text/event-stream"),
    ];
    let body = r#"{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-06-18","capabilities":{},"clientInfo":{"name":"t","version":"1"}}}"#;
    let mut http = Http::to(origin);
    http.send(Method::POST, "/mcp", &headers, body.to_owned())
        .await
}

async fn users(sandbox: &NextcloudSandbox) -> Vec<String> {
    let mut http = Http::new(sandbox);
    let reply = http.get("/__sandbox/users").await;
    serde_json::from_value(reply.json()).expect("a list of users")
}

#[tokio::test]
async fn signed_tokens_of_an_outside_issuer_let_their_users_in() {
    let provider = Provider::start().await;
    let sandbox = outside(provider.config()).await;

    let mut http = Http::to(sandbox.mcp_url().trim_end_matches("/mcp"));
    let path = "/.well-known/oauth-protected-resource";
    let metadata = http.get(path).await.json();
    assert_eq!(metadata["authorization_servers"], json!([provider.origin]));
    assert_eq!(metadata["resource"], sandbox.mcp_url());
    let listed = metadata["scopes_supported"].to_string();
    assert!(!listed.contains("offline_access"), "{listed}");

    let good = provider.token(&sandbox, json!({}));
    let reply = ping(&sandbox, &good).await;
    assert_eq!(reply.status, 200, "{}", reply.body);
    assert_eq!(users(&sandbox).await, ["admin", "ann"]);

    for (change, says) in [
        (
            json!({ "aud": "http://127.0.0.1:9/mcp" }),
            "for another audience",
        ),
        (json!({ "iss": "http://127.0.0.1:9" }), "of another issuer"),
        (json!({ "exp": now() - 1 }), "has expired"),
        (json!({ "sub": null }), "names no user"),
    ] {
        let reply = ping(&sandbox, &provider.token(&sandbox, change)).await;
        assert_eq!(reply.status, 401, "{says}: {}", reply.body);
        let challenge = reply.header("www-authenticate");
        assert!(challenge.contains(says), "{challenge}");
        assert!(challenge.contains("/.well-known/oauth-protected-resource"));
    }
    let forged = signed(
        &key(),
        1,
        &json!({ "iss": provider.origin, "aud": sandbox.mcp_url(), "exp": now() + 60, "sub": "eve" }),
    );
    let unsigned = format!("{}.", good.rsplit_once('.').expect("a signature").0);
    let own = "a-token-of-the-sandboxs-own-provider";
    for token in [forged.as_str(), unsigned.as_str(), own] {
        let reply = ping(&sandbox, token).await;
        assert_eq!(reply.status, 401, "{}", reply.body);
        assert!(reply.body.contains("unknown"), "{}", reply.body);
    }
    assert_eq!(users(&sandbox).await, ["admin", "ann"]);
}

#[tokio::test]
async fn keys_are_fetched_when_they_are_needed_and_claims_named_as_the_provider_names_them() {
    let provider = Provider::start().await;
    let sandbox = outside(IssuerConfig {
        audience: Some("mcp".to_owned()),
        user_claim: "preferred_username".to_owned(),
        ..provider.config()
    })
    .await;
    // Published after the sandbox has started.
    provider
        .keys
        .lock()
        .expect("no panic while locked")
        .push(key());
    let change = json!({ "aud": ["x", "mcp"], "preferred_username": "ben" });
    let reply = ping(&sandbox, &provider.token(&sandbox, change)).await;
    assert_eq!(reply.status, 200, "{}", reply.body);
    assert_eq!(users(&sandbox).await, ["admin", "ben"]);
}

#[tokio::test]
async fn opaque_tokens_are_asked_about_and_the_answer_is_remembered_for_a_moment() {
    let provider = Provider::start().await;
    let sandbox = outside(IssuerConfig {
        introspection: Some(("mcp".to_owned(), Secret::new("s3cret"))),
        ..provider.config()
    })
    .await;
    let answer =
        json!({ "active": true, "sub": "cid", "aud": sandbox.mcp_url(), "exp": now() + 60 });
    provider.said.lock().expect("no panic while locked").0 = answer;
    for _ in 0..3 {
        let reply = ping(&sandbox, "opaque").await;
        assert_eq!(reply.status, 200, "{}", reply.body);
    }
    assert_eq!(provider.said.lock().expect("no panic while locked").1, 1);
    let reply = ping(&sandbox, "revoked").await;
    assert_eq!(reply.status, 401, "{}", reply.body);
    assert_eq!(users(&sandbox).await, ["admin", "cid"]);

    let wrong = outside(IssuerConfig {
        introspection: Some(("mcp".to_owned(), Secret::new("wr0ng"))),
        ..provider.config()
    })
    .await;
    let reply = ping(&wrong, "opaque").await;
    assert_eq!(reply.status, 502, "{}", reply.body);
    assert!(reply.body.contains("/introspect: 401"), "{}", reply.body);
    assert!(!reply.body.contains("wr0ng"), "{}", reply.body);
}

#[tokio::test]
async fn an_issuer_that_is_none_keeps_the_sandbox_from_starting() {
    let provider = Provider::start().await;
    for (issuer, says) in [
        (
            "mcp".to_owned(),
            "the issuer mcp is no http(s) URL".to_owned(),
        ),
        (
            format!("{}/", provider.origin),
            format!(
                "{0}/.well-known/openid-configuration: its issuer is \"{0}\", expected exactly \"{0}/\"",
                provider.origin
            ),
        ),
        (
            format!("{}/realms/x", provider.origin),
            format!(
                "no metadata of the issuer {}/realms/x found (tried ",
                provider.origin
            ),
        ),
    ] {
        let mut config = throng_sandbox::NextcloudConfig::default();
        config.mcp.auth = McpAuth::Outside(IssuerConfig::new(issuer));
        let error = NextcloudSandbox::start(config)
            .await
            .err()
            .expect("a refusal");
        assert!(matches!(error, SandboxError::Issuer(_)), "{error}");
        assert!(error.to_string().starts_with(&says), "{error}");
    }
}

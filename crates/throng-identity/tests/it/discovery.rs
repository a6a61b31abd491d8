//! From an MCP URL to endpoints, and to one registered client.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use throng_identity::discovery::{DiscoveryError, discover};
use throng_identity::registration::{
    self, RegistrationError, RegistrationRequest, Unregistered, register, unregister,
};
use throng_identity::retry::RetryPolicy;
use url::Url;

use crate::provider::{Config, Provider, REDIRECT, client};

const TIMEOUT: Duration = Duration::from_secs(5);

#[tokio::test]
async fn the_way_goes_from_the_401_to_the_endpoints() {
    let provider = Provider::start(Config {
        metadata: json!({"scopes_supported": ["offline_access"]}),
        ..Config::default()
    })
    .await;
    let found = discover(&client(), &provider.mcp_url(), TIMEOUT)
        .await
        .unwrap();
    assert_eq!(found.resource, Some(format!("{}/mcp", provider.base())));
    assert_eq!(found.issuer, provider.base());
    assert_eq!(
        found.token_endpoint.as_str(),
        format!("{}/token", provider.base())
    );
    assert_eq!(
        (found.resource_scopes, found.server_scopes),
        (
            vec!["notes.read".to_owned()],
            vec!["offline_access".to_owned()]
        )
    );
    assert!(found.promises_issuer);
}

#[tokio::test]
async fn a_server_without_resource_metadata_is_its_own_authorization_server() {
    let provider = Provider::start(Config {
        resource: Value::Null,
        ..Config::default()
    })
    .await;
    let found = discover(&client(), &provider.mcp_url(), TIMEOUT)
        .await
        .unwrap();
    assert_eq!(
        (found.issuer.as_str(), found.resource),
        (provider.base(), Some(provider.mcp_url().to_string()))
    );
    // Asked for at the path first, then at the root.
    assert_eq!(
        provider
            .seen("/.well-known/oauth-protected-resource/mcp")
            .len(),
        1
    );
    assert_eq!(
        provider.seen("/.well-known/oauth-protected-resource").len(),
        1
    );
}

#[tokio::test]
async fn wrong_metadata_is_refused_with_what_was_expected() {
    let cases = [
        (
            json!({"issuer": "http://evil.test"}),
            json!({}),
            "expected exactly",
        ),
        (
            json!({"code_challenge_methods_supported": null}),
            json!({}),
            "code_challenge_methods_supported",
        ),
        (
            json!({"code_challenge_methods_supported": ["plain"]}),
            json!({}),
            "S256 is demanded",
        ),
        (
            json!({"token_endpoint": null}),
            json!({}),
            "has no token_endpoint",
        ),
        (json!({"token_endpoint": "nowhere"}), json!({}), "is no URL"),
        (
            json!({}),
            json!({"resource": "http://evil.test/mcp"}),
            "describes the resource http://evil.test/mcp",
        ),
        (
            json!({}),
            json!({"authorization_servers": []}),
            "lists no authorization_servers",
        ),
        (
            json!({}),
            json!({"authorization_servers": ["ftp://x"]}),
            "it is no http(s) URL",
        ),
    ];
    for (metadata, resource, says) in cases {
        let provider = Provider::start(Config {
            metadata,
            resource,
            ..Config::default()
        })
        .await;
        let error = discover(&client(), &provider.mcp_url(), TIMEOUT)
            .await
            .unwrap_err();
        assert!(error.to_string().contains(says), "{says}: {error}");
    }
}

#[tokio::test]
async fn an_address_without_a_server_says_what_was_tried() {
    let provider = Provider::start(Config::default()).await;
    let nothing = Url::parse(&format!("{}/nothing", provider.base())).unwrap();
    let error = discover(&client(), &nothing, TIMEOUT).await.unwrap_err();
    assert!(matches!(error, DiscoveryError::NotProtected { .. }));
    let text = error.to_string();
    assert!(
        text.contains("/.well-known/oauth-protected-resource/nothing: 404"),
        "{text}"
    );
    let closed = Url::parse("http://127.0.0.1:1/mcp").unwrap();
    let error = discover(&client(), &closed, TIMEOUT).await.unwrap_err();
    assert!(
        matches!(error, DiscoveryError::Unreachable { .. }),
        "{error}"
    );
}

fn request() -> RegistrationRequest {
    RegistrationRequest {
        client_name: "throng".into(),
        redirect_uri: Url::parse(REDIRECT).unwrap(),
        scopes: vec!["openid".into()],
    }
}

#[tokio::test]
async fn one_client_is_registered_and_taken_back() {
    let provider = Provider::start(Config {
        registration: vec![(429, Some(1)), (429, None)],
        ..Config::default()
    })
    .await;
    let authorization = provider.discover().await;
    let policy = RetryPolicy {
        first_wait: Duration::from_millis(1),
        ..RetryPolicy::default()
    };
    let begun = Instant::now();
    let registered = register(&client(), &authorization, &request(), &policy, TIMEOUT)
        .await
        .unwrap();
    assert!(
        begun.elapsed() >= Duration::from_secs(1),
        "Retry-After is kept to"
    );
    assert_eq!((registered.id.as_str(), registered.secret), ("c1", None));
    let sent: Value = serde_json::from_slice(&provider.seen("/register")[2].body).unwrap();
    assert_eq!(sent["application_type"], "native");
    assert_eq!(sent["redirect_uris"], json!([REDIRECT]));
    assert_eq!(sent["token_endpoint_auth_method"], "none");
    let registration = registered.registration.unwrap();
    assert_eq!(registration.expires_at, None);
    assert_eq!(
        unregister(&client(), &registration, &policy, TIMEOUT).await,
        Unregistered::Deleted
    );
    assert_eq!(
        provider.seen("/register/c1")[0].headers["authorization"],
        "Bearer rat-s3cr3t-1"
    );
}

#[tokio::test]
async fn registration_failures_are_told_apart() {
    let policy = RetryPolicy {
        attempts: 2,
        first_wait: Duration::from_millis(1),
        ..RetryPolicy::default()
    };
    let fail = async |config: Config| {
        let provider = Provider::start(config).await;
        let authorization = provider.discover().await;
        register(&client(), &authorization, &request(), &policy, TIMEOUT)
            .await
            .unwrap_err()
    };
    let throttled = fail(Config {
        registration: vec![(429, None); 9],
        ..Config::default()
    })
    .await;
    assert!(
        matches!(throttled, RegistrationError::Throttled { attempts: 2, .. }),
        "{throttled}"
    );
    assert!(throttled.nothing_was_created());
    let refused = fail(Config {
        registration: vec![(400, None)],
        ..Config::default()
    })
    .await;
    assert!(
        matches!(refused, RegistrationError::Refused { .. }),
        "{refused}"
    );
    let broken = fail(Config {
        registration: vec![(500, None)],
        ..Config::default()
    })
    .await;
    assert!(!broken.nothing_was_created());
    let none = fail(Config {
        metadata: json!({"registration_endpoint": null}),
        ..Config::default()
    })
    .await;
    assert!(none.to_string().contains("--client-id"), "{none}");
}

#[tokio::test]
async fn a_metadata_document_is_used_only_where_it_is_accepted() {
    let url = Url::parse("https://throng.test/client.json").unwrap();
    let source = registration::ClientSource::MetadataDocument(url);
    let provider = Provider::start(Config::default()).await;
    assert!(registration::known(&source, &provider.discover().await).is_none());
    let metadata = json!({"client_id_metadata_document_supported": true});
    let provider = Provider::start(Config {
        metadata,
        ..Config::default()
    })
    .await;
    let known = registration::known(&source, &provider.discover().await).unwrap();
    assert_eq!(known.id, "https://throng.test/client.json");
}

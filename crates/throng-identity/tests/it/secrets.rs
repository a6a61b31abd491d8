//! Whatever goes wrong: no password, code, token or cookie in any text.

use std::sync::Arc;

use serde_json::json;
use throng_identity::Secret;
use throng_identity::login::log_in;

use crate::provider::{Config, PASSWORD, Pages, Provider, USER, client};

/// Marks that every secret of the test provider carries, and the password.
const SECRETS: &[&str] = &["s3cr3t", PASSWORD, "wr0ng-pass"];

fn clean(what: &str, text: &str) {
    for secret in SECRETS {
        assert!(!text.contains(secret), "{what} shows {secret}: {text}");
    }
}

#[tokio::test]
async fn no_text_shows_a_secret() {
    let all = [
        Pages::One,
        Pages::Two,
        Pages::Consent,
        Pages::FormPost,
        Pages::Refresh,
        Pages::Loop,
        Pages::Broken,
        Pages::Script,
        Pages::Denied,
        Pages::CustomScheme,
        Pages::Leak,
        Pages::None,
    ];
    let variations = [
        Config::default(),
        Config {
            iss: "http://iss-s3cr3t-000000000000000000000001.test",
            ..Config::default()
        },
        Config {
            state: Some("state-s3cr3t"),
            ..Config::default()
        },
    ];
    let mut errors = 0;
    for pages in all {
        for variation in &variations {
            let provider = Provider::start(Config {
                pages,
                ..variation.clone()
            })
            .await;
            let mut plan = provider.plan().await;
            plan.max_hops = 6;
            for password in [PASSWORD, "wr0ng-pass"] {
                let identity = client();
                match log_in(&plan, &identity, USER, &Secret::new(password)).await {
                    Ok(login) => {
                        clean("a login", &format!("{login:?}"));
                        let access = login.tokens.access.expose().to_owned();
                        assert!(access.contains("s3cr3t"), "the marks are where secrets are");
                        let cell = throng_identity::TokenCell::new(
                            login.tokens,
                            Arc::new(plan.clone()),
                            &identity,
                            USER,
                            Secret::new(password),
                        );
                        clean("a cell", &format!("{cell:?} {:?}", cell.header()));
                    }
                    Err(error) => {
                        errors += 1;
                        // An issuer that is not ours is shown, shortened; the mark above sits beyond what is kept.
                        if variation.iss.contains("s3cr3t")
                            && matches!(
                                error.problem(),
                                throng_identity::login::Problem::Issuer { .. }
                            )
                        {
                            continue;
                        }
                        clean("an error", &error.to_string());
                        clean("an error's debug", &format!("{error:?}"));
                    }
                }
                clean("a client", &format!("{identity:?}"));
                clean("a plan", &format!("{plan:?}"));
            }
        }
    }
    assert!(errors > 30, "{errors} errors were looked at");
}

#[tokio::test]
async fn a_refused_code_is_not_shown() {
    // The token endpoint refuses because the plan's redirect URI is not the one that it expects.
    let provider = Provider::start(Config {
        metadata: json!({"token_endpoint_auth_methods_supported": ["client_secret_post"]}),
        pages: Pages::None,
        ..Config::default()
    })
    .await;
    let mut plan = provider.plan().await;
    plan.authorization = Arc::new(throng_identity::discovery::Authorization {
        token_endpoint: plan.authorization.token_endpoint.join("/nowhere").unwrap(),
        ..(*plan.authorization).clone()
    });
    let error = log_in(&plan, &client(), USER, &Secret::new(PASSWORD))
        .await
        .unwrap_err();
    assert!(
        error
            .to_string()
            .contains("expected 200 with tokens, got 404"),
        "{error}"
    );
    clean("an error", &format!("{error} {error:?}"));
}

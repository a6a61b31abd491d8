//! Renewal: once for everybody, with rotation, and by a login where there is no other way.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use throng_client::mcp::Authorize;
use throng_identity::login::log_in;
use throng_identity::tokens::{TokenError, TokenStats};
use throng_identity::{Secret, TokenCell};

use crate::provider::{Config, PASSWORD, Pages, Provider, Refresh, USER, client};

async fn cell(provider: &Provider) -> TokenCell {
    let plan = Arc::new(provider.plan().await);
    let identity = client();
    let password = Secret::new(PASSWORD);
    let login = log_in(&plan, &identity, USER, &password).await.unwrap();
    TokenCell::new(login.tokens, plan, &identity, USER, password)
}

fn refreshes(provider: &Provider) -> usize {
    let is_refresh =
        |form: &std::collections::HashMap<String, String>| form["grant_type"] == "refresh_token";
    provider
        .seen("/token")
        .iter()
        .filter(|seen| is_refresh(&seen.form))
        .count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_waiters_cause_one_refresh() {
    let provider = Provider::start(Config {
        refresh: Refresh::Rotating,
        ..Config::default()
    })
    .await;
    let cell = cell(&provider).await;
    let stale = cell.authorization().unwrap();
    assert!(stale.is_sensitive());
    let waiters = (0..100).map(|_| {
        let (cell, stale) = (cell.clone(), stale.clone());
        tokio::spawn(async move { cell.renew(&stale).await })
    });
    for waiter in join_all(waiters).await {
        waiter.unwrap().unwrap();
    }
    assert_eq!(refreshes(&provider), 1);
    assert_ne!(cell.authorization().unwrap(), stale);
    // Late comers with the old token need nothing more.
    cell.renew(&stale).await.unwrap();
    assert_eq!(refreshes(&provider), 1);
    // The rotated refresh token is the one used next.
    let stale = cell.authorization().unwrap();
    cell.renew(&stale).await.unwrap();
    assert_eq!(
        cell.stats(),
        TokenStats {
            refreshes: 2,
            logins: 0,
            failures: 0
        }
    );
}

#[tokio::test]
async fn a_waiter_that_gives_up_does_not_stop_the_refresh() {
    let provider = Provider::start(Config {
        refresh: Refresh::Rotating,
        ..Config::default()
    })
    .await;
    let cell = cell(&provider).await;
    let stale = cell.authorization().unwrap();
    {
        let mut first = std::pin::pin!(cell.renew(&stale));
        assert!(futures_util::poll!(&mut first).is_pending());
    }
    cell.renew(&stale).await.unwrap();
    assert_eq!((refreshes(&provider), cell.stats().refreshes), (1, 1));
}

#[tokio::test]
async fn a_refused_refresh_token_leads_to_one_login() {
    let provider = Provider::start(Config {
        refresh: Refresh::Dead,
        ..Config::default()
    })
    .await;
    let cell = cell(&provider).await;
    let stale = cell.authorization().unwrap();
    let results = join_all((0..10).map(|_| cell.renew(&stale))).await;
    assert!(results.iter().all(Result::is_ok));
    assert_eq!(
        (refreshes(&provider), provider.seen("/login").len()),
        (1, 2)
    );
    assert_eq!(
        cell.stats(),
        TokenStats {
            refreshes: 0,
            logins: 1,
            failures: 0
        }
    );
}

#[tokio::test]
async fn without_a_refresh_token_a_login_renews_once() {
    let provider = Provider::with(Pages::One).await;
    let cell = cell(&provider).await;
    let stale = cell.authorization().unwrap();
    let results = join_all((0..10).map(|_| cell.renew(&stale))).await;
    assert!(results.iter().all(Result::is_ok));
    assert_eq!(
        (
            refreshes(&provider),
            provider.seen("/login").len(),
            cell.stats().logins
        ),
        (0, 2, 1)
    );
}

#[tokio::test]
async fn a_failing_token_endpoint_is_not_hammered() {
    let provider = Provider::start(Config {
        refresh: Refresh::Broken,
        ..Config::default()
    })
    .await;
    let cell = cell(&provider).await;
    let stale = cell.authorization().unwrap();
    let results = join_all((0..50).map(|_| cell.renew(&stale))).await;
    assert!(
        results
            .iter()
            .all(|result| matches!(result, Err(TokenError::Refused { .. })))
    );
    // Three attempts of one renewal, and the next caller gets the same error without a request.
    assert_eq!(refreshes(&provider), 3);
    assert!(cell.renew(&stale).await.is_err());
    assert_eq!((refreshes(&provider), cell.stats().failures), (3, 1));
}

/// Moves the runtime's clock, which then goes on by itself.
async fn pass(time: Duration) {
    tokio::time::pause();
    tokio::time::advance(time).await;
    tokio::time::resume();
}

#[tokio::test]
async fn a_token_is_renewed_before_it_expires_without_waiting() {
    let provider = Provider::start(Config {
        refresh: Refresh::Rotating,
        ..Config::default()
    })
    .await;
    let cell = cell(&provider).await;
    let first = cell.authorization().unwrap();
    // 900 s, less a margin of 60 s to 90 s: not due at 805 s, due and still good at 845 s.
    pass(Duration::from_secs(805)).await;
    cell.ensure_fresh().await.unwrap();
    assert_eq!(refreshes(&provider), 0);
    pass(Duration::from_secs(40)).await;
    cell.ensure_fresh().await.unwrap();
    assert_eq!(
        cell.authorization().unwrap(),
        first,
        "a good token is not waited for"
    );
    cell.renew(&first).await.unwrap();
    assert_eq!(
        refreshes(&provider),
        1,
        "the renewal in the background was joined"
    );
    // Expired: now it is waited for.
    let second = cell.authorization().unwrap();
    pass(Duration::from_secs(901)).await;
    cell.ensure_fresh().await.unwrap();
    assert_ne!(cell.authorization().unwrap(), second);
}

#[tokio::test]
async fn a_fixed_token_stays() {
    let cell = TokenCell::fixed("bob", &Secret::new("given"));
    let header = cell.authorization().unwrap();
    assert_eq!(header, "Bearer given");
    cell.ensure_fresh().await.unwrap();
    assert!(matches!(
        cell.renew(&header).await,
        Err(TokenError::Fixed { .. })
    ));
}

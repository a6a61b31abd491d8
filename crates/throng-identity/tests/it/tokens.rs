//! Renewal: once for everybody, with rotation, and by a login where there is no other way.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use throng_client::mcp::Authorize;
use throng_identity::login::log_in;
use throng_identity::tokens::{Freshness, Renewal, TokenAction, TokenError, TokenStats};
use throng_identity::{Secret, TokenCell};
use tokio::sync::Semaphore;

use crate::provider::{Config, PASSWORD, Pages, Provider, Refresh, USER, client};

async fn cell(provider: &Provider) -> TokenCell {
    let plan = Arc::new(provider.plan().await);
    let identity = client();
    let password = Secret::new(PASSWORD);
    let login = log_in(&plan, &identity, USER, &password).await.unwrap();
    TokenCell::new(login.tokens, plan, &identity, USER, password)
}

/// A provider that treats refresh tokens so, and the tokens of a user who has logged in there.
async fn with(refresh: Refresh) -> (Provider, TokenCell) {
    let provider = Provider::start(Config {
        refresh,
        ..Config::default()
    })
    .await;
    let cell = cell(&provider).await;
    (provider, cell)
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
async fn a_thousand_waiters_cause_one_refresh() {
    let (provider, cell) = with(Refresh::Rotating).await;
    let stale = cell.authorization().unwrap();
    assert!(stale.is_sensitive());
    let waiters = (0..1000).map(|_| {
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
            ..TokenStats::default()
        }
    );
}

#[tokio::test]
async fn a_waiter_that_gives_up_does_not_stop_the_refresh() {
    let (provider, cell) = with(Refresh::Rotating).await;
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
    let (provider, cell) = with(Refresh::Dead).await;
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
            logins: 1,
            ..TokenStats::default()
        }
    );
}

#[tokio::test]
async fn without_a_refresh_token_a_login_renews_once() {
    let (provider, cell) = with(Refresh::None).await;
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
    let (provider, cell) = with(Refresh::Broken).await;
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
    let (provider, cell) = with(Refresh::Rotating).await;
    let first = cell.authorization().unwrap();
    // 900 s, less a margin of 60 s to 90 s: not due at 780 s, due and still good at 845 s, with room for a slow machine.
    pass(Duration::from_secs(780)).await;
    cell.ensure_fresh().await.unwrap();
    assert_eq!(refreshes(&provider), 0);
    pass(Duration::from_secs(65)).await;
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

#[tokio::test]
async fn a_family_that_is_revoked_while_a_refresh_is_in_flight_costs_one_login() {
    let gate = Arc::new(Semaphore::new(0));
    let provider = Provider::start(Config {
        refresh: Refresh::Rotating,
        gate: Some(gate.clone()),
        ..Config::default()
    })
    .await;
    let cell = cell(&provider).await;
    let stale = cell.authorization().unwrap();
    let mut first = std::pin::pin!(cell.renew(&stale));
    let mut second = std::pin::pin!(cell.renew(&stale));
    assert!(futures_util::poll!(&mut first).is_pending());
    assert!(futures_util::poll!(&mut second).is_pending());
    until(|| refreshes(&provider) == 1).await;
    // The tokens that are on their way are dead already.
    provider.revoke_family();
    gate.add_permits(10);
    assert_eq!(first.await.unwrap(), Renewal::Own);
    assert_eq!(second.await.unwrap(), Renewal::Earlier);
    let dead = cell.authorization().unwrap();
    assert_ne!(dead, stale);
    // The target refuses it: who did not begin that renewal may ask for another, which is a login, and one for all.
    let waiters = join_all((0..50).map(|_| cell.renew(&dead))).await;
    assert!(waiters.iter().all(Result::is_ok));
    let stats = cell.stats();
    assert_eq!(
        (
            stats.refreshes,
            stats.logins,
            stats.failures,
            refreshes(&provider)
        ),
        (1, 1, 0, 2)
    );
    assert_eq!(provider.seen("/login").len(), 2);
}

/// Waits for something to be the case.
async fn until(mut holds: impl FnMut() -> bool) {
    while !holds() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn the_login_of_a_renewal_has_what_the_refresh_left_of_the_budget() {
    let gate = Arc::new(Semaphore::new(0));
    let provider = Provider::start(Config {
        refresh: Refresh::Dead,
        gate: Some(gate.clone()),
        ..Config::default()
    })
    .await;
    let mut plan = provider.plan().await;
    plan.timeout = Duration::from_secs(60);
    let plan = Arc::new(plan);
    let (identity, password) = (client(), Secret::new(PASSWORD));
    let login = log_in(&plan, &identity, USER, &password).await.unwrap();
    let cell = TokenCell::new(login.tokens, plan, &identity, USER, password);
    let stale = cell.authorization().unwrap();
    let mut renewal = std::pin::pin!(cell.renew(&stale));
    assert!(futures_util::poll!(&mut renewal).is_pending());
    until(|| refreshes(&provider) == 1).await;
    // More than the budget of 5 s, in which three attempts would be made.
    pass(Duration::from_secs(6)).await;
    provider.trouble(503);
    gate.add_permits(1);
    let error = renewal.await.unwrap_err();
    assert!(
        matches!(error, TokenError::Login { .. }) && error.is_passing(),
        "{error}"
    );
    assert_eq!(
        provider.seen("/authorize").len(),
        2,
        "the first login's, and one attempt"
    );
    assert_eq!(cell.stats().failures, 1);
}

#[tokio::test]
async fn while_the_provider_is_down_the_old_token_serves_and_afterwards_all_is_well() {
    let (provider, cell) = with(Refresh::Rotating).await;
    let old = cell.authorization().unwrap();
    // The token has 59 s left, of which the failures below take 19: a slow machine has the rest.
    pass(Duration::from_secs(841)).await;
    provider.trouble(503);
    assert_eq!(cell.freshness(), Freshness::Due);
    // As often as a renewal may fail that will not pass by itself.
    for failures in 1..=5 {
        cell.ensure_fresh().await.expect("the token is still good");
        assert_eq!(cell.authorization().unwrap(), old);
        until(|| cell.stats().failures == failures).await;
        // Nobody tries again at once.
        cell.ensure_fresh().await.unwrap();
        assert_eq!(cell.stats().failures, failures);
        if failures < 5 {
            pass(Duration::from_secs(1)).await;
            pass(Duration::from_millis(500 << failures)).await;
        }
    }
    pass(Duration::from_secs(100)).await;
    assert_eq!(cell.freshness(), Freshness::Expired);
    cell.ensure_fresh()
        .await
        .expect_err("over, and nobody to ask");
    provider.trouble(0);
    pass(Duration::from_secs(17)).await;
    cell.ensure_fresh().await.expect("the provider is back");
    assert_ne!(cell.authorization().unwrap(), old);
    assert_eq!(cell.stats().refreshes, 1);
}

#[tokio::test]
async fn a_refused_password_is_not_tried_again() {
    let provider = Provider::with(Pages::One).await;
    let plan = Arc::new(provider.plan().await);
    let identity = client();
    let login = log_in(&plan, &identity, USER, &Secret::new(PASSWORD))
        .await
        .unwrap();
    let changed = Secret::new("changed-meanwhile-1");
    let cell = TokenCell::new(login.tokens, plan, &identity, USER, changed);
    let stale = cell.authorization().unwrap();
    assert!(cell.renew(&stale).await.unwrap_err().refuses_password());
    pass(Duration::from_secs(60)).await;
    let error = cell.renew(&stale).await.unwrap_err();
    assert!(
        matches!(error, TokenError::GivenUp { failures: 1, .. }),
        "{error}"
    );
    assert_eq!(provider.seen("/login").len(), 2, "one good, one refused");
}

#[tokio::test]
async fn however_short_a_token_lives_a_step_renews_it_once() {
    for (lifetime, expected) in [(Some(0), 0), (None, 0), (Some(1), 3), (Some(u64::MAX), 0)] {
        let provider = Provider::start(Config {
            refresh: Refresh::Rotating,
            lifetime,
            ..Config::default()
        })
        .await;
        let cell = cell(&provider).await;
        for _ in 0..3 {
            // Longer than 1 s, and than any round trip.
            pass(Duration::from_secs(2)).await;
            cell.ensure_fresh().await.unwrap();
        }
        assert_eq!(refreshes(&provider), expected, "{lifetime:?}");
    }
}

#[tokio::test]
async fn a_host_that_slept_through_the_end_of_its_token_renews_it_after_the_401() {
    let (_provider, cell) = with(Refresh::Rotating).await;
    // Our clock stood still: the token looks good.
    assert_eq!(cell.freshness(), Freshness::Fresh);
    let stale = cell.authorization().unwrap();
    assert_eq!(cell.renew(&stale).await.unwrap(), Renewal::Own);
    assert_ne!(cell.authorization().unwrap(), stale);
}

fn list(text: &str) -> Vec<String> {
    text.split_whitespace().map(str::to_owned).collect()
}

#[tokio::test]
async fn a_step_up_asks_for_the_union_once_and_renewals_keep_it() {
    let (provider, cell) = with(Refresh::None).await;
    let stale = cell.authorization().unwrap();
    let scopes = list("notes.write");
    let results = join_all((0..20).map(|_| cell.step_up(&stale, &scopes))).await;
    assert!(results.iter().all(Result::is_ok));
    let asked = |nth: usize| provider.seen("/authorize")[nth].query["scope"].clone();
    assert_eq!(provider.seen("/authorize").len(), 2, "one login for all");
    assert_eq!(
        (asked(0), asked(1)),
        ("openid".to_owned(), "openid notes.write".to_owned())
    );
    // The same again changes nothing, and is not asked for.
    let stale = cell.authorization().unwrap();
    let error = cell.step_up(&stale, &scopes).await.unwrap_err();
    assert!(matches!(error, TokenError::Scopes { .. }), "{error}");
    // Without a name for what is missing: what the resource lists.
    cell.step_up(&stale, &[]).await.unwrap();
    assert_eq!(asked(2), "openid notes.write notes.read");
    // A login later on asks for all of it.
    let stale = cell.authorization().unwrap();
    cell.renew(&stale).await.unwrap();
    assert_eq!(asked(3), "openid notes.write notes.read");
    assert_eq!(
        cell.stats(),
        TokenStats {
            logins: 1,
            step_ups: 2,
            ..TokenStats::default()
        }
    );
}

#[tokio::test]
async fn a_step_up_that_is_refused_is_not_tried_again() {
    let (provider, cell) = with(Refresh::None).await;
    let stale = cell.authorization().unwrap();
    provider.trouble(403);
    let scopes = list("admin");
    cell.step_up(&stale, &scopes).await.expect_err("refused");
    let attempts = provider.seen("/authorize").len();
    provider.trouble(0);
    let error = cell.step_up(&stale, &scopes).await.unwrap_err();
    assert!(matches!(error, TokenError::Scopes { .. }), "{error}");
    assert_eq!(provider.seen("/authorize").len(), attempts);
    assert_eq!((cell.stats().step_ups, cell.stats().failures), (0, 1));
    assert_eq!(
        cell.authorization().unwrap(),
        stale,
        "the old token is kept"
    );
}

#[tokio::test]
async fn what_steps_do_with_tokens_never_runs_beside_a_renewal() {
    let (provider, cell) = with(Refresh::Rotating).await;
    let stale = cell.authorization().unwrap();
    // Whoever used a refresh token beside another would find it used.
    let rotations = join_all((0..10).map(|_| cell.act(TokenAction::Refresh, Vec::new())));
    let renewals = join_all((0..10).map(|_| cell.renew(&stale)));
    let (rotations, renewals) = tokio::join!(rotations, renewals);
    for answer in rotations {
        let answer = answer.unwrap();
        assert_eq!(answer.status, Some(http::StatusCode::OK));
        let value = answer.result.unwrap();
        assert_eq!(
            (value["expires_in"].as_f64(), &value["refresh_token"]),
            (Some(900.0), &true.into())
        );
        assert!(!value.to_string().contains("s3cr3t"));
    }
    assert!(renewals.iter().all(Result::is_ok));
    let stats = cell.stats();
    assert_eq!(
        (stats.refreshes as usize, stats.logins, stats.failures),
        (refreshes(&provider), 0, 0)
    );
    assert!((10..=11).contains(&stats.refreshes), "{stats:?}");
}

#[tokio::test]
async fn actions_say_what_the_server_said_and_do_nothing_else() {
    let (provider, cell) = with(Refresh::Dead).await;
    let header = cell.authorization().unwrap();
    for action in [TokenAction::Revoke, TokenAction::RevokeRefresh] {
        assert!(cell.act(action, Vec::new()).await.unwrap().result.is_ok());
    }
    assert_eq!(provider.revoked(), ["access", "refresh"]);
    let refused = cell.act(TokenAction::Refresh, Vec::new()).await.unwrap();
    assert_eq!(refused.status, Some(http::StatusCode::BAD_REQUEST));
    assert_eq!(refused.result.unwrap_err(), "invalid_grant");
    assert_eq!(
        cell.authorization().unwrap(),
        header,
        "no login in its place"
    );
    let error = cell
        .act(TokenAction::Refresh, Vec::new())
        .await
        .unwrap_err();
    assert_eq!(error.to_string(), "alice has no refresh token");
    assert_eq!(
        cell.stats(),
        TokenStats::default(),
        "no renewals, and none that failed"
    );
    let login = cell.act(TokenAction::LogIn, Vec::new()).await.unwrap();
    assert_eq!((login.status, login.result.is_ok()), (None, true));
    assert_ne!(cell.authorization().unwrap(), header);
    assert_eq!(cell.stats().logins, 1);
}

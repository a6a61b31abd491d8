//! The life of a token, whole, against the sandbox: what is counted against what the sandbox saw.

use std::time::Duration;

use throng_engine::RunOutcome;
use throng_metrics::{CounterId, Distribution, StepId, StepTally, TokenCounters, UserId};
use throng_sandbox::{EndpointKnob, Jitter, Knobs, Latency};

use crate::crowd::{Stage, errors, stage, stage_over_http};

const TOKEN_ENDPOINT: &str = "/apps/oidc/token";

impl Stage {
    /// How often the sandbox answered a route, planted trouble aside.
    fn requests(&self, route: &str) -> u64 {
        let counts = self.sandbox.journal().counts().counts;
        let of_route = counts.iter().filter(|count| &*count.route == route);
        of_route.map(|count| count.count).sum()
    }

    fn step<'o>(&self, outcome: &'o RunOutcome, name: &str) -> &'o StepTally {
        let steps = &self.file.program.catalog.steps;
        let at = steps.iter().position(|step| step.name == name).unwrap();
        outcome.tally.step(StepId(at as u32))
    }

    fn counter(&self, outcome: &RunOutcome, name: &str) -> u64 {
        outcome.tally.counter(self.counter_id(name))
    }

    fn counter_id(&self, name: &str) -> CounterId {
        let counters = &self.file.program.catalog.counters;
        let at = counters.iter().position(|counter| counter.name == name);
        CounterId(at.unwrap() as u32)
    }

    /// What the counters of tokens are, having checked that they add up.
    fn tokens(&self, outcome: &RunOutcome) -> [u64; 7] {
        let users = 0..self.file.scenario.users.count.value;
        let all = TokenCounters::NAMES.map(|name| {
            let (id, whole) = (self.counter_id(name), self.counter(outcome, name));
            let of_users = users
                .clone()
                .filter_map(|user| outcome.tally.user(UserId(user)));
            let sum: u64 = of_users.map(|user| user.counter(id)).sum();
            assert_eq!(sum, whole, "{name}");
            whole
        });
        let [_, _, _, _, _, refusals, retries] = all;
        assert!(retries <= refusals, "{all:?}");
        assert!(retries <= self.counter(outcome, "retries"), "{all:?}");
        all
    }
}

/// A scenario of one user, or of as many as there are, each by itself.
fn alone(login: &str, steps: &str) -> (tempfile::TempDir, String) {
    speaking("mcp", login, steps)
}

fn speaking(protocol: &str, login: &str, steps: &str) -> (tempfile::TempDir, String) {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("scenario.yaml");
    let text = format!(
        "name: tokens
target: {{ protocol: {protocol}, url: \"http://localhost/mcp\" }}
directory: {{ kind: nextcloud, url: \"http://localhost\", admin: admin, password: p }}
login: {{ {login} }}
workflows:
  alone:
    actors: [me]
    steps:
{steps}"
    );
    std::fs::write(&path, text).unwrap();
    let path = path.to_str().unwrap().to_owned();
    (home, path)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_storm_costs_each_identity_one_refresh() {
    a_storm_costs_one_refresh(Knobs::default()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_storm_on_a_target_that_notices_late_does_so_too() {
    a_storm_costs_one_refresh(lag(100.0, 200.0)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_storm_on_a_target_that_never_notices_fails() {
    let source = std::fs::read_to_string(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../scenarios/refresh_storm.yaml"
    ));
    let impatient = source.unwrap().replace("${REVOCATION_LIMIT:-30s}", "200ms");
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("storm.yaml");
    std::fs::write(&path, impatient).unwrap();
    let path = path.to_str().unwrap();
    let stage = stage(2, path, "storm", lag(3_600_000.0, 0.0)).await;
    let outcome = stage.run_cold(Duration::from_millis(200)).await;
    let noticed = &stage.step(&outcome, "noticed").waits;
    assert!(noticed.met == 0 && noticed.not_met > 0);
    assert_eq!(outcome.tally.workflows()[0].succeeded, 0);
    assert_eq!(stage.tokens(&outcome), [0; 7]);
    stage.close().await;
}

async fn a_storm_costs_one_refresh(knobs: Knobs) {
    let stage = stage(5, "refresh_storm", "storm", knobs).await;
    let logins = stage.requests(TOKEN_ENDPOINT);
    let outcome = stage.run_cold(Duration::from_millis(800)).await;
    assert_eq!(errors(&outcome), Vec::<String>::new());
    let revoked =
        stage.step(&outcome, "revoke").succeeded + stage.step(&outcome, "revoke_first").succeeded;
    let storms = outcome.tally.workflows()[0].succeeded;
    assert!(storms > 0);
    assert_eq!(revoked, 5 * storms);
    let [refreshes, again, _, step_ups, failures, refusals, retries] = stage.tokens(&outcome);
    assert_eq!(
        (refreshes, again, step_ups, failures),
        (revoked, 0, 0, 0),
        "one for each, however many calls waited"
    );
    assert_eq!(refreshes, stage.requests(TOKEN_ENDPOINT) - logins);
    // Who meets a 401 is helped, and has waited.
    assert_eq!(
        (refusals, outcome.tally.token_waits().count()),
        (retries, retries)
    );
    assert!(retries >= revoked);
    for user in 0..5 {
        let user = outcome.tally.user(UserId(user)).unwrap();
        assert_eq!(user.counter(stage.counter_id("token_refreshes")), storms);
    }
    stage.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_refresh_tokens_can_be_used_at_once() {
    let stage = stage(5, "refresh_storm", "rotation", Knobs::default()).await;
    let logins = stage.requests(TOKEN_ENDPOINT);
    let outcome = stage.run_cold(Duration::from_millis(500)).await;
    assert_eq!(errors(&outcome), Vec::<String>::new());
    let used =
        stage.step(&outcome, "refresh").succeeded + stage.step(&outcome, "refresh_first").succeeded;
    assert!(used > 0);
    assert_eq!(stage.tokens(&outcome), [used, 0, 0, 0, 0, 0, 0]);
    assert_eq!(used, stage.requests(TOKEN_ENDPOINT) - logins);
    stage.close().await;
}

fn lag(fixed_ms: f64, max_ms: f64) -> Knobs {
    Knobs {
        revocation_lag: Some(Latency {
            fixed_ms,
            jitter: Some(Jitter::Uniform { max_ms }),
        }),
        ..Knobs::default()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_planted_revocation_lag_is_measured() {
    let stage = stage(3, "revocation_lag", "access_token", lag(200.0, 200.0)).await;
    let outcome = stage.run_cold(Duration::from_secs(2)).await;
    assert_eq!(errors(&outcome), Vec::<String>::new());
    let polls = stage.step(&outcome, "still_works");
    let revokes = stage.step(&outcome, "revoke");
    let waits = &polls.waits;
    assert!(waits.met > 0);
    assert_eq!((waits.met, waits.not_met), (revokes.succeeded, 0));
    // Each ends with one refusal; all calls before it were let in.
    assert_eq!((polls.refused, polls.failed), (waits.met, 0));
    assert_eq!(polls.succeeded + polls.refused, waits.attempts);
    assert_eq!(waits.resolution, Duration::from_millis(20));
    // It began while the revocation was answered, and no sooner.
    let slack = revokes.service.max() + waits.resolution;
    assert!(
        waits.latencies.min() + slack >= Duration::from_millis(200),
        "{:?} and {slack:?}",
        waits.latencies.min()
    );
    // Nobody is let in after 400 ms, and nobody asks more often than every 20 ms.
    assert!(
        polls.succeeded <= waits.met * (400 / 20 + 1),
        "{} of {}",
        polls.succeeded,
        waits.met
    );
    // The token is none to be mended: the refusals are the step's own.
    let logins = stage.step(&outcome, "log_in").succeeded;
    assert_eq!(stage.tokens(&outcome), [0, logins, 0, 0, 0, 0, 0]);
    stage.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_lag_the_first_call_is_refused() {
    let stage = stage(3, "revocation_lag", "access_token", Knobs::default()).await;
    let outcome = stage.run_cold(Duration::from_millis(500)).await;
    assert_eq!(errors(&outcome), Vec::<String>::new());
    let polls = stage.step(&outcome, "still_works");
    assert!(polls.refused > 0);
    assert_eq!((polls.succeeded, polls.waits.attempts), (0, polls.refused));
    stage.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revoked_refresh_token_brings_no_more() {
    let stage = stage(2, "revocation_lag", "refresh_token", Knobs::default()).await;
    let outcome = stage.run_cold(Duration::from_millis(500)).await;
    assert_eq!(errors(&outcome), Vec::<String>::new());
    let refused = stage.step(&outcome, "refresh");
    assert!(refused.refused > 0);
    assert_eq!((refused.succeeded, refused.failed), (0, 0));
    let logins = stage.step(&outcome, "log_in_again").succeeded;
    // A step that is refused is no renewal that failed.
    assert_eq!(stage.tokens(&outcome), [0, logins, 0, 0, 0, 0, 0]);
    stage.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sessions_and_calls_in_flight_outlive_their_token() {
    let knobs = Knobs {
        endpoints: vec![EndpointKnob {
            pattern: "nc_*".to_owned(),
            latency: Some(Latency {
                fixed_ms: 60.0,
                jitter: None,
            }),
            error_rate: None,
            error: Default::default(),
            stall: None,
        }],
        ..Knobs::default()
    };
    let stage = stage(2, "session_over_refresh", "session_over_refresh", knobs).await;
    let sessions = stage.sandbox.journal().counts().counts;
    let opened = |counts: &[throng_sandbox::Count]| -> u64 {
        let initialized = counts
            .iter()
            .filter(|count| count.rpc_method.as_deref() == Some("initialize"));
        initialized.map(|count| count.count).sum()
    };
    let before = opened(&sessions);
    let outcome = stage.run_cold(Duration::from_secs(1)).await;
    assert_eq!(errors(&outcome), Vec::<String>::new());
    let refreshes = stage.step(&outcome, "refresh").succeeded;
    let logins = stage.step(&outcome, "log_in").succeeded;
    assert!(refreshes > 0);
    assert_eq!(stage.step(&outcome, "read_meanwhile").succeeded, refreshes);
    assert_eq!(stage.tokens(&outcome), [refreshes, logins, 0, 0, 0, 0, 0]);
    let after = opened(&stage.sandbox.journal().counts().counts);
    assert_eq!(after, before, "the same sessions all the time");
    stage.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn missing_scopes_are_asked_for_once_and_the_call_goes_on() {
    let (_home, path) = alone(
        "kind: oauth, scopes: [openid, profile]",
        "      - parallel:
          - search: { call: nc_notes_search_notes, with: { query: a } }
          - search_too: { call: nc_notes_search_notes, with: { query: b } }
          - search_three: { call: nc_notes_search_notes, with: { query: c } }
      - list: { call: nc_webdav_list_directory, with: { path: \"\" } }
",
    );
    let knobs = Knobs {
        scope_challenges: true,
        ..Knobs::default()
    };
    let stage = stage(3, &path, "alone", knobs).await;
    let outcome = stage.run_cold(Duration::from_millis(500)).await;
    assert_eq!(errors(&outcome), Vec::<String>::new());
    let rounds = outcome.tally.workflows()[0].succeeded;
    assert!(rounds > 3, "{rounds}");
    let [refreshes, logins, _, step_ups, failures, refusals, retries] = stage.tokens(&outcome);
    // For notes and for files, whatever the rounds, and one for all three searches.
    assert_eq!((refreshes, logins, step_ups, failures), (0, 0, 6, 0));
    assert_eq!(refusals, retries);
    assert!((6..=12).contains(&refusals), "{refusals}");
    stage.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn plain_http_is_helped_by_the_same_means() {
    // Without a session the MCP server takes no call; but it looks at the token first.
    let call = "{ jsonrpc: \"2.0\", id: 1, method: tools/call, params: { name: nc_notes_search_notes, arguments: { query: a } } }";
    let accept = "{ Accept: \"application/json, text/event-stream\" }";
    let (_home, path) = speaking(
        "http",
        "kind: oauth, scopes: [openid, profile]",
        &format!(
            "      - demanded: {{ post: /mcp, json: {call}, headers: {accept}, expect: [400, 404, 422] }}
      - revoke: {{ token: revoke }}
      - refused: {{ get: /mcp, renew: false, refused: {{ error: ^HTTP 401, must: true }} }}
      - again: {{ post: /mcp, json: {call}, headers: {accept}, expect: [400, 404, 422] }}
"
        ),
    );
    let knobs = Knobs {
        scope_challenges: true,
        ..Knobs::default()
    };
    let stage = stage_over_http(2, &path, knobs).await;
    let outcome = stage.run_cold(Duration::from_millis(300)).await;
    assert_eq!(errors(&outcome), Vec::<String>::new());
    let rounds = outcome.tally.workflows()[0].succeeded;
    let [refreshes, logins, _, step_ups, failures, refusals, retries] = stage.tokens(&outcome);
    assert_eq!((step_ups, logins, failures), (2, 0, 0));
    assert_eq!((refreshes, refusals), (rounds, rounds + 2));
    assert_eq!(retries, refusals);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_expects_the_403_is_refused_and_nobody_steps_up() {
    let (_home, path) = alone(
        "kind: oauth, scopes: [openid, profile]",
        "      - search: { call: nc_notes_search_notes, with: { query: a }, refused: { error: insufficient_scope, must: true } }\n",
    );
    let knobs = Knobs {
        scope_challenges: true,
        ..Knobs::default()
    };
    let stage = stage(1, &path, "alone", knobs).await;
    let outcome = stage.run_cold(Duration::from_millis(200)).await;
    assert_eq!(errors(&outcome), Vec::<String>::new());
    assert!(stage.step(&outcome, "search").refused > 0);
    assert_eq!(stage.tokens(&outcome), [0; 7]);
    stage.close().await;
}

/// Nobody waits for longer than a step may take, and what was waited for is told.
async fn a_hanging_token_endpoint_ends_steps(knobs: Knobs) {
    let steps = "      - pause: 1100ms
      - search: { call: nc_notes_search_notes, with: { query: a }, timeout: 150ms }
";
    let cause = "no new token within 150ms";
    let (_home, path) = alone("kind: oauth", steps);
    let stage = stage(2, &path, "alone", knobs.clone()).await;
    let hanging = Knobs {
        endpoints: vec![EndpointKnob {
            pattern: format!("POST {TOKEN_ENDPOINT}"),
            latency: Some(Latency {
                fixed_ms: 3_600_000.0,
                jitter: None,
            }),
            error_rate: None,
            error: Default::default(),
            stall: None,
        }],
        ..knobs
    };
    stage.sandbox.knobs().set(hanging).unwrap();
    let outcome = stage.run_cold(Duration::from_secs(2)).await;
    let tally = stage.step(&outcome, "search");
    assert!(tally.failed > 1, "{}", tally.failed);
    let failures = errors(&outcome);
    assert!(
        failures.iter().all(|failure| failure.contains(cause)),
        "{failures:?}"
    );
    let waits = outcome.tally.token_waits();
    assert_eq!(waits.count(), tally.failed);
    assert!(
        waits.min() >= Duration::from_millis(150),
        "{:?}",
        waits.min()
    );
    // They ended by themselves, not with the run: whose end would have cut them off.
    assert_eq!(tally.unfinished, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_renewal_that_hangs_before_a_step_ends_it_in_its_own_time() {
    let knobs = Knobs {
        token_lifetime_s: 1,
        ..Knobs::default()
    };
    a_hanging_token_endpoint_ends_steps(knobs).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_renewal_that_hangs_after_a_401_ends_the_step_in_its_own_time() {
    let knobs = Knobs {
        token_lifetime_s: 1,
        token_lifetime_told_s: Some(3600),
        ..Knobs::default()
    };
    a_hanging_token_endpoint_ends_steps(knobs).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_that_lives_shorter_than_was_said_is_renewed_after_each_401() {
    let (_home, path) = alone(
        "kind: oauth",
        "      - before: { call: nc_notes_search_notes, with: { query: a } }
      - pause: 1100ms
      - as_it_is: { call: nc_notes_search_notes, with: { query: a }, renew: false, refused: { error: \"401\", must: true } }
      - renewed: { call: nc_notes_search_notes, with: { query: a } }
",
    );
    let knobs = Knobs {
        token_lifetime_s: 1,
        token_lifetime_told_s: Some(3600),
        ..Knobs::default()
    };
    let stage = stage(2, &path, "alone", knobs).await;
    let logins = stage.requests(TOKEN_ENDPOINT);
    let outcome = stage.run_cold(Duration::from_millis(1500)).await;
    assert_eq!(errors(&outcome), Vec::<String>::new());
    let rounds = outcome.tally.workflows()[0].succeeded;
    assert_eq!(stage.step(&outcome, "as_it_is").refused, rounds);
    let [refreshes, again, _, _, failures, refusals, retries] = stage.tokens(&outcome);
    assert!(refreshes >= rounds);
    assert_eq!((again, failures, refusals), (0, 0, retries));
    assert_eq!(refreshes, stage.requests(TOKEN_ENDPOINT) - logins);
    stage.close().await;
}

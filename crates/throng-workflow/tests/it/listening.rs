//! `listen`: what ends it, and what it means when a stream is cut off.

use std::time::Duration;

use throng_engine::InFlightLimit;
use throng_metrics::{Distribution as _, FailureKind};

use crate::shop::{Server, longest, run, run_for, run_limited};

#[tokio::test]
async fn listening_ends_at_its_event_its_count_its_window_or_the_servers_end() {
    let server = Server::start().await;
    let ran = run(
        &server,
        r#"      - result:
          listen: /events/{run}
          until: { path: $.event_type, matches: "^result_" }
          save: { code: $.result.exit_code }
          check: { path: $.result.exit_code, equals: 0 }
      - counted: { listen: /events/open, events: 3, within: 20s }
      - window: { listen: /silent, within: 150ms }
      - closed: { listen: /events/closing, within: 20s }
      - used: { get: "/echo?{code}" }
      - refused: { listen: /nothing, expect: 404 }
      - waited: { listen: /silent, within: 120ms, until: { equals: 2 } }
"#,
    )
    .await;
    let cause = "what was waited for did not come within 120ms";
    assert_eq!(
        ran.errors(),
        [(
            FailureKind::Check,
            cause.to_owned(),
            format!("{cause}; there were 1 events, the last: 1")
        )]
    );
    assert_eq!(server.lines()[4], "GET /api/v1/echo?0");
    let ends = |name| {
        let streams = ran.streams(name);
        (streams.met, streams.window, streams.closed, streams.events)
    };
    assert_eq!(ends("result"), (1, 0, 0, 2));
    assert_eq!(ends("counted"), (1, 0, 0, 3));
    assert_eq!(ends("window"), (0, 1, 0, 1));
    assert_eq!(ends("closed"), (0, 0, 1, 3));
    assert_eq!(ends("waited"), (0, 1, 0, 1));
    assert!(ran.step("refused").streams.is_none());
    assert_eq!(ran.statuses("refused"), [(404, 1)]);
    assert_eq!(ran.streams("closed").gaps.count(), 2);
    assert_eq!(ran.streams("closed").first_event.count(), 1);
    assert!(ran.streams("closed").bytes > 100);
    // The stream's length is in no latency, and what was waited for is a propagation.
    assert!(longest(&ran.step("window").service) < Duration::from_millis(150));
    assert!(longest(&ran.step("waited").failures) < Duration::from_millis(120));
    assert_eq!(ran.step("result").waits.met, 1);
    assert_eq!(ran.step("waited").waits.not_met, 1);
    assert_eq!(ran.step("window").waits.count(), 0);
    let journal = server.journal();
    assert_eq!(journal[0].header("accept"), Some("text/event-stream"));
    assert_eq!(journal[0].header("accept-encoding"), None);
}

#[tokio::test]
async fn a_stream_that_the_end_of_the_run_cuts_off_was_answered() {
    let server = Server::start().await;
    let steps = "      - endless: { listen: /silent, within: 100s }\n";
    let ran = run_for(&server, steps, Duration::ZERO).await;
    let step = ran.step("endless");
    assert_eq!((step.succeeded, step.failed, step.unfinished), (1, 0, 0));
    assert!(longest(&step.service) < Duration::from_millis(300));
    assert!(step.streams.is_none());
    assert_eq!(ran.statuses("endless"), [(200, 1)]);
    assert!(step.sent > 0 && step.received > 0, "{step:?}");
}

/// What it waited for may come as late as its window ends, so that the run's own end is no failure; who must be refused was
/// let in with the head.
#[tokio::test]
async fn a_stream_that_is_cut_off_before_what_was_waited_for_came_has_failed_only_if_it_should_be_refused()
 {
    let server = Server::start().await;
    for (waits, counts) in [
        ("until: { equals: 2 }", (0, 0, 1)),
        ("refused: { error: denied, must: true }", (0, 1, 0)),
    ] {
        let steps = format!("      - vain: {{ listen: /silent, within: 100s, {waits} }}\n");
        let ran = run_for(&server, &steps, Duration::ZERO).await;
        let step = ran.step("vain");
        assert_eq!((step.succeeded, step.failed, step.unfinished), counts);
        assert_eq!(ran.statuses("vain"), [(200, 1)]);
        let causes: Vec<_> = ran
            .errors()
            .into_iter()
            .map(|error| (error.0, error.1))
            .collect();
        let cause = "the answer went on until the run ended".to_owned();
        let expected = vec![(FailureKind::Timeout, cause); counts.1 as usize];
        assert_eq!(causes, expected);
    }
}

#[tokio::test]
async fn a_stream_that_goes_on_is_no_request_in_flight() {
    let server = Server::start().await;
    let steps = "      - parallel:
          - endless: { listen: /silent, within: 100s }
          - other: { listen: /silent, within: 100s }
          - read: { get: /echo }
";
    let limit = InFlightLimit::new(1);
    let ran = run_limited(&server, steps, Duration::from_millis(200), &limit).await;
    for name in ["endless", "other", "read"] {
        let step = ran.step(name);
        assert_eq!((step.succeeded, step.count()), (1, 1), "{name}");
    }
    assert_eq!(limit.waited().count(), 3);
}

#[tokio::test]
async fn an_answer_without_a_stream_is_no_success_of_listening() {
    let server = Server::start().await;
    for (steps, good) in [
        ("listen: /empty", false),
        ("listen: /empty, until: { equals: 1 }", false),
        ("listen: /empty, expect: 204, until: { equals: 1 }", false),
        ("listen: /echo", false),
        ("listen: /empty, expect: 204", true),
        ("listen: /empty, expect: [200, 204]", true),
    ] {
        let ran = run(&server, &format!("      - heard: {{ {steps} }}\n")).await;
        let heard = ran.step("heard");
        assert_eq!(
            (heard.succeeded, heard.failed),
            (good.into(), (!good).into()),
            "{steps}"
        );
    }
}

//! Thresholds: read, checked against the names of a run, and held against its figures.

use proptest::prelude::*;
use throng_metrics::{FailureKind, Threshold, ThresholdReport};

use crate::fixture::{CREATE, Run, catalog, events, failed, open_model_events, step};

fn evaluate(run: &Run, text: &str) -> ThresholdReport {
    let threshold: Threshold = text.parse().unwrap_or_else(|error| panic!("{error}"));
    threshold
        .check(&run.catalog)
        .unwrap_or_else(|error| panic!("{error}"));
    threshold.evaluate(&run.measured())
}

/// Asserts that it holds, and at which figure.
#[track_caller]
fn holds(run: &Run, text: &str, actual: &str) {
    let result = evaluate(run, text);
    assert_eq!(
        (result.actual_text.as_str(), result.passed),
        (actual, true),
        "{text}"
    );
}

#[test]
fn figures_are_found_wherever_they_are() {
    let run = Run::of(&events());
    for (text, actual) in [
        // Response times of 101 to 200 ms, to three digits.
        ("note_share.p95<500ms", "195.071ms"),
        ("note_share.max < 0.2s", "200ms"),
        ("note_share.min>=101ms", "101ms"),
        ("note_share.service.p50<1s", "150.015ms"),
        ("note_share.mean<1m", "150.5ms"),
        ("note_share.create_note.p99.9<1s", "100ms"),
        ("note_share.list_shared_with_me.p50<1s", "50.015ms"),
        ("note_share.list_shared_with_me.failures.max<6ms", "5ms"),
        ("nc_share_list.service.median<1s", "50.015ms"),
        ("GET /search/{term}.p95<1s", "40ms"),
        ("baseline.p95<1s", "40ms"),
        ("baseline.search.p95<1s", "40ms"),
        ("propagation.p95<1s", "300ms"),
        ("note_share.propagation.p95<1s", "300ms"),
        ("note_share.list_shared_with_me.propagation.p95<1s", "300ms"),
        ("note_share.list_shared_with_me.propagation.errors==2", "2"),
        ("error_rate<2%", "1.35%"),
        ("success_rate>=98%", "98.65%"),
        ("note_share.success_rate>97%", "97.09%"),
        ("note_share.create_note.error_rate<1%", "0%"),
        ("rate>20/s", "22.3/s"),
        ("note_share.rate>100/m", "10.3/s"),
        ("count==223", "223"),
        ("errors<=3", "3"),
        ("lost_updates != 0", "2"),
        ("refused==2", "2"),
        ("baseline.refused==2", "2"),
        ("baseline.search.refused==2", "2"),
        ("GET /search/{term}.refused==2", "2"),
        ("note_share.refused==0", "0"),
        ("dropped_starts==0", "0"),
        ("login.p95<2s", "200ms"),
        ("login.errors==1", "1"),
    ] {
        let result = evaluate(&run, text);
        assert_eq!(result.actual_text, actual, "{text}");
        assert_eq!(
            result.passed,
            text != "note_share.max < 0.2s",
            "{text}: {result:?}"
        );
        assert_eq!(result.expression, text);
    }
}

#[test]
fn access_violations_are_counted_apart_from_other_failures() {
    let mut all = events();
    for kind in [FailureKind::NotRefused, FailureKind::Check] {
        all.push(step(
            CREATE,
            0,
            [0, 0, 50],
            failed(kind, "let in", "let in"),
        ));
    }
    let run = Run::of(&all);
    for (text, actual) in [
        ("not_refused==1", "1"),
        ("note_share.not_refused==1", "1"),
        ("note_share.create_note.not_refused==1", "1"),
        ("note_share.create_note.errors==2", "2"),
        ("note_share.list_shared_with_me.not_refused==0", "0"),
    ] {
        holds(&run, text, actual);
    }
}

#[test]
fn the_open_models_figures_are_found_too() {
    let run = Run::of(&open_model_events());
    for (text, actual) in [
        ("dropped_starts==1", "1"),
        ("late_starts==10", "10"),
        ("lag.p99<1ms", "980µs"),
        ("note_share.create_note.p95<1s", "200ms"),
        ("note_share.create_note.service.p95<1s", "100ms"),
    ] {
        holds(&run, text, actual);
    }
}

#[test]
fn a_threshold_that_does_not_hold_says_what_was_found() {
    let run = Run::of(&events());
    let result = evaluate(&run, "lost_updates==0");
    assert!(!result.passed);
    assert_eq!(result.words(), "lost_updates==0: 2");
}

#[test]
fn what_has_no_samples_does_not_hold() {
    let run = Run::of(&[]);
    for text in [
        "note_share.p95<500ms",
        "error_rate<1%",
        "rate>=0/s",
        "lost_updates==0",
        "dropped_starts==0",
        "session.p95<2s",
        "propagation.p95<1s",
        "lag.p99<1ms",
        "count>=0",
    ] {
        let result = evaluate(&run, text);
        assert!(!result.passed, "{text}");
        assert_eq!(result.reason.as_deref(), Some("no samples"), "{text}");
        assert_eq!(result.actual, None, "{text}");
    }
}

#[test]
fn wrong_thresholds_say_what_where_and_what_was_meant() {
    for (text, error) in [
        (
            "note_share.p95",
            r#"threshold "note_share.p95", character 15: no comparison found: expected <, <=, >, >=, == or !="#,
        ),
        (
            "lost_updates=0",
            r#"threshold "lost_updates=0", character 13: no comparison found: for equality write =="#,
        ),
        (
            "note_share.p95<500",
            r#"threshold "note_share.p95<500", character 19: expected a unit of time: us, ms, s or m, found nothing; did you mean "note_share.p95<500ms"?"#,
        ),
        (
            "note_share.p95<5 sec",
            r#"threshold "note_share.p95<5 sec", character 17: expected a unit of time: us, ms, s or m, found "sec""#,
        ),
        (
            "error_rate<0.01",
            r#"threshold "error_rate<0.01", character 16: expected %, found nothing; did you mean "error_rate<1%"?"#,
        ),
        (
            "rate>50",
            r#"threshold "rate>50", character 8: expected /s, /m or /h, found nothing; did you mean "rate>50/s"?"#,
        ),
        (
            "p95<fast",
            r#"threshold "p95<fast", character 5: expected a number, found "fast""#,
        ),
        (
            "note_share.p101<1s",
            r#"threshold "note_share.p101<1s", character 12: unknown figure "p101" (known: min, max, mean, median, p50, p90, p95, p99, p99.9, success_rate, error_rate, rate, count, errors, refused, not_refused, dropped_starts, late_starts)"#,
        ),
        (
            "note_share.sucess_rate>1%",
            r#"threshold "note_share.sucess_rate>1%", character 12: unknown figure "sucess_rate" (known: min, max, mean, median, p50, p90, p95, p99, p99.9, success_rate, error_rate, rate, count, errors, refused, not_refused, dropped_starts, late_starts); did you mean "success_rate"?"#,
        ),
        (
            "note_share.dropped_starts==0",
            r#"threshold "note_share.dropped_starts==0", character 12: dropped_starts is of the whole run and takes no scope"#,
        ),
        (
            "<1s",
            r#"threshold "<1s", character 1: expected a figure, as in p95 or error_rate"#,
        ),
        (
            "note_share.service.refused==1",
            r#"threshold "note_share.service.refused==1", character 20: refused is of calls, and takes no kind"#,
        ),
        (
            "note_share.service.rate>1/s",
            r#"threshold "note_share.service.rate>1/s", character 20: rate is neither of service nor of failures"#,
        ),
    ] {
        let found = text.parse::<Threshold>().unwrap_err().to_string();
        let found = found.split("; did you mean \"p9").next().unwrap();
        assert_eq!(found, error);
    }
}

#[test]
fn unknown_names_are_found_before_the_run() {
    for (text, error) in [
        (
            "note_shar.p95<1s",
            r#"threshold "note_shar.p95<1s", character 1: unknown workflow, step or phase "note_shar"; did you mean "note_share"?"#,
        ),
        (
            "note_share.create_not.service.p95<1s",
            r#"threshold "note_share.create_not.service.p95<1s", character 1: unknown workflow, step or phase "note_share.create_not"; did you mean "note_share.create_note"?"#,
        ),
        (
            "lost_update==0",
            r#"threshold "lost_update==0", character 1: unknown figure or counter "lost_update" (known: min, max, mean, median, p50, p90, p95, p99, p99.9, success_rate, error_rate, rate, count, errors, refused, not_refused, dropped_starts, late_starts, lost_updates); did you mean "lost_updates"?"#,
        ),
        (
            "create_note.errors==0",
            r#"threshold "create_note.errors==0", character 1: unknown workflow, step or phase "create_note"; did you mean "note_share.create_note"?"#,
        ),
        (
            "zzz.p95<1s",
            r#"threshold "zzz.p95<1s", character 1: unknown workflow, step or phase "zzz""#,
        ),
        (
            "login.refused==0",
            r#"threshold "login.refused==0", character 1: a phase of the set-up has no refusals"#,
        ),
        (
            "login.service.p95<1s",
            r#"threshold "login.service.p95<1s", character 1: a phase of the set-up has neither service, failures nor propagation"#,
        ),
        (
            "lag.error_rate<1%",
            r#"threshold "lag.error_rate<1%", character 1: lag has percentiles, min, max and mean only"#,
        ),
    ] {
        let threshold: Threshold = text.parse().unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(threshold.check(&catalog()).unwrap_err().to_string(), error);
    }
}

proptest! {
    #[test]
    fn no_text_makes_the_parser_panic(text in "\\PC{0,40}") {
        let _ = text.parse::<Threshold>();
    }

    #[test]
    fn near_misses_do_not_make_it_panic_either(
        scope in "([a-z_é]{0,6}\\.){0,3}",
        figure in "(p[0-9]{0,3}(\\.[0-9]{0,2})?|rate|[a-z]{0,5})",
        comparison in "[<>=! ]{0,3}",
        value in "[0-9.]{0,5}[a-z/%µ]{0,2}",
    ) {
        thread_local! {
            static RUN: Run = Run::of(&events());
        }
        let text = format!("{scope}{figure}{comparison}{value}");
        if let Ok(threshold) = text.parse::<Threshold>() {
            RUN.with(|run| {
            let _ = threshold.check(&run.catalog);
            let _ = threshold.evaluate(&run.measured());
            });
        }
    }
}

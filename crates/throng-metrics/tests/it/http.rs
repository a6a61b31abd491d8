//! Statuses and event streams.

use std::time::Duration;

use throng_metrics::{
    Distribution as _, Event, FailureKind, Limits, Outcome, Report, RunInfo, StreamEnd,
    StreamSample, UserId, Verdicts,
    report::{
        console::{self, Style},
        json,
    },
};

use crate::fixture::{CREATE, LIST, Run, SEARCH, failed, ms, step};

fn answered(mut event: Event, status: u16) -> Event {
    if let Event::Step(sample) = &mut event {
        sample.status = Some(status);
    }
    event
}

fn stream(first: Option<u64>, gaps: &[u64], end: StreamEnd) -> Event {
    Event::Stream(Box::new(StreamSample {
        step: LIST,
        user: UserId(1),
        started: ms(10),
        first_event: first.map(ms),
        gaps: gaps.iter().copied().map(ms).collect(),
        events: gaps.len() as u64 + u64::from(first.is_some()),
        bytes: 100,
        reconnects: u32::from(end == StreamEnd::Closed),
        end,
    }))
}

fn report(events: &[Event]) -> Report {
    Report::new(
        RunInfo::default(),
        &Run::of(events).measured(),
        Vec::new(),
        &Verdicts::default(),
        &Limits::default(),
        None,
    )
}

fn events() -> Vec<Event> {
    let ok = |n: u64, id| step(id, 0, [n, n, n + 5], Outcome::Success);
    let bad = failed(
        FailureKind::Http,
        "HTTP 500",
        "HTTP 500: Internal Server Error",
    );
    vec![
        answered(ok(1, CREATE), 201),
        answered(ok(2, SEARCH), 200),
        answered(ok(3, SEARCH), 404),
        answered(ok(4, SEARCH), 200),
        answered(step(SEARCH, 0, [5, 5, 6], bad), 500),
        ok(6, LIST),
        stream(Some(20), &[5, 7], StreamEnd::Met),
        stream(Some(40), &[], StreamEnd::Closed),
        stream(None, &[], StreamEnd::Window),
    ]
}

#[test]
fn statuses_are_counted_by_step_and_endpoint() {
    let report = report(&events());
    let statuses = |of: &throng_metrics::Table<u64>| -> Vec<(String, u64)> {
        of.iter()
            .map(|(name, count)| (name.to_owned(), *count))
            .collect()
    };
    let expected: Vec<(String, u64)> = [("200", 2), ("404", 1), ("500", 1)]
        .map(|(status, count)| (status.to_owned(), count))
        .into();
    assert_eq!(
        statuses(&report.steps.get("baseline/search").unwrap().statuses),
        expected
    );
    let endpoint = report.endpoints.get("GET /search/{term}").unwrap();
    assert_eq!(statuses(&endpoint.statuses), expected);
    assert_eq!(endpoint.errors, 1);
    let text = console::render(&report, Style::default());
    assert!(
        text.contains("Statuses of baseline/search: 200: 2, 404: 1, 500: 1"),
        "{text}"
    );
    assert!(
        !text.contains("Statuses of note_share/create_note"),
        "{text}"
    );
}

#[test]
fn streams_are_apart_from_latencies() {
    let report = report(&events());
    let streams = report
        .streams
        .get("note_share/list_shared_with_me")
        .unwrap();
    assert_eq!(
        (
            streams.streams,
            streams.met,
            streams.window_over,
            streams.closed_by_server,
            streams.reconnects
        ),
        (3, 1, 1, 1, 1)
    );
    assert_eq!((streams.events, streams.received_bytes), (4, 300));
    assert_eq!(streams.first_event.min, 0.02);
    assert_eq!(streams.first_event.max, 0.04);
    assert_eq!((streams.gap.min, streams.gap.max), (0.005, 0.007));
    let step = report.steps.get("note_share/list_shared_with_me").unwrap();
    assert_eq!((step.count, step.response.max), (1, 0.005));
    let text = console::render(&report, Style::default());
    assert!(text.contains("EVENT STREAMS"), "{text}");
    let read = json::from_str(&json::to_string(&report)).unwrap();
    assert_eq!(read.streams, report.streams);
    assert_eq!(read, report);
}

#[test]
fn tallies_of_http_merge() {
    let (all, none) = (Run::of(&events()).tally, Run::of(&[]).tally);
    let mut merged = none.clone();
    merged.merge(&all);
    merged.merge(&all);
    let step = merged.step(LIST);
    let streams = step.streams.as_deref().unwrap();
    assert_eq!((streams.count(), streams.events), (6, 8));
    assert_eq!(streams.gaps.count(), 4);
    assert_eq!(
        merged.step(SEARCH).statuses.iter().collect::<Vec<_>>(),
        [(200, 4), (404, 2), (500, 2)]
    );
    merged.clear();
    assert!(merged.step(SEARCH).statuses.is_empty());
    assert!(merged.step(LIST).streams.is_none());
    assert!(none.step(LIST).streams.is_none());
    assert_eq!(Duration::ZERO, merged.step(LIST).service.max());
}

//! Requests and errors per second over time, and response times below them.

use throng_metrics::{Report, TimelineReport};

use crate::drawing::{Drawing, Mark, Rect};
use crate::error::ChartError;
use crate::page::{Key, Page, Swatch};
use crate::palette::{BAD, GOOD, MEDIAN, SLOWEST};
use crate::panel::{Panel, Step, gutter};
use crate::scale::Scale;
use crate::unit;

/// More steps than this would be thinner than two or three pixels.
const MOST_STEPS: usize = 300;
/// About so many steps of an axis.
const TIME_STEPS: usize = 12;
const RATE_STEPS: usize = 5;
const RESPONSE_STEPS: usize = 5;

/// A part of the run.
#[derive(Debug, Clone, PartialEq)]
struct Bucket {
    /// In seconds since the start of the measured window.
    from: f64,
    to: f64,
    calls: u64,
    errors: u64,
    /// The medians of its entries.
    p50: Vec<f64>,
    /// Their 99th percentiles.
    p99: Vec<f64>,
}

impl Bucket {
    fn per_second(&self, count: u64) -> f64 {
        count as f64 / (self.to - self.from)
    }

    /// Of several entries the middle one: percentiles are never averaged.
    fn middle_p50(&self) -> Option<f64> {
        let mut sorted = self.p50.clone();
        sorted.sort_by(f64::total_cmp);
        sorted.get(sorted.len() / 2).copied()
    }

    /// Of several entries the worst one.
    fn worst_p99(&self) -> Option<f64> {
        self.p99.iter().copied().reduce(f64::max)
    }
}

pub(super) fn draw(report: &Report) -> Result<Drawing, ChartError> {
    let mut page = Page::of(report, "Requests over time", &[]);
    let Timeline {
        buckets,
        width,
        entry,
    } = Timeline::of(report);
    let end = match buckets.last() {
        Some(last) if buckets.iter().any(|bucket| bucket.calls > 0) => last.to,
        _ => return Ok(super::empty(page, "No requests were measured.")),
    };
    let (time, unit) = Scale::time(end, TIME_STEPS);
    let busiest = buckets.iter().map(|bucket| bucket.per_second(bucket.calls));
    let requests = Scale::linear(busiest.fold(0.0, f64::max), RATE_STEPS, unit::round_number);
    let response = response_scale(&buckets);
    let left = gutter(
        &page,
        [Some(&requests), response.as_ref()].into_iter().flatten(),
    );

    page.heading("Requests per second", &request_keys(&buckets));
    let panel = Panel::new(&mut page, left, 200.0, time.clone(), requests)?;
    let top = panel.area.top;
    for (count, colour, opacity) in [
        (
            (|bucket: &Bucket| bucket.calls) as fn(&Bucket) -> u64,
            GOOD,
            0.16,
        ),
        (|bucket: &Bucket| bucket.errors, BAD, 0.7),
    ] {
        if buckets.iter().all(|bucket| count(bucket) == 0) {
            continue;
        }
        let steps: Vec<_> = buckets
            .iter()
            .map(|bucket| step(bucket, Some(bucket.per_second(count(bucket)))))
            .collect();
        panel.filled_steps(&mut page.drawing, &steps, colour, opacity)?;
    }
    panel.base(&mut page)?;
    page.bottom += 14.0;

    page.bottom += 4.0;
    let keys = response_keys((width > entry).then_some(entry));
    page.heading(&response_heading(response.as_ref()), &keys);
    let has_responses = response.is_some();
    let response = response.unwrap_or_else(Scale::blank);
    let panel = Panel::new(&mut page, left, 170.0, time, response)?;
    if has_responses {
        let of = |value: fn(&Bucket) -> Option<f64>| -> Vec<Step> {
            let steps = buckets.iter().map(|bucket| step(bucket, value(bucket)));
            steps.collect()
        };
        panel.steps(&mut page.drawing, &of(Bucket::worst_p99), SLOWEST)?;
        panel.steps(&mut page.drawing, &of(Bucket::middle_p50), MEDIAN)?;
    } else {
        page.instead("No request succeeded.", panel.area);
    }
    panel.base(&mut page)?;
    let each = unit::span(width as f64);
    panel.x_words(
        &mut page,
        &format!("time since the start, in {unit}; each step is {each}"),
    );
    hints(&mut page, &panel, top, &buckets);
    Ok(page.finished())
}

fn step(bucket: &Bucket, value: Option<f64>) -> Step {
    Step {
        from: bucket.from,
        to: bucket.to,
        value,
    }
}

fn request_keys(buckets: &[Bucket]) -> Vec<Key> {
    let total = |count: fn(&Bucket) -> u64| buckets.iter().map(count).sum::<u64>();
    let (calls, errors) = (total(|bucket| bucket.calls), total(|bucket| bucket.errors));
    let share = unit::percent(errors, calls);
    let errors = match errors {
        0 => "errors: none".to_owned(),
        errors => format!("errors: {} ({share})", unit::count(errors)),
    };
    vec![
        Key {
            swatch: Swatch::Square,
            colour: GOOD,
            text: format!("all requests: {}", unit::count(calls)),
        },
        Key {
            swatch: Swatch::Square,
            colour: BAD,
            text: errors,
        },
    ]
}

fn response_heading(scale: Option<&Scale>) -> String {
    let kind = match scale {
        Some(scale) if scale.is_logarithmic() => " (logarithmic)",
        _ => "",
    };
    format!("Response time of successes{kind}")
}

/// `merged` is the length of the parts of which each step has several.
fn response_keys(merged: Option<u64>) -> Vec<Key> {
    let (median, slowest) = match merged {
        None => ("p50".to_owned(), "p99".to_owned()),
        Some(seconds) => {
            let part = match seconds {
                1 => "second".to_owned(),
                seconds => format!("{seconds} s"),
            };
            (
                format!("p50, the middle {part} of each step"),
                format!("p99, the worst {part}"),
            )
        }
    };
    vec![
        Key {
            swatch: Swatch::Line,
            colour: MEDIAN,
            text: median,
        },
        Key {
            swatch: Swatch::Line,
            colour: SLOWEST,
            text: slowest,
        },
    ]
}

/// Nothing where nothing succeeded.
fn response_scale(buckets: &[Bucket]) -> Option<Scale> {
    let mut typical: Vec<f64> = buckets.iter().filter_map(Bucket::middle_p50).collect();
    typical.sort_by(f64::total_cmp);
    let middle = *typical.get(typical.len() / 2)?;
    let slowest = buckets.iter().filter_map(Bucket::worst_p99);
    let largest = slowest.chain(typical.last().copied()).fold(0.0, f64::max);
    let scale = Scale::durations(middle, largest, RESPONSE_STEPS);
    // What is far below the middle belongs on a logarithmic axis, too.
    Some(match typical.first() {
        Some(fastest) if scale.is_logarithmic() => {
            Scale::logarithmic(fastest.min(middle)..largest, unit::round_duration)
        }
        _ => scale,
    })
}

/// What a pointer is told, over both panels.
fn hints(page: &mut Page, panel: &Panel, top: f64, buckets: &[Bucket]) {
    for bucket in buckets {
        let area = Rect {
            left: panel.across(bucket.from),
            top,
            right: panel.across(bucket.to),
            bottom: panel.area.bottom,
        };
        let response = match (bucket.middle_p50(), bucket.worst_p99()) {
            (Some(p50), Some(p99)) => {
                format!("; p50 {}, p99 {}", unit::duration(p50), unit::duration(p99))
            }
            _ => String::new(),
        };
        let text = format!(
            "{} to {}: {} requests ({}/s), {} errors{response}",
            unit::span(bucket.from),
            unit::span(bucket.to),
            unit::count(bucket.calls),
            unit::rate(bucket.per_second(bucket.calls)),
            unit::count(bucket.errors),
        );
        page.drawing.marks.push(Mark::Hint { area, text });
    }
}

/// The run in parts of equal length.
struct Timeline {
    buckets: Vec<Bucket>,
    /// The length of each in seconds; the last one may be up to half longer or shorter.
    width: u64,
    /// The length of what the report counts together.
    entry: u64,
}

impl Timeline {
    fn of(report: &Report) -> Self {
        let entries = &report.timeline;
        let entry = u64::from(entries.first().map_or(1, |entry| entry.width.max(1)));
        let wide = bucket_width(entry, entries.len());
        let together = (wide / entry) as usize;
        let mut buckets: Vec<_> = entries.chunks(together).map(bucket).collect();
        end_with_the_run(&mut buckets, report.summary.duration, wide as f64);
        Self {
            buckets,
            width: wide,
            entry,
        }
    }
}

/// The shortest round length, a multiple of the entries' own, that makes few enough parts.
fn bucket_width(width: u64, entries: usize) -> u64 {
    const ROUND: [u64; 12] = [1, 2, 5, 10, 15, 20, 30, 60, 120, 300, 600, 1_800];
    let span = width * entries as u64;
    let fits =
        |length: &u64| length.is_multiple_of(width) && span.div_ceil(*length) <= MOST_STEPS as u64;
    let round = ROUND.into_iter().find(fits);
    round.unwrap_or_else(|| width * (entries.div_ceil(MOST_STEPS).max(1)) as u64)
}

fn bucket(entries: &[TimelineReport]) -> Bucket {
    let usable = |value: Option<f64>| value.filter(|value| value.is_finite() && *value >= 0.0);
    let (first, last) = (&entries[0], &entries[entries.len() - 1]);
    Bucket {
        from: first.second as f64,
        to: last.second as f64 + f64::from(last.width.max(1)),
        calls: entries.iter().map(|entry| entry.calls).sum(),
        errors: entries.iter().map(|entry| entry.errors).sum(),
        p50: entries
            .iter()
            .filter_map(|entry| usable(entry.p50))
            .collect(),
        p99: entries
            .iter()
            .filter_map(|entry| usable(entry.p99))
            .collect(),
    }
}

/// The last entry is as wide as the others, but the run may have ended within it: a rate counts the time that there
/// was. A rest too short for a rate of its own belongs to the bucket before it.
fn end_with_the_run(buckets: &mut Vec<Bucket>, duration: f64, width: f64) {
    let Some(last) = buckets.last_mut() else {
        return;
    };
    if duration > last.from && duration < last.to {
        last.to = duration;
    }
    if last.to - last.from < width / 2.0
        && let Some(rest) = buckets.pop()
    {
        match buckets.last_mut() {
            Some(last) => {
                last.to = rest.to;
                last.calls += rest.calls;
                last.errors += rest.errors;
                last.p50.extend(rest.p50);
                last.p99.extend(rest.p99);
            }
            // The whole run was shorter than that.
            None => buckets.push(rest),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(second: u64, width: u32) -> TimelineReport {
        TimelineReport {
            second,
            width,
            calls: 10,
            errors: 1,
            p50: Some(0.002 + second as f64 / 1e3),
            p99: Some(0.02),
        }
    }

    fn entries(count: u64, width: u32) -> Vec<Bucket> {
        let entries: Vec<_> = (0..count)
            .map(|n| entry(n * u64::from(width), width))
            .collect();
        entries.chunks(1).map(bucket).collect()
    }

    #[test]
    fn entries_are_merged_to_round_lengths() {
        for (width, entries, expected) in [
            (1, 0, 1),
            (1, 300, 1),
            (1, 301, 2),
            (1, 3_600, 15),
            (1, 7_200, 30),
            (2, 7_200, 60),
            (4, 5_000, 120),
            (64, 7_000, 1_536),
        ] {
            assert_eq!(bucket_width(width, entries), expected, "{width} {entries}");
        }
    }

    #[test]
    fn the_last_rate_counts_the_time_that_there_was() {
        let ended = |count, duration| {
            let mut buckets = entries(count, 1);
            end_with_the_run(&mut buckets, duration, 1.0);
            let last = buckets.last().expect("there are some");
            (buckets.len(), last.to, last.calls)
        };
        assert_eq!(ended(5, 5.0), (5, 5.0, 10), "it ends with a whole second");
        assert_eq!(ended(5, 4.8), (5, 4.8, 10), "most of a second is enough");
        assert_eq!(ended(5, 4.1), (4, 4.1, 20), "a tenth is not");
        assert_eq!(ended(1, 0.1), (1, 0.1, 10), "but it may be all there is");
        assert_eq!(ended(5, 0.0), (5, 5.0, 10), "the run's length is not known");
        assert_eq!(ended(5, 9.0), (5, 5.0, 10), "nor believable");
        let mut none = Vec::new();
        end_with_the_run(&mut none, 1.0, 1.0);
        assert_eq!(none, []);
    }

    #[test]
    fn percentiles_are_picked_and_not_averaged() {
        let of: Vec<_> = (0..3).map(|n| entry(n, 1)).collect();
        let merged = bucket(&of);
        assert_eq!((merged.from, merged.to), (0.0, 3.0));
        assert_eq!((merged.calls, merged.errors), (30, 3));
        assert_eq!(merged.middle_p50(), Some(0.003));
        assert_eq!(merged.worst_p99(), Some(0.02));
    }
}

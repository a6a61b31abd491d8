//! Requests per second by endpoint, busiest first, with what became of them.

use plotters::element::Rectangle;
use throng_metrics::{EndpointReport, Report, clean};

use crate::drawing::Drawing;
use crate::error::ChartError;
use crate::label::Names;
use crate::page::{Key, MARGIN, Page, Swatch};
use crate::palette::{ALARM, BAD, Colour, GOOD, REFUSED, UNFINISHED};
use crate::pen::fill;
use crate::rows::{Cell, Column, Row, Rows, Table};
use crate::scale::Scale;
use crate::unit;

/// About so many steps of the axis.
const STEPS: usize = 5;
/// Half the height of a bar, as a share of its row.
const HALF: f64 = 0.29;
/// A single error among thousands of requests is still seen: no part of a bar is thinner.
const THINNEST: f64 = 2.0;

/// What can become of a request: what it's called, its colour, and how many there are.
type Fate = (&'static str, Colour, fn(&EndpointReport) -> u64);

/// In the order in which they stand in a bar.
const FATES: [Fate; 4] = [
    ("succeeded", GOOD, succeeded),
    ("refused as expected", REFUSED, |endpoint| endpoint.refused),
    ("errors", BAD, |endpoint| endpoint.errors),
    ("cut off by a signal", UNFINISHED, |endpoint| {
        endpoint.unfinished
    }),
];

fn succeeded(endpoint: &EndpointReport) -> u64 {
    let others = endpoint.refused + endpoint.errors + endpoint.unfinished;
    endpoint.count.saturating_sub(others)
}

pub(super) fn draw(report: &Report) -> Result<Drawing, ChartError> {
    let names = Names::of(report.endpoints.iter().map(|(name, _)| name));
    let notes: Vec<_> = super::prefix_note(names.prefix.as_deref())
        .into_iter()
        .collect();
    let mut page = Page::of(report, "Requests per second by endpoint", &notes);
    let mut endpoints: Vec<_> = report
        .endpoints
        .iter()
        .filter(|(_, endpoint)| endpoint.count > 0)
        .collect();
    if endpoints.is_empty() {
        return Ok(super::empty(page, "No requests were measured."));
    }
    endpoints.sort_by_key(|(_, endpoint)| std::cmp::Reverse(endpoint.count));
    page.bottom += 20.0;
    page.keys(&keys(&endpoints), MARGIN);
    let left_out = endpoints.len().saturating_sub(super::MOST_ROWS);
    endpoints.truncate(super::MOST_ROWS);
    let busiest = endpoints.iter().map(|(_, endpoint)| rate(endpoint));
    let table = Table {
        axis: Scale::reaching(busiest.fold(0.0, f64::max), STEPS, unit::round_number),
        rows: endpoints
            .iter()
            .map(|(name, endpoint)| row(name, endpoint, &names))
            .collect(),
        columns: ["per second", "refused", "errors"]
            .map(Column::Plain)
            .into(),
        axis_title: "requests per second".to_owned(),
    };
    let rows = table.lay_out(&mut page)?;
    for (index, (_, endpoint)) in endpoints.iter().enumerate() {
        plot(&mut page, &rows, index, endpoint)?;
    }
    table.hints(&mut page, &rows);
    super::more_note(&mut page, left_out, "all with fewer requests");
    Ok(page.finished())
}

fn rate(endpoint: &EndpointReport) -> f64 {
    let rate = endpoint.calls_per_second;
    if rate.is_finite() { rate.max(0.0) } else { 0.0 }
}

/// The legend, with how many there are of each. What is no ordinary end is named where it happened.
fn keys(endpoints: &[(&str, &EndpointReport)]) -> Vec<Key> {
    FATES
        .iter()
        .map(|(name, colour, count)| {
            let total = endpoints.iter().map(|(_, endpoint)| count(endpoint)).sum();
            (*name, *colour, total)
        })
        .filter(|(name, _, total)| *total > 0 || matches!(*name, "succeeded" | "errors"))
        .map(|(name, colour, total)| Key {
            swatch: Swatch::Square,
            colour,
            text: match total {
                0 => format!("{name}: none"),
                total => format!("{name}: {}", unit::count(total)),
            },
        })
        .collect()
}

fn row(name: &str, endpoint: &EndpointReport, names: &Names) -> Row {
    let share = |count| match count {
        0 => "0".to_owned(),
        count => format!(
            "{} ({})",
            unit::count(count),
            unit::percent(count, endpoint.count)
        ),
    };
    let refused = match endpoint.refused {
        0 => Cell::quiet("0"),
        refused => Cell::new(share(refused)),
    };
    let errors = match endpoint.errors {
        0 => Cell::quiet("0"),
        errors => Cell::in_colour(share(errors), ALARM),
    };
    let full = clean(name);
    let said: Vec<_> = FATES
        .iter()
        .map(|(name, _, count)| (name, count(endpoint)))
        .filter(|(_, count)| *count > 0)
        .map(|(name, count)| format!("{} {name}", share(count)))
        .collect();
    Row {
        name: names.short(name),
        hint: format!(
            "{full}: {} requests, {}/s: {}",
            unit::count(endpoint.count),
            unit::rate(rate(endpoint)),
            said.join(", ")
        ),
        full,
        cells: vec![Cell::new(unit::rate(rate(endpoint))), refused, errors],
    }
}

/// A bar of parts, one for each fate that there was.
fn plot(
    page: &mut Page,
    rows: &Rows,
    index: usize,
    endpoint: &EndpointReport,
) -> Result<(), ChartError> {
    let plot = rows.plot(&mut page.drawing);
    let thinnest = rows.values_in(THINNEST);
    let each = rate(endpoint) / endpoint.count as f64;
    let (top, bottom) = (index as f64 + 0.5 - HALF, index as f64 + 0.5 + HALF);
    let mut from = 0.0;
    for (_, colour, count) in FATES {
        let count = count(endpoint);
        if count == 0 {
            continue;
        }
        let to = from + (count as f64 * each).max(thinnest);
        plot.draw(&Rectangle::new([(from, top), (to, bottom)], fill(colour)))?;
        from = to;
    }
    Ok(())
}

//! Response times of what succeeded, by endpoint, slowest first.

use plotters::element::{Circle, PathElement};
use throng_metrics::{EndpointReport, Report, clean};

use crate::drawing::{Anchor, Drawing};
use crate::error::ChartError;
use crate::label::Names;
use crate::page::{Key, Page, SIZE, Swatch};
use crate::palette::{BASE, Colour, MEDIAN, PAPER, QUIET, SLOW, SLOWEST};
use crate::pen::{fill, fine, stroke};
use crate::rows::{Cell, Column, Row, Rows, Table};
use crate::scale::Scale;
use crate::unit;

/// About so many steps of the axis.
const STEPS: usize = 6;

/// The percentiles that are shown: what they're called, their colour, and where they stand in a [`Line`].
const PERCENTILES: [(&str, Colour); 3] = [("p50", MEDIAN), ("p90", SLOW), ("p99", SLOWEST)];

/// How large their dots are. A slower one's is seen around a faster one's where both are the same, as with few samples.
const RADII: [f64; 3] = [3.25, 5.25, 7.25];

/// How far paper shows around a dot.
const RIM: f64 = 0.75;

/// What is known of one endpoint.
struct Line<'a> {
    name: &'a str,
    endpoint: &'a EndpointReport,
    /// [`PERCENTILES`] in seconds; nothing where nothing succeeded.
    times: Option<[f64; 3]>,
}

pub(super) fn draw(report: &Report) -> Result<Drawing, ChartError> {
    let names = Names::of(report.endpoints.iter().map(|(name, _)| name));
    let notes: Vec<_> = super::prefix_note(names.prefix.as_deref())
        .into_iter()
        .collect();
    let mut page = Page::of(report, "Response time by endpoint", &notes);
    let mut lines = lines(report);
    if lines.is_empty() {
        return Ok(super::empty(page, "No requests were measured."));
    }
    let left_out = lines.len().saturating_sub(super::MOST_ROWS);
    lines.truncate(super::MOST_ROWS);
    let axis = axis(&lines);
    let kind = if axis.is_logarithmic() {
        " (logarithmic)"
    } else {
        ""
    };
    let table = Table {
        rows: lines.iter().map(|line| row(line, &names)).collect(),
        columns: columns(),
        axis,
        axis_title: format!("response time of successes{kind}"),
    };
    let rows = table.lay_out(&mut page)?;
    for (index, line) in lines.iter().enumerate() {
        match line.times {
            Some(times) => plot(&mut page, &rows, index, times)?,
            None => page.write(
                "no successes",
                (rows.area.left + 8.0, rows.middle(index) + SIZE * 0.36),
                Anchor::Start,
                QUIET,
            ),
        }
    }
    table.hints(&mut page, &rows);
    super::more_note(&mut page, left_out, "all faster");
    Ok(page.finished())
}

/// Slowest first; those without a success last.
fn lines(report: &Report) -> Vec<Line<'_>> {
    let mut lines: Vec<_> = report
        .endpoints
        .iter()
        .map(|(name, endpoint)| {
            let succeeded = endpoint
                .count
                .saturating_sub(endpoint.errors + endpoint.unfinished);
            let found = &endpoint.response;
            let times = [found.p50, found.p90, found.p99];
            let usable = succeeded > 0 && times.iter().all(|time| time.is_finite());
            Line {
                name,
                endpoint,
                times: usable.then_some(times),
            }
        })
        .filter(|line| line.endpoint.count > 0)
        .collect();
    lines.sort_by(|one, other| {
        let slowest = |line: &Line<'_>| line.times.map_or(-1.0, |[p50, _, p99]| p99 + p50 * 1e-9);
        slowest(other).total_cmp(&slowest(one))
    });
    lines
}

fn axis(lines: &[Line<'_>]) -> Scale {
    let times = || lines.iter().filter_map(|line| line.times);
    let fastest = times().map(|[p50, _, _]| p50).fold(f64::INFINITY, f64::min);
    let slowest = times().map(|[_, _, p99]| p99).fold(0.0, f64::max);
    if fastest.is_finite() {
        Scale::durations(fastest, slowest, STEPS)
    } else {
        Scale::blank()
    }
}

fn columns() -> Vec<Column> {
    let legend = |(name, colour): (&str, Colour)| {
        Column::Legend(Key {
            swatch: Swatch::Dot,
            colour,
            text: name.to_owned(),
        })
    };
    let requests = Column::Plain("successes");
    PERCENTILES
        .into_iter()
        .map(legend)
        .chain([requests])
        .collect()
}

fn row(line: &Line<'_>, names: &Names) -> Row {
    let endpoint = line.endpoint;
    let succeeded = endpoint
        .count
        .saturating_sub(endpoint.errors + endpoint.unfinished);
    let times = match line.times {
        Some(times) => times.map(|time| Cell::new(unit::duration(time))),
        None => [(); 3].map(|()| Cell::quiet("–")),
    };
    let full = clean(line.name);
    let said = match line.times {
        Some(times) => PERCENTILES
            .iter()
            .zip(times)
            .map(|((name, _), time)| format!(", {name} {}", unit::duration(time)))
            .collect(),
        None => String::new(),
    };
    Row {
        name: names.short(line.name),
        hint: format!(
            "{full}: {} successes of {} requests{said}",
            unit::count(succeeded),
            unit::count(endpoint.count)
        ),
        full,
        cells: times
            .into_iter()
            .chain([Cell::quiet(unit::count(succeeded))])
            .collect(),
    }
}

/// A line from the median to the slowest, and a dot for each; the dots of faster ones lie above.
fn plot(page: &mut Page, rows: &Rows, index: usize, times: [f64; 3]) -> Result<(), ChartError> {
    let plot = rows.plot(&mut page.drawing);
    let middle = index as f64 + 0.5;
    let ends = vec![(times[0], middle), (times[2], middle)];
    plot.draw(&PathElement::new(ends, stroke(BASE.faded(0.6), 3.0)))?;
    for ((time, (_, colour)), radius) in times.iter().zip(PERCENTILES).zip(RADII).rev() {
        for (radius, colour) in [(radius + RIM, PAPER), (radius, colour)] {
            plot.draw(&Circle::new((*time, middle), fine(radius), fill(colour)))?;
        }
    }
    Ok(())
}

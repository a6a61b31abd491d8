//! The pictures that there are.

mod endpoint_latency;
mod endpoint_throughput;
mod timeline;

use throng_metrics::Report;

use crate::drawing::{Drawing, Rect};
use crate::error::ChartError;
use crate::page::{MARGIN, Page, WIDTH};

/// A picture of one run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Picture {
    /// Requests and errors per second over time, and response times below them.
    Timeline,
    /// Response times of what succeeded, by endpoint, slowest first.
    EndpointLatency,
    /// Requests per second by endpoint, busiest first, with what became of them.
    EndpointThroughput,
}

impl Picture {
    /// All of them, in the order in which they're best looked at.
    pub const ALL: [Picture; 3] = [
        Picture::Timeline,
        Picture::EndpointLatency,
        Picture::EndpointThroughput,
    ];

    /// The name, as it stands in file names: `timeline`, `endpoint_latency`, `endpoint_throughput`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Timeline => "timeline",
            Self::EndpointLatency => "endpoint_latency",
            Self::EndpointThroughput => "endpoint_throughput",
        }
    }
}

pub(crate) fn draw(report: &Report, picture: Picture) -> Result<Drawing, ChartError> {
    match picture {
        Picture::Timeline => timeline::draw(report),
        Picture::EndpointLatency => endpoint_latency::draw(report),
        Picture::EndpointThroughput => endpoint_throughput::draw(report),
    }
}

/// More rows than this are no picture any more; the others are in the report.
const MOST_ROWS: usize = 100;

/// A page that says why nothing is drawn on it.
fn empty(mut page: Page, why: &str) -> Drawing {
    let area = Rect {
        left: MARGIN,
        top: page.bottom,
        right: WIDTH - MARGIN,
        bottom: page.bottom + 120.0,
    };
    page.instead(why, area);
    page.bottom = area.bottom;
    page.finished()
}

/// What stands under the title where names were made shorter.
fn prefix_note(prefix: Option<&str>) -> Option<String> {
    prefix.map(|prefix| format!("All paths begin with {prefix}"))
}

/// What stands under the rows where there are more than are shown.
fn more_note(page: &mut Page, left_out: usize, which: &str) {
    if left_out > 0 {
        let endpoints = if left_out == 1 {
            "endpoint"
        } else {
            "endpoints"
        };
        let note = format!("{left_out} more {endpoints}, {which}: see the report");
        page.line(&note, crate::palette::QUIET);
    }
}

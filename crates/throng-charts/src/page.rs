//! The page that every picture stands on: title, what run it was, legend, and the texts of everything else.
//!
//! It's filled from top to bottom; each part says how much room it took.

use throng_metrics::{Report, Verdict, clean};

use crate::drawing::{Anchor, Drawing, Mark, Point, Rect, Text};
use crate::font::{Font, Weight};
use crate::label::shortened;
use crate::palette::{ALARM, Colour, INK, QUIET};
use crate::unit;

/// The width of every picture.
pub(crate) const WIDTH: f64 = 960.0;
/// What stays free at the edges.
pub(crate) const MARGIN: f64 = 28.0;
/// Texts and what they stand beside keep so far apart.
pub(crate) const GAP: f64 = 10.0;

const TITLE: f64 = 19.0;
const HEADING: f64 = 13.0;
/// Of all other texts.
pub(crate) const SIZE: f64 = 12.0;
const LINE: f64 = 20.0;
/// The side of the square before an entry of a legend.
const SWATCH: f64 = 10.0;

/// How a legend shows what it speaks of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Swatch {
    Square,
    Line,
    Dot,
}

/// An entry of a legend.
#[derive(Debug, Clone)]
pub(crate) struct Key {
    pub(crate) swatch: Swatch,
    pub(crate) colour: Colour,
    pub(crate) text: String,
}

/// A page, filled so far.
pub(crate) struct Page {
    pub(crate) drawing: Drawing,
    pub(crate) font: Font,
    /// What is above it is taken.
    pub(crate) bottom: f64,
}

impl Page {
    /// A page with its head: the title, which run it is, and that it's no good where that is so.
    pub(crate) fn of(report: &Report, title: &str, notes: &[String]) -> Self {
        let mut page = Self {
            drawing: Drawing {
                width: WIDTH,
                height: 0.0,
                title: format!("{title}: {}", clean(&report.run.scenario)),
                marks: Vec::new(),
            },
            font: Font::embedded(),
            bottom: MARGIN - 6.0,
        };
        page.bottom += TITLE;
        page.bold(title, TITLE);
        page.bottom += 4.0;
        page.line(&about(report), QUIET);
        for note in notes {
            page.line(note, QUIET);
        }
        if report.verdict.name != Verdict::Pass {
            let holding = report.verdict.all.first();
            let reason = holding.and_then(|holding| holding.reasons.first());
            let reason = reason.map(|reason| format!(": {}", clean(reason)));
            let words = report.verdict.name.words();
            page.line(
                &format!("Not a pass: {words}{}", reason.unwrap_or_default()),
                ALARM,
            );
        }
        page.bottom += 8.0;
        page
    }

    /// A line of text over the page's whole width, shortened where that's too little.
    pub(crate) fn line(&mut self, text: &str, colour: Colour) {
        self.bottom += LINE - 2.0;
        let at = (MARGIN, self.bottom);
        self.fitted(text, at, Anchor::Start, WIDTH - 2.0 * MARGIN, colour);
    }

    /// The page is as high as what is on it.
    pub(crate) fn finished(mut self) -> Drawing {
        self.drawing.height = (self.bottom + MARGIN - 8.0).ceil();
        self.drawing
    }

    pub(crate) fn text(&mut self, text: Text) {
        self.drawing.marks.push(Mark::Text(text));
    }

    /// An ordinary text whose anchor is on this point of the base line.
    pub(crate) fn write(
        &mut self,
        text: impl Into<String>,
        at: Point,
        anchor: Anchor,
        colour: Colour,
    ) {
        self.text(Text {
            at,
            anchor,
            size: SIZE,
            weight: Weight::Regular,
            colour,
            text: text.into(),
            full: None,
        });
    }

    /// The same, shortened to the room that there is; its full text stays known.
    pub(crate) fn fitted(
        &mut self,
        text: &str,
        at: Point,
        anchor: Anchor,
        room: f64,
        colour: Colour,
    ) {
        let short = shortened(text, room, &self.font, SIZE, Weight::Regular);
        self.text(Text {
            at,
            anchor,
            size: SIZE,
            weight: Weight::Regular,
            colour,
            full: short.is_some().then(|| text.to_owned()),
            text: short.unwrap_or_else(|| text.to_owned()),
        });
    }

    /// The room that an ordinary text needs.
    pub(crate) fn room(&self, text: &str) -> f64 {
        self.font.room(text, SIZE, Weight::Regular)
    }

    /// A heading with the legend of what stands below it; the legend goes on in further lines where it must.
    pub(crate) fn heading(&mut self, heading: &str, keys: &[Key]) {
        self.bottom += LINE;
        self.bold(heading, HEADING);
        let width = self.font.room(heading, HEADING, Weight::Bold);
        self.keys(keys, MARGIN + width + 2.0 * GAP);
        self.bottom += 6.0;
    }

    /// A bold text at the beginning of the line.
    fn bold(&mut self, text: &str, size: f64) {
        self.text(Text {
            at: (MARGIN, self.bottom),
            anchor: Anchor::Start,
            size,
            weight: Weight::Bold,
            colour: INK,
            text: text.to_owned(),
            full: None,
        });
    }

    /// A legend from here on, in as many lines as it needs.
    pub(crate) fn keys(&mut self, keys: &[Key], mut left: f64) {
        for key in keys {
            let width = self.key_room(&key.text);
            if left > MARGIN && left + width > WIDTH - MARGIN {
                left = MARGIN;
                self.bottom += LINE;
            }
            self.key(key, (left, self.bottom));
            left += width + 2.0 * GAP;
        }
    }

    /// How much room an entry of a legend takes.
    pub(crate) fn key_room(&self, text: &str) -> f64 {
        SWATCH + 6.0 + self.room(text)
    }

    /// An entry of a legend that begins here, on this base line.
    pub(crate) fn key(&mut self, key: &Key, (left, base): Point) {
        let middle = base - SIZE * 0.36;
        let half = match key.swatch {
            Swatch::Square | Swatch::Dot => SWATCH / 2.0,
            Swatch::Line => 1.25,
        };
        let area = Rect {
            left,
            top: middle - half,
            right: left + SWATCH,
            bottom: middle + half,
        };
        let colour = key.colour;
        self.drawing.marks.push(match key.swatch {
            Swatch::Square | Swatch::Line => Mark::Block { area, colour },
            Swatch::Dot => Mark::Dot {
                centre: (left + half, middle),
                radius: half - 0.5,
                colour,
            },
        });
        self.write(&key.text, (left + SWATCH + 6.0, base), Anchor::Start, INK);
    }

    /// Words in the middle of where there would have been data.
    pub(crate) fn instead(&mut self, words: &str, area: Rect) {
        let at = (
            (area.left + area.right) / 2.0,
            (area.top + area.bottom) / 2.0,
        );
        self.write(words, at, Anchor::Middle, QUIET);
    }
}

/// Which run it was, in one line.
fn about(report: &Report) -> String {
    let run = &report.run;
    let users = match report.summary.total_users {
        0 => String::new(),
        1 => "1 user".to_owned(),
        users => format!("{} users", unit::count(users)),
    };
    let duration = match report.summary.duration {
        seconds if seconds > 0.0 => unit::span(seconds),
        _ => String::new(),
    };
    let parts = [
        clean(&run.scenario),
        clean(&run.who()),
        clean(&run.executor),
        users,
        duration,
        minute(&clean(&run.started_at)),
        clean(&run.target),
    ];
    let said: Vec<_> = parts.into_iter().filter(|part| !part.is_empty()).collect();
    said.join(" · ")
}

/// `2026-11-22 12:01 UTC` of a time in RFC 3339, UTC.
fn minute(started: &str) -> String {
    let words = || {
        let (date, time) = started.strip_suffix('Z')?.split_once('T')?;
        Some(format!("{date} {} UTC", time.get(..5)?))
    };
    words().unwrap_or_else(|| started.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_told_to_the_minute() {
        assert_eq!(minute("2026-11-22T12:01:33.5Z"), "2026-11-22 12:01 UTC");
        assert_eq!(
            minute("2026-11-22T12:01:33+01:00"),
            "2026-11-22T12:01:33+01:00"
        );
        assert_eq!(minute("today"), "today");
    }
}

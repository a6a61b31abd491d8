//! A drawing: shapes and texts in the order in which they cover each other. Both file formats are written from it.
//!
//! It decides nothing about where things go.

use crate::font::{Font, Weight};
use crate::palette::Colour;

/// A picture that is drawn and not yet written. Its unit is a pixel of a screen of ordinary density.
#[derive(Debug, Clone)]
pub struct Drawing {
    pub(crate) width: f64,
    pub(crate) height: f64,
    /// What it is, for those who cannot see it.
    pub(crate) title: String,
    pub(crate) marks: Vec<Mark>,
}

/// One thing drawn.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Mark {
    /// A line through points.
    Line {
        points: Vec<Point>,
        colour: Colour,
        width: f64,
    },
    /// An area within points.
    Area { points: Vec<Point>, colour: Colour },
    /// A filled rectangle.
    Block { area: Rect, colour: Colour },
    /// A filled circle.
    Dot {
        centre: Point,
        radius: f64,
        colour: Colour,
    },
    /// A line of text.
    Text(Text),
    /// An area that shows its text under a pointer, where the format can.
    Hint { area: Rect, text: String },
}

pub(crate) type Point = (f64, f64);

/// A rectangle by its edges.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Rect {
    pub(crate) left: f64,
    pub(crate) top: f64,
    pub(crate) right: f64,
    pub(crate) bottom: f64,
}

impl Rect {
    pub(crate) fn width(&self) -> f64 {
        self.right - self.left
    }

    pub(crate) fn height(&self) -> f64 {
        self.bottom - self.top
    }
}

/// Which point of a text its place is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Anchor {
    Start,
    Middle,
    End,
}

/// A line of text.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Text {
    /// The anchor's place on the base line.
    pub(crate) at: Point,
    pub(crate) anchor: Anchor,
    pub(crate) size: f64,
    pub(crate) weight: Weight,
    pub(crate) colour: Colour,
    pub(crate) text: String,
    /// The whole of what was shortened to `text`.
    pub(crate) full: Option<String>,
}

/// A text of a drawing and the box that it fills.
#[derive(Debug, Clone, PartialEq)]
pub struct Label {
    /// As it stands there.
    pub text: String,
    /// As it was before it was shortened; the same as `text` otherwise.
    pub full: String,
    /// Edge of the box.
    pub left: f64,
    /// Edge of the box.
    pub top: f64,
    /// Edge of the box.
    pub right: f64,
    /// Edge of the box.
    pub bottom: f64,
}

impl Text {
    pub(crate) fn left(&self, font: &Font) -> f64 {
        let width = font.width(&self.text, self.size, self.weight);
        match self.anchor {
            Anchor::Start => self.at.0,
            Anchor::Middle => self.at.0 - width / 2.0,
            Anchor::End => self.at.0 - width,
        }
    }
}

impl Drawing {
    /// Width in units.
    pub fn width(&self) -> f64 {
        self.width
    }

    /// Height in units.
    pub fn height(&self) -> f64 {
        self.height
    }

    /// All texts with their places, as measured with the embedded font.
    pub fn labels(&self) -> Vec<Label> {
        let font = Font::embedded();
        self.texts()
            .map(|text| {
                let left = text.left(&font);
                Label {
                    text: text.text.clone(),
                    full: text.full.clone().unwrap_or_else(|| text.text.clone()),
                    left,
                    top: text.at.1 - font.ascent(text.size),
                    right: left + font.width(&text.text, text.size, text.weight),
                    bottom: text.at.1 + font.descent(text.size),
                }
            })
            .collect()
    }

    pub(crate) fn texts(&self) -> impl Iterator<Item = &Text> {
        self.marks.iter().filter_map(|mark| match mark {
            Mark::Text(text) => Some(text),
            _ => None,
        })
    }
}

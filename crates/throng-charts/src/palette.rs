//! The colours: few, each with one meaning in all pictures, and told apart by those who see fewer colours too (hues of
//! Okabe and Ito, "Color Universal Design", and differing lightness besides).

/// A colour with its opacity (0 to 1).
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Colour {
    pub(crate) red: u8,
    pub(crate) green: u8,
    pub(crate) blue: u8,
    pub(crate) opacity: f64,
}

const fn rgb(code: u32) -> Colour {
    Colour {
        red: (code >> 16) as u8,
        green: (code >> 8) as u8,
        blue: code as u8,
        opacity: 1.0,
    }
}

impl Colour {
    /// The same, seen through.
    pub(crate) const fn faded(self, opacity: f64) -> Self {
        Self { opacity, ..self }
    }
}

/// Behind everything.
pub(crate) const PAPER: Colour = rgb(0xffffff);
/// Titles and names.
pub(crate) const INK: Colour = rgb(0x1f2933);
/// Axes, explanations, and figures that are not news. Dark enough on paper to be read (contrast above 5 to 1).
pub(crate) const QUIET: Colour = rgb(0x5b6773);
/// Lines of the grid.
pub(crate) const GRID: Colour = rgb(0xe3e7eb);
/// The line from which values count.
pub(crate) const BASE: Colour = rgb(0x9aa5b1);

/// What went as it should.
pub(crate) const GOOD: Colour = rgb(0x0072b2);
/// What was refused, as it should be.
pub(crate) const REFUSED: Colour = rgb(0x7cc4ee);
/// What failed.
pub(crate) const BAD: Colour = rgb(0xd55e00);
/// Words about what failed: darker, so that they can be read on paper.
pub(crate) const ALARM: Colour = rgb(0xb04a00);
/// What was cut off before its end.
pub(crate) const UNFINISHED: Colour = rgb(0xb8c0c8);

/// The middle of what was measured.
pub(crate) const MEDIAN: Colour = rgb(0x0072b2);
/// The slow end of it.
pub(crate) const SLOW: Colour = rgb(0xe69f00);
/// The slowest, but for one in a hundred.
pub(crate) const SLOWEST: Colour = rgb(0x8b1a6b);

//! The embedded font: how wide texts are, and the outlines of their letters.
//!
//! A machine that runs load tests often has no fonts at all (containers), so the font is part of the program: Noto Sans,
//! from the crate `notosans`.

use ttf_parser::{Face, GlyphId, OutlineBuilder};

/// Fonts that an SVG asks for, the embedded one first. Those named are hardly wider than it.
pub(crate) const FAMILIES: &str =
    "'Noto Sans', 'Segoe UI', 'Helvetica Neue', Arial, 'Liberation Sans', sans-serif";

/// How heavy letters are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Weight {
    Regular,
    Bold,
}

/// Both weights of the embedded font.
pub(crate) struct Font {
    regular: Face<'static>,
    bold: Face<'static>,
}

impl Font {
    /// The font is a constant of the program, which a test reads: that it cannot be parsed is impossible from outside.
    pub(crate) fn embedded() -> Self {
        let face = |data| Face::parse(data, 0).expect("the embedded font is whole");
        Self {
            regular: face(notosans::REGULAR_TTF),
            bold: face(notosans::BOLD_TTF),
        }
    }

    fn face(&self, weight: Weight) -> &Face<'static> {
        match weight {
            Weight::Regular => &self.regular,
            Weight::Bold => &self.bold,
        }
    }

    /// Whether the font has a letter, in both weights.
    pub(crate) fn has(&self, letter: char) -> bool {
        [&self.regular, &self.bold]
            .iter()
            .all(|face| face.glyph_index(letter).is_some())
    }

    /// Letters that the font lacks get the box of the missing glyph.
    fn glyph(&self, letter: char, weight: Weight) -> GlyphId {
        self.face(weight).glyph_index(letter).unwrap_or(GlyphId(0))
    }

    /// The size of the font's own unit in a text of this size.
    pub(crate) fn unit(&self, size: f64, weight: Weight) -> f64 {
        size / f64::from(self.face(weight).units_per_em())
    }

    /// The width of a text. Kerning is left out: it makes words narrower by less than what must stay free anyway.
    pub(crate) fn width(&self, text: &str, size: f64, weight: Weight) -> f64 {
        text.chars()
            .map(|letter| self.advance(letter, size, weight))
            .sum()
    }

    /// The room that a text is given. An SVG is shown in the font that the viewer has: in DejaVu Sans, which most Linux
    /// machines call `sans-serif` and which is wider than the other usual ones, it needs so much more.
    pub(crate) fn room(&self, text: &str, size: f64, weight: Weight) -> f64 {
        self.width(text, size, weight) * Self::spare(weight)
    }

    /// How many times wider a text may become in another font.
    pub(crate) fn spare(weight: Weight) -> f64 {
        match weight {
            Weight::Regular => 1.12,
            Weight::Bold => 1.17,
        }
    }

    /// How far the next letter stands from this one.
    pub(crate) fn advance(&self, letter: char, size: f64, weight: Weight) -> f64 {
        let face = self.face(weight);
        let advance = face
            .glyph_hor_advance(self.glyph(letter, weight))
            .unwrap_or(face.units_per_em());
        f64::from(advance) * self.unit(size, weight)
    }

    /// How far capitals and the letters' upper strokes reach above the base line. What stands above that (accents on
    /// capitals) has the room between lines.
    pub(crate) fn ascent(&self, size: f64) -> f64 {
        size * 0.78
    }

    /// How far letters reach below the base line.
    pub(crate) fn descent(&self, size: f64) -> f64 {
        size * 0.24
    }

    /// Draws a letter's outline in the font's own units ([`Font::unit`]), its origin at (0, 0), y upwards.
    pub(crate) fn outline(&self, letter: char, weight: Weight, builder: &mut dyn OutlineBuilder) {
        // A letter without an outline is a blank.
        let _ = self
            .face(weight)
            .outline_glyph(self.glyph(letter, weight), builder);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_font_has_what_pictures_say() {
        let font = Font::embedded();
        for weight in [Weight::Regular, Weight::Bold] {
            for letter in "abcXYZ0123456789 /{}_-.,:;()%µ…·×≤–→äöüéßñøłžαβДж".chars()
            {
                assert!(
                    font.face(weight).glyph_index(letter).is_some(),
                    "{letter:?} is not in the font"
                );
            }
        }
    }

    #[test]
    fn figures_are_equally_wide() {
        let font = Font::embedded();
        let zero = font.width("0", 12.0, Weight::Regular);
        for digit in '1'..='9' {
            assert_eq!(font.width(&digit.to_string(), 12.0, Weight::Regular), zero);
        }
    }

    #[test]
    fn bold_and_larger_texts_are_wider() {
        let font = Font::embedded();
        let width = |size, weight| font.width("GET /users/{id}", size, weight);
        assert!(width(12.0, Weight::Bold) > width(12.0, Weight::Regular));
        assert!((width(24.0, Weight::Regular) - 2.0 * width(12.0, Weight::Regular)).abs() < 1e-9);
    }
}

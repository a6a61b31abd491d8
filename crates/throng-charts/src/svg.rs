//! A drawing as SVG 1.1: real texts in a common font, the full name of what was shortened in a `<title>`.

use std::fmt::Write as _;

use crate::drawing::{Anchor, Drawing, Mark, Rect, Text};
use crate::font::{FAMILIES, Weight};
use crate::palette::{Colour, PAPER};

impl Drawing {
    /// The drawing as an SVG document.
    pub fn to_svg(&self) -> String {
        let mut svg = String::with_capacity(self.marks.len() * 96 + 1024);
        let (width, height) = (number(self.width), number(self.height));
        let _ = write!(
            svg,
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" \
             viewBox=\"0 0 {width} {height}\" role=\"img\" aria-label=\"{}\" font-family=\"{FAMILIES}\">\n\
             <rect width=\"{width}\" height=\"{height}\"{}/>\n",
            escaped(&self.title),
            paint("fill", PAPER),
        );
        for mark in &self.marks {
            // Writing to a string cannot fail.
            let _ = write_mark(&mut svg, mark);
        }
        svg.push_str("</svg>\n");
        svg
    }
}

fn write_mark(svg: &mut String, mark: &Mark) -> std::fmt::Result {
    match mark {
        Mark::Line {
            points,
            colour,
            width,
        } => writeln!(
            svg,
            "<polyline points=\"{}\" fill=\"none\"{} stroke-width=\"{}\" stroke-linejoin=\"round\"/>",
            list(points),
            paint("stroke", *colour),
            number(*width),
        ),
        Mark::Area { points, colour } => writeln!(
            svg,
            "<polygon points=\"{}\"{}/>",
            list(points),
            paint("fill", *colour)
        ),
        Mark::Block { area, colour } => {
            writeln!(svg, "<rect {}{}/>", edges(area), paint("fill", *colour))
        }
        Mark::Dot {
            centre,
            radius,
            colour,
        } => writeln!(
            svg,
            "<circle cx=\"{}\" cy=\"{}\" r=\"{}\"{}/>",
            number(centre.0),
            number(centre.1),
            number(*radius),
            paint("fill", *colour),
        ),
        Mark::Text(text) => write_text(svg, text),
        Mark::Hint { area, text } => writeln!(
            svg,
            "<rect {} fill=\"none\" pointer-events=\"all\"><title>{}</title></rect>",
            edges(area),
            escaped(text),
        ),
    }
}

fn write_text(svg: &mut String, text: &Text) -> std::fmt::Result {
    let anchor = match text.anchor {
        Anchor::Start => "",
        Anchor::Middle => " text-anchor=\"middle\"",
        Anchor::End => " text-anchor=\"end\"",
    };
    let weight = match text.weight {
        Weight::Regular => "",
        Weight::Bold => " font-weight=\"bold\"",
    };
    write!(
        svg,
        "<text x=\"{}\" y=\"{}\" font-size=\"{}\"{anchor}{weight}{}>",
        number(text.at.0),
        number(text.at.1),
        number(text.size),
        paint("fill", text.colour),
    )?;
    if let Some(full) = &text.full {
        write!(svg, "<title>{}</title>", escaped(full))?;
    }
    writeln!(svg, "{}</text>", escaped(&text.text))
}

fn list(points: &[(f64, f64)]) -> String {
    let mut list = String::with_capacity(points.len() * 12);
    for (x, y) in points {
        let gap = if list.is_empty() { "" } else { " " };
        let _ = write!(list, "{gap}{},{}", number(*x), number(*y));
    }
    list
}

fn edges(area: &Rect) -> String {
    format!(
        "x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\"",
        number(area.left),
        number(area.top),
        number(area.width()),
        number(area.height()),
    )
}

fn paint(property: &str, colour: Colour) -> String {
    let Colour {
        red, green, blue, ..
    } = colour;
    let mut paint = format!(" {property}=\"#{red:02x}{green:02x}{blue:02x}\"");
    if colour.opacity < 1.0 {
        let _ = write!(paint, " {property}-opacity=\"{}\"", number(colour.opacity));
    }
    paint
}

/// To two digits after the point, without zeros at the end.
fn number(value: f64) -> String {
    let text = format!("{value:.2}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    if text == "-0" {
        "0".to_owned()
    } else {
        text.to_owned()
    }
}

/// Text as content or attribute. Characters that XML 1.0 has no way to write (section 2.2) are replaced.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\t' | '\n' | '\r' => escaped.push(' '),
            letter if letter.is_control() || matches!(letter, '\u{fffe}' | '\u{ffff}') => {
                escaped.push('\u{fffd}');
            }
            letter => escaped.push(letter),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short() {
        for (value, text) in [
            (0.0, "0"),
            (-0.001, "0"),
            (12.0, "12"),
            (12.5, "12.5"),
            (1.0 / 3.0, "0.33"),
            (-7.128, "-7.13"),
            (100.0, "100"),
        ] {
            assert_eq!(number(value), text);
        }
    }

    #[test]
    fn nothing_in_a_text_ends_it() {
        assert_eq!(
            escaped("GET /<a href=\"x\">&\u{0}\u{1b}[31m\u{ffff}\n"),
            "GET /&lt;a href=&quot;x&quot;&gt;&amp;\u{fffd}\u{fffd}[31m\u{fffd} "
        );
    }
}

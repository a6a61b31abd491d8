//! A drawing as PNG: shapes and the outlines of letters, filled with soft edges.

use tiny_skia::{
    Color, FillRule, LineJoin, Paint, Path, PathBuilder, Pixmap, PixmapMut, Stroke, Transform,
};
use ttf_parser::OutlineBuilder;

use crate::drawing::{Drawing, Mark, Point, Text};
use crate::error::ChartError;
use crate::font::Font;
use crate::palette::{Colour, PAPER};

/// A picture has no more pixels than this: 400 MB while it's drawn.
const MOST_PIXELS: f32 = 1e8;

impl Drawing {
    /// The drawing as a PNG of `scale` pixels for each unit.
    ///
    /// # Errors
    /// If that's too large or nothing at all.
    pub fn to_png(&self, scale: f32) -> Result<Vec<u8>, ChartError> {
        let (width, height) = (self.width as f32 * scale, self.height as f32 * scale);
        let fits = width >= 1.0 && height >= 1.0 && width * height <= MOST_PIXELS;
        let mut pixmap = fits
            .then(|| Pixmap::new(width.round() as u32, height.round() as u32))
            .flatten()
            .ok_or(ChartError::Size { width, height })?;
        pixmap.fill(color(PAPER));
        let font = Font::embedded();
        let mut canvas = Canvas {
            pixels: pixmap.as_mut(),
            transform: Transform::from_scale(scale, scale),
            font: &font,
        };
        for mark in &self.marks {
            canvas.draw(mark);
        }
        pixmap
            .encode_png()
            .map_err(|error| ChartError::Encode(error.to_string()))
    }
}

struct Canvas<'a> {
    pixels: PixmapMut<'a>,
    transform: Transform,
    font: &'a Font,
}

impl Canvas<'_> {
    fn draw(&mut self, mark: &Mark) {
        match mark {
            Mark::Line {
                points,
                colour,
                width,
            } => self.line(points, *colour, *width),
            Mark::Area { points, colour } => {
                if let Some(path) = through(points, true) {
                    self.fill(&path, *colour);
                }
            }
            Mark::Block { area, colour } => {
                let corners = [
                    (area.left, area.top),
                    (area.right, area.top),
                    (area.right, area.bottom),
                    (area.left, area.bottom),
                ];
                if let Some(path) = through(&corners, true) {
                    self.fill(&path, *colour);
                }
            }
            Mark::Dot {
                centre,
                radius,
                colour,
            } => {
                let circle =
                    PathBuilder::from_circle(centre.0 as f32, centre.1 as f32, *radius as f32);
                if let Some(path) = circle {
                    self.fill(&path, *colour);
                }
            }
            Mark::Text(text) => self.text(text),
            // There's no pointer over pixels.
            Mark::Hint { .. } => {}
        }
    }

    fn fill(&mut self, path: &Path, colour: Colour) {
        self.pixels.fill_path(
            path,
            &paint(colour),
            FillRule::Winding,
            self.transform,
            None,
        );
    }

    fn line(&mut self, points: &[Point], colour: Colour, width: f64) {
        let Some(path) = through(points, false) else {
            return;
        };
        let stroke = Stroke {
            width: width as f32,
            line_join: LineJoin::Round,
            ..Stroke::default()
        };
        self.pixels
            .stroke_path(&path, &paint(colour), &stroke, self.transform, None);
    }

    fn text(&mut self, text: &Text) {
        let mut pen = GlyphPen {
            path: PathBuilder::new(),
            x: text.left(self.font) as f32,
            y: text.at.1 as f32,
            unit: 0.0,
        };
        for letter in text.text.chars() {
            pen.unit = self.font.unit(text.size, text.weight) as f32;
            self.font.outline(letter, text.weight, &mut pen);
            pen.x += self.font.advance(letter, text.size, text.weight) as f32;
        }
        if let Some(path) = pen.path.finish() {
            self.fill(&path, text.colour);
        }
    }
}

/// Puts letters side by side into one path.
struct GlyphPen {
    path: PathBuilder,
    x: f32,
    y: f32,
    unit: f32,
}

impl GlyphPen {
    fn x(&self, x: f32) -> f32 {
        self.x + x * self.unit
    }

    /// A font's y axis points upwards.
    fn y(&self, y: f32) -> f32 {
        self.y - y * self.unit
    }
}

impl OutlineBuilder for GlyphPen {
    fn move_to(&mut self, x: f32, y: f32) {
        self.path.move_to(self.x(x), self.y(y));
    }

    fn line_to(&mut self, x: f32, y: f32) {
        self.path.line_to(self.x(x), self.y(y));
    }

    fn quad_to(&mut self, x1: f32, y1: f32, x: f32, y: f32) {
        self.path
            .quad_to(self.x(x1), self.y(y1), self.x(x), self.y(y));
    }

    fn curve_to(&mut self, x1: f32, y1: f32, x2: f32, y2: f32, x: f32, y: f32) {
        self.path.cubic_to(
            self.x(x1),
            self.y(y1),
            self.x(x2),
            self.y(y2),
            self.x(x),
            self.y(y),
        );
    }

    fn close(&mut self) {
        self.path.close();
    }
}

/// Nothing where there are too few points for a path.
fn through(points: &[Point], closed: bool) -> Option<Path> {
    let mut path = PathBuilder::new();
    for (index, (x, y)) in points.iter().enumerate() {
        match index {
            0 => path.move_to(*x as f32, *y as f32),
            _ => path.line_to(*x as f32, *y as f32),
        }
    }
    if closed {
        path.close();
    }
    path.finish()
}

fn color(colour: Colour) -> Color {
    let opacity = (colour.opacity.clamp(0.0, 1.0) * 255.0).round() as u8;
    Color::from_rgba8(colour.red, colour.green, colour.blue, opacity)
}

fn paint(colour: Colour) -> Paint<'static> {
    let mut paint = Paint::default();
    paint.set_color(color(colour));
    paint.anti_alias = true;
    paint
}

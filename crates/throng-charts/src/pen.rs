//! The plotting crate's way into a drawing: its backend.
//!
//! `plotters` counts in whole pixels. To place lines finer than that, it's told that everything is [`FINE`] times as
//! large. It draws no texts here: their places are found by whoever knows how wide they are.

use std::convert::Infallible;

use plotters::drawing::DrawingAreaErrorKind;
use plotters::style::{RGBAColor, ShapeStyle};
use plotters_backend::{
    BackendColor, BackendCoord, BackendStyle, BackendTextStyle, DrawingBackend, DrawingErrorKind,
};

use crate::drawing::{Drawing, Mark, Point, Rect};
use crate::error::ChartError;
use crate::palette::Colour;

/// The plotting crate's pixels in one unit of the drawing.
pub(crate) const FINE: f64 = 32.0;

/// No picture is higher than this, in units.
const HIGHEST: f64 = 100_000.0;

/// In the plotting crate's pixels.
pub(crate) fn fine(units: f64) -> i32 {
    (units * FINE).round() as i32
}

/// A line of that width in units.
pub(crate) fn stroke(colour: Colour, width: f64) -> ShapeStyle {
    ShapeStyle {
        color: RGBAColor(colour.red, colour.green, colour.blue, colour.opacity),
        filled: false,
        stroke_width: fine(width).unsigned_abs(),
    }
}

/// A filled shape.
pub(crate) fn fill(colour: Colour) -> ShapeStyle {
    ShapeStyle {
        filled: true,
        ..stroke(colour, 0.0)
    }
}

impl From<DrawingAreaErrorKind<Infallible>> for ChartError {
    fn from(error: DrawingAreaErrorKind<Infallible>) -> Self {
        Self::Plot(error.to_string())
    }
}

/// Draws into a drawing what the plotting crate tells it to.
pub(crate) struct Pen<'a>(pub(crate) &'a mut Drawing);

fn point((x, y): BackendCoord) -> Point {
    (f64::from(x) / FINE, f64::from(y) / FINE)
}

fn colour(BackendColor { alpha, rgb }: BackendColor) -> Colour {
    Colour {
        red: rgb.0,
        green: rgb.1,
        blue: rgb.2,
        opacity: alpha,
    }
}

type Drawn = Result<(), DrawingErrorKind<Infallible>>;

impl DrawingBackend for Pen<'_> {
    type ErrorType = Infallible;

    /// How high the picture becomes isn't known while it's drawn, and the plotting crate cuts off what is outside.
    fn get_size(&self) -> (u32, u32) {
        let height = fine(HIGHEST).unsigned_abs();
        (fine(self.0.width).unsigned_abs(), height)
    }

    fn ensure_prepared(&mut self) -> Drawn {
        Ok(())
    }

    fn present(&mut self) -> Drawn {
        Ok(())
    }

    fn draw_pixel(&mut self, at: BackendCoord, with: BackendColor) -> Drawn {
        let (left, top) = point(at);
        let area = Rect {
            left,
            top,
            right: left + 1.0 / FINE,
            bottom: top + 1.0 / FINE,
        };
        self.0.marks.push(Mark::Block {
            area,
            colour: colour(with),
        });
        Ok(())
    }

    fn draw_line<S: BackendStyle>(
        &mut self,
        from: BackendCoord,
        to: BackendCoord,
        style: &S,
    ) -> Drawn {
        self.draw_path([from, to], style)
    }

    fn draw_rect<S: BackendStyle>(
        &mut self,
        upper_left: BackendCoord,
        bottom_right: BackendCoord,
        style: &S,
        filled: bool,
    ) -> Drawn {
        if !filled {
            let (left, top, right, bottom) =
                (upper_left.0, upper_left.1, bottom_right.0, bottom_right.1);
            let corners = [
                (left, top),
                (right, top),
                (right, bottom),
                (left, bottom),
                (left, top),
            ];
            return self.draw_path(corners, style);
        }
        let ((left, top), (right, bottom)) = (point(upper_left), point(bottom_right));
        let area = Rect {
            left: left.min(right),
            top: top.min(bottom),
            right: left.max(right),
            bottom: top.max(bottom),
        };
        self.0.marks.push(Mark::Block {
            area,
            colour: colour(style.color()),
        });
        Ok(())
    }

    fn draw_path<S: BackendStyle, I: IntoIterator<Item = BackendCoord>>(
        &mut self,
        path: I,
        style: &S,
    ) -> Drawn {
        self.0.marks.push(Mark::Line {
            points: path.into_iter().map(point).collect(),
            colour: colour(style.color()),
            width: f64::from(style.stroke_width()) / FINE,
        });
        Ok(())
    }

    fn draw_circle<S: BackendStyle>(
        &mut self,
        centre: BackendCoord,
        radius: u32,
        style: &S,
        _filled: bool,
    ) -> Drawn {
        self.0.marks.push(Mark::Dot {
            centre: point(centre),
            radius: f64::from(radius) / FINE,
            colour: colour(style.color()),
        });
        Ok(())
    }

    fn fill_polygon<S: BackendStyle, I: IntoIterator<Item = BackendCoord>>(
        &mut self,
        corners: I,
        style: &S,
    ) -> Drawn {
        self.0.marks.push(Mark::Area {
            points: corners.into_iter().map(point).collect(),
            colour: colour(style.color()),
        });
        Ok(())
    }

    fn draw_text<S: BackendTextStyle>(
        &mut self,
        text: &str,
        _style: &S,
        _at: BackendCoord,
    ) -> Drawn {
        let why = format!("the plotting crate was to write {text:?}: pages place texts themselves");
        Err(DrawingErrorKind::FontError(why.into()))
    }
}

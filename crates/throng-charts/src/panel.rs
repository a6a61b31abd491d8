//! A panel: two axes, a grid, and lines or steps in it. Time goes from left to right.

use plotters::coord::Shift;
use plotters::coord::cartesian::Cartesian2d;
use plotters::drawing::{DrawingArea, IntoDrawingArea};
use plotters::element::PathElement;
use plotters::series::{AreaSeries, LineSeries};

use crate::drawing::{Anchor, Drawing, Mark, Rect};
use crate::error::ChartError;
use crate::page::{GAP, MARGIN, Page, SIZE, WIDTH};
use crate::palette::{BASE, Colour, GRID, QUIET};
use crate::pen::{Pen, fill, fine, stroke};
use crate::scale::{Scale, Tick};

/// Two axes and where they are.
#[derive(Debug)]
pub(crate) struct Panel {
    pub(crate) area: Rect,
    pub(crate) x: Scale,
    pub(crate) y: Scale,
}

/// A value that holds from one point of the x axis to another; nothing where there is none.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Step {
    pub(crate) from: f64,
    pub(crate) to: f64,
    pub(crate) value: Option<f64>,
}

/// An area of the plotting crate in which places are values of two axes.
pub(crate) type Plot<'a, Y> = DrawingArea<Pen<'a>, Cartesian2d<Scale, Y>>;

/// The plotting crate's view of this area with these axes, the y axis upwards.
pub(crate) fn plot<'a, Y>(drawing: &'a mut Drawing, area: Rect, x: &Scale, y: Y) -> Plot<'a, Y>
where
    Y: plotters::coord::ranged1d::Ranged,
{
    let whole: DrawingArea<Pen<'a>, Shift> = Pen(drawing).into_drawing_area();
    let across = fine(area.left)..fine(area.right);
    let up = fine(area.bottom)..fine(area.top);
    whole.apply_coord_spec(Cartesian2d::new(x.clone(), y, (across, up)))
}

/// The colour of a line of the grid: fainter where it has no words.
pub(crate) fn grid(tick: &Tick, worded: &[&Tick]) -> Colour {
    let has_words = worded.iter().any(|other| std::ptr::eq(*other, tick));
    GRID.faded(if has_words { 1.0 } else { 0.55 })
}

/// How much room the words beside these y axes need, so that panels above each other begin at the same place.
pub(crate) fn gutter<'a>(page: &Page, axes: impl IntoIterator<Item = &'a Scale>) -> f64 {
    let ticks = axes.into_iter().flat_map(Scale::ticks);
    let widest = ticks.map(|tick| page.room(&tick.text)).fold(0.0, f64::max);
    MARGIN + widest + GAP
}

impl Panel {
    /// Axes below what is on the page already, with the words of the y axis beside them and the grid behind.
    pub(crate) fn new(
        page: &mut Page,
        left: f64,
        height: f64,
        x: Scale,
        y: Scale,
    ) -> Result<Self, ChartError> {
        let top = page.bottom + 11.0;
        let area = Rect {
            left,
            top,
            right: WIDTH - MARGIN - 4.0,
            bottom: top + height,
        };
        let panel = Self { area, x, y };
        let (start, end) = (0.0, panel.x.end());
        let worded = panel.y.worded(height, |_| SIZE * 1.4);
        let plot = panel.plot(&mut page.drawing);
        for tick in panel.y.ticks() {
            let line = vec![(start, tick.value), (end, tick.value)];
            plot.draw(&PathElement::new(line, stroke(grid(tick, &worded), 1.0)))?;
        }
        drop(plot);
        for tick in worded {
            let y = area.bottom - panel.y.fraction(tick.value) * area.height() + SIZE * 0.36;
            page.write(&tick.text, (left - GAP, y), Anchor::End, QUIET);
        }
        page.bottom = area.bottom;
        Ok(panel)
    }

    /// The line from which its values count; drawn after them, so that nothing lies over it.
    pub(crate) fn base(&self, page: &mut Page) -> Result<(), ChartError> {
        let lowest = self.y.start();
        let line = vec![(0.0, lowest), (self.x.end(), lowest)];
        self.plot(&mut page.drawing)
            .draw(&PathElement::new(line, stroke(BASE, 1.0)))?;
        for tick in self.x.ticks() {
            let x = self.across(tick.value);
            // It points out of the panel, where the axes have no values.
            page.drawing.marks.push(Mark::Line {
                points: vec![(x, self.area.bottom), (x, self.area.bottom + 4.0)],
                colour: BASE,
                width: 1.0,
            });
        }
        Ok(())
    }

    /// The words of the x axis, and what it counts.
    pub(crate) fn x_words(&self, page: &mut Page, title: &str) {
        page.bottom = self.area.bottom + 4.0 + SIZE + 4.0;
        let room = |text: &str| page.room(text) + GAP;
        for tick in self.x.worded(self.area.width(), room) {
            let at = (self.across(tick.value), page.bottom);
            page.write(&tick.text, at, Anchor::Middle, QUIET);
        }
        page.bottom += SIZE + 7.0;
        let middle = (self.area.left + self.area.right) / 2.0;
        page.write(title, (middle, page.bottom), Anchor::Middle, QUIET);
    }

    /// Where a value of the x axis is on the page.
    pub(crate) fn across(&self, value: f64) -> f64 {
        self.area.left + self.x.fraction(value) * self.area.width()
    }

    pub(crate) fn plot<'a>(&self, drawing: &'a mut Drawing) -> Plot<'a, Scale> {
        plot(drawing, self.area, &self.x, self.y.clone())
    }

    /// Steps with what is below them filled.
    pub(crate) fn filled_steps(
        &self,
        drawing: &mut Drawing,
        steps: &[Step],
        colour: Colour,
        opacity: f64,
    ) -> Result<(), ChartError> {
        let plot = self.plot(drawing);
        for points in runs(steps) {
            let area = AreaSeries::new(points, 0.0, fill(colour.faded(opacity)))
                .border_style(stroke(colour, 1.3));
            for element in area {
                plot.draw(&element)?;
            }
        }
        Ok(())
    }

    /// Steps as a line, broken off where there is no value.
    pub(crate) fn steps(
        &self,
        drawing: &mut Drawing,
        steps: &[Step],
        colour: Colour,
    ) -> Result<(), ChartError> {
        let plot = self.plot(drawing);
        for points in runs(steps) {
            for element in LineSeries::new(points, stroke(colour, 1.6)) {
                plot.draw(&element)?;
            }
        }
        Ok(())
    }
}

/// The corners of steps that follow each other without a gap.
fn runs(steps: &[Step]) -> Vec<Vec<(f64, f64)>> {
    let mut runs: Vec<Vec<(f64, f64)>> = Vec::new();
    let mut joined = false;
    for step in steps {
        let Some(value) = step.value else {
            joined = false;
            continue;
        };
        if !joined {
            runs.push(Vec::new());
        }
        joined = true;
        if let Some(run) = runs.last_mut() {
            run.extend([(step.from, value), (step.to, value)]);
        }
    }
    runs
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_break_off_where_there_is_nothing() {
        let step = |from, value| Step {
            from,
            to: from + 1.0,
            value,
        };
        let steps = [
            step(0.0, Some(5.0)),
            step(1.0, Some(6.0)),
            step(2.0, None),
            step(3.0, Some(7.0)),
        ];
        assert_eq!(
            runs(&steps),
            [
                vec![(0.0, 5.0), (1.0, 5.0), (1.0, 6.0), (2.0, 6.0)],
                vec![(3.0, 7.0), (4.0, 7.0)]
            ]
        );
        assert!(runs(&[step(0.0, None)]).is_empty());
    }
}

//! Rows of names, each with a plot beside it and figures at its end. The picture grows with the rows.

use plotters::coord::types::RangedCoordf64;
use plotters::element::PathElement;

use crate::drawing::{Anchor, Drawing, Mark, Rect};
use crate::error::ChartError;
use crate::page::{GAP, Key, MARGIN, Page, SIZE, WIDTH};
use crate::palette::{BASE, Colour, GRID, INK, QUIET};
use crate::panel::{Plot, grid, plot};
use crate::pen::stroke;
use crate::scale::{Scale, Tick};

/// The height of a row.
const ROW: f64 = 24.0;
/// No name is wider.
const WIDEST_NAME: f64 = 340.0;
/// With more rows than this the axis is written above them, too.
const LONG: usize = 16;

/// What a table of rows shows.
#[derive(Debug)]
pub(crate) struct Table {
    pub(crate) rows: Vec<Row>,
    /// What the figures at the end of each row are.
    pub(crate) columns: Vec<Column>,
    pub(crate) axis: Scale,
    /// What the axis counts.
    pub(crate) axis_title: String,
}

/// One row.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) name: String,
    /// The name before anything was left out.
    pub(crate) full: String,
    /// As many as there are columns.
    pub(crate) cells: Vec<Cell>,
    /// What a pointer is told.
    pub(crate) hint: String,
}

/// A column of figures; its heading is an entry of the legend where it has a colour in the plot.
#[derive(Debug)]
pub(crate) enum Column {
    Plain(&'static str),
    Legend(Key),
}

/// A figure.
#[derive(Debug)]
pub(crate) struct Cell {
    pub(crate) text: String,
    pub(crate) colour: Colour,
}

impl Cell {
    pub(crate) fn new(text: impl Into<String>) -> Self {
        Self {
            text: text.into(),
            colour: INK,
        }
    }

    /// One that is no news.
    pub(crate) fn quiet(text: impl Into<String>) -> Self {
        Self {
            text: text.into(),
            colour: QUIET,
        }
    }

    pub(crate) fn in_colour(text: impl Into<String>, colour: Colour) -> Self {
        Self {
            text: text.into(),
            colour,
        }
    }
}

/// Where the rows are, once they're laid out.
#[derive(Debug)]
pub(crate) struct Rows {
    pub(crate) area: Rect,
    axis: Scale,
    count: usize,
}

impl Table {
    /// Writes names, figures and axes below what is on the page already. What the plot shows is drawn afterwards.
    pub(crate) fn lay_out(&self, page: &mut Page) -> Result<Rows, ChartError> {
        let names = self.rows.iter().map(|row| page.room(&row.name));
        let name_width = names.fold(0.0, f64::max).min(WIDEST_NAME);
        let widths: Vec<f64> = (0..self.columns.len())
            .map(|index| self.column_width(page, index))
            .collect();
        let figures: f64 = widths.iter().map(|width| width + 2.0 * GAP).sum();
        let is_long = self.rows.len() > LONG;
        let top = page.bottom + if is_long { 46.0 } else { 24.0 };
        let area = Rect {
            left: MARGIN + name_width + 1.5 * GAP,
            top,
            right: WIDTH - MARGIN - figures,
            bottom: top + ROW * self.rows.len() as f64,
        };
        let rows = Rows {
            area,
            axis: self.axis.clone(),
            count: self.rows.len(),
        };
        self.grid(page, &rows)?;
        if is_long {
            self.axis_words(page, &rows, area.top - 8.0);
        }
        self.headings(page, &widths, page.bottom + SIZE + 2.0);
        for (index, row) in self.rows.iter().enumerate() {
            let base = rows.middle(index) + SIZE * 0.36;
            name(page, row, name_width, base);
            let mut right = area.right;
            for (cell, width) in row.cells.iter().zip(&widths) {
                right += width + 2.0 * GAP;
                page.write(&cell.text, (right, base), Anchor::End, cell.colour);
            }
        }
        page.bottom = area.bottom;
        if self.axis.ticks().is_empty() {
            return Ok(rows);
        }
        page.bottom += 5.0 + SIZE + 4.0;
        self.axis_words(page, &rows, page.bottom);
        page.bottom += SIZE + 7.0;
        let middle = (area.left + area.right) / 2.0;
        let title = &self.axis_title;
        page.write(title, (middle, page.bottom), Anchor::Middle, QUIET);
        Ok(rows)
    }

    /// What a pointer is told over each row; drawn last, so that it's found above everything.
    pub(crate) fn hints(&self, page: &mut Page, rows: &Rows) {
        for (index, row) in self.rows.iter().enumerate() {
            let middle = rows.middle(index);
            let area = Rect {
                left: MARGIN,
                top: middle - ROW / 2.0,
                right: WIDTH - MARGIN,
                bottom: middle + ROW / 2.0,
            };
            page.drawing.marks.push(Mark::Hint {
                area,
                text: row.hint.clone(),
            });
        }
    }

    fn column_width(&self, page: &Page, index: usize) -> f64 {
        let heading = match &self.columns[index] {
            Column::Plain(text) => page.room(text),
            Column::Legend(key) => page.key_room(&key.text),
        };
        let cells = self.rows.iter().filter_map(|row| row.cells.get(index));
        cells
            .map(|cell| page.room(&cell.text))
            .fold(heading, f64::max)
    }

    fn headings(&self, page: &mut Page, widths: &[f64], base: f64) {
        let figures: f64 = widths.iter().map(|width| width + 2.0 * GAP).sum();
        let mut right = WIDTH - MARGIN - figures;
        for (column, width) in self.columns.iter().zip(widths) {
            right += width + 2.0 * GAP;
            match column {
                Column::Plain(text) => page.write(*text, (right, base), Anchor::End, QUIET),
                Column::Legend(key) => {
                    let left = right - page.key_room(&key.text);
                    page.key(key, (left, base));
                }
            }
        }
    }

    fn axis_words(&self, page: &mut Page, rows: &Rows, base: f64) {
        for tick in self.worded(page, rows) {
            let x = rows.area.left + self.axis.fraction(tick.value) * rows.area.width();
            page.write(&tick.text, (x, base), Anchor::Middle, QUIET);
        }
    }

    fn worded(&self, page: &Page, rows: &Rows) -> Vec<&Tick> {
        let room = |text: &str| page.room(text) + GAP;
        self.axis.worded(rows.area.width(), room)
    }

    fn grid(&self, page: &mut Page, rows: &Rows) -> Result<(), ChartError> {
        let worded = self.worded(page, rows);
        let marks = self.axis.ticks().iter();
        let marks = marks.map(|tick| (tick.value, grid(tick, &worded)));
        let lines: Vec<_> = marks.chain([(self.axis.start(), BASE)]).collect();
        let plot = rows.plot(&mut page.drawing);
        for (value, colour) in lines {
            let line = vec![(value, 0.0), (value, rows.count as f64)];
            plot.draw(&PathElement::new(line, stroke(colour, 1.0)))?;
        }
        drop(plot);
        // Over the whole width, names and figures included: the eye follows it from one to the other.
        for index in 0..=rows.count {
            let y = rows.area.top + ROW * index as f64;
            page.drawing.marks.push(Mark::Line {
                points: vec![(MARGIN, y), (WIDTH - MARGIN, y)],
                colour: GRID,
                width: 1.0,
            });
        }
        Ok(())
    }
}

impl Rows {
    /// The plotting crate's view: x is the axis, y the number of the row from the top, its middle at one half.
    pub(crate) fn plot<'a>(&self, drawing: &'a mut Drawing) -> Plot<'a, RangedCoordf64> {
        let down = RangedCoordf64::from(self.count as f64..0.0);
        plot(drawing, self.area, &self.axis, down)
    }

    /// Where the middle of a row is on the page.
    pub(crate) fn middle(&self, row: usize) -> f64 {
        self.area.top + ROW * (row as f64 + 0.5)
    }

    /// How much of the axis takes so many units of the page, where the axis is linear.
    pub(crate) fn values_in(&self, units: f64) -> f64 {
        self.axis.end() * units / self.area.width()
    }
}

/// A name that lost its middle, or its beginning, keeps the whole of it for those who ask.
fn name(page: &mut Page, row: &Row, room: f64, base: f64) {
    page.fitted(&row.name, (MARGIN, base), Anchor::Start, room + 0.01, INK);
    if row.name == row.full {
        return;
    }
    if let Some(Mark::Text(text)) = page.drawing.marks.last_mut() {
        text.full = Some(row.full.clone());
    }
}

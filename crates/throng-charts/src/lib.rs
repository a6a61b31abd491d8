//! Pictures of a run: what its report says, drawn as SVG and PNG.
//!
//! [`draw`] makes a [`Drawing`] from a [`Report`]; [`Drawing::to_svg`] and [`Drawing::to_png`] write it, and
//! [`write_all`] puts all pictures of a report into a directory. Every picture is made of the same parts: a page with
//! title and legend, panels with two axes, rows of names with a plot and figures beside them. The plotting crate
//! (`plotters`) places data on axes and draws shapes; texts are measured with the font that the PNG is drawn with, so
//! that nothing overlaps.
//!
//! Nothing here measures, aggregates samples or knows how a load is made, and nothing is asked of the machine: the font
//! is part of the program.

mod drawing;
mod error;
mod font;
mod label;
mod page;
mod palette;
mod panel;
mod pen;
mod picture;
mod png;
mod rows;
mod scale;
mod svg;
mod unit;

use std::fs;
use std::path::{Path, PathBuf};

use throng_metrics::Report;

pub use drawing::{Drawing, Label};
pub use error::ChartError;
pub use picture::Picture;

/// How many pixels of a PNG a unit of the drawing gets in [`write_all`]: sharp on screens of high density, and in print.
const SCALE: f32 = 2.0;

/// Draws one picture of a report. A report without data gives a picture that says so.
pub fn draw(report: &Report, picture: Picture) -> Result<Drawing, ChartError> {
    picture::draw(report, picture)
}

/// Writes every picture of a report as `<stem>_<picture>.svg` and `.png` into a directory, which is created where it is
/// missing; files of the same names are replaced. Without a stem the names are those of the pictures alone. Returns the
/// paths in the order of [`Picture::ALL`].
pub fn write_all(
    report: &Report,
    directory: &Path,
    stem: &str,
) -> Result<Vec<PathBuf>, ChartError> {
    fs::create_dir_all(directory).map_err(ChartError::write(directory))?;
    let mut written = Vec::new();
    for picture in Picture::ALL {
        let drawing = draw(report, picture)?;
        let name = match stem {
            "" => picture.name().to_owned(),
            stem => format!("{stem}_{}", picture.name()),
        };
        let files = [
            ("svg", drawing.to_svg().into_bytes()),
            ("png", drawing.to_png(SCALE)?),
        ];
        for (extension, content) in files {
            let path = directory.join(format!("{name}.{extension}"));
            fs::write(&path, content).map_err(ChartError::write(&path))?;
            written.push(path);
        }
    }
    Ok(written)
}

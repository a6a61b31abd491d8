//! Draws the pictures of a report, or of made-up runs of every kind, to be looked at:
//!
//!     cargo run -p throng-charts --example pictures -- DIRECTORY [REPORT.json]

use std::path::PathBuf;

use throng_metrics::Report;

#[path = "../tests/it/sample.rs"]
#[allow(dead_code)]
mod sample;

#[expect(
    clippy::disallowed_methods,
    clippy::disallowed_macros,
    reason = "an example is a program"
)]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args_os().skip(1).map(PathBuf::from);
    let directory = arguments.next().ok_or("which directory?")?;
    let reports: Vec<(String, Report)> = match arguments.next() {
        Some(path) => vec![(
            String::new(),
            serde_json::from_str(&std::fs::read_to_string(path)?)?,
        )],
        None => sample::reports()
            .into_iter()
            .map(|(name, report)| (name.to_owned(), report))
            .collect(),
    };
    for (name, report) in &reports {
        for path in throng_charts::write_all(report, &directory, name)? {
            println!("{}", path.display());
        }
    }
    Ok(())
}

//! Where the report goes: pictures, the file, the screen.

use throng_metrics::report::console;
use throng_metrics::{Report, Verdict, clean};

use super::prepare::Prepared;
use crate::cli::narrator::Narrator;
use crate::cli::{output, words};

/// Exports and prints the report; returns the exit code, which is its verdict's. The file comes first, so that the last line
/// on the screen knows whether it could be written. Where nothing was measured, tables of zeros would only hide the verdict.
pub(super) fn show(
    prepared: Prepared<'_>,
    mut report: Report,
    measured: bool,
    quiet: bool,
    narrator: &Narrator,
) -> u8 {
    if prepared.plots && measured {
        let (directory, stem) = prepared.beside();
        match throng_charts::write_all(&report, &directory, &stem) {
            Ok(pictures) => {
                let first = pictures.first().map(|path| path.display().to_string());
                narrator.say(&format!(
                    "{} pictures written: {}, ...",
                    pictures.len(),
                    first.unwrap_or_default()
                ));
            }
            Err(error) => {
                let why = words(&error.into());
                narrator.warn(&why);
                report.verdict.add(Verdict::ReportNotWritten, why);
            }
        }
    }
    if let Some(export) = prepared.export {
        match export.write(&report) {
            Ok(path) => narrator.say(&format!("Report written to {}", path.display())),
            Err(error) => {
                let why = words(&error);
                narrator.warn(&why);
                report.verdict.add(Verdict::ReportNotWritten, why);
            }
        }
    }
    let text = if quiet || !measured {
        unmeasured(&report)
    } else {
        console::render(&report, prepared.output.style())
    };
    if let Err(error) = output::print(&text) {
        report.verdict.add(
            Verdict::ReportNotWritten,
            format!("writing to standard output: {error}"),
        );
        // Where the verdict should have been nobody can read it.
        narrator.warn(&unmeasured(&report));
    }
    report.verdict.code
}

/// The verdict in words, and each reason if there are several.
fn unmeasured(report: &Report) -> String {
    let mut text = String::new();
    for holding in report
        .verdict
        .all
        .iter()
        .filter(|_| report.verdict.all.len() > 1)
    {
        for reason in &holding.reasons {
            text.push_str(&format!(
                "  {} ({}): {}\n",
                holding.name.words(),
                holding.code,
                clean(reason)
            ));
        }
    }
    format!("{text}{}\n", console::verdict_line(report))
}

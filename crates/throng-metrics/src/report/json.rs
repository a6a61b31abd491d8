//! The document as JSON text, written and read back.

use serde::Deserialize;
use thiserror::Error;

use super::{Report, SCHEMA_VERSION};

/// Why a text is no report.
#[derive(Debug, Error)]
pub enum JsonError {
    /// Not JSON, or not a report.
    #[error("not a throng report: {0}")]
    Syntax(#[from] serde_json::Error),
    /// A report of a version that this program does not know.
    #[error("report has schema_version {found}, and this program reads version {SCHEMA_VERSION}")]
    Version {
        /// The version in the text.
        found: u32,
    },
}

/// The document, indented, with a line break at its end.
pub fn to_string(report: &Report) -> String {
    let mut text =
        serde_json::to_string_pretty(report).expect("a report holds nothing that JSON cannot");
    text.push('\n');
    text
}

/// Reads a document back.
///
/// # Errors
/// If the text is no report, or one of another version.
pub fn from_str(text: &str) -> Result<Report, JsonError> {
    #[derive(Deserialize)]
    struct Version {
        schema_version: u32,
    }
    // The version first: of another version nothing else need be as expected.
    let Version { schema_version } = serde_json::from_str(text)?;
    if schema_version != SCHEMA_VERSION {
        return Err(JsonError::Version {
            found: schema_version,
        });
    }
    Ok(serde_json::from_str(text)?)
}

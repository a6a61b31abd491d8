//! The report's JSON file: opened before anything is touched, complete or absent afterwards.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::Context;
use throng_metrics::Report;
use throng_metrics::report::json;

/// A file that a report will be put into.
pub(crate) struct Export {
    path: PathBuf,
    part: PathBuf,
    file: File,
}

impl Export {
    /// Makes sure, before the run, that the report can be written.
    ///
    /// # Errors
    /// Where the file can't be made.
    pub(crate) fn open(path: &Path) -> anyhow::Result<Self> {
        if path.is_dir() {
            anyhow::bail!(
                "--output {}: this is a directory; name a file",
                path.display()
            );
        }
        let name = path
            .file_name()
            .with_context(|| format!("--output {}: this names no file", path.display()))?;
        // Beside it, so that the final rename stays in one file system.
        let part = path.with_file_name(format!(
            ".{}.{}.part",
            name.to_string_lossy(),
            std::process::id()
        ));
        let file = File::create(&part)
            .with_context(|| format!("--output {}: can't write there", path.display()))?;
        Ok(Self {
            path: path.to_owned(),
            part,
            file,
        })
    }

    /// Writes the report.
    ///
    /// # Errors
    /// Where the disk is full or the like.
    pub(crate) fn write(mut self, report: &Report) -> anyhow::Result<PathBuf> {
        self.file
            .write_all(json::to_string(report).as_bytes())
            .and_then(|()| self.file.sync_all())
            .and_then(|()| fs::rename(&self.part, &self.path))
            .with_context(|| format!("writing the report to {}", self.path.display()))?;
        Ok(self.path.clone())
    }
}

impl Drop for Export {
    fn drop(&mut self) {
        // After a successful write there's nothing left to remove.
        let _ = fs::remove_file(&self.part);
    }
}

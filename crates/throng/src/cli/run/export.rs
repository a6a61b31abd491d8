//! The report's JSON file: opened before anything is touched, complete or absent afterwards.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use anyhow::Context;
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use throng_metrics::Report;
use throng_metrics::report::json;

/// A file that a report will be put into.
pub(crate) struct Export {
    path: PathBuf,
    /// Where it is written first, and what that becomes; none where there's no file to be replaced.
    part: Option<(PathBuf, PathBuf)>,
    file: File,
}

impl Export {
    /// Makes sure, before the run, that the report can be written: to this file or, of a directory, to a file `name` in it. What
    /// ends with a slash is a directory, which is made where it's missing.
    ///
    /// # Errors
    /// Where the file or the directory can't be made.
    pub(crate) fn open(path: &Path, name: &str) -> anyhow::Result<Self> {
        if path.as_os_str().as_encoded_bytes().ends_with(b"/") {
            fs::create_dir_all(path)
                .with_context(|| format!("--output {}: can't make it", path.display()))?;
        }
        if path.is_dir() {
            return Self::open_file(&path.join(name));
        }
        Self::open_file(path)
    }

    fn open_file(path: &Path) -> anyhow::Result<Self> {
        let cannot = || format!("--output {}: can't write there", path.display());
        if is_special(path) {
            let file = if is_pipe(path) {
                open_pipe(path)
            } else {
                OpenOptions::new().append(true).open(path)
            };
            let file = file.with_context(cannot)?;
            return Ok(Self {
                path: path.to_owned(),
                part: None,
                file,
            });
        }
        // A link stays one: it's what it leads to that is replaced.
        let target = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        let name = target
            .file_name()
            .with_context(|| format!("--output {}: this names no file", path.display()))?;
        // Beside it, so that the final rename stays in one file system.
        let part = target.with_file_name(format!(
            ".{}.{}.part",
            name.to_string_lossy(),
            std::process::id()
        ));
        let directory = part.parent().unwrap_or(Path::new(""));
        if !directory.as_os_str().is_empty() && !directory.is_dir() {
            anyhow::bail!(
                "--output {}: there is no directory {}",
                path.display(),
                directory.display()
            );
        }
        let file = File::create(&part).with_context(cannot)?;
        Ok(Self {
            path: path.to_owned(),
            part: Some((part, target)),
            file,
        })
    }

    /// Directory and stem of what is written beside the report; none where that is no file.
    pub(crate) fn beside(&self) -> Option<(PathBuf, String)> {
        self.part.as_ref()?;
        let stem = self.path.file_stem()?.to_string_lossy().into_owned();
        Some((self.path.parent()?.to_owned(), stem))
    }

    /// Where it is written first, if that is a file of its own.
    pub(crate) fn part(&self) -> Option<&Path> {
        self.part.as_ref().map(|(part, _)| part.as_path())
    }

    /// Writes the report.
    ///
    /// # Errors
    /// Where the disk is full or the like.
    pub(crate) fn write(mut self, report: &Report) -> anyhow::Result<PathBuf> {
        self.put(json::to_string(report).as_bytes())
            .with_context(|| format!("writing the report to {}", self.path.display()))?;
        Ok(self.path.clone())
    }

    fn put(&mut self, report: &[u8]) -> std::io::Result<()> {
        self.file.write_all(report)?;
        if let Some((part, target)) = &self.part {
            self.file.sync_all()?;
            fs::rename(part, target)?;
        }
        Ok(())
    }
}

/// Whether this is a device, a pipe or the like: something to be written to, never to be replaced (as root a rename would
/// put a file in the place of /dev/null).
fn is_special(path: &Path) -> bool {
    // What /dev/stdout leads to may well be a plain file, but it is open already.
    path.starts_with("/dev")
        || path.starts_with("/proc")
        || fs::metadata(path).is_ok_and(|metadata| !metadata.is_file())
}

fn is_pipe(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|metadata| metadata.file_type().is_fifo())
}

/// Opens a named pipe without waiting for a reader, in which no signal would be answered.
fn open_pipe(path: &Path) -> io::Result<File> {
    let at_once = OFlags::NONBLOCK.bits() as i32;
    let opened = OpenOptions::new()
        .append(true)
        .custom_flags(at_once)
        .open(path);
    let file = opened.map_err(|error| {
        if error.raw_os_error() == Some(rustix::io::Errno::NXIO.raw_os_error()) {
            io::Error::new(
                error.kind(),
                "nobody reads this pipe (start its reader first)",
            )
        } else {
            error
        }
    })?;
    // Writing may well wait: for a reader that is there.
    fcntl_setfl(&file, fcntl_getfl(&file)? - OFlags::NONBLOCK)?;
    Ok(file)
}

impl Drop for Export {
    fn drop(&mut self) {
        if let Some((part, _)) = &self.part {
            // After a successful write there's nothing left to remove.
            let _ = fs::remove_file(part);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_file_is_written_to_and_not_replaced() {
        for (path, special) in [
            ("/dev/null", true),
            ("/dev/stdout", true),
            ("/proc/self/fd/1", true),
            (env!("CARGO_MANIFEST_DIR"), true),
            (concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml"), false),
            ("/nobody/has/this.json", false),
        ] {
            assert_eq!(is_special(Path::new(path)), special, "{path}");
        }
        let export = Export::open(Path::new("/dev/null"), "x.json").unwrap();
        assert!(export.part.is_none());
    }

    #[test]
    fn a_pipe_that_nobody_reads_is_refused_and_not_waited_for() {
        use std::io::Read;
        let directory = tempfile::tempdir().unwrap();
        let pipe = directory.path().join("pipe");
        rustix::fs::mkfifoat(rustix::fs::CWD, &pipe, rustix::fs::Mode::RWXU).unwrap();
        let refused = Export::open(&pipe, "x.json").err().expect("nobody reads");
        assert!(format!("{refused:#}").contains("nobody reads this pipe"));
        // More than the pipe holds: what is written then does wait.
        let report = vec![b'x'; 1 << 20];
        let mut reader = OpenOptions::new()
            .read(true)
            .custom_flags(OFlags::NONBLOCK.bits() as i32)
            .open(&pipe)
            .unwrap();
        let mut export = Export::open(&pipe, "x.json").unwrap();
        fcntl_setfl(&reader, OFlags::empty()).unwrap();
        let written = report.clone();
        let writer = std::thread::spawn(move || export.put(&written).unwrap());
        let mut read = Vec::new();
        reader.read_to_end(&mut read).unwrap();
        writer.join().unwrap();
        assert_eq!(read, report);
    }

    #[test]
    fn a_directory_gets_a_file_and_is_made_where_a_slash_says_so() {
        let home = tempfile::tempdir().unwrap();
        let there = home.path().join("there");
        fs::create_dir(&there).unwrap();
        let missing = home.path().join("new/out");
        let mut with_slash = missing.clone().into_os_string();
        with_slash.push("/");
        for (given, directory) in [(there.as_os_str(), &there), (&with_slash, &missing)] {
            let mut export = Export::open(Path::new(given), "report.json").unwrap();
            assert_eq!(
                export.beside().unwrap(),
                (directory.clone(), "report".to_owned())
            );
            export.put(b"{}").unwrap();
            drop(export);
            assert_eq!(fs::read(directory.join("report.json")).unwrap(), b"{}");
            assert_eq!(fs::read_dir(directory).unwrap().count(), 1);
        }
        // Without a slash it's a file, whose directory must be there.
        let refused = Export::open(&home.path().join("absent/out"), "x")
            .err()
            .unwrap();
        assert!(
            refused.to_string().contains("there is no directory"),
            "{refused}"
        );
        let file = there.join("report.json/");
        let refused = Export::open(&file, "x").err().unwrap();
        assert!(refused.to_string().contains("can't make it"), "{refused}");
    }

    #[cfg(unix)]
    #[test]
    fn a_link_stays_a_link() {
        let directory = tempfile::tempdir().unwrap();
        let (file, link) = (directory.path().join("a.json"), directory.path().join("b"));
        fs::write(&file, "old").unwrap();
        std::os::unix::fs::symlink(&file, &link).unwrap();
        let mut export = Export::open(&link, "x.json").unwrap();
        export.put(b"new").unwrap();
        drop(export);
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(fs::read_to_string(&file).unwrap(), "new");
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 2);
    }
}

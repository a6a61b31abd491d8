//! Examples that failed once, kept in a file, so that they are tried first from then on.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The version of the file's form.
const VERSION: u32 = 1;
/// How many are kept of one property: the newest.
const MOST: usize = 20;

/// One example that failed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Kept {
    /// The example: the value of each name.
    pub example: Value,
    /// What happened, in words.
    pub failure: String,
    /// The seed of the run that found it.
    pub seed: u64,
}

/// The file of them, by property.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Regressions {
    version: u32,
    properties: BTreeMap<String, Vec<Kept>>,
}

/// Why the file is of no use.
#[derive(Debug, thiserror::Error)]
pub enum KeptError {
    /// It can't be read or written.
    #[error("{path}")]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// It isn't such a file.
    #[error("{path} is no file of kept examples; move it away to begin a new one")]
    Form {
        /// The file.
        path: PathBuf,
        /// Why.
        source: serde_json::Error,
    },
    /// It was written by a later version.
    #[error("{path} has version {found}, and this program reads version {VERSION}")]
    Version {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: u32,
    },
}

impl Default for Regressions {
    fn default() -> Self {
        Self {
            version: VERSION,
            properties: BTreeMap::new(),
        }
    }
}

impl Regressions {
    /// Reads the file; there's nothing kept where there is none.
    ///
    /// # Errors
    ///
    /// When it can't be read, or isn't such a file.
    pub fn read(path: &Path) -> Result<Self, KeptError> {
        let text = match std::fs::read(path) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Self::default()),
            Err(source) => {
                let path = path.to_owned();
                return Err(KeptError::Io { path, source });
            }
        };
        let read: Self = serde_json::from_slice(&text).map_err(|source| KeptError::Form {
            path: path.to_owned(),
            source,
        })?;
        if read.version == VERSION {
            return Ok(read);
        }
        Err(KeptError::Version {
            path: path.to_owned(),
            found: read.version,
        })
    }

    /// What is kept of a property.
    pub fn of(&self, property: &str) -> &[Kept] {
        self.properties.get(property).map_or(&[], Vec::as_slice)
    }

    /// Keeps an example, the newest first. Returns whether it is new.
    pub fn keep(&mut self, property: &str, kept: Kept) -> bool {
        let all = self.properties.entry(property.to_owned()).or_default();
        if all.iter().any(|known| known.example == kept.example) {
            return false;
        }
        all.insert(0, kept);
        all.truncate(MOST);
        true
    }

    /// Writes the file, whole or not at all.
    ///
    /// # Errors
    ///
    /// When it can't be written.
    pub fn write(&self, path: &Path) -> Result<(), KeptError> {
        let failed = |source| KeptError::Io {
            path: path.to_owned(),
            source,
        };
        let mut text = serde_json::to_string_pretty(self).map_err(|error| failed(error.into()))?;
        text.push('\n');
        let mut name = path.file_name().unwrap_or_default().to_owned();
        name.push(".part");
        let part = path.with_file_name(name);
        std::fs::write(&part, text).map_err(failed)?;
        std::fs::rename(&part, path).map_err(failed)
    }
}

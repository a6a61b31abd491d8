//! What can go wrong with a picture.

use std::io;
use std::path::{Path, PathBuf};

/// Why there is no picture.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ChartError {
    /// The plotting crate refused a shape or an axis.
    #[error("cannot plot: {0}")]
    Plot(String),
    /// Too large, or without any size.
    #[error("cannot draw a picture of {width} x {height} pixels")]
    Size {
        /// In pixels.
        width: f32,
        /// In pixels.
        height: f32,
    },
    /// The PNG encoder failed.
    #[error("cannot encode the picture as PNG: {0}")]
    Encode(String),
    /// A file or its directory cannot be written.
    #[error("cannot write {}", path.display())]
    Write {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl ChartError {
    pub(crate) fn write(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        |source| Self::Write { path, source }
    }
}

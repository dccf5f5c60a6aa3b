//! What can go wrong in a bench, with what to do about it.

use std::path::{Path, PathBuf};
use std::time::Duration;

/// An error that ends a bench, or one part of it.
#[derive(Debug, thiserror::Error)]
pub(super) enum BenchError {
    /// A program of a peer is not installed.
    #[error("{what} is not installed ({package}). Install the real peers with: cargo xtask peers")]
    MissingPeer { what: &'static str, package: &'static str },
    /// The directory would measure memory, not a disk.
    #[error("{path} is on {kind}, which loses its data with the power. Give a directory on a real disk: --dir DIR")]
    NotADisk { path: PathBuf, kind: String },
    /// The file system said no.
    #[error("{path}: {source}")]
    Io { path: PathBuf, source: std::io::Error },
    /// A program ended badly.
    #[error("{what} failed: {detail}")]
    Failed { what: String, detail: String },
    /// Something did not happen in its time.
    #[error("{what} took more than {after:?}")]
    Late { what: String, after: Duration },
    /// Ctrl-C.
    #[error("interrupted; every process that was started has been killed")]
    Interrupted,
}

impl BenchError {
    /// A file system error, with its path.
    pub(super) fn io(path: &Path) -> impl FnOnce(std::io::Error) -> Self + '_ {
        move |source| Self::Io { path: path.to_path_buf(), source }
    }

    /// A failure told in words.
    pub(super) fn failed(what: impl Into<String>, detail: impl Into<String>) -> Self {
        Self::Failed { what: what.into(), detail: detail.into() }
    }
}

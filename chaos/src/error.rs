//! What can end a run, with what to do about it.

use std::path::{Path, PathBuf};
use std::time::Duration;

/// An error that ends a run: the test could not be carried out. What the cluster did wrong is no error but a finding.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ChaosError {
    /// Namespaces, mounts and other people's processes take root.
    #[error("chaos makes network namespaces and mounts, which takes root: run it with sudo")]
    NotRoot,
    /// A program is not installed.
    #[error("{program} is not installed: apt-get install {package}")]
    Missing { program: &'static str, package: &'static str },
    /// The binary that shall be tested is not there.
    #[error("{0} is not there: build it with `cargo build -p bowline`, or say --bowline FILE")]
    NoBowline(PathBuf),
    /// The file system said no.
    #[error("{path}: {source}")]
    Io { path: PathBuf, source: std::io::Error },
    /// A program ended badly.
    #[error("{what}: {detail}")]
    Failed { what: String, detail: String },
    /// Something did not happen in its time.
    #[error("{what} took more than {after:?}")]
    Late { what: String, after: Duration },
    /// Ctrl-C.
    #[error("interrupted; what was started and made is gone")]
    Interrupted,
}

impl ChaosError {
    /// A file system error, with its path.
    pub(crate) fn io(path: &Path) -> impl FnOnce(std::io::Error) -> Self + '_ {
        move |source| Self::Io { path: path.to_path_buf(), source }
    }

    /// A failure told in words.
    pub(crate) fn failed(what: impl Into<String>, detail: impl Into<String>) -> Self {
        Self::Failed { what: what.into(), detail: detail.into() }
    }
}

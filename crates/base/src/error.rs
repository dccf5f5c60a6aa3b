//! What every error of the product can say of itself.

use std::fmt;
use std::time::Duration;

/// A stable error code such as `BL-STORE-004`. Codes are never reused; `bowline explain CODE` prints the page.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Code(pub &'static str);

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.0)
    }
}

/// What the one who got an error should do. HTTP status, dqlite failure code, retry loops and log level derive from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Disposition {
    /// Nothing is wrong with the request: try it again, not sooner than this.
    Retry {
        /// How long to wait first.
        after: Duration,
    },
    /// It was sent and not answered: it may have been done or not. Only who can tell the two apart may send it again.
    Unknown,
    /// The request itself is wrong or forbidden; trying again changes nothing.
    Refuse,
    /// The thing asked for is not there, or its owner has stopped. Normal at shutdown.
    Gone,
    /// Stored data failed its check. It was not returned; repair comes from a peer.
    Corrupt,
    /// The product broke its own rule. The unit fails and is restarted.
    Bug,
}

impl Disposition {
    /// Whether a request that may be carried out twice is worth another try.
    pub const fn is_passing(self) -> bool {
        matches!(self, Self::Retry { .. } | Self::Unknown)
    }
}

/// An error a user can meet.
pub trait Fault: std::error::Error {
    /// The stable code.
    fn code(&self) -> Code;
    /// What to do with it.
    fn disposition(&self) -> Disposition;
}

/// The page that `bowline explain CODE` prints.
#[derive(Debug, Clone, Copy)]
pub struct ErrorPage {
    /// The code it explains.
    pub code: Code,
    /// One line: what happened.
    pub title: &'static str,
    /// Why it happens, in a sentence or a few.
    pub cause: &'static str,
    /// The next command or step.
    pub next: &'static str,
}

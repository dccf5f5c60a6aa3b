//! Resources: rows of `sys` seen as objects with a name, a spec and a status, whose changes are numbered and can be watched.
//!
//! A [`Kind`] says how the rows of a table are seen. From it come the triggers that number every change, in the transaction that makes it
//! and whoever makes it, and the view that shows the objects to SQL. See ADR-15.

mod define;
mod events;
mod finalizers;
mod kind;
mod kinds;
mod list;
mod watch;

pub use define::definitions;
pub use events::{Severity, event};
pub use finalizers::{finalize, finalized, overdue, tell_overdue};
pub use kind::{Column, EventRule, Form, Key, Kind, Part, When};
pub use kinds::KINDS;
pub use list::{PAGE_MAX, Page, Resource, ResourceKey, Updated};
pub use watch::{Change, Verb, Watch};

pub(crate) use define::BASE;

/// The number of a change. Every change of a resource has one, each is one more than the one before, and none is used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Revision(pub u64);

impl std::fmt::Display for Revision {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

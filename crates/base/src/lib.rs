//! The words every other crate shares: typed ids, error codes and dispositions, and a total byte cursor.
//!
//! Ring 0: no IO, no async, no clock, no randomness.

mod bytes_reader;
mod error;
mod id;

pub use bytes_reader::{Reader, Truncated};
pub use error::{Code, Disposition, ErrorPage, Fault};
pub use id::{DbName, GroupId, InvalidName, LogIndex, NodeId, PageNo, Role, Term, Version};

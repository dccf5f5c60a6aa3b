//! Moving a snapshot from one member to another: who asks, what is answered, and how the answer becomes the database.
//!
//! The receiver asks for all page hashes, compares them with what it has, asks for the pages that differ, and stages them in
//! a file. When all are there, one small file makes the snapshot complete; from then on the database file is overwritten
//! from the staged pages, and a crash in the middle only means that it is done again at the next start.

mod install;
mod message;
mod serve;
mod staged;

pub use install::{Install, LocalPages};
pub(crate) use install::{finish_interrupted, recode_plan};
pub use message::{Manifest, SnapshotRequest};
pub(crate) use message::{recode_answer, recode_request};
pub use serve::SnapshotServer;

//! What stands before a route, for the room beside this one that has routes of its own.

pub(crate) use super::access::{Required, check};
pub(crate) use super::audit::note;
pub(crate) use super::problem::MALFORMED;
pub(crate) use super::routes::{not_ready_yet, only_when_ready};

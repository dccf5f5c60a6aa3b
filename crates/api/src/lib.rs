//! The faces a node shows to programs: the control API over HTTP, microcluster's beside it, and the dqlite door.
//!
//! Ring 3: it translates between wire formats and what the rings below do; it decides nothing itself.

pub mod control;
pub mod dqlite;
mod intake;
mod microcluster;

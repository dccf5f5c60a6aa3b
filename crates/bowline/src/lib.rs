//! The binary's parts: the command line, the configuration of a node, and the composition root that runs one.
//!
//! Ring 3. `main.rs` only puts the command line and the daemon together.

pub mod cli;
pub mod config;
pub mod daemon;
mod human;
mod text;

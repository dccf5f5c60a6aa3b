//! Anomalies that are made on purpose, on a real cluster, to show that the checkers find them.

use clap::ValueEnum;

/// What the clients do wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Plant {
    /// One write in twenty is not sent, and counted as acknowledged.
    LostWrite,
    /// Reads ask for what the node has, and are judged as if they were linearizable.
    StaleRead,
    /// A transaction over HTTP is sent one statement at a time (append and bank).
    TornTransaction,
    /// One acknowledged write in twenty is counted as refused.
    RefusedWrite,
}

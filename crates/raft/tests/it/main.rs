//! Raft hosts with real sockets and real files, three in one process.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests"
)]

mod groups;
mod silent_leader;
mod simulated;
mod toy;
mod witness;
mod world;

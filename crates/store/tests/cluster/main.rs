//! Three stores in one process, with real sockets and files: what clients see of the databases.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    missing_docs,
    unreachable_pub,
    reason = "a test says what it expects, on the real machine"
)]

mod harness;
mod reads;
mod sessions;
mod writes;

//! Tests of the crate through its public interface.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "helpers of tests fail by panicking"
)]
#![expect(clippy::disallowed_methods, clippy::disallowed_types, reason = "tests play other programs and failing disks")]

mod checkpoint;
mod connection;
mod crash;
mod kit;
mod replication;
mod sqlite3_program;
mod transfer;

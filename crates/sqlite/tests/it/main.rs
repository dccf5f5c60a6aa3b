//! Tests of the crate through its public interface.

mod checkpoint;
mod connection;
mod crash;
mod kit;
mod replication;
mod sqlite3_program;
mod transfer;

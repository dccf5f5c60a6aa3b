//! Three stores in one process, with real sockets and files: what clients see of the databases.

mod harness;
mod reads;
mod sessions;
mod writes;

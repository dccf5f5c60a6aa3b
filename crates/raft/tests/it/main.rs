//! Raft hosts with real sockets and real files, three in one process.

mod groups;
mod latency;
mod simulated;
mod toy;
mod world;

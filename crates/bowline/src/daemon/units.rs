//! The long-lived parts of a node, in the order in which they start.
//!
//! ```text
//!   network ──▶ raft ──▶ store ──▶ members ──▶ dqlite
//!   sockets     log      sys and   roles and   clients
//!   to peers    groups   databases tokens
//! ```

mod dqlite;
mod members;
mod network;
mod raft;
mod store;

pub(super) use dqlite::DqliteUnit;
pub(super) use members::{Members, MembersUnit};
pub(super) use network::{Network, NetworkUnit};
pub(super) use raft::RaftUnit;
pub(super) use store::StoreUnit;

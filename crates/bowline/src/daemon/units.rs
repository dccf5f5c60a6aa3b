//! The long-lived parts of a node, in the order in which they start.
//!
//! ```text
//!   https ──▶ gossip ──▶ network ──▶ raft ──▶ store ──▶ members ──▶ dqlite
//!   the API   who is     sockets     log      sys and   roles and   clients
//!             alive      to peers    groups   databases tokens
//! ```
//!
//! The API is there first and last: while the others start or stop it says when to come again.

mod dqlite;
mod gossip;
mod https;
mod members;
mod network;
mod raft;
mod store;
mod tls;

pub(super) use dqlite::{DqliteUnit, SqlDoor};
pub(super) use gossip::GossipUnit;
pub(super) use https::HttpsUnit;
pub(super) use members::{Members, MembersUnit};
pub(super) use network::{Network, NetworkUnit};
pub(super) use raft::RaftUnit;
pub(super) use store::StoreUnit;
pub(super) use tls::own_identity;

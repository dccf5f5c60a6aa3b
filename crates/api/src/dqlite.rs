//! The dqlite door: the dqlite client protocol on TCP, Unix and abstract Unix sockets, so that dqlite's own clients
//! (go-dqlite, its shell, the C client) work against a node unchanged.
//!
//! The door translates: it reads requests with the `dqlite` crate, asks a [`Backend`], and writes answers. One task serves
//! one connection; rows are encoded where they are made, straight into the outgoing buffer; a request costs one read and
//! one write of the socket. While a request runs the socket is watched for an INTERRUPT and for the client going away.

mod backend;
mod connection;
mod listener;
mod passage;
mod prefixed;
mod requests;
mod side_door;
mod sink;
mod store;
#[cfg(test)]
mod tests;
mod wire;

pub use backend::{Backend, Change, Dump, Executed, Fetch, Member, Opening, Prepared, Refusal, Session, Statement};
pub use connection::Rights;
pub use listener::{Door, DoorOptions, TlsDoor, Trust};
pub use side_door::{AnyStream, Duplex, Place, SideDoor};
pub use sink::{Flow, RowsSink};
pub(crate) use store::READS_ONLY;
pub use store::{Membership, StoreBackend, StoreDump, StoreSession};

//! Clusters of real nodes in one process: TLS sockets, Raft groups on disk, the store.
#![cfg(test)]

#[cfg(test)]
mod forming;
#[cfg(test)]
mod node;

//! Framed node-to-node calls over mutual TLS 1.3: every byte that one node says to another goes through here.
//!
//! A [`Mesh`] is one node's end of it. It keeps one connection per peer and [`Class`], carries many calls at once on each,
//! answers the calls of others through [`Handlers`], and tells who is reachable. Every call has a deadline and an outcome
//! that says whether the other side may have seen it. A node is known by its certificate, never by its address; who has
//! none from the cluster's CA is a stranger and may only call [`Service::Join`].
//!
//! The bytes are described in docs/formats/rpc.md. There is deliberately no switch that turns TLS off: the plain transport
//! exists for the simulator, whose network already knows who speaks.

mod connect;
mod error;
pub mod frame;
mod identity;
mod link;
mod listener;
mod mesh;
mod serve;
mod service;
mod stranger;
mod tls;
mod wire;

pub use connect::ConnectError;
pub use error::{CallError, PAGES};
pub use identity::{
    Identity, IdentityError, TlsIdentity, fingerprint_of, key_id_of, node_name, node_of, pinned_client_config,
};
pub use listener::ListenerTls;
pub use mesh::{Mesh, PeerView, Reach};
pub use service::{Answer, Caller, Class, Fingerprint, Handler, Handlers, Refusal, Service};
pub use stranger::{StrangerConnection, StrangerIdentity};

//! The control API: what the command line asks of the node on its own machine, as JSON over HTTP/1 on a Unix socket.
//!
//! The node's composition root implements [`Control`]; [`serve`] puts it on a listener; [`Client`] is the other end.
//! The types in here are the contract of `-o json` and of the HTTPS API: fields are added, never renamed or reused.
//! The socket's file mode is the access control: who may open it is an operator.

mod client;
pub mod metrics;
mod ops;
mod problem;
mod routes;
mod serve;
pub mod sql;
mod types;

pub use client::{Client, ClientError};
pub use ops::{ByteStream, Control, Export};
pub use problem::{PAGES, Problem, ProblemKind};
pub use routes::router;
pub use serve::serve;
pub use types::{
    Created, DatabaseCheck, DatabaseContents, DatabaseInfo, DatabaseRequest, Dropped, Formed, Health, InitRequest,
    JoinRequest, NodeInfo, NodeState, Parted, Readiness, Reboot, Status, TableContents, TokenInfo, TokenIssued,
    TokenRequest, TokenState, Trouble, TroubleKind, UnitStatus,
};

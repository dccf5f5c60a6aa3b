//! The API of a node: what the command line and other programs ask of it, as JSON over HTTP/1.
//!
//! The node's composition root implements [`Control`]; [`serve`] puts it on a listener; [`Client`] is the other end.
//! `/core` is another room: the module `microcluster`.
//! The types in here are the contract of `-o json` and of the API: fields are added, never renamed or reused.
//! There are two ways in, to the same routes. On the Unix socket the file mode is the access control: who may open it is an admin.
//! Over HTTPS each request shows an access token or comes with a member's certificate, and each route names the role that it takes.

pub mod access;
mod audit;
mod authority;
mod client;
mod extract;
mod faces;
pub(crate) mod guards;
mod losses;
mod members;
pub mod metrics;
pub mod openapi;
mod ops;
mod problem;
mod recovery;
pub mod resources;
mod routes;
mod serve;
pub mod sql;
#[cfg(test)]
mod tests;
mod types;

pub use audit::{AuditInfo, Audited};
pub use authority::{
    Authority, AuthorityInfo, AuthorityPart, MemberCertificate, RotateRequest, Rotation, RotationState,
};
pub use axum::Router;
pub use client::{Client, ClientError, NO_HOST, Remote, SqlStream};
pub(crate) use extract::Input;
pub use faces::{Face, Faces};
pub use losses::losses;
pub use members::{MemberEvent, MemberInfo, PayloadRequest, ProbeRequest, Probed};
pub use ops::{ByteStream, Control, Export};
pub use problem::{DOOR_FULL, LEADER_AWAY, PAGES, Problem, ProblemKind};
pub use recovery::{Recovery, RecoveryDatabase, RecoveryNode, RecoveryRequest};
pub use routes::router;
pub use serve::{Entrance, serve};
pub use types::{
    AccessInfo, AccessIssued, AccessRequest, Created, DatabaseCheck, DatabaseContents, DatabaseInfo, DatabaseRequest,
    Dropped, Formed, Health, InitRequest, JoinRequest, NodeInfo, NodeRequest, NodeState, Parted, Readiness, Reboot,
    RoleTargets, Status, TableContents, TokenInfo, TokenIssued, TokenRequest, TokenState, Trouble, TroubleKind,
    UnitStatus, Warning,
};

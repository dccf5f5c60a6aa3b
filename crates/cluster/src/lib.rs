//! Who belongs to the cluster: its certificate authority, node identities and join tokens, the way in, and the roles.
//!
//! Everything decided is in `sys`: a node is a member because a row says so, and whoever leads `sys` makes Raft's groups agree
//! with the rows. There is no second list of members anywhere, no answer is kept only in memory, and nobody has to be told twice:
//! every step can be repeated.

mod access_rows;
mod audit_rows;
mod authority;
mod certificate;
mod certificate_rows;
mod cluster;
mod controller;
mod error;
mod gossiping;
mod identity;
mod join;
mod keyring;
mod kinds;
mod messages;
mod names;
mod node_rows;
pub mod roles;
mod rotation;
mod schema;
mod spares;
mod steps;
mod sys;
mod targets;
mod token;
mod token_rows;

pub use access_rows::{AccessRole, AccessRow};
pub use audit_rows::{AuditEntry, AuditOutcome, AuditRow};
pub use authority::{Authority, NODE_LIFE};
pub use certificate::Validity;
pub use certificate_rows::CertificateRow;
pub use cluster::{Cluster, ClusterConfig, Placement, Recovery, Reseed, RotationView, Stuck, hand_over};
pub use error::{ClusterError, PAGES, warning};
pub use gossiping::{Gossiping, PERIOD as GOSSIP_PERIOD, Verdict, member_of, node_of, why};
pub use identity::{Credentials, NodeIdentity, NodeRecord, Transport};
pub use join::client::{JoinAs, Joined, join};
pub use keyring::{CertificateState, Keyring};
pub use kinds::{KINDS, kinds};
pub use messages::{MemberAddress, MessageKind};
pub use names::{ClusterId, NodeName};
pub use node_rows::{NodeRow, NodeRowState};
pub use rotation::rows::TokensOnOld;
pub use rotation::{Rotation, RotationState};
pub use schema::SCHEMA;
pub use sys::SysSql;
pub use token::{Secret, Token, TokenId, TokenKind};
pub use token_rows::TokenRow;

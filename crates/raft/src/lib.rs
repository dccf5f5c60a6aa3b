//! Raft groups, many on one node: one transport, one segmented log, one fsync for all that is pending.
//!
//! A [`RaftHost`] owns the log of a node and its groups; a [`Group`] is one replicated state machine ([`StateMachine`])
//! with propose, linearizable reads, membership and snapshots. The engine is openraft, and this crate is the only one that
//! names it: nothing of it appears in a signature here, so that it stays replaceable.
//!
//! The log format is docs/formats/raft-log.md; why it is our own is ADR-2. What is deliberately absent: a second log in
//! the state machines (they checkpoint, they do not journal), and snapshots that are copies (a snapshot is a pinned view
//! that the receiver pulls from).

mod engine;
mod error;
mod group;
mod host;
pub mod log;
mod machine;
mod types;

pub use engine::recode_message;
pub use error::{ChangeError, MachineError, OpenError, PAGES, ProposeError, ReadError};
pub use group::{Group, GroupState, GroupStatus, LeaseRead, PAYLOAD_MAX, Proposed};
pub use host::{GroupOptions, HostConfig, LogLimits, OnCorruption, Part, RaftHost, Timing};
pub use log::LogStats;
pub use machine::{Checkpointer, SnapshotRemote, SnapshotSink, SnapshotSource, StateMachine};
pub use types::{AppliedState, Committed, LogPos, MembershipView, Payload};

//! Positions in the log, what is applied, and who the members are.

use base::{LogIndex, NodeId, Term};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// Where an entry stands in a group's log. `(term, node)` names the leader that made it; two entries with equal positions
/// are the same entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct LogPos {
    /// The term of the leader that made the entry.
    pub term: Term,
    /// That leader.
    pub node: NodeId,
    /// The entry's place, counted from 0 without holes.
    pub index: LogIndex,
}

impl fmt::Display for LogPos {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}@{}", self.term, self.node, self.index)
    }
}

/// What a state machine has applied. It keeps this beside its state and hands it back after a restart.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct AppliedState {
    /// The last entry applied; none before the first.
    pub last: Option<LogPos>,
    /// The members as of that entry, in a form only this crate reads (empty before the first).
    pub membership: Bytes,
}

impl AppliedState {
    /// The members as of [`last`](Self::last); none if the state names no members yet or does not decode.
    pub fn members(&self) -> Option<MembershipView> {
        crate::engine::decode_membership(&self.membership).ok().flatten().map(|m| crate::engine::view(&m))
    }
}

/// The members of a group.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct MembershipView {
    /// The sets of voters: one, or two while a change is under way (joint consensus; both must agree).
    pub voters: Vec<BTreeSet<NodeId>>,
    /// Those who replicate without a vote.
    pub learners: BTreeSet<NodeId>,
    /// Where each of them is, `host:port`.
    pub addresses: BTreeMap<NodeId, String>,
    /// The entry that made it so; none for an empty group.
    pub since: Option<LogPos>,
}

impl MembershipView {
    /// All who vote in any of the sets.
    pub fn all_voters(&self) -> BTreeSet<NodeId> {
        self.voters.iter().flatten().copied().collect()
    }

    /// Whether a change of voters is under way.
    pub fn is_joint(&self) -> bool {
        self.voters.len() > 1
    }
}

/// What an entry carries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Payload {
    /// Nothing: the first entry of a leader's term.
    Blank,
    /// New members. The state machine keeps the bytes as [`AppliedState::membership`].
    Membership(Bytes),
    /// What was proposed.
    App(Bytes),
}

/// An entry that a majority has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Committed {
    /// Where it stands.
    pub pos: LogPos,
    /// What it carries.
    pub payload: Payload,
}

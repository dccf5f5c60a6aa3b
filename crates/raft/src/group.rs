//! One replicated group, as its node sees it.

use crate::{ChangeError, LogPos, MembershipView, ProposeError, ReadError};
use base::{GroupId, LogIndex, NodeId, Term};
use bytes::Bytes;
use rt::time::Instant;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use tokio::sync::watch;

/// A handle to one group on this node. Clones are the same group. It does not keep the group running.
#[derive(Debug, Clone)]
pub struct Group {
    id: GroupId,
    status: watch::Receiver<GroupStatus>,
}

/// An entry that is applied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proposed {
    /// Where it stands.
    pub pos: LogPos,
    /// What the state machine answered.
    pub answer: Bytes,
}

/// Proof that this node led the group at a moment after [`Group::lease`] was called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LeaseRead {
    /// The term it leads.
    pub term: Term,
    /// A read is linearizable at any state that has applied this entry. It is almost always applied already; else see
    /// [`Group::wait_applied`].
    pub index: LogIndex,
    /// Until when a new proof would need no message, if nothing more is heard.
    pub until: Instant,
}

/// What a group does on this node.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum GroupState {
    /// It has no members yet.
    #[default]
    Empty,
    /// It replicates without a vote.
    Learner,
    /// It follows a leader, or waits for one.
    Follower,
    /// It asks for votes.
    Candidate,
    /// It leads.
    Leader,
    /// The disk failed or is full; it goes on when the disk does.
    Suspended(Arc<str>),
    /// It failed on this node and stays stopped.
    Failed(Arc<str>),
    /// It was stopped.
    Stopped,
}

/// What is known of a group on this node.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct GroupStatus {
    /// What it does here.
    pub state: GroupState,
    /// Who leads it, if known.
    pub leader: Option<NodeId>,
    /// The term.
    pub term: Term,
    /// The last entry in the log here.
    pub last_log: Option<LogIndex>,
    /// The last entry known to be committed.
    pub committed: Option<LogIndex>,
    /// The last entry applied here.
    pub applied: Option<LogPos>,
    /// The members, as of the last entry in the log here.
    pub membership: Arc<MembershipView>,
    /// Bytes of the log that belong to this group.
    pub log_bytes: u64,
    /// On the leader: what each member has, for those that answered.
    pub matched: BTreeMap<NodeId, LogIndex>,
    /// On the leader: the last moment at which a majority is known to have followed it.
    pub quorum_acked: Option<Instant>,
}

impl Group {
    /// Which group this is.
    pub fn id(&self) -> GroupId {
        self.id
    }

    /// Makes the first members of an empty group, all voters. Done on one of them, once; on a group that has members it is
    /// refused, or does nothing if they are the same.
    pub async fn initialize(&self, _members: BTreeMap<NodeId, String>) -> Result<(), ChangeError> {
        Ok(())
    }

    /// Proposes an entry and waits until it is applied here. Not cancel-safe: a dropped proposal may still be committed.
    pub async fn propose(&self, _payload: Bytes) -> Result<Proposed, ProposeError> {
        Err(ProposeError::Stopped)
    }

    /// Whether this node provably leads right now, without asking anybody: it leads, the first entry of its term is applied, and
    /// a majority followed it within the lease less a tenth for clocks that drift. Cheap and without a task switch. An error
    /// is no proof that it does not lead: ask [`read_index`](Self::read_index).
    pub fn lease(&self) -> Result<LeaseRead, ReadError> {
        Err(ReadError::Stopped)
    }

    /// The position at which a read that starts now is linearizable, on any member: the leader confirms with a majority that it
    /// leads. The reader then waits for it with [`wait_applied`](Self::wait_applied). Cancel-safe.
    pub async fn read_index(&self, _deadline: Instant) -> Result<LogIndex, ReadError> {
        Err(ReadError::Stopped)
    }

    /// Waits until an entry is applied here. Cancel-safe.
    pub async fn wait_applied(&self, _index: LogIndex, _deadline: Instant) -> Result<(), ReadError> {
        Err(ReadError::Stopped)
    }

    /// What is known of the group here.
    pub fn status(&self) -> GroupStatus {
        self.status.borrow().clone()
    }

    /// Watches what is known of the group here. Changes may be merged; the last one is always seen.
    pub fn watch(&self) -> watch::Receiver<GroupStatus> {
        self.status.clone()
    }

    /// Adds a member without a vote, and waits until the change is committed (not until the member has caught up).
    /// Adding a member again sets its address.
    pub async fn add_learner(&self, _node: NodeId, _address: String) -> Result<(), ChangeError> {
        Err(ChangeError::Stopped)
    }

    /// Makes exactly these members the voters; the others stay as learners. Each must be a member. Waits until it is committed.
    pub async fn change_voters(&self, _voters: BTreeSet<NodeId>) -> Result<(), ChangeError> {
        Err(ChangeError::Stopped)
    }

    /// Removes a member, voter or not. Waits until it is committed. Removing who is no member does nothing.
    pub async fn remove(&self, _node: NodeId) -> Result<(), ChangeError> {
        Err(ChangeError::Stopped)
    }

    /// Hands leadership to a voter (to the one most up to date if none is named) and waits until it leads.
    /// From the call on and for the rest of the term, [`lease`](Self::lease) gives no proof.
    pub async fn transfer_leadership(&self, _to: Option<NodeId>) -> Result<(), ChangeError> {
        Err(ChangeError::Stopped)
    }

    /// Makes what is applied durable outside the log, and purges the log up to there except a tail for members that lag.
    pub async fn checkpoint(&self) -> Result<(), ChangeError> {
        Err(ChangeError::Stopped)
    }

    /// Stops the group on this node. Its log stays.
    pub async fn stop(&self) {}
}

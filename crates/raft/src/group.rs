//! One replicated group, as its node sees it.

mod core;
mod heartbeat;
mod reseed;
mod steward;
mod witness;

pub(crate) use self::core::{Core, is_leading};
pub(crate) use steward::{Damage, run as steward, start, step_over_damage};
pub(crate) use witness::{Standing, Witnesses};

use crate::engine::serve::is_running;
use crate::engine::{Data, Reply, change_error, write_error};
use crate::{ChangeError, LogPos, MembershipView, ProposeError, ReadError};
use base::{GroupId, LogIndex, NodeId, Term};
use bytes::Bytes;
use openraft::{BasicNode, ChangeMembers};
use reseed::Order;
use rt::sync::watch;
use rt::time::Instant;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;

/// The longest payload of an entry, in bytes.
pub const PAYLOAD_MAX: usize = 24 << 20;
/// How long a proposal waits for room in the log.
const ROOM_DEADLINE: Duration = Duration::from_secs(10);
/// How long a change of members or leadership may take.
const CHANGE_DEADLINE: Duration = Duration::from_secs(10);

/// A handle to one group on this node. Clones are the same group. It does not keep the group running.
#[derive(Clone)]
pub struct Group(pub(crate) Arc<Core>);

impl fmt::Debug for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Group({})", self.0.id)
    }
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
    /// Its log was damaged on this node: it neither votes nor acknowledges here until it has come back as a learner.
    pub is_quarantined: bool,
    /// On the leader: the last moment at which a majority is known to have followed it.
    pub quorum_acked: Option<Instant>,
}

impl Group {
    /// Which group this is.
    pub fn id(&self) -> GroupId {
        self.0.id
    }

    /// Makes the first members of an empty group, all voters. Done on one of them, once; on a group that has members it is
    /// refused, or does nothing if they are the same.
    pub async fn initialize(&self, members: BTreeMap<NodeId, String>) -> Result<(), ChangeError> {
        let raft = self.0.raft().ok_or_else(|| self.0.why_stopped())?;
        let nodes: BTreeMap<u64, BasicNode> = members.iter().map(|(n, a)| (n.0, BasicNode::new(a))).collect();
        match raft.initialize(nodes).await {
            Ok(()) => Ok(()),
            Err(error) if error.fatal().is_some() => Err(self.0.why_stopped()),
            Err(_) if self.status().membership.addresses == members => Ok(()),
            Err(error) => Err(ChangeError::Refused { why: error.to_string() }),
        }
    }

    /// Proposes an entry and waits until it is applied here. Waits a while for room if the log is over its limit. Not
    /// cancel-safe: a dropped proposal may still be committed.
    pub async fn propose(&self, payload: Bytes) -> Result<Proposed, ProposeError> {
        if payload.len() > PAYLOAD_MAX {
            return Err(ProposeError::TooLarge { len: payload.len(), max: PAYLOAD_MAX });
        }
        if self.0.log.is_over_limit() {
            self.wait_for_room().await?;
        }
        match self.propose_once(payload.clone()).await {
            // Elected a moment ago.
            Err(ProposeError::NotLeader { leader: None }) if self.0.is_settling().await => {
                self.propose_once(payload).await
            }
            outcome => outcome,
        }
    }

    async fn propose_once(&self, payload: Bytes) -> Result<Proposed, ProposeError> {
        let raft = self.0.raft().ok_or_else(|| self.0.why_not_proposed())?;
        let (reply, outcome) = Reply::pair();
        if raft.client_write_ff(Data(payload), Some(reply)).await.is_err() {
            return Err(self.0.why_not_proposed());
        }
        match outcome.await {
            Ok(Ok(written)) => Ok(Proposed { pos: crate::engine::pos(&written.log_id), answer: written.data }),
            Ok(Err(error)) => Err(write_error(&error)),
            Err(_) => Err(ProposeError::Lost),
        }
    }

    async fn wait_for_room(&self) -> Result<(), ProposeError> {
        let mut usage = self.0.log.usage();
        let log = self.0.log.clone();
        let room = usage.wait_for(|_| !log.is_over_limit());
        match rt::time::timeout(ROOM_DEADLINE, room).await {
            Ok(_) => Ok(()),
            Err(_) => Err(ProposeError::Full { why: "the log is over its limit and no checkpoint makes room".into() }),
        }
    }

    /// Whether this node provably leads right now, without asking anybody: it leads, the first entry of its term is applied, and
    /// a majority followed it within the lease less a tenth for clocks that drift. Cheap and without a task switch. An error
    /// is no proof that it does not lead: ask [`read_index`](Self::read_index).
    pub fn lease(&self) -> Result<LeaseRead, ReadError> {
        self.0.lease()
    }

    /// The position at which a read that starts now is linearizable, on any member: the leader confirms with a majority that it
    /// leads. The reader then waits for it with [`wait_applied`](Self::wait_applied). Cancel-safe.
    pub async fn read_index(&self, deadline: Instant) -> Result<LogIndex, ReadError> {
        self.0.read_index(deadline).await
    }

    /// Waits until an entry is applied here. Cancel-safe.
    pub async fn wait_applied(&self, index: LogIndex, deadline: Instant) -> Result<(), ReadError> {
        let is_applied = |pos: &Option<LogPos>| pos.is_some_and(|p| p.index >= index);
        let mut applied = self.0.machine.applied();
        if is_applied(&applied.borrow_and_update()) {
            return Ok(());
        }
        let start = Instant::now();
        let mut status = self.watch();
        tokio::select! {
            biased;
            _ = applied.wait_for(is_applied) => Ok(()),
            _ = status.wait_for(|s| matches!(s.state, GroupState::Failed(_) | GroupState::Stopped)) => Err(ReadError::Stopped),
            () = rt::time::sleep_until(deadline) => Err(ReadError::Late { waited: start.elapsed() }),
        }
    }

    /// What is known of the group here.
    pub fn status(&self) -> GroupStatus {
        self.0.status_now()
    }

    /// Watches what the group does here: state, leader, term, members. Positions in it are those of that moment; for
    /// [`GroupStatus::applied`] as it grows there is [`watch_applied`](Self::watch_applied). Changes may be merged; the last one is
    /// always seen.
    pub fn watch(&self) -> watch::Receiver<GroupStatus> {
        self.0.status.subscribe()
    }

    /// Watches the last entry applied here.
    pub fn watch_applied(&self) -> watch::Receiver<Option<LogPos>> {
        self.0.machine.applied()
    }

    /// Adds a member without a vote, and waits until the change is committed (not until the member has caught up).
    /// Adding a member again sets its address.
    pub async fn add_learner(&self, node: NodeId, address: String) -> Result<(), ChangeError> {
        let nodes: BTreeMap<u64, BasicNode> = [(node.0, BasicNode::new(&address))].into();
        let known = self.status().membership.addresses.get(&node).cloned();
        let change = match known {
            Some(known) if known == address => return Ok(()),
            Some(_) => ChangeMembers::SetNodes(nodes),
            None => ChangeMembers::AddNodes(nodes),
        };
        self.change(change, true).await
    }

    /// Makes exactly these members the voters; the others stay as learners. Each must be a member. Waits until it is committed.
    pub async fn change_voters(&self, voters: BTreeSet<NodeId>) -> Result<(), ChangeError> {
        let status = self.status();
        if status.membership.voters == [voters.clone()] {
            return Ok(());
        }
        let voters = voters.iter().map(|n| n.0).collect();
        self.change(ChangeMembers::ReplaceAllVoters(voters), true).await
    }

    /// On the leader: the entry that made the members, if `node` has no vote by them. A majority confirms after the call that there are no
    /// newer ones. None if it has a vote. For a member whose log was damaged; see [`come_back`](Self::come_back). Cancel-safe.
    pub async fn confirm_no_vote(&self, node: NodeId) -> Result<Option<LogPos>, ChangeError> {
        self.0.confirm_no_vote(node, CHANGE_DEADLINE).await
    }

    /// On a member whose log was damaged: the leader has [confirmed](Self::confirm_no_vote), asked after the damage was found, that by the
    /// members made at `at` nobody counts on a vote of this node. Once it has followed that far it is a member as any other. Before
    /// that its log may tell of members who are long replaced.
    pub fn come_back(&self, at: LogPos) {
        self.0.set_vote_withdrawn(at);
    }

    /// Removes a member, voter or not. Waits until it is committed. Removing who is no member does nothing.
    pub async fn remove(&self, node: NodeId) -> Result<(), ChangeError> {
        let members = self.status().membership;
        if members.voters.iter().any(|set| set.contains(&node)) {
            self.change(ChangeMembers::RemoveVoters([node.0].into()), false).await
        } else if members.addresses.contains_key(&node) {
            self.change(ChangeMembers::RemoveNodes([node.0].into()), false).await
        } else {
            Ok(())
        }
    }

    /// The last entry in the log here: what this node could go on from.
    pub fn last_position(&self) -> Option<LogPos> {
        self.0.last_entry()
    }

    /// The last entry that the log here has no longer. A member that ends before it cannot be brought up from this log.
    pub fn purged_position(&self) -> Option<LogPos> {
        self.0.log.head(self.0.id).purged
    }

    /// Makes this node the only member, for a group whose majority is lost for good. It goes on from its own log, of which `last` must be
    /// the last entry; the others start again from it when they are added. What only those had acknowledged who are lost is lost. Gives
    /// the entry that made it so. Refused while this node leads with a majority, or if its log has grown since.
    ///
    /// Never to be done on two members, and never while a majority may still be at work somewhere: two groups of one name would
    /// go on, each without the other. Not cancel-safe: it may be done all the same.
    pub async fn go_on_alone(&self, last: LogPos) -> Result<LogPos, ChangeError> {
        if !is_running(&self.0.status.borrow().state) {
            return Err(self.0.why_stopped());
        }
        if self.lease().is_ok() {
            return Err(ChangeError::Refused { why: "this node leads it, with a majority".to_owned() });
        }
        let (done, outcome) = oneshot::channel();
        self.0.set_order(Some(Order { last, done }));
        match rt::time::timeout(CHANGE_DEADLINE, outcome).await {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(_)) => Err(self.0.why_stopped()),
            Err(_) => {
                self.0.set_order(None);
                Err(ChangeError::Unknown { why: "the group did not stop in time".to_owned() })
            }
        }
    }

    async fn change(&self, change: ChangeMembers<u64, BasicNode>, retain: bool) -> Result<(), ChangeError> {
        let raft = self.0.raft().ok_or_else(|| self.0.why_stopped())?;
        match rt::time::timeout(CHANGE_DEADLINE, raft.change_membership(change, retain)).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => Err(change_error(&error).unwrap_or_else(|| self.0.why_stopped())),
            Err(_) => {
                Err(ChangeError::Unknown { why: format!("no majority agreed within {} s", CHANGE_DEADLINE.as_secs()) })
            }
        }
    }

    /// Hands leadership to a voter (to the one most up to date if none is named), never to a
    /// [witness](crate::RaftHost::set_witnesses), and waits until another node leads.
    /// From the call on and for the rest of the term, [`lease`](Self::lease) gives no proof.
    pub async fn transfer_leadership(&self, to: Option<NodeId>) -> Result<(), ChangeError> {
        self.0.transfer(to, CHANGE_DEADLINE).await
    }

    /// Makes what is applied durable outside the log, and purges the log up to there except a tail for members that lag.
    pub async fn checkpoint(&self) -> Result<(), ChangeError> {
        self.0.checkpoint(false).await
    }

    /// Stops the group on this node. Its log stays.
    pub async fn stop(&self) {
        self.0.stop().await;
    }
}

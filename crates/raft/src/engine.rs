//! Where openraft is named: its types filled in with ours, and the translations between the two.

pub(crate) mod codec;
pub(crate) mod machine;
pub(crate) mod network;
pub(crate) mod runtime;
pub(crate) mod serve;
pub(crate) mod store;
pub(crate) mod wire;

use crate::{ChangeError, LogPos, MembershipView, ProposeError, Timing};
use base::{GroupId, LogIndex, NodeId, Term};
use bytes::Bytes;
use openraft::raft::responder::Responder;
use openraft::{LogId, OptionalSend};
use serde::{Deserialize, Serialize};
use std::fmt;
use tokio::sync::oneshot;

pub(crate) use codec::decode_membership;
pub use wire::recode_message;

/// The data of an entry. Openraft wants to print and serialise it; neither happens with ours (see [`codec`]).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Data(pub(crate) Bytes);

impl fmt::Display for Data {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.0.len())
    }
}

/// Openraft's types, filled in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(crate) struct Types;

impl openraft::RaftTypeConfig for Types {
    type D = Data;
    type R = Bytes;
    type NodeId = u64;
    type Node = openraft::impls::BasicNode;
    type Term = u64;
    type LeaderId = openraft::impls::leader_id_adv::LeaderId<u64, u64>;
    type Vote = openraft::impls::Vote<Self::LeaderId>;
    type Payload = openraft::EntryPayload<Data, u64, openraft::impls::BasicNode>;
    type Entry = openraft::Entry<Self::LeaderId, Self::Payload>;
    type AsyncRuntime = runtime::BowlineRuntime;
    type Responder<T>
        = Reply<T>
    where
        T: OptionalSend + 'static;
    type Batch<T>
        = openraft::impls::InlineBatch<T>
    where
        T: OptionalSend + 'static;
    type ErrorSource = openraft::impls::BoxedErrorSource;
}

pub(crate) type LeaderId = openraft::alias::LeaderIdOf<Types>;
pub(crate) type Id = LogId<LeaderId>;
pub(crate) type Vote = openraft::alias::VoteOf<Types>;
pub(crate) type Entry = openraft::alias::EntryOf<Types>;
pub(crate) type EntryPayload = openraft::alias::PayloadOf<Types>;
pub(crate) type Membership = openraft::Membership<u64, openraft::impls::BasicNode>;
pub(crate) type StoredMembership = openraft::alias::StoredMembershipOf<Types>;

/// Carries the result of a write to who waits for it, if anybody still does.
pub(crate) struct Reply<T>(oneshot::Sender<T>);

impl<T> Reply<T> {
    pub(crate) fn pair() -> (Self, oneshot::Receiver<T>) {
        let (sender, receiver) = oneshot::channel();
        (Self(sender), receiver)
    }
}

impl<T: OptionalSend + 'static> Responder<Types, T> for Reply<T> {
    fn on_complete(self, result: T) {
        // Who waited may have given up.
        drop(self.0.send(result));
    }
}

pub(crate) fn pos(id: &Id) -> LogPos {
    LogPos { term: Term(id.leader_id.term), node: NodeId(id.leader_id.node_id), index: LogIndex(id.index) }
}

pub(crate) fn id(pos: LogPos) -> Id {
    LogId { leader_id: LeaderId { term: pos.term.0, node_id: pos.node.0 }, index: pos.index.0 }
}

/// The members in the words of this crate.
pub(crate) fn view(stored: &StoredMembership) -> MembershipView {
    let membership = stored.membership();
    MembershipView {
        voters: membership.get_joint_config().iter().map(|set| set.iter().map(|n| NodeId(*n)).collect()).collect(),
        learners: membership.learner_ids().map(NodeId).collect(),
        addresses: membership.nodes().map(|(n, node)| (NodeId(*n), node.addr.clone())).collect(),
        since: stored.log_id().as_ref().map(pos),
    }
}

pub(crate) type RaftHandle = openraft::Raft<Types, machine::MachineAdapter>;
pub(crate) type Metrics = openraft::RaftMetrics<Types>;
pub(crate) type MetricsReceiver = openraft::alias::WatchReceiverOf<Types, Metrics>;
pub(crate) type ServerMetricsReceiver =
    openraft::alias::WatchReceiverOf<Types, openraft::metrics::RaftServerMetrics<Types>>;
type WriteError = openraft::error::ClientWriteError<Types>;

fn leader_of(forward: &openraft::error::ForwardToLeader<Types>) -> Option<NodeId> {
    forward.leader_id.map(NodeId)
}

/// What became of a proposal that the engine did not apply.
pub(crate) fn write_error(error: &WriteError) -> ProposeError {
    match error {
        WriteError::ForwardToLeader(forward) => ProposeError::NotLeader { leader: leader_of(forward) },
        _ => ProposeError::Lost,
    }
}

/// What became of a change of members; none if the engine stopped.
pub(crate) fn change_error(error: &openraft::error::RaftError<Types, WriteError>) -> Option<ChangeError> {
    use openraft::error::ChangeMembershipError as Change;
    Some(match error.api_error()? {
        WriteError::ForwardToLeader(forward) => ChangeError::NotLeader { leader: leader_of(forward) },
        WriteError::ChangeMembershipError(Change::InProgress(_)) => ChangeError::InProgress,
        WriteError::ChangeMembershipError(other) => ChangeError::Refused { why: other.to_string() },
        WriteError::LogEntryDiscarded(_) | WriteError::PreconditionFailed(_) => {
            ChangeError::Unknown { why: "leadership was lost on the way".to_owned() }
        }
    })
}

/// The engine's settings. What it would do by itself about snapshots and purging is off: checkpoints do it.
pub(crate) fn config(group: GroupId, timing: &Timing) -> Result<openraft::Config, openraft::ConfigError> {
    let ms = |d: std::time::Duration| u64::try_from(d.as_millis()).unwrap_or(u64::MAX);
    openraft::Config {
        cluster_name: format!("group-{group}"),
        heartbeat_interval: ms(timing.heartbeat),
        election_timeout_min: ms(timing.election_min),
        election_timeout_max: ms(timing.election_max),
        enable_pre_vote: Some(true),
        // The steward of the group says when it may, when it looks at its clock, and sends the heartbeats: see `group::steward`.
        enable_elect: false,
        enable_tick: false,
        broadcast_submitted_on_append: Some(true),
        enable_leader_restore: Some(false),
        snapshot_policy: openraft::SnapshotPolicy::Never,
        max_in_snapshot_log_to_keep: u64::MAX / 4,
        // Only what is purged is replaced by a snapshot, however far a member lags.
        replication_lag_threshold: u64::MAX / 4,
        // A member whose log was damaged comes back with less than it had acknowledged, as a learner.
        allow_log_reversion: Some(true),
        install_snapshot_timeout: 3_600_000,
        ..openraft::Config::default()
    }
    .validate()
}

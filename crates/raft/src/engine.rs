//! Where openraft is named: its types filled in with ours, and the translations between the two.

pub(crate) mod codec;
pub(crate) mod runtime;

use crate::{LogPos, MembershipView};
use base::{LogIndex, NodeId, Term};
use bytes::Bytes;
use openraft::raft::responder::Responder;
use openraft::{LogId, OptionalSend};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::sync::Arc;
use tokio::sync::oneshot;

pub(crate) use codec::{decode_membership, encode_membership};

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

pub(crate) fn shared_view(stored: &StoredMembership) -> Arc<MembershipView> {
    Arc::new(view(stored))
}

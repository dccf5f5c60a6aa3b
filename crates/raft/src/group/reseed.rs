//! After a majority is lost for good: one member goes on alone with what it has, and everybody else starts again from it.

use super::core::Core;
use crate::engine::codec::encode_membership;
use crate::engine::{Membership, StoredMembership, id};
use crate::log::{NewEntry, Vote};
use crate::{ChangeError, LogPos, Payload};
use base::{LogIndex, Term};
use openraft::impls::BasicNode;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::Arc;
use tokio::sync::oneshot;

/// Somebody has decided that this node shall go on alone.
pub(crate) struct Order {
    /// The last entry that the decision was made by.
    pub(crate) last: LogPos,
    /// Where the outcome goes.
    pub(crate) done: oneshot::Sender<Result<LogPos, ChangeError>>,
}

impl Order {
    /// No engine runs meanwhile.
    pub(crate) async fn carry_out(self, core: &Core) {
        let outcome = reseed(core, self.last).await;
        match &outcome {
            Ok(at) => {
                rt::sometimes!("raft: a group went on with one member");
                tracing::warn!(group = %core.id, %at, "a group goes on with this node as its only member");
            }
            Err(error) => tracing::warn!(group = %core.id, %error, "a group does not go on with this node alone"),
        }
        // Who asked may have given up.
        drop(self.done.send(outcome));
    }
}

/// Appends an entry that makes this node the only member. It is in a term of its own, so that no log of another member has it, and the
/// others cut what they have beyond it.
async fn reseed(core: &Core, expected: LogPos) -> Result<LogPos, ChangeError> {
    let head = core.log.head(core.id);
    let Some(last) = head.last.max(head.purged) else {
        return Err(ChangeError::Refused { why: "this node has nothing of the group".to_owned() });
    };
    if last != expected {
        return Err(ChangeError::Refused { why: format!("its log has moved on meanwhile, from {expected} to {last}") });
    }
    let term = Term(head.vote.map_or(last.term, |vote| vote.term.max(last.term)).0 + 1);
    let (done, saved) = oneshot::channel();
    // Before the entry: whoever has an entry of a term has not voted for an older one since.
    core.log.save_vote(core.id, Vote { term, node: core.node, committed: false }, Box::new(|end| drop(done.send(end))));
    durable(saved).await?;
    rt::sim_point!("reseed.voted");
    let pos = LogPos { term, node: core.node, index: LogIndex(last.index.0 + 1) };
    let address = core.status.borrow().membership.addresses.get(&core.node).cloned().unwrap_or_default();
    let nodes = BTreeMap::from([(core.node.0, BasicNode::new(address))]);
    let alone = Membership::new(vec![BTreeSet::from([core.node.0])], nodes);
    let alone = alone.map_err(|error| ChangeError::Refused { why: error.to_string() })?;
    let members = encode_membership(&StoredMembership::new(Some(id(pos)), alone));
    let (done, saved) = oneshot::channel();
    let entry = NewEntry { pos, payload: Payload::Membership(members) };
    let appended = core.log.append(core.id, vec![entry], Box::new(|end| drop(done.send(end))));
    appended.map_err(|error| full(&error))?;
    durable(saved).await?;
    rt::sim_point!("reseed.appended");
    if core.is_quarantined() {
        let (done, saved) = oneshot::channel();
        core.log.set_quarantined(core.id, false, Box::new(|end| drop(done.send(end))));
        durable(saved).await?;
        core.set_quarantined(false);
    }
    Ok(pos)
}

async fn durable(saved: oneshot::Receiver<io::Result<()>>) -> Result<(), ChangeError> {
    match saved.await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => Err(full(&error)),
        Err(_) => Err(ChangeError::Stopped),
    }
}

fn full(error: &io::Error) -> ChangeError {
    ChangeError::Full { why: Arc::from(error.to_string()) }
}

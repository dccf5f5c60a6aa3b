//! A witness among the voters: what it does when nobody else can be elected, and who the witnesses are.
//!
//! ```text
//!   Following --a member asked for a vote and lacks what is in this log, and the leader is gone--> Standing in
//!       ^                                                                                            |
//!       +------------------------- that member has it all: the lead is handed over ------------------+
//! ```
//!
//! An entry may be on the disks of the old leader and of the witness alone, and it is committed then. Nobody who lacks it may be
//! elected, so the witness refuses its vote; and as nobody else has the entry, the witness must lead until somebody has. ADR-11.

use super::core::{Core, is_leading};
use super::steward::{Care, ROUND};
use crate::{LogPos, Part};
use base::NodeId;
use rpc::Reach;
use rt::time::Instant;
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;

/// How often a witness that leads looks whether somebody has all that it has.
const LOOK_EVERY: Duration = Duration::from_millis(10);
/// How long whom it hands over to may take until it looks again.
const HAND_OVER_MAX: Duration = Duration::from_millis(400);
/// The pause between two campaigns of a witness that nobody has asked for a vote.
const UNASKED_EVERY: Duration = Duration::from_millis(250);

/// The members that keep no data, as far as anybody has told.
#[derive(Debug, Default)]
pub(crate) struct Witnesses(Mutex<BTreeSet<NodeId>>);

impl Witnesses {
    pub(crate) fn set(&self, witnesses: BTreeSet<NodeId>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = witnesses;
    }

    pub(crate) fn get(&self) -> BTreeSet<NodeId> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn contains(&self, node: NodeId) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).contains(&node)
    }
}

/// What a node is among the voters, and which of the others are witnesses.
#[derive(Debug, Clone)]
pub(crate) struct Standing {
    pub(crate) part: Part,
    pub(crate) witnesses: Arc<Witnesses>,
}

/// A member that asked a witness for its vote and was refused, because its log lacks what is here.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Lacking {
    /// The end of its log.
    pub(crate) last: Option<LogPos>,
    /// When it asked.
    pub(crate) at: Instant,
}

/// The newest of them.
#[derive(Debug, Default)]
pub(crate) struct AskedInVain {
    newest: Mutex<Option<Lacking>>,
    pub(crate) told: Notify,
}

impl AskedInVain {
    pub(crate) fn newest(&self) -> Option<Lacking> {
        *self.newest.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note(&self, last: Option<LogPos>) {
        *self.newest.lock().unwrap_or_else(PoisonError::into_inner) = Some(Lacking { last, at: Instant::now() });
        self.told.notify_one();
    }
}

impl Core {
    /// Whether this node is a witness.
    pub(crate) fn is_witness(&self) -> bool {
        self.standing.part == Part::Witness
    }

    /// Whether a voter takes the lead for good, as far as this node can know. Where a witness votes it may be the only other one that is
    /// up: who is not connected is no heir then.
    pub(crate) fn may_lead(&self, node: NodeId) -> bool {
        let witnesses = self.standing.witnesses.get();
        let is_there = || {
            let view = self.mesh.watch(node).borrow().clone();
            view.reach == Reach::Up || view.inbound > 0
        };
        witnesses.is_empty() || (!witnesses.contains(&node) && is_there())
    }

    /// A member has asked for a vote. On a witness it is noted if that one lacks something.
    pub(crate) fn asked_for_vote(&self, last: Option<LogPos>) {
        if self.is_witness() && last < self.last_entry() {
            rt::sometimes!("witness: a member that lacks an entry was refused its vote");
            self.asked_in_vain.note(last);
        }
    }

    /// Whether the log here reaches back to the end of that member's.
    pub(crate) fn reaches(&self, lacking: Lacking) -> bool {
        self.log.head(self.id).purged.is_none_or(|purged| lacking.last.is_some_and(|last| last.index >= purged.index))
    }

    /// The last entry in the log here, or the last that was.
    pub(crate) fn last_entry(&self) -> Option<LogPos> {
        let head = self.log.head(self.id);
        head.last.max(head.purged)
    }
}

impl Care<'_> {
    /// Campaigns if somebody who lacks an entry has asked in vain, and the leader that had it is gone. If nobody asks and nobody leads for
    /// long it campaigns as well: a member may not know yet that it votes, for that is what it lacks. Returns when to look again.
    pub(super) async fn stand_in(&mut self) -> Duration {
        let core = self.core;
        let lease = core.timing.election_max;
        let heard = core.heard_at().max(self.began);
        let left = (heard + lease + Duration::from_millis(2)).saturating_duration_since(Instant::now());
        if !left.is_zero() {
            return left;
        }
        match core.asked_in_vain.newest().filter(|lacking| lacking.at >= heard) {
            // Its log and this one do not meet: only a member that keeps data can help.
            Some(lacking) if !core.reaches(lacking) => ROUND,
            Some(lacking) if lacking.at.elapsed() < lease * 2 => {
                rt::sometimes!("witness: it stands in for a leader that is gone");
                self.campaign_again(super::steward::CAMPAIGN_EVERY).await
            }
            _ => {
                let patience = core.timing.follow_patience;
                let waited = heard.elapsed();
                if waited < patience {
                    patience.saturating_sub(waited)
                } else {
                    self.campaign_again(UNASKED_EVERY).await
                }
            }
        }
    }

    /// Hands the lead over to a voter that has all that is here, to the leader of `sys` before others. Returns when to look again.
    pub(super) async fn hand_back(&mut self) -> Duration {
        let core = self.core;
        let guide = self.guide();
        let heir = core.with_metrics(|m| {
            let has_all = |n: &u64| {
                let matched = m.replication.as_ref().and_then(|r| r.get(n).copied().flatten());
                matched.map(|id| id.index) >= m.last_log_index
            };
            let voters = m.membership_config.voter_ids().filter(|n| *n != core.node.0);
            let able = voters.filter(|n| !core.standing.witnesses.contains(NodeId(*n)) && has_all(n));
            let heir = able.max_by_key(|n| Some(NodeId(*n)) == guide);
            heir.filter(|_| is_leading(m)).map(|n| (n, m.current_term))
        });
        let Some((to, term)) = heir.flatten() else { return LOOK_EVERY };
        core.give_up_lease(term);
        rt::sim_point!("witness.hands_over");
        drop(self.running.raft.trigger().transfer_leader(to).await);
        rt::sometimes!("witness: it handed the lead over");
        HAND_OVER_MAX
    }
}

//! Who is there, as the leader's own connections and the cluster's gossip tell, with patience for those who are only restarting.
//!
//! | its connections | gossip says            | it is given up                                      |
//! |-----------------|------------------------|-----------------------------------------------------|
//! | there           | anything               | not: who answers is there                           |
//! | gone            | dead, gone, or nothing | after `dead_after`                                  |
//! | gone            | alive or suspected     | after three times that: others hear it, so most     |
//! |                 |                        | likely it is only the way from here that is broken  |

use crate::gossiping::Gossiping;
use base::NodeId;
use futures::future::select_all;
use rpc::{Mesh, PeerView, Reach};
use rt::sync::watch;
use rt::time::Instant;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// How many times longer a member is waited for that others hear.
const HEARD_BY_OTHERS: u32 = 3;

pub(super) struct Liveness {
    gossiping: Gossiping,
    verdicts: watch::Receiver<u64>,
    watches: BTreeMap<NodeId, watch::Receiver<PeerView>>,
    silent_since: BTreeMap<NodeId, Instant>,
    given_up: BTreeMap<NodeId, Instant>,
}

impl Liveness {
    pub(super) fn new(gossiping: Gossiping) -> Self {
        let verdicts = gossiping.watch();
        Self { gossiping, verdicts, watches: BTreeMap::new(), silent_since: BTreeMap::new(), given_up: BTreeMap::new() }
    }

    /// Those of `nodes` that are there, or have not been silent for long enough.
    pub(super) fn alive(
        &mut self,
        mesh: &Mesh,
        this: NodeId,
        nodes: &BTreeSet<NodeId>,
        dead_after: Duration,
    ) -> BTreeSet<NodeId> {
        self.watches.retain(|node, _| nodes.contains(node));
        self.silent_since.retain(|node, _| nodes.contains(node));
        self.given_up.clear();
        self.verdicts.borrow_and_update();
        let mut alive = BTreeSet::new();
        for node in nodes {
            let watch = self.watches.entry(*node).or_insert_with(|| mesh.watch(*node));
            let view = watch.borrow_and_update().clone();
            if *node == this || view.reach == Reach::Up || view.inbound > 0 {
                self.silent_since.remove(node);
                alive.insert(*node);
                continue;
            }
            let since = *self.silent_since.entry(*node).or_insert_with(Instant::now);
            let is_heard = self.gossiping.verdict(*node).is_some_and(|verdict| verdict.is_heard());
            let patience = if is_heard { dead_after.saturating_mul(HEARD_BY_OTHERS) } else { dead_after };
            if since.elapsed() < patience {
                self.given_up.insert(*node, since + patience);
                alive.insert(*node);
            }
        }
        alive
    }

    /// When the next silent member will have been silent for too long.
    pub(super) fn next_verdict(&self) -> Option<Instant> {
        self.given_up.values().min().copied()
    }

    /// Waits until a member answers or stops answering, or gossip has another opinion of one.
    pub(super) async fn changed(&mut self) {
        let changes: Vec<_> = self.watches.values_mut().map(|watch| Box::pin(watch.changed())).collect();
        if changes.is_empty() {
            std::future::pending::<()>().await;
        }
        tokio::select! {
            biased;
            // The senders live as long as the mesh.
            done = select_all(changes) => if done.0.is_err() { std::future::pending::<()>().await },
            done = self.verdicts.changed() => if done.is_err() { std::future::pending::<()>().await },
        }
    }

    /// Starts anew: what a former leader saw does not count.
    pub(super) fn forget(&mut self) {
        self.watches.clear();
        self.silent_since.clear();
        self.given_up.clear();
    }
}

//! Who answers, as the leader's own connections tell, with patience for those who are only restarting.

use base::NodeId;
use futures::future::select_all;
use rpc::{Mesh, PeerView, Reach};
use rt::sync::watch;
use rt::time::Instant;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// A member that does not answer is given up for dead after so long: longer than a restart takes.
const PATIENCE: Duration = Duration::from_secs(10);

#[derive(Debug, Default)]
pub(super) struct Liveness {
    watches: BTreeMap<NodeId, watch::Receiver<PeerView>>,
    silent_since: BTreeMap<NodeId, Instant>,
}

impl Liveness {
    /// Those of `nodes` that answer, or have not been silent for long enough.
    pub(super) fn alive(&mut self, mesh: &Mesh, this: NodeId, nodes: &BTreeSet<NodeId>) -> BTreeSet<NodeId> {
        self.watches.retain(|node, _| nodes.contains(node));
        self.silent_since.retain(|node, _| nodes.contains(node));
        let mut alive = BTreeSet::new();
        for node in nodes {
            let watch = self.watches.entry(*node).or_insert_with(|| mesh.watch(*node));
            let view = watch.borrow_and_update().clone();
            if *node == this || view.reach == Reach::Up || view.inbound > 0 {
                self.silent_since.remove(node);
                alive.insert(*node);
            } else if self.silent_since.entry(*node).or_insert_with(Instant::now).elapsed() < PATIENCE {
                alive.insert(*node);
            }
        }
        alive
    }

    /// When the next silent member will have been silent for too long.
    pub(super) fn next_verdict(&self) -> Option<Instant> {
        let now = Instant::now();
        self.silent_since.values().map(|since| *since + PATIENCE).filter(|at| *at > now).min()
    }

    /// Waits until a member answers or stops answering.
    pub(super) async fn changed(&mut self) {
        let changes: Vec<_> = self.watches.values_mut().map(|watch| Box::pin(watch.changed())).collect();
        if changes.is_empty() {
            std::future::pending::<()>().await;
        }
        // The senders live as long as the mesh.
        if select_all(changes).await.0.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Starts anew: what a former leader saw does not count.
    pub(super) fn forget(&mut self) {
        self.watches.clear();
        self.silent_since.clear();
    }
}

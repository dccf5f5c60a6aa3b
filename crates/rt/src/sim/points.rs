//! What a world does at named points, and what a sweep has seen.

use super::node::Node;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// What happens to a node at a point.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Strike {
    /// Nothing.
    Pass,
    /// The whole process stands still for a while, from its next await on.
    Pause(Duration),
    /// The process is killed: its disk answers no more, and it is not polled again.
    Kill,
    /// The machine loses power: like `Kill`, and the disk loses what was not synced.
    PowerCut,
    /// Something that only the world can do, such as a partition; it finds the number in [`Node::take_strikes`].
    World(u64),
}

/// Decides at every point: node, name, and how often the point was hit before in this world.
pub type Handler = Box<dyn FnMut(&Node, &'static str, u64) -> Strike + Send>;

/// The points of a world. Clones are the same.
#[derive(Clone, Default)]
pub struct Points(Arc<Mutex<Inner>>);

#[derive(Default)]
struct Inner {
    hits: BTreeMap<&'static str, u64>,
    reached: BTreeMap<&'static str, u64>,
    handler: Option<Handler>,
    mutants: BTreeSet<String>,
}

impl Points {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets `handler` decide from now on.
    pub fn handle(&self, handler: Handler) {
        self.inner().handler = Some(handler);
    }

    /// How often each `sim_point!` was hit.
    pub fn hits(&self) -> BTreeMap<&'static str, u64> {
        self.inner().hits.clone()
    }

    /// How often each `sometimes!` was reached.
    pub fn reached(&self) -> BTreeMap<&'static str, u64> {
        self.inner().reached.clone()
    }

    /// Switches an old mistake on.
    pub fn switch_on(&self, mutant: &str) {
        self.inner().mutants.insert(mutant.to_owned());
    }

    pub(super) fn is_mutant(&self, name: &str) -> bool {
        self.inner().mutants.contains(name)
    }

    pub(super) fn reach(&self, name: &'static str) {
        *self.inner().reached.entry(name).or_default() += 1;
    }

    pub(super) fn hit(&self, node: &Node, name: &'static str) -> Strike {
        let mut inner = self.inner();
        let count = inner.hits.entry(name).or_default();
        let before = *count;
        *count += 1;
        // The handler may look at the points, so it runs without the lock.
        let Some(mut handler) = inner.handler.take() else { return Strike::Pass };
        drop(inner);
        let strike = handler(node, name, before);
        self.inner().handler.get_or_insert(handler);
        strike
    }
}

impl std::fmt::Debug for Points {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Points({:?})", self.inner().hits)
    }
}

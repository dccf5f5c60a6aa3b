//! A simulated machine, and which one the running code is on.

use super::dice::Dice;
use super::disk::Disk;
use super::trace::Trace;
use std::cell::RefCell;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

thread_local! {
    static CURRENT: RefCell<Option<Node>> = const { RefCell::new(None) };
}

/// A simulated machine. Clones are the same machine. It outlives the processes that run on it.
#[derive(Clone)]
pub struct Node(Arc<Machine>);

struct Machine {
    name: String,
    id: u64,
    disk: Disk,
    trace: Trace,
    state: Mutex<NodeState>,
}

struct NodeState {
    entropy: Dice,
}

/// The node that the running code is on; none on a real machine.
pub fn current() -> Option<Node> {
    CURRENT.with_borrow(Clone::clone)
}

impl Node {
    /// A machine with a disk of its own and a trace that nobody compares.
    pub fn with_disk(name: &str, id: u64, seed: u64, disk: Disk) -> Self {
        Self::new(name, id, seed, disk, Trace::default())
    }

    /// A machine whose chance comes from `seed` and whose doings go to `trace`.
    pub fn new(name: &str, id: u64, seed: u64, disk: Disk, trace: Trace) -> Self {
        let mut dice = Dice::new(seed ^ id.rotate_left(17));
        let state = NodeState { entropy: dice.split("entropy") };
        Self(Arc::new(Machine { name: name.to_owned(), id, disk, trace, state: Mutex::new(state) }))
    }

    fn state(&self) -> MutexGuard<'_, NodeState> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs `work` on this machine.
    pub fn enter<R>(&self, work: impl FnOnce() -> R) -> R {
        let _back = Back(CURRENT.replace(Some(self.clone())));
        work()
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// Its number in the world.
    pub fn id(&self) -> u64 {
        self.0.id
    }

    /// Its disk.
    pub fn disk(&self) -> &Disk {
        &self.0.disk
    }

    /// Where its doings are recorded.
    pub fn trace(&self) -> &Trace {
        &self.0.trace
    }

    /// The next bytes of its seeded entropy.
    pub(crate) fn fill(&self, bytes: &mut [u8]) {
        let mut state = self.state();
        for chunk in bytes.chunks_mut(8) {
            for (to, from) in chunk.iter_mut().zip(state.entropy.roll().to_le_bytes()) {
                *to = from;
            }
        }
    }
}

/// Puts the previous node back, also when the work panics.
struct Back(Option<Node>);

impl Drop for Back {
    fn drop(&mut self) {
        CURRENT.set(self.0.take());
    }
}

impl std::fmt::Debug for Node {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Node({} {})", self.id(), self.name())
    }
}

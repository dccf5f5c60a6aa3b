//! A simulated machine, and which one the running code is on.

use super::clock::Clock;
use super::dice::Dice;
use super::disk::Disk;
use super::points::{Points, Strike};
use super::task::{MainTask, Slot};
use super::trace::{Trace, fingerprint};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

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
    points: Points,
    state: Mutex<NodeState>,
}

struct NodeState {
    entropy: Dice,
    naps: Dice,
    delays: Dice,
    clock: Clock,
    jitter: Jitter,
    drop_at: Vec<(&'static str, u64)>,
    /// In the world's time.
    paused_until: Duration,
    /// Killed and not yet restarted: nothing is polled.
    dead: bool,
    strikes: Vec<Strike>,
    /// The futures of the process's tasks, by the order in which they were started.
    tasks: BTreeMap<u64, Slot>,
    next_task: u64,
    /// Unix sockets of this machine, as ports on its loopback.
    unix: BTreeMap<PathBuf, u16>,
    /// The world's time where turmoil does not tell it: without a network.
    apart: Apart,
}

/// Time for nodes outside a turmoil world.
#[derive(Default)]
struct Apart {
    passed: Duration,
    /// The beginning of the present runtime.
    base: Option<tokio::time::Instant>,
}

/// How often a ready task is made to wait.
#[derive(Debug, Clone, Copy)]
pub struct Jitter {
    /// One poll in so many is preceded by a nap of 1 to 3 ms; zero for none.
    pub one_in: u64,
}

impl Default for Jitter {
    fn default() -> Self {
        Self { one_in: 8 }
    }
}

pub(super) enum BeforePoll {
    Go,
    Nap(Duration),
    /// The process is dead: wait to be dropped.
    Never,
    /// The task is to be dropped here.
    Drop,
}

/// The node that the running code is on; none on a real machine.
pub fn current() -> Option<Node> {
    CURRENT.with_borrow(Clone::clone)
}

impl Node {
    /// A machine with a trace and points that nobody looks at.
    pub fn with_disk(name: &str, id: u64, seed: u64, disk: Disk) -> Self {
        Self::new(name, id, seed, disk, Trace::default(), Points::default())
    }

    /// A machine whose chance comes from `seed` and whose doings go to `trace`.
    pub fn new(name: &str, id: u64, seed: u64, disk: Disk, trace: Trace, points: Points) -> Self {
        let mut dice = Dice::new(seed ^ id.rotate_left(17));
        let state = NodeState {
            entropy: dice.split("entropy"),
            naps: dice.split("naps"),
            delays: dice.split("delays"),
            clock: Clock::new(),
            jitter: Jitter::default(),
            drop_at: Vec::new(),
            paused_until: Duration::ZERO,
            dead: false,
            strikes: Vec::new(),
            tasks: BTreeMap::new(),
            next_task: 0,
            unix: BTreeMap::new(),
            apart: Apart::default(),
        };
        disk.trace_to(trace.clone(), id);
        Self(Arc::new(Machine { name: name.to_owned(), id, disk, trace, points, state: Mutex::new(state) }))
    }

    fn state(&self) -> MutexGuard<'_, NodeState> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs `work` on this machine.
    pub fn enter<R>(&self, work: impl FnOnce() -> R) -> R {
        let _back = Back(CURRENT.replace(Some(self.clone())));
        work()
    }

    /// A process's main task on this machine; none if it was dropped half-way. To be awaited in the machine's runtime.
    pub fn run<F: Future>(&self, name: &'static str, future: F) -> impl Future<Output = Option<F::Output>> {
        MainTask::new(self.clone(), name, future)
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

    /// The points of its world.
    pub fn points(&self) -> &Points {
        &self.0.points
    }

    /// How often its tasks are made to wait.
    pub fn set_jitter(&self, jitter: Jitter) {
        self.state().jitter = jitter;
    }

    /// Drops the next task of that name just before its `poll`-th poll, counted from zero.
    pub fn drop_task_at(&self, name: &'static str, poll: u64) {
        self.state().drop_at.push((name, poll));
    }

    /// Lets its clocks run faster (or slower, if negative) than the world's, in parts per million. `now` is the world's time,
    /// which a node does not know while it does not run.
    pub fn set_drift(&self, now: Duration, ppm: i32) {
        self.state().clock.set_drift(now, ppm);
    }

    /// Lets its wall clock jump. The monotonic clock does not.
    pub fn jump_wall(&self, by_ms: i64) {
        self.state().clock.jump_wall(by_ms);
    }

    /// Stops the process until that time of the world, as SIGSTOP or a suspended machine does: its clocks run on.
    pub fn pause(&self, until: Duration) {
        let mut state = self.state();
        state.paused_until = state.paused_until.max(until);
    }

    /// The process is dead until [`begin_process`](Self::begin_process): none of its tasks is polled, its handles are dead.
    pub fn kill(&self) {
        self.state().dead = true;
        self.disk().process_died();
    }

    /// The process has ended by itself: what it left running is dropped.
    pub fn end_process(&self) {
        self.state().dead = true;
        self.drop_tasks_if_dead();
    }

    /// The machine goes on after the end of a runtime apart; its power is as it was.
    pub(super) fn revive(&self) {
        self.state().dead = false;
    }

    /// A new process begins on this machine. Power is on.
    pub fn begin_process(&self) {
        let mut state = self.state();
        state.dead = false;
        state.strikes.clear();
        state.paused_until = Duration::ZERO;
        state.unix.clear();
        drop(state);
        if self.disk().is_off() {
            self.disk().power_on();
        }
        self.trace().event("process", &[self.id()]);
    }

    /// What points have done to this node since the last call; the world carries it out.
    pub fn take_strikes(&self) -> Vec<Strike> {
        std::mem::take(&mut self.state().strikes)
    }

    pub(crate) fn strike(&self, name: &'static str) {
        self.trace().event("point", &[self.id(), fingerprint(name.as_bytes())]);
        let strike = self.points().hit(self, name);
        match strike {
            Strike::Pass => return,
            Strike::Pause(duration) => self.pause(self.world_now() + duration),
            Strike::Kill => self.kill(),
            Strike::PowerCut => {
                self.state().dead = true;
                self.disk().power_cut();
            }
            Strike::World(_) => {}
        }
        self.trace().event("strike", &[self.id(), fingerprint(format!("{strike:?}").as_bytes())]);
        self.state().strikes.push(strike);
    }

    pub(crate) fn reach(&self, name: &'static str) {
        self.points().reach(name);
    }

    pub(crate) fn is_mutant(&self, name: &str) -> bool {
        self.points().is_mutant(name)
    }

    pub(super) fn before_poll(&self, name: &'static str, polls: u64, rested: bool) -> BeforePoll {
        let now = self.world_now();
        let mut state = self.state();
        if state.dead {
            return BeforePoll::Never;
        }
        if now < state.paused_until {
            return BeforePoll::Nap(state.paused_until.saturating_sub(now));
        }
        if let Some(at) = state.drop_at.iter().position(|(n, p)| *n == name && *p == polls) {
            state.drop_at.swap_remove(at);
            return BeforePoll::Drop;
        }
        let one_in = state.jitter.one_in;
        if !rested && one_in > 0 && state.naps.chance(1, one_in) {
            return BeforePoll::Nap(Duration::from_millis(1 + state.naps.below(3)));
        }
        BeforePoll::Go
    }

    pub(super) fn list_task(&self, slot: Slot) -> u64 {
        let mut state = self.state();
        state.next_task += 1;
        let number = state.next_task;
        state.tasks.insert(number, slot);
        number
    }

    pub(super) fn unlist_task(&self, number: u64) {
        self.state().tasks.remove(&number);
    }

    /// Drops the futures of a dead process, in the order in which they were started.
    pub(super) fn drop_tasks_if_dead(&self) {
        let mut state = self.state();
        let tasks = if state.dead { std::mem::take(&mut state.tasks) } else { BTreeMap::new() };
        drop(state);
        for slot in tasks.into_values() {
            slot.let_go(self);
        }
    }

    /// The order of polls is the first thing in which two runs part.
    pub(super) fn note_poll(&self, name: &'static str, polls: u64) {
        self.trace().event("poll", &[self.id(), fingerprint(name.as_bytes()), polls]);
    }

    /// The world's time: turmoil's, or that of the runtime apart, which stands still between two runtimes.
    pub fn world_now(&self) -> Duration {
        if let Some(elapsed) = turmoil::sim_elapsed() {
            return elapsed;
        }
        let state = self.state();
        let running = state.apart.base.filter(|_| tokio::runtime::Handle::try_current().is_ok());
        state.apart.passed + running.map(|b| b.elapsed()).unwrap_or_default()
    }

    /// A runtime apart begins (or ends) to carry this node's time on.
    pub(super) fn carry_time(&self, begins: bool) {
        let mut state = self.state();
        let passed = state.apart.base.take().map(|base| base.elapsed()).unwrap_or_default();
        state.apart.passed += passed;
        state.apart.base = begins.then(tokio::time::Instant::now);
    }

    pub(crate) fn monotonic(&self) -> Duration {
        let world = self.world_now();
        self.state().clock.monotonic(world)
    }

    pub(crate) fn wall(&self) -> Duration {
        let world = self.world_now();
        self.state().clock.wall(world)
    }

    pub(crate) fn in_world(&self, local: Duration) -> Duration {
        self.state().clock.in_world(local)
    }

    /// How long a piece of blocking work waits for its thread: often not at all.
    pub(crate) fn thread_delay(&self) -> Duration {
        let mut state = self.state();
        let ms = if state.delays.chance(1, 2) { 0 } else { 1 + state.delays.below(2) };
        Duration::from_millis(ms)
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

    pub(crate) fn bind_unix(&self, path: &Path, port: u16) {
        self.state().unix.insert(path.to_owned(), port);
    }

    pub(crate) fn unbind_unix(&self, path: &Path) {
        self.state().unix.remove(path);
    }

    pub(crate) fn unix_port(&self, path: &Path) -> Option<u16> {
        self.state().unix.get(path).copied()
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

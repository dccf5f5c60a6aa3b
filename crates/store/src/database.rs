//! One database on this node: its pages, its Raft group, the queue of its writers, and who waits for what.

use crate::core::Core;
use crate::kept::Kept;
use crate::{ReadLevel, StoreError};
use base::{DbName, GroupId, LogIndex, NodeId, Term, Version};
use futures::future::BoxFuture;
use raft::{Group, LogPos};
use rt::sync::watch;
use rt::time::Instant;
use sqlite::{Connection, ConnectionOptions, PageStore};
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::Semaphore;

/// Who leads the database, as this node sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Leadership {
    /// The term in which this node leads and has applied everything of earlier terms; it writes then.
    pub leading: Option<Term>,
    /// The leader, whoever it is.
    pub leader: Option<NodeId>,
}

/// Whether sessions may open a database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// They may.
    Open = 0,
    /// It is filled from a file.
    Importing = 1,
    /// It is being closed.
    Closing = 2,
}

/// One database on this node.
#[derive(Debug)]
pub struct Database {
    name: DbName,
    group_id: GroupId,
    group: Group,
    core: Arc<Core>,
    queue: Arc<Semaphore>,
    leadership: watch::Sender<Leadership>,
    phase: AtomicU8,
    /// The last entry applied here.
    applied: watch::Receiver<Option<LogPos>>,
    /// When this node's copy was last known to hold everything acknowledged.
    confirmed: Mutex<Option<Instant>>,
    kept: Kept,
}

impl Database {
    pub(crate) fn new(name: DbName, group_id: GroupId, group: Group, core: Arc<Core>) -> Self {
        let applied = group.watch_applied();
        Self {
            name,
            group_id,
            group,
            core,
            queue: Arc::new(Semaphore::new(1)),
            leadership: watch::Sender::default(),
            phase: AtomicU8::new(Phase::Open as u8),
            applied,
            confirmed: Mutex::new(None),
            kept: Kept::default(),
        }
    }

    /// Its name.
    pub fn name(&self) -> &DbName {
        &self.name
    }

    /// Its Raft group's id.
    pub fn group_id(&self) -> GroupId {
        self.group_id
    }

    /// Its Raft group.
    pub fn group(&self) -> &Group {
        &self.group
    }

    /// Its pages.
    pub fn pages(&self) -> &PageStore {
        &self.core.pages
    }

    pub(crate) fn core(&self) -> &Arc<Core> {
        &self.core
    }

    /// Says whether sessions may open it. It does not come back from closing.
    pub(crate) fn set_phase(&self, phase: Phase) {
        self.phase.fetch_max(phase as u8, Ordering::AcqRel);
        if phase == Phase::Open {
            // Only from importing.
            let _was = self.phase.compare_exchange(
                Phase::Importing as u8,
                Phase::Open as u8,
                Ordering::AcqRel,
                Ordering::Acquire,
            );
        }
    }

    /// Whether sessions may open it.
    pub(crate) fn phase(&self) -> Phase {
        match self.phase.load(Ordering::Acquire) {
            0 => Phase::Open,
            1 => Phase::Importing,
            _ => Phase::Closing,
        }
    }

    pub(crate) fn connect(&self) -> Result<Connection, StoreError> {
        Ok(Connection::open(&self.core.pages, ConnectionOptions::default())?)
    }

    /// Connections that nobody uses at present.
    pub(crate) fn kept(&self) -> &Kept {
        &self.kept
    }

    /// The committed version, now and as it moves.
    pub fn changes(&self) -> watch::Receiver<Version> {
        self.core.changes()
    }

    /// Who leads, now and as it changes.
    pub fn leadership(&self) -> watch::Receiver<Leadership> {
        self.leadership.subscribe()
    }

    pub(crate) fn set_leadership(&self, now: Leadership) {
        self.leadership.send_if_modified(|before| std::mem::replace(before, now) != now);
    }

    /// Refuses unless this node leads and may write.
    pub(crate) fn check_leading(&self) -> Result<(), StoreError> {
        let now = *self.leadership.borrow();
        if now.leading.is_some() { Ok(()) } else { Err(StoreError::NotLeader { leader: now.leader }) }
    }

    /// Completes when this node stops leading.
    pub(crate) async fn leadership_lost(&self, watch: &mut watch::Receiver<Leadership>) -> StoreError {
        loop {
            let now = *watch.borrow_and_update();
            if now.leading.is_none() {
                return StoreError::NotLeader { leader: now.leader };
            }
            if watch.changed().await.is_err() {
                return StoreError::NotOpen { state: "closing" };
            }
        }
    }

    pub(crate) fn slot_queue(&self) -> Arc<Semaphore> {
        Arc::clone(&self.queue)
    }

    /// No session gets the writer's slot any more; those that wait are refused.
    pub(crate) fn close_queue(&self) {
        self.queue.close();
    }

    pub(crate) async fn await_commit(&self, version: Version, reign: u64) -> Result<(), StoreError> {
        self.core.committed(version, reign).await.map_err(|_| StoreError::OutcomeUnknown)
    }

    /// Waits until every commit made here is confirmed or dropped. Cancel-safe.
    pub(crate) async fn settled(&self) {
        let mut changes = self.core.changes();
        let mut leadership = self.leadership();
        while self.pages().head() > self.pages().committed() {
            let moved = tokio::select! {
                biased;
                moved = changes.changed() => moved,
                moved = leadership.changed() => moved,
            };
            if moved.is_err() {
                return;
            }
        }
    }

    /// Waits until a read of `level` may begin on this node's committed version. Returns at once, without leaving the
    /// thread, on a leader with a valid lease. Cancel-safe.
    pub async fn fresh(&self, level: ReadLevel, leader_only: bool, wait_max: Duration) -> Result<(), StoreError> {
        match level {
            ReadLevel::Local => Ok(()),
            ReadLevel::Linearizable => {
                if let Ok(lease) = self.group.lease() {
                    return self.caught_up(lease.index, wait_max).await;
                }
                if leader_only {
                    self.check_leading()?;
                }
                self.confirm(wait_max).await
            }
            ReadLevel::Bounded(bound) => {
                let confirmed = *self.confirmed.lock().unwrap_or_else(PoisonError::into_inner);
                if confirmed.is_some_and(|at| at.elapsed() <= bound) {
                    return Ok(());
                }
                match self.confirm(wait_max.min(bound.max(Duration::from_millis(50)))).await {
                    Err(StoreError::ReadTimeout { .. } | StoreError::NotLeader { .. }) => {
                        Err(StoreError::TooStale { bound })
                    }
                    other => other,
                }
            }
        }
    }

    /// Waits until an entry is applied here: others may have been told already that it is committed.
    async fn caught_up(&self, index: LogIndex, wait_max: Duration) -> Result<(), StoreError> {
        let is_applied = self.applied.borrow().is_some_and(|pos| pos.index >= index);
        if is_applied {
            return Ok(());
        }
        let wait = self.group.wait_applied(index, Instant::now() + wait_max);
        Box::pin(wait).await.map_err(|e| read_error(&e, wait_max))
    }

    /// Asks the leader for its commit index and waits until that is applied here.
    fn confirm(&self, wait_max: Duration) -> BoxFuture<'_, Result<(), StoreError>> {
        // Boxed: it is rarely taken, deep, and would stand in the future of every statement.
        Box::pin(self.confirm_with_leader(wait_max))
    }

    async fn confirm_with_leader(&self, wait_max: Duration) -> Result<(), StoreError> {
        let asked = Instant::now();
        let deadline = asked + wait_max;
        let index = self.group.read_index(deadline).await.map_err(|e| read_error(&e, wait_max))?;
        self.group.wait_applied(index, deadline).await.map_err(|e| read_error(&e, wait_max))?;
        *self.confirmed.lock().unwrap_or_else(PoisonError::into_inner) = Some(asked);
        Ok(())
    }
}

fn read_error(error: &raft::ReadError, waited: Duration) -> StoreError {
    match error {
        raft::ReadError::NotLeader { leader } => StoreError::NotLeader { leader: *leader },
        raft::ReadError::NoLeader { .. } | raft::ReadError::Late { .. } => StoreError::ReadTimeout { waited },
        raft::ReadError::Full { .. } => StoreError::Suspended(error.clone()),
        raft::ReadError::Stopped => StoreError::NotOpen { state: "closing" },
    }
}

//! One node's Raft: the log that all groups share, the transport, and the groups.

use crate::engine::machine::Machine;
use crate::engine::serve::NOT_RUNNING;
use crate::engine::wire;
use crate::group::{Core, Damage, Standing, Witnesses};
use crate::log::{Log, LogStats, Usage};
use crate::{ChangeError, Group, OpenError, StateMachine};
use base::{Disposition, GroupId, NodeId};
use bytes::Bytes;
use futures::future::BoxFuture;
use lifecycle::{Cancelled, Scope, StopReport};
use rpc::{Answer, Caller, Handler, Mesh, Refusal};
use rt::sync::watch;
use rt::time::Instant;
use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;
use tokio::sync::oneshot;

/// How often groups are asked for a checkpoint at most while the log is over its limit.
const PRESSURE_EVERY: Duration = Duration::from_millis(200);

/// What a host needs to know.
#[derive(Debug, Clone)]
pub struct HostConfig {
    /// This node.
    pub node: NodeId,
    /// The directory of the log, created if missing. One process at a time.
    pub dir: PathBuf,
    /// How large the log may grow.
    pub limits: LogLimits,
    /// Heartbeats and elections.
    pub timing: Timing,
    /// What to do when the log is damaged in the middle.
    pub on_corruption: OnCorruption,
    /// Whether this node leads as any other.
    pub part: Part,
}

impl HostConfig {
    /// The defaults, for a node and a directory.
    pub fn new(node: NodeId, dir: impl Into<PathBuf>) -> Self {
        Self {
            node,
            dir: dir.into(),
            limits: LogLimits::default(),
            timing: Timing::default(),
            on_corruption: OnCorruption::Refuse,
            part: Part::Data,
        }
    }
}

/// What a node is among the voters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Part {
    /// It keeps what it applies, and leads if it is elected.
    #[default]
    Data,
    /// It keeps its log for the others' sake. It campaigns only where somebody else cannot be elected because of what is in that log,
    /// and hands the lead over as soon as that one has it too (ADR-11).
    Witness,
}

/// What [`RaftHost::open`] does with a log that is damaged in the middle.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnCorruption {
    /// Returns [`OpenError::Corrupt`]. The right thing until somebody has looked at the disk.
    #[default]
    Refuse,
    /// Keeps what is whole before the damage and moves the rest aside. Groups that may have lost acknowledged entries or votes
    /// neither vote nor campaign until their log has caught up with a leader that was elected without them.
    Repair,
    /// As [`Repair`](Self::Repair), for the only voter there is: what is behind the damage is lost, and it goes on with the rest. With
    /// other voters in the cluster that would be a second cluster beside theirs.
    RepairAlone,
}

/// How large the log may grow, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogLimits {
    /// The length of a segment file.
    pub segment_bytes: u64,
    /// Above this, the group that holds the oldest segment is checkpointed and purged. Groups whose checkpoints cost much may ask for more,
    /// up to half of [`hard_bytes`](Self::hard_bytes): see [`StateMachine::checkpoint_worth`](crate::StateMachine::checkpoint_worth).
    pub soft_bytes: u64,
    /// Above this, appends wait for a checkpoint. One entry above it is still taken, so that nothing stands for ever.
    pub hard_bytes: u64,
    /// How much of the newest entries is kept in memory, over all groups.
    pub cache_bytes: u64,
    /// How much a purge leaves behind the checkpoint of each group for members that lag.
    pub keep_bytes: u64,
}

impl LogLimits {
    /// The same for a witness: its log is all that it has for a member that lags, so that it keeps eight times as much of it. It stays
    /// within the hard limit.
    #[must_use]
    pub fn of_a_witness(self) -> Self {
        let keep_bytes = self.keep_bytes.saturating_mul(8).min(self.hard_bytes / 2);
        Self { soft_bytes: self.soft_bytes.max(keep_bytes.saturating_mul(2)).min(self.hard_bytes), keep_bytes, ..self }
    }
}

impl Default for LogLimits {
    fn default() -> Self {
        const MIB: u64 = 1 << 20;
        Self {
            segment_bytes: 2 * MIB,
            soft_bytes: 8 * MIB,
            hard_bytes: 64 * MIB,
            // Every database has one record in flight; who lags is served from the kernel's cache.
            cache_bytes: 2 * MIB,
            keep_bytes: 2 * MIB,
        }
    }
}

/// Heartbeats and elections. The leader's lease is [`election_max`](Self::election_max).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timing {
    /// How often a leader proves itself.
    pub heartbeat: Duration,
    /// The shortest wait of a follower after the lease before it campaigns.
    pub election_min: Duration,
    /// The longest.
    pub election_max: Duration,
    /// How long a group that follows another one's leadership waits for it before it helps itself.
    pub follow_patience: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            heartbeat: Duration::from_millis(75),
            election_min: Duration::from_millis(200),
            election_max: Duration::from_millis(350),
            follow_patience: Duration::from_secs(2),
        }
    }
}

/// How one group behaves.
#[derive(Debug, Clone, Default)]
pub struct GroupOptions {
    /// The group whose leader should lead this one too: it campaigns here as soon as it leads there, and others leave it to it
    /// for [`Timing::follow_patience`].
    pub follow: Option<GroupId>,
}

/// One node's Raft. Clones are the same host. Dropping all of them without [`stop`](Self::stop) is a power cut: nothing
/// acknowledged is lost.
#[derive(Clone)]
pub struct RaftHost(Arc<Inner>);

struct Inner {
    config: HostConfig,
    log: Log,
    mesh: Arc<Mesh>,
    groups: Mutex<BTreeMap<GroupId, Arc<Core>>>,
    /// How many groups were opened so far.
    opened: watch::Sender<u64>,
    /// Members that keep no data.
    witnesses: Arc<Witnesses>,
    /// The groups' tasks, and those that serve them.
    groups_scope: Scope,
    /// The log's writer: it ends after the groups.
    log_scope: Scope,
}

impl RaftHost {
    /// Opens the log and starts its writer. Reads the whole log once. Blocks on file IO through `rt::blocking`.
    pub async fn open(config: HostConfig, mesh: Arc<Mesh>, scope: &Scope) -> Result<Self, OpenError> {
        let opening = config.clone();
        let opened = rt::blocking::run(move || Log::open(&opening)).await;
        let log = opened.map_err(|end| OpenError::Io { path: config.dir.clone(), error: io::Error::other(end) })??;
        let (groups_scope, log_scope) = (scope.child("raft groups"), scope.child("raft log"));
        let inner = Arc::new(Inner {
            config,
            log,
            mesh,
            groups: Mutex::default(),
            opened: watch::channel(0).0,
            witnesses: Arc::default(),
            groups_scope,
            log_scope,
        });
        let (cancelled, groups) = (inner.log_scope.cancelled(), inner.groups_scope.clone());
        let writing = inner.log.clone().run(async move {
            cancelled.wait().await;
            // Engines that stop may still save a vote.
            groups.cancel();
            groups.idle().await;
        });
        // A thread of its own is woken by whoever appends. On a pool's thread each write took two more switches between
        // threads, about 40 us of what a lone insert waits for.
        drop(inner.log_scope.spawn("writer", async move {
            if let Err(end) = rt::blocking::on_own_thread("raft log", writing).await {
                tracing::error!(%end, "the writer of the Raft log ended");
            }
        }));
        drop(inner.groups_scope.spawn_droppable("make room", make_room(Arc::downgrade(&inner), inner.log.clone())));
        if inner.config.on_corruption == OnCorruption::RepairAlone {
            for group in inner.log.quarantined() {
                tracing::warn!(%group, "the log of a group goes on from what is left of it");
                inner.log.set_quarantined(group, false, Box::new(drop));
            }
        }
        Ok(Self(inner))
    }

    /// This node.
    pub fn node(&self) -> NodeId {
        self.0.config.node
    }

    /// Answers [`rpc::Service::Raft`]. Calls for groups that are not open are refused with a retry.
    pub fn handler(&self) -> Arc<dyn Handler> {
        Arc::new(Serving(Arc::downgrade(&self.0)))
    }

    /// Opens a group: state machine, log, engine. It takes part from then on. A group without members waits to be
    /// [initialized](Group::initialize) or to be added by a leader elsewhere. A group that another one follows is opened before it.
    pub async fn open_group(
        &self,
        group: GroupId,
        machine: Box<dyn StateMachine>,
        options: GroupOptions,
    ) -> Result<Group, OpenError> {
        let inner = &self.0;
        if inner.groups_scope.cancelled().is_cancelled() {
            return Err(OpenError::Stopped);
        }
        let machine = Arc::new(Machine::new(machine));
        let is_lost = self.check(group, &machine)?;
        let leader_group = options.follow.and_then(|id| inner.groups().get(&id).map(|core| core.status.subscribe()));
        let scope = inner.groups_scope.child(&format!("group {group}"));
        let core = Core::new(
            group,
            inner.config.node,
            inner.log.clone(),
            Arc::clone(&inner.mesh),
            machine,
            inner.config.timing,
            options,
            Standing { part: inner.config.part, witnesses: Arc::clone(&inner.witnesses) },
            scope,
        );
        let core = Arc::new(core);
        if is_lost {
            core.set_quarantined(true);
            inner.log.set_quarantined(group, true, Box::new(drop));
        }
        match inner.groups().entry(group) {
            Entry::Occupied(_) => return Err(OpenError::AlreadyOpen(group)),
            Entry::Vacant(place) => drop(place.insert(Arc::clone(&core))),
        }
        inner.opened.send_modify(|opened| *opened += 1);
        // A group that has stopped holds its state machine no longer, and may be opened again.
        drop(core.scope.spawn("leaving", leave(Arc::downgrade(inner), Arc::downgrade(&core), core.scope.cancelled())));
        let opening = Opening(Some(core.scope.clone()));
        let mut started = crate::group::start(&core).await;
        if started.is_err() {
            match crate::group::step_over_damage(&core).await {
                Damage::None => {}
                Damage::SteppedOver => started = crate::group::start(&core).await,
                Damage::Lost => {
                    // It is open and down, so that its state says why and others can lead it.
                    opening.finished();
                    return Ok(Group(core));
                }
            }
        }
        match started {
            Ok(running) => {
                core.set_running(Some(running.clone()));
                core.publish(None);
                opening.finished();
                drop(core.scope.spawn("steward", crate::group::steward(Arc::clone(&core), running, leader_group)));
                Ok(Group(core))
            }
            Err(error) => {
                inner.forget(&core);
                Err(error)
            }
        }
    }

    /// Whether the log and the state machine fit together. True if the log of the group is gone.
    fn check(&self, group: GroupId, machine: &Machine) -> Result<bool, OpenError> {
        let head = self.0.log.head(group);
        let applied = machine.applied_now().map(|pos| pos.index);
        if let Some(purged) = head.purged.filter(|p| applied < Some(p.index)) {
            return Err(OpenError::Behind { group, applied: applied.map(|i| i.0), purged: purged.index.0 });
        }
        let is_lost = head.vote.is_none() && head.last.is_none() && !head.quarantined && applied.is_some();
        match self.0.config.on_corruption {
            OnCorruption::Refuse if is_lost => Err(OpenError::LogLost { group }),
            OnCorruption::RepairAlone => Ok(false),
            _ => Ok(is_lost),
        }
    }

    /// An open group.
    pub fn group(&self, group: GroupId) -> Option<Group> {
        self.0.groups().get(&group).cloned().map(Group)
    }

    /// The open groups.
    pub fn groups(&self) -> Vec<Group> {
        self.0.groups().values().cloned().map(Group).collect()
    }

    /// Changes with every group that is opened: those who look after all groups have one more to look at.
    pub fn watch_opened(&self) -> watch::Receiver<u64> {
        self.0.opened.subscribe()
    }

    /// Which members are witnesses: nobody hands the lead over to them. Whoever knows tells this again when it changes.
    pub fn set_witnesses(&self, witnesses: BTreeSet<NodeId>) {
        self.0.witnesses.set(witnesses);
    }

    /// The members that are known to be witnesses.
    pub fn witnesses(&self) -> BTreeSet<NodeId> {
        self.0.witnesses.get()
    }

    /// What this node is among the voters.
    pub fn part(&self) -> Part {
        self.0.config.part
    }

    /// Groups that the log knows, open or not.
    pub fn known_groups(&self) -> Vec<GroupId> {
        self.0.log.groups()
    }

    /// Groups whose log was damaged: they do not vote here before they have come back as learners.
    pub fn damaged_groups(&self) -> BTreeSet<GroupId> {
        self.0.log.quarantined()
    }

    /// Stops a group on this node and removes it from the log, its vote included. For a database that was dropped, or a node that
    /// is no member any more: a node that is one must never do this.
    pub async fn drop_group(&self, group: GroupId) -> Result<(), ChangeError> {
        let core = self.0.groups().remove(&group);
        if let Some(core) = core {
            core.stop().await;
        }
        let (done, dropped) = oneshot::channel();
        self.0.log.drop_group(group, Box::new(move |result| drop(done.send(result))));
        match dropped.await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(ChangeError::Full { why: error.to_string().into() }),
            Err(_) => Err(ChangeError::Stopped),
        }
    }

    /// What the log holds, and what its writer has done since it was opened.
    pub fn log_stats(&self) -> LogStats {
        self.0.log.stats()
    }

    /// Stops all groups and the log's writer: no task of it runs afterwards. Leadership is not handed over here (see
    /// [`Group::transfer_leadership`]).
    pub async fn stop(&self, deadline: Duration) -> StopReport {
        let end = Instant::now() + deadline;
        let mut report = self.0.groups_scope.stop(deadline).await;
        self.0.groups().clear();
        let log = self.0.log_scope.stop(end.saturating_duration_since(Instant::now())).await;
        report.stragglers.extend(log.stragglers);
        report.stuck.extend(log.stuck);
        report.failures.extend(log.failures);
        report
    }
}

/// A group that is being opened: it stops again if that fails or is given up.
struct Opening(Option<Scope>);

impl Opening {
    fn finished(mut self) {
        self.0 = None;
    }
}

impl Drop for Opening {
    fn drop(&mut self) {
        if let Some(scope) = &self.0 {
            scope.cancel();
        }
    }
}

/// Takes a group off the host when it stops.
async fn leave(host: Weak<Inner>, core: Weak<Core>, stopped: Cancelled) {
    stopped.wait().await;
    if let (Some(host), Some(core)) = (host.upgrade(), core.upgrade()) {
        host.forget(&core);
    }
}

impl Inner {
    /// How long the log may grow before a checkpoint makes room in it.
    fn checkpoint_at(&self) -> u64 {
        let LogLimits { soft_bytes, hard_bytes, .. } = self.config.limits;
        let worth = self.groups().values().map(|core| core.machine.lock().checkpoint_worth()).max();
        worth.unwrap_or(0).clamp(soft_bytes, soft_bytes.max(hard_bytes / 2))
    }

    /// Forgets this group, but not one that was opened after it under the same id.
    fn forget(&self, core: &Arc<Core>) {
        let mut groups = self.groups();
        if groups.get(&core.id).is_some_and(|known| Arc::ptr_eq(known, core)) {
            groups.remove(&core.id);
        }
    }

    fn groups(&self) -> MutexGuard<'_, BTreeMap<GroupId, Arc<Core>>> {
        self.groups.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for RaftHost {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "RaftHost(node {}, {:?})", self.0.config.node, self.0.log)
    }
}

/// Asks the groups that hold the oldest segment for a checkpoint whenever the log is over its limit, or a segment is damaged.
async fn make_room(host: Weak<Inner>, log: Log) {
    let mut usage = log.usage();
    loop {
        let Usage { bytes, oldest, is_damaged } = usage.borrow_and_update().clone();
        let limit = host.upgrade().map_or(0, |host| host.checkpoint_at());
        if oldest.is_empty() || !(is_damaged || bytes > limit) {
            if usage.changed().await.is_err() {
                return;
            }
            continue;
        }
        for group in oldest {
            let core = host.upgrade().and_then(|host| host.groups().get(&group).cloned());
            let Some(core) = core else {
                tracing::debug!(%group, "a group that is not open holds the oldest segment of the Raft log");
                continue;
            };
            if let Err(error) = core.checkpoint(true).await {
                tracing::warn!(%group, %error, "no checkpoint to make room in the Raft log");
            }
        }
        // Purging takes effect a moment later; and what cannot be purged yet is not asked for without end.
        rt::time::sleep(PRESSURE_EVERY).await;
    }
}

/// Answers the calls of other members.
struct Serving(Weak<Inner>);

impl Handler for Serving {
    fn handle(&self, caller: &Caller, method: u16, body: Bytes) -> BoxFuture<'static, Answer> {
        let found = self.find(caller, &body);
        Box::pin(async move {
            let (core, from, body) = found?;
            crate::engine::serve::answer(core, from, method, body).await
        })
    }
}

impl Serving {
    fn find(&self, caller: &Caller, body: &Bytes) -> Result<(Arc<Core>, NodeId, Bytes), Refusal> {
        let (group, body) = wire::group_of(body)?;
        let core = self.0.upgrade().and_then(|host| host.groups().get(&group).cloned());
        let after = Disposition::Retry { after: Duration::from_millis(100) };
        let core = core.ok_or_else(|| Refusal::new(NOT_RUNNING, after, format!("group {group} is not open here")))?;
        let from = caller.node.ok_or(wire::BadMessage)?;
        Ok((core, from, body))
    }
}

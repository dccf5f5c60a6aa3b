//! One node's Raft: the log that all groups share, the transport, and the groups.

use crate::{ChangeError, Group, OpenError, StateMachine};
use base::{GroupId, NodeId};
use rpc::{Handler, Mesh};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

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
        }
    }
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
}

/// How large the log may grow, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogLimits {
    /// The length of a segment file.
    pub segment_bytes: u64,
    /// Above this, the group that holds the oldest segment is checkpointed and purged.
    pub soft_bytes: u64,
    /// Above this, appends wait for a checkpoint. One entry above it is still taken, so that nothing stands for ever.
    pub hard_bytes: u64,
    /// How much of the newest entries is kept in memory, over all groups.
    pub cache_bytes: u64,
    /// How much a purge leaves behind the checkpoint of each group for members that lag.
    pub keep_bytes: u64,
}

impl Default for LogLimits {
    fn default() -> Self {
        const MIB: u64 = 1 << 20;
        Self { segment_bytes: 4 * MIB, soft_bytes: 8 * MIB, hard_bytes: 64 * MIB, cache_bytes: 16 * MIB, keep_bytes: 2 * MIB }
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

/// One node's Raft. Dropping it without [`stop`](Self::stop) is a power cut: nothing acknowledged is lost.
#[derive(Debug, Clone)]
pub struct RaftHost {
    node: NodeId,
}

impl RaftHost {
    /// Opens the log and starts its writer. Reads the whole log once. Blocks on file IO through `rt::blocking`.
    pub async fn open(config: HostConfig, mesh: Arc<Mesh>, scope: &lifecycle::Scope) -> Result<Self, OpenError> {
        drop((mesh, scope));
        Ok(Self { node: config.node })
    }

    /// This node.
    pub fn node(&self) -> NodeId {
        self.node
    }

    /// Answers [`rpc::Service::Raft`]. Calls for groups that are not open are refused with a retry.
    pub fn handler(&self) -> Arc<dyn Handler> {
        Arc::new(crate::host::Nobody)
    }

    /// Opens a group: state machine, log, engine. It takes part from then on. A group without members waits to be
    /// [initialized](Group::initialize) or to be added by a leader elsewhere.
    pub async fn open_group(
        &self,
        group: GroupId,
        machine: Box<dyn StateMachine>,
        options: GroupOptions,
    ) -> Result<Group, OpenError> {
        drop((machine, options));
        Err(OpenError::AlreadyOpen(group))
    }

    /// The open groups.
    pub fn groups(&self) -> Vec<Group> {
        Vec::new()
    }

    /// Groups that the log knows, open or not.
    pub fn known_groups(&self) -> Vec<GroupId> {
        Vec::new()
    }

    /// Stops a group on this node and removes it from the log, its vote included. For a database that was dropped, or a node that
    /// is no member any more: a node that is one must never do this.
    pub async fn drop_group(&self, _group: GroupId) -> Result<(), ChangeError> {
        Ok(())
    }

    /// How many bytes the log takes on disk, preallocated segments included.
    pub fn log_bytes(&self) -> u64 {
        0
    }

    /// Stops all groups and the log's writer: no task of it runs afterwards. Leadership is not handed over here (see
    /// [`Group::transfer_leadership`]).
    pub async fn stop(&self, _deadline: Duration) {}
}

#[derive(Debug)]
struct Nobody;

impl Handler for Nobody {
    fn handle(&self, _: &rpc::Caller, _: u16, _: bytes::Bytes) -> futures::future::BoxFuture<'static, rpc::Answer> {
        Box::pin(std::future::pending())
    }
}

//! What a group replicates: the state machine, its checkpoints and its snapshots.

use crate::{AppliedState, Committed, MachineError};
use bytes::Bytes;
use futures::future::BoxFuture;
use std::any::Any;
use std::sync::Arc;

/// The replicated thing. One task of the group calls it, never two at once; what it shares with readers is its own affair.
///
/// An error stops the group on this node for good ([`crate::GroupState::Failed`]); the other members go on. But one whose
/// disposition is [`Retry`](base::Disposition::Retry) promises that the machine is as it was before the call: the group is
/// suspended and tried again. A panic is an error for good.
pub trait StateMachine: Send + 'static {
    /// What is applied. Asked once when the group opens, where it has to be what survived on disk (the last checkpoint), and
    /// after installs. The log above it is applied again.
    fn applied(&mut self) -> AppliedState;

    /// Applies entries, in order, without holes, each exactly once in this process's life. One answer for each entry, empty
    /// for those that are not [`crate::Payload::App`]. In memory only and quick: it runs on an async thread.
    fn apply(&mut self, entries: Vec<Committed>) -> Result<Vec<Bytes>, MachineError>;

    /// A job that makes everything applied so far durable outside the log. It runs beside further applies.
    fn checkpointer(&mut self) -> Box<dyn Checkpointer>;

    /// How many bytes of log make the next checkpoint worth what it costs. Below that none is asked for, as far as
    /// [`crate::LogLimits`] allow.
    fn checkpoint_worth(&self) -> u64 {
        0
    }

    /// A pinned consistent view of what is applied now, without copying. It is held while members pull from it.
    fn snapshot(&mut self) -> Result<(AppliedState, Arc<dyn SnapshotSource>), MachineError>;

    /// What receives a snapshot of the leader's beside the running state machine.
    fn receiver(&mut self) -> Arc<dyn SnapshotSink>;

    /// Replaces the whole state by what a [`receiver`](Self::receiver) has received. Durable when it returns: the log
    /// below `state` is forgotten. May block; it runs on a thread for blocking work.
    fn install(&mut self, state: AppliedState, received: Box<dyn Any + Send>) -> Result<(), MachineError>;
}

/// Makes the state at one moment durable outside the log.
pub trait Checkpointer: Send {
    /// Runs to the end and returns the state that is durable now, which is at least the one applied when the checkpointer was
    /// made. Blocking work goes through `rt::blocking`. When the future is dropped, the previous checkpoint must still hold.
    fn run(self: Box<Self>) -> BoxFuture<'static, Result<AppliedState, MachineError>>;
}

/// A pinned view that other members pull from.
pub trait SnapshotSource: Send + Sync {
    /// Whether there is anything to pull. A witness keeps nothing of what it has applied: it offers nobody a snapshot.
    fn is_there(&self) -> bool {
        true
    }

    /// Answers one request of a sink of the same kind of state machine. At most 1 MiB. May read from disk; it runs on a thread for
    /// blocking work. Requests come from another node: decode them totally.
    fn fetch(&self, request: Bytes) -> Result<Bytes, MachineError>;
}

/// Pulls a snapshot from the leader.
pub trait SnapshotSink: Send + Sync {
    /// Pulls what it lacks of the state `state` through `remote`, beside the running state machine, and returns what
    /// [`StateMachine::install`] takes. Called again after a failure: it compares what it has, so nothing is pulled twice. Must be
    /// cancel-safe.
    fn receive<'a>(
        &'a self,
        state: &'a AppliedState,
        remote: &'a dyn SnapshotRemote,
    ) -> BoxFuture<'a, Result<Box<dyn Any + Send>, MachineError>>;
}

/// The [`SnapshotSource`] on the other node.
pub trait SnapshotRemote: Send + Sync {
    /// Asks it. Bodies are at most 1 MiB each way; a few calls may be under way at once. Cancel-safe.
    fn fetch(&self, request: Bytes) -> BoxFuture<'_, Result<Bytes, MachineError>>;
}

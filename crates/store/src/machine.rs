//! The state machine of a database's Raft group: applies records of pages, keeps the numbered answers, and hands out
//! checkpoints and snapshots.

use crate::core::{CheckpointExtra, Core};
use crate::transfer::{Received, Receiver, Source};
use base::Disposition;
use bytes::Bytes;
use futures::future::BoxFuture;
use raft::{AppliedState, Checkpointer, Committed, MachineError, Payload, SnapshotSink, SnapshotSource, StateMachine};
use sqlite::{Applied, PAGE_SIZE, View};
use std::any::Any;
use std::sync::Arc;

/// The log may grow to one in so many of a database's bytes before a checkpoint, which goes through the hashes of all its pages, is worth it.
const CHECKPOINT_PER: u64 = 16;
/// Answer of an applied record.
pub(crate) const DONE: &[u8] = b"\x01";
/// Answer of a record that did not fit the state it met: it changed nothing.
pub(crate) const VOID: &[u8] = b"\x00";

/// The state machine over a page store.
#[derive(Debug)]
pub(crate) struct Machine {
    core: Arc<Core>,
    applied: AppliedState,
}

impl Machine {
    pub(crate) fn new(core: Arc<Core>, applied: AppliedState) -> Self {
        Self { core, applied }
    }

    fn apply_record(&self, bytes: &Bytes, entry: &Committed) -> Result<Bytes, MachineError> {
        match self.core.apply(bytes, entry.pos.term)? {
            Applied::Done(_) | Applied::Confirmed(_) => Ok(Bytes::from_static(DONE)),
            Applied::Void => {
                rt::sometimes!("a record met a state it was not made for");
                Ok(Bytes::from_static(VOID))
            }
        }
    }

    fn extra(&self) -> CheckpointExtra {
        CheckpointExtra { applied: self.applied.clone(), answers: self.core.answers() }
    }
}

/// The product broke its own rule.
#[expect(clippy::needless_pass_by_value, reason = "it ends `map_err`, which gives the error away")]
pub(crate) fn bug(what: impl ToString) -> MachineError {
    MachineError::new(Disposition::Bug, what.to_string())
}

/// Bytes that this product wrote cannot be read back.
#[expect(clippy::needless_pass_by_value, reason = "it ends `map_err`, which gives the error away")]
pub(crate) fn corrupt(what: impl ToString) -> MachineError {
    MachineError::new(Disposition::Corrupt, what.to_string())
}

pub(crate) fn encode_extra(extra: &CheckpointExtra) -> Result<Bytes, MachineError> {
    postcard::to_stdvec(extra).map(Bytes::from).map_err(bug)
}

pub(crate) fn decode_extra(bytes: &[u8]) -> Result<CheckpointExtra, MachineError> {
    postcard::from_bytes(bytes).map_err(corrupt)
}

impl StateMachine for Machine {
    fn applied(&mut self) -> AppliedState {
        self.applied.clone()
    }

    fn apply(&mut self, entries: Vec<Committed>) -> Result<Vec<Bytes>, MachineError> {
        let mut answers = Vec::with_capacity(entries.len());
        for entry in entries {
            let answer = match &entry.payload {
                Payload::Blank => Bytes::new(),
                Payload::Membership(membership) => {
                    self.applied.membership = membership.clone();
                    Bytes::new()
                }
                Payload::App(record) => self.apply_record(record, &entry)?,
            };
            self.applied.last = Some(entry.pos);
            answers.push(answer);
        }
        Ok(answers)
    }

    fn checkpointer(&mut self) -> Box<dyn Checkpointer> {
        let view = self.core.pages.pin_committed();
        Box::new(Checkpoint { core: Arc::clone(&self.core), view, extra: self.extra() })
    }

    fn checkpoint_worth(&self) -> u64 {
        u64::from(self.core.pages.pin_committed().pages()) * PAGE_SIZE as u64 / CHECKPOINT_PER
    }

    fn snapshot(&mut self) -> Result<(AppliedState, Arc<dyn SnapshotSource>), MachineError> {
        let source = Source::new(self.core.pages.pin_committed(), encode_extra(&self.extra())?);
        Ok((self.applied.clone(), Arc::new(source)))
    }

    fn receiver(&mut self) -> Arc<dyn SnapshotSink> {
        Arc::new(Receiver::new(self.core.pages.clone()))
    }

    fn install(&mut self, state: AppliedState, received: Box<dyn Any + Send>) -> Result<(), MachineError> {
        let received = received.downcast::<Received>().map_err(|_| bug("a snapshot of another kind"))?;
        let mut extra = decode_extra(received.extra())?;
        extra.applied = state.clone();
        received.finish(&extra)?;
        self.applied = state;
        self.core.installed(extra.answers);
        rt::sometimes!("a snapshot was installed");
        Ok(())
    }
}

/// A checkpoint of what was applied when it was asked for.
#[derive(Debug)]
struct Checkpoint {
    core: Arc<Core>,
    view: View,
    extra: CheckpointExtra,
}

impl Checkpointer for Checkpoint {
    fn run(self: Box<Self>) -> BoxFuture<'static, Result<AppliedState, MachineError>> {
        Box::pin(async move {
            let extra = encode_extra(&self.extra)?;
            let applied = self.extra.applied.clone();
            let done = rt::blocking::run(move || self.core.pages.checkpoint(extra, &self.view)).await;
            match done {
                Ok(Ok(_meta)) => Ok(applied),
                Ok(Err(error)) => Err(MachineError::of(&error)),
                Err(end) => Err(bug(end)),
            }
        })
    }
}

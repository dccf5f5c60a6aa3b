//! A state machine, as openraft wants it.

use super::codec::{decode_membership, encode_membership};
use super::{Entry, EntryPayload, Id, StoredMembership, Types, id, pos};
use crate::{AppliedState, Committed, LogPos, MachineError, Payload, SnapshotSink, SnapshotSource, StateMachine};
use base::Disposition;
use futures::{Stream, StreamExt};
use openraft::storage::{ApplyResponder, EntryResponder, RaftSnapshotBuilder, RaftStateMachine};
use openraft::{OptionalSend, alias::SnapshotMetaOf, alias::SnapshotOf};
use rt::sync::watch;
use std::any::Any;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Entries that are applied in one call at most.
const APPLY_MAX: usize = 512;

/// A snapshot on its way: pinned here, or received from elsewhere.
pub(crate) enum SnapshotData {
    /// Only that there is one counts.
    Checkpoint,
    /// Pinned, for others to pull.
    Source(Arc<dyn SnapshotSource>),
    /// Received, to be installed.
    Received(Box<dyn Any + Send>),
}

/// The state machine of a group, which outlives the engines that drive it.
pub(crate) struct Machine {
    inner: Mutex<Box<dyn StateMachine>>,
    /// What is durable outside the log.
    checkpointed: Mutex<AppliedState>,
    applied: watch::Sender<Option<LogPos>>,
    failure: Mutex<Option<MachineError>>,
}

impl Machine {
    pub(crate) fn new(mut machine: Box<dyn StateMachine>) -> Self {
        let state = machine.applied();
        Self {
            inner: Mutex::new(machine),
            applied: watch::channel(state.last).0,
            checkpointed: Mutex::new(state),
            failure: Mutex::default(),
        }
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, Box<dyn StateMachine>> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn applied(&self) -> watch::Receiver<Option<LogPos>> {
        self.applied.subscribe()
    }

    pub(crate) fn applied_now(&self) -> Option<LogPos> {
        *self.applied.borrow()
    }

    /// What is durable outside the log.
    pub(crate) fn checkpointed(&self) -> AppliedState {
        self.checkpointed.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn set_checkpointed(&self, state: AppliedState) {
        let mut mine = self.checkpointed.lock().unwrap_or_else(PoisonError::into_inner);
        if state.last > mine.last {
            *mine = state;
        }
    }

    /// Why the state machine failed since this was last asked, if it did.
    pub(crate) fn take_failure(&self) -> Option<MachineError> {
        if self.inner.is_poisoned() {
            // Half-way through something: nothing it holds can be trusted.
            return Some(MachineError::new(Disposition::Bug, "the state machine panicked"));
        }
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn fail(&self, error: MachineError) -> io::Error {
        let text = io::Error::other(error.to_string());
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
        text
    }
}

/// What openraft drives.
#[derive(Clone)]
pub(crate) struct MachineAdapter(pub(crate) Arc<Machine>);

/// A state machine's words for members and position, in openraft's.
pub(crate) fn stored(state: &AppliedState) -> io::Result<(Option<Id>, StoredMembership)> {
    let membership = decode_membership(&state.membership).map_err(io::Error::other)?.unwrap_or_default();
    Ok((state.last.map(id), membership))
}

fn meta_of(state: &AppliedState) -> io::Result<SnapshotMetaOf<Types>> {
    let (last_log_id, last_membership) = stored(state)?;
    Ok(SnapshotMetaOf::<Types> { last_log_id, last_membership })
}

pub(crate) fn state_of(meta: &SnapshotMetaOf<Types>) -> AppliedState {
    AppliedState { last: meta.last_log_id.as_ref().map(pos), membership: encode_membership(&meta.last_membership) }
}

fn committed(entry: Entry) -> Committed {
    let payload = match entry.payload {
        EntryPayload::Blank => Payload::Blank,
        EntryPayload::Normal(data) => Payload::App(data.0),
        EntryPayload::Membership(m) => {
            Payload::Membership(encode_membership(&StoredMembership::new(Some(entry.log_id), m)))
        }
    };
    Committed { pos: pos(&entry.log_id), payload }
}

impl MachineAdapter {
    fn apply_now(
        &self,
        entries: &mut Vec<Committed>,
        responders: &mut Vec<Option<ApplyResponder<Types>>>,
    ) -> io::Result<()> {
        let Some(last) = entries.last().map(|e| e.pos) else { return Ok(()) };
        let count = entries.len();
        let answers = self.0.lock().apply(std::mem::take(entries)).map_err(|error| self.0.fail(error))?;
        if answers.len() != count {
            let what = format!("a state machine gave {} answers to {count} entries", answers.len());
            return Err(self.0.fail(MachineError::new(Disposition::Bug, what)));
        }
        self.0.applied.send_replace(Some(last));
        for (answer, responder) in answers.into_iter().zip(responders.drain(..)) {
            if let Some(responder) = responder {
                responder.send(answer);
            }
        }
        Ok(())
    }
}

impl RaftStateMachine<Types> for MachineAdapter {
    type SnapshotData = SnapshotData;
    type SnapshotBuilder = CheckpointMark;

    async fn applied_state(&mut self) -> io::Result<(Option<Id>, StoredMembership)> {
        let state = self.0.lock().applied();
        stored(&state)
    }

    async fn apply<S>(&mut self, mut stream: S) -> io::Result<()>
    where
        S: Stream<Item = io::Result<EntryResponder<Types>>> + Unpin + OptionalSend,
    {
        let (mut entries, mut responders) = (Vec::new(), Vec::new());
        while let Some(item) = stream.next().await {
            let (entry, responder) = item?;
            entries.push(committed(entry));
            responders.push(responder);
            if entries.len() == APPLY_MAX {
                self.apply_now(&mut entries, &mut responders)?;
            }
        }
        self.apply_now(&mut entries, &mut responders)
    }

    async fn get_snapshot_builder(&mut self) -> CheckpointMark {
        CheckpointMark(self.0.checkpointed())
    }

    async fn install_snapshot(&mut self, meta: &SnapshotMetaOf<Types>, snapshot: SnapshotData) -> io::Result<()> {
        let SnapshotData::Received(received) = snapshot else {
            return Err(io::Error::other("only a received snapshot can be installed"));
        };
        let state = state_of(meta);
        let (machine, installed) = (Arc::clone(&self.0), state.clone());
        rt::blocking::run(move || machine.lock().install(installed, received))
            .await
            .map_err(io::Error::other)?
            .map_err(|error| self.0.fail(error))?;
        rt::sometimes!("raft: snapshot installed");
        self.0.set_checkpointed(state.clone());
        self.0.applied.send_replace(state.last);
        Ok(())
    }

    async fn get_current_snapshot(&mut self) -> io::Result<Option<SnapshotOf<Types, SnapshotData>>> {
        let pinned = self.0.lock().snapshot();
        let (state, source) = pinned.map_err(|error| self.0.fail(error))?;
        if state.last.is_none() {
            return Ok(None);
        }
        Ok(Some(SnapshotOf::<Types, SnapshotData> { meta: meta_of(&state)?, snapshot: SnapshotData::Source(source) }))
    }
}

/// "Builds" the snapshot that a checkpoint has made already.
pub(crate) struct CheckpointMark(AppliedState);

impl RaftSnapshotBuilder<Types> for CheckpointMark {
    type SnapshotData = SnapshotData;

    async fn build_snapshot(&mut self) -> io::Result<SnapshotOf<Types, SnapshotData>> {
        Ok(SnapshotOf::<Types, SnapshotData> { meta: meta_of(&self.0)?, snapshot: SnapshotData::Checkpoint })
    }
}

/// What receives a snapshot beside the running state machine.
pub(crate) fn receiver(machine: &Machine) -> Arc<dyn SnapshotSink> {
    machine.lock().receiver()
}

//! A database on a witness: its Raft group, and in place of its pages the position up to which they would be applied.
//!
//! What a witness acknowledges is in its Raft log, on its disk, as with any voter; what was committed and is in the other members' databases
//! goes from there when the log needs the room. One small file, `position`, says how far that is.

use crate::StoreError;
use crate::inner::Inner;
use crate::machine::{bug, corrupt};
use base::{DbName, Disposition, GroupId, NodeId};
use bytes::Bytes;
use futures::future::BoxFuture;
use raft::{
    AppliedState, Checkpointer, Committed, Group, GroupOptions, MachineError, Payload, RaftHost, SnapshotRemote,
    SnapshotSink, SnapshotSource, StateMachine,
};
use std::any::Any;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The file in the database's directory.
const POSITION: &str = "position";

/// A database that this witness votes for and does not hold.
#[derive(Debug, Clone)]
pub struct Witnessed {
    name: DbName,
    group: Group,
}

impl Witnessed {
    /// Its name.
    pub fn name(&self) -> &DbName {
        &self.name
    }

    /// Its Raft group.
    pub fn group(&self) -> &Group {
        &self.group
    }

    /// Its Raft group's id.
    pub fn group_id(&self) -> GroupId {
        self.group.id()
    }

    /// Opens the group on what its directory says.
    pub(crate) async fn open(host: &RaftHost, dir: PathBuf, name: DbName, id: GroupId) -> Result<Self, StoreError> {
        let machine = rt::blocking::run(move || Machine::open(dir)).await;
        let machine = machine.map_err(|end| StoreError::Internal(end.to_string()))?;
        let machine = machine.map_err(|error| StoreError::Internal(format!("{name}: {error}")))?;
        let options = GroupOptions { follow: Some(GroupId::SYS) };
        Ok(Self { name, group: host.open_group(id, Box::new(machine), options).await? })
    }

    /// Stops the group, and lets the next start read less of the log.
    pub(crate) async fn close(&self) {
        if let Err(error) = self.group.checkpoint().await {
            tracing::warn!(database = %self.name, %error, "no checkpoint at close; the log is replayed at the next start");
        }
        self.group.stop().await;
    }
}

impl Inner {
    /// Who leads a database that this witness does not hold: all follow the leader of `sys`.
    pub(crate) fn leader_elsewhere(&self, name: &DbName) -> Option<NodeId> {
        let leads = |group: &Group| group.status().leader.filter(|leader| *leader != self.node());
        let own = self.witnessed(name).and_then(|witnessed| leads(witnessed.group()));
        own.or_else(|| leads(self.sys().group()))
    }
}

/// Keeps the position and the members, and nothing else.
#[derive(Debug)]
struct Machine {
    dir: PathBuf,
    applied: AppliedState,
}

impl Machine {
    /// Blocks on disk.
    fn open(dir: PathBuf) -> Result<Self, MachineError> {
        let path = dir.join(POSITION);
        rt::fs::create_dir_all(&dir).map_err(|error| failed(&path, &error))?;
        let applied = match rt::fs::read(&path) {
            Ok(bytes) => postcard::from_bytes(&bytes).map_err(corrupt)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => AppliedState::default(),
            Err(error) => return Err(failed(&path, &error)),
        };
        Ok(Self { dir, applied })
    }
}

fn failed(path: &Path, error: &io::Error) -> MachineError {
    let after = std::time::Duration::from_secs(1);
    MachineError::new(Disposition::Retry { after }, format!("{}: {error}", path.display()))
}

/// Blocks on disk.
fn save(dir: &Path, applied: &AppliedState) -> Result<(), MachineError> {
    let path = dir.join(POSITION);
    let bytes = postcard::to_stdvec(applied).map_err(bug)?;
    rt::fs::write_atomic(&path, &bytes).map_err(|error| failed(&path, &error))
}

impl StateMachine for Machine {
    fn applied(&mut self) -> AppliedState {
        self.applied.clone()
    }

    fn apply(&mut self, entries: Vec<Committed>) -> Result<Vec<Bytes>, MachineError> {
        let answers = vec![Bytes::new(); entries.len()];
        for entry in entries {
            if let Payload::Membership(membership) = entry.payload {
                self.applied.membership = membership;
            }
            self.applied.last = Some(entry.pos);
        }
        Ok(answers)
    }

    fn checkpointer(&mut self) -> Box<dyn Checkpointer> {
        Box::new(Position { dir: self.dir.clone(), applied: self.applied.clone() })
    }

    fn snapshot(&mut self) -> Result<(AppliedState, Arc<dyn SnapshotSource>), MachineError> {
        Ok((self.applied.clone(), Arc::new(Nothing)))
    }

    fn receiver(&mut self) -> Arc<dyn SnapshotSink> {
        Arc::new(Nothing)
    }

    fn install(&mut self, state: AppliedState, _received: Box<dyn Any + Send>) -> Result<(), MachineError> {
        save(&self.dir, &state)?;
        self.applied = state;
        rt::sometimes!("witness: a snapshot was taken over without its pages");
        Ok(())
    }
}

/// A position on its way to the disk.
#[derive(Debug)]
struct Position {
    dir: PathBuf,
    applied: AppliedState,
}

impl Checkpointer for Position {
    fn run(self: Box<Self>) -> BoxFuture<'static, Result<AppliedState, MachineError>> {
        Box::pin(async move {
            let saved = rt::blocking::run(move || save(&self.dir, &self.applied).map(|()| self.applied)).await;
            saved.unwrap_or_else(|end| Err(bug(end)))
        })
    }
}

/// Both ends of a snapshot, as a witness has them: it sends none, and of one that is offered it takes the position.
#[derive(Debug)]
struct Nothing;

impl SnapshotSource for Nothing {
    fn is_there(&self) -> bool {
        false
    }

    fn fetch(&self, _request: Bytes) -> Result<Bytes, MachineError> {
        Err(bug("a witness was asked for pages"))
    }
}

impl SnapshotSink for Nothing {
    fn receive<'a>(
        &'a self,
        _state: &'a AppliedState,
        _remote: &'a dyn SnapshotRemote,
    ) -> BoxFuture<'a, Result<Box<dyn Any + Send>, MachineError>> {
        Box::pin(async { Ok(Box::new(()) as Box<dyn Any + Send>) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::{LogIndex, Term};
    use raft::LogPos;

    fn entry(index: u64, payload: Payload) -> Committed {
        Committed { pos: LogPos { term: Term(1), node: NodeId(1), index: LogIndex(index) }, payload }
    }

    #[tokio::test]
    #[expect(clippy::disallowed_methods, reason = "the test looks at what is on the machine's disk")]
    async fn a_witness_keeps_the_position_and_the_members_and_no_byte_of_the_records() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path().join("shop.2");
        let mut machine = Machine::open(dir.clone()).unwrap();
        assert_eq!(machine.applied(), AppliedState::default());
        let members = Payload::Membership(Bytes::from_static(b"members"));
        let record = Payload::App(vec![7; 1 << 20].into());
        machine.apply(vec![entry(0, members), entry(1, record.clone()), entry(2, record)]).unwrap();
        let state = machine.checkpointer().run().await.unwrap();
        assert_eq!(state.last.map(|pos| pos.index), Some(LogIndex(2)));

        assert_eq!(Machine::open(dir.clone()).unwrap().applied(), state);
        let files: Vec<_> = std::fs::read_dir(&dir).unwrap().map(|file| file.unwrap().file_name()).collect();
        assert_eq!(files, [POSITION]);
        assert!(std::fs::metadata(dir.join(POSITION)).unwrap().len() < 100);

        let (_, source) = machine.snapshot().unwrap();
        assert!(!source.is_there() && source.fetch(Bytes::new()).is_err());
    }

    #[test]
    fn a_snapshot_moves_the_position_durably() {
        let dir = tempfile::tempdir().unwrap();
        let mut machine = Machine::open(dir.path().to_owned()).unwrap();
        let state = AppliedState { last: Some(entry(9, Payload::Blank).pos), membership: Bytes::from_static(b"m") };
        machine.install(state.clone(), Box::new(())).unwrap();
        assert_eq!(Machine::open(dir.path().to_owned()).unwrap().applied(), state);
    }
}

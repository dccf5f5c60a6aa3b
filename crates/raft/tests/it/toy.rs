//! A state machine small enough to be obviously right: the list of what was proposed.

use base::Disposition;
use bytes::Bytes;
use futures::future::BoxFuture;
use raft::{
    AppliedState, Checkpointer, Committed, MachineError, Payload, SnapshotRemote, SnapshotSink, SnapshotSource,
    StateMachine,
};
use serde::{Deserialize, Serialize};
use std::any::Any;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

#[derive(Clone, Default, Serialize, Deserialize)]
struct Saved {
    state: AppliedState,
    items: Vec<Bytes>,
}

/// What a test sees of a machine.
#[derive(Clone, Default)]
pub(crate) struct Peek {
    pub(crate) items: Arc<Mutex<Vec<Bytes>>>,
    pub(crate) installs: Arc<AtomicU64>,
    pub(crate) fetches: Arc<AtomicU64>,
}

pub(crate) struct Toy {
    path: PathBuf,
    state: AppliedState,
    peek: Peek,
}

impl Toy {
    pub(crate) fn open(path: PathBuf, peek: Peek) -> Self {
        let saved: Saved = rt::fs::read(&path).map(|b| postcard::from_bytes(&b).unwrap()).unwrap_or_default();
        *peek.items.lock().unwrap() = saved.items;
        Self { path, state: saved.state, peek }
    }

    fn saved(&self) -> Saved {
        Saved { state: self.state.clone(), items: self.peek.items.lock().unwrap().clone() }
    }
}

impl StateMachine for Toy {
    fn applied(&mut self) -> AppliedState {
        self.state.clone()
    }

    fn apply(&mut self, entries: Vec<Committed>) -> Result<Vec<Bytes>, MachineError> {
        let mut items = self.peek.items.lock().unwrap();
        Ok(entries
            .into_iter()
            .map(|entry| {
                let next = self.state.last.map_or(0, |p| p.index.0 + 1);
                assert_eq!(entry.pos.index.0, next, "entries come without holes");
                self.state.last = Some(entry.pos);
                match entry.payload {
                    Payload::Blank => Bytes::new(),
                    Payload::Membership(bytes) => {
                        self.state.membership = bytes;
                        Bytes::new()
                    }
                    Payload::App(bytes) => {
                        items.push(bytes);
                        Bytes::from(items.len().to_string())
                    }
                }
            })
            .collect())
    }

    fn checkpointer(&mut self) -> Box<dyn Checkpointer> {
        Box::new(Save { path: self.path.clone(), saved: self.saved() })
    }

    fn snapshot(&mut self) -> Result<(AppliedState, Arc<dyn SnapshotSource>), MachineError> {
        let source = Source { items: self.peek.items.lock().unwrap().clone(), fetches: Arc::clone(&self.peek.fetches) };
        Ok((self.state.clone(), Arc::new(source)))
    }

    fn receiver(&mut self) -> Arc<dyn SnapshotSink> {
        Arc::new(Sink { have: self.peek.items.lock().unwrap().clone() })
    }

    fn install(&mut self, state: AppliedState, received: Box<dyn Any + Send>) -> Result<(), MachineError> {
        let saved = Saved { state, items: *received.downcast::<Vec<Bytes>>().unwrap() };
        rt::fs::write_atomic(&self.path, &postcard::to_stdvec(&saved).unwrap()).map_err(|e| again(&e))?;
        self.state = saved.state;
        *self.peek.items.lock().unwrap() = saved.items;
        self.peek.installs.fetch_add(1, Ordering::SeqCst);
        Ok(())
    }
}

fn again(error: &std::io::Error) -> MachineError {
    MachineError::new(Disposition::Retry { after: Duration::from_millis(200) }, error.to_string())
}

struct Save {
    path: PathBuf,
    saved: Saved,
}

impl Checkpointer for Save {
    fn run(self: Box<Self>) -> BoxFuture<'static, Result<AppliedState, MachineError>> {
        Box::pin(async move {
            let Self { path, saved } = *self;
            let bytes = postcard::to_stdvec(&saved).unwrap();
            rt::blocking::run(move || rt::fs::write_atomic(&path, &bytes)).await.unwrap().map_err(|e| again(&e))?;
            Ok(saved.state)
        })
    }
}

struct Source {
    items: Vec<Bytes>,
    fetches: Arc<AtomicU64>,
}

impl SnapshotSource for Source {
    /// "From index n": up to ten items.
    fn fetch(&self, request: Bytes) -> Result<Bytes, MachineError> {
        self.fetches.fetch_add(1, Ordering::SeqCst);
        let from: usize = postcard::from_bytes(&request).unwrap();
        let piece: Vec<Bytes> = self.items.iter().skip(from).take(10).cloned().collect();
        Ok(postcard::to_stdvec(&(self.items.len(), piece)).unwrap().into())
    }
}

struct Sink {
    have: Vec<Bytes>,
}

impl SnapshotSink for Sink {
    fn receive<'a>(
        &'a self,
        _: &'a AppliedState,
        remote: &'a dyn SnapshotRemote,
    ) -> BoxFuture<'a, Result<Box<dyn Any + Send>, MachineError>> {
        Box::pin(async move {
            let mut items = self.have.clone();
            loop {
                let answer = remote.fetch(postcard::to_stdvec(&items.len()).unwrap().into()).await?;
                let (total, piece): (usize, Vec<Bytes>) = postcard::from_bytes(&answer).unwrap();
                items.truncate(total);
                items.extend(piece);
                if items.len() == total {
                    return Ok(Box::new(items) as Box<dyn Any + Send>);
                }
            }
        })
    }
}

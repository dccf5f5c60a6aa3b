//! The store and its door, as two units under a supervisor.

use crate::check::{RegisterOp, RegisterRet};
use crate::world::{Process, Software};
use base::{Code, Disposition, Fault};
use futures::future::BoxFuture;
use lifecycle::{Context, Deadline, Gate, Owner, Ready, Settings, Supervisor, Unit, UnitError, UnitOptions};
use rt::blocking::Worker;
use rt::net::{Listener, Stream};
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

pub(super) const PORT: u16 = 7000;
/// kind, key, whether the first value is there, first value, second value.
pub(super) const REQUEST: usize = 26;
/// kind (0 none, 1 value, 2 no value, 3 done, 4 mismatch), value.
pub(super) const ANSWER: usize = 9;
const FOLDER: &str = "/registers";

/// The software of the scenario.
pub(super) struct Registers;

impl Software for Registers {
    fn start(&self, process: Process) -> BoxFuture<'static, ()> {
        Box::pin(async move {
            let mut supervisor = Supervisor::new("registers", Settings::default());
            let store = supervisor.add("store", StoreUnit::default(), (), UnitOptions::default());
            supervisor.add("door", Door::default(), store, UnitOptions::default());
            let report = supervisor.run(&process.shutdown).await;
            if report.is_clean() {
                rt::sometimes!("registers: a clean stop");
            }
        })
    }
}

/// The disk failed.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct DiskFailed(#[from] io::Error);

impl Fault for DiskFailed {
    fn code(&self) -> Code {
        Code("SIM-REGISTERS-001")
    }
    fn disposition(&self) -> Disposition {
        Disposition::Retry { after: Duration::from_millis(100) }
    }
}

/// The registers, on a thread of their own.
struct State {
    values: BTreeMap<u64, u64>,
    /// A write failed: what is on the disk is no longer known.
    broken: bool,
}

type Store = Gate<Worker<State>>;

#[derive(Default)]
struct StoreUnit {
    owner: Option<Owner<Worker<State>>>,
}

impl Unit for StoreUnit {
    type Needs = ();
    type Provides = (Store, Context);

    async fn start(&mut self, (): (), context: &Context) -> Result<Self::Provides, UnitError> {
        rt::sim_point!("registers.open");
        let values = rt::blocking::run(load).await.map_err(|_| stopped())?.map_err(DiskFailed)?;
        let worker = Worker::start("registers", State { values, broken: false }).map_err(DiskFailed)?;
        let (gate, owner) = Gate::new("registers", worker);
        self.owner = Some(owner);
        Ok((gate, context.clone()))
    }

    async fn stop(&mut self, deadline: &Deadline) -> Result<(), UnitError> {
        let Some(owner) = self.owner.take() else { return Ok(()) };
        let limit = deadline.remaining();
        match owner.close(limit).await {
            Ok(worker) => worker.close().await.map(drop).map_err(|_| stopped()),
            Err(_) => Err(UnitError::TimedOut { phase: "stop", after: limit }),
        }
    }
}

fn stopped() -> UnitError {
    DiskFailed(io::Error::from(io::ErrorKind::Interrupted)).into()
}

/// Reads the registers and writes them back: what a process before this one left in the page cache may not be on the platter,
/// and must not be shown to anybody before it is.
fn load() -> io::Result<BTreeMap<u64, u64>> {
    let folder = Path::new(FOLDER);
    rt::fs::create_dir_all(folder)?;
    let mut values = BTreeMap::new();
    for name in rt::fs::list(folder)? {
        let Ok(key) = name.parse() else { continue };
        let contents = rt::fs::read(&folder.join(&name))?;
        rt::fs::write_atomic(&folder.join(&name), &contents)?;
        let value = contents.try_into().map_err(|_| io::Error::from(io::ErrorKind::InvalidData))?;
        values.insert(key, u64::from_le_bytes(value));
    }
    // A name that a process before this one removed or renamed is not on the platter before this either.
    rt::fs::sync_dir(folder)?;
    Ok(values)
}

impl State {
    fn apply(&mut self, key: u64, op: &RegisterOp) -> io::Result<RegisterRet> {
        if self.broken {
            return Err(io::Error::other("broken"));
        }
        let value = self.values.get(&key).copied();
        let new = match op {
            RegisterOp::Read => return Ok(RegisterRet::Value(value)),
            RegisterOp::Swap(old, _) if *old != value => return Ok(RegisterRet::Mismatch),
            RegisterOp::Write(new) | RegisterOp::Swap(_, new) => *new,
        };
        let path: PathBuf = Path::new(FOLDER).join(key.to_string());
        if rt::mutant!("registers.answer-before-write") {
            let file = rt::fs::File::create(&path)?;
            file.write_all_at(&new.to_le_bytes(), 0)?;
        } else if let Err(error) = rt::fs::write_atomic(&path, &new.to_le_bytes()) {
            if rt::mutant!("registers.show-what-failed") {
                self.values.insert(key, new);
            } else {
                self.broken = true;
            }
            return Err(error);
        }
        self.values.insert(key, new);
        Ok(RegisterRet::Done)
    }
}

#[derive(Default)]
struct Door {
    listener: Option<Listener>,
}

impl Unit for Door {
    type Needs = Ready<(Store, Context)>;
    type Provides = ();

    async fn start(&mut self, store: Self::Needs, context: &Context) -> Result<(), UnitError> {
        // Bound early in a real daemon; here a test that a restart finds its port free again.
        let listener = Listener::bind(&format!("0.0.0.0:{PORT}")).await.map_err(DiskFailed)?;
        rt::sim_point!("registers.accept");
        let scope = context.scope.clone();
        context.scope.spawn_droppable("accept", async move {
            while let Ok(stream) = listener.accept().await {
                scope.spawn_droppable("session", session(stream, store.clone()));
            }
        });
        self.listener = None;
        Ok(())
    }
}

async fn session(mut stream: Stream, store: Ready<(Store, Context)>) -> io::Result<()> {
    let mut request = [0; REQUEST];
    while stream.read_exact(&mut request).await.is_ok() {
        let Some((key, op)) = decode(&request) else { return Ok(()) };
        let (gate, owner) = &*store;
        let Ok(worker) = gate.enter() else { return Ok(()) };
        let Ok(answer) = worker.call(move |state| state.apply(key, &op)).await else { return Ok(()) };
        drop(worker);
        match answer {
            Ok(ret) => stream.write_all(&encode_answer(&ret)).await?,
            Err(error) => {
                // The outcome is unknown to the client too. The unit starts again from what is durable.
                rt::sometimes!("registers: a write failed");
                if rt::mutant!("registers.show-what-failed") {
                    return Ok(());
                }
                owner.fail(DiskFailed(error).into());
                return Ok(());
            }
        }
    }
    Ok(())
}

pub(super) fn encode(key: u64, op: &RegisterOp) -> [u8; REQUEST] {
    let (kind, first, second) = match op {
        RegisterOp::Read => (0, None, 0),
        RegisterOp::Write(new) => (1, None, *new),
        RegisterOp::Swap(old, new) => (2, *old, *new),
    };
    let mut bytes = [0; REQUEST];
    let parts = [kind].into_iter().chain(key.to_le_bytes()).chain([u8::from(first.is_some())]);
    let parts = parts.chain(first.unwrap_or(0).to_le_bytes()).chain(second.to_le_bytes());
    bytes.iter_mut().zip(parts).for_each(|(to, from)| *to = from);
    bytes
}

fn decode(bytes: &[u8; REQUEST]) -> Option<(u64, RegisterOp)> {
    let (kind, rest) = bytes.split_first()?;
    let (key, rest) = rest.split_first_chunk::<8>()?;
    let (has_first, rest) = rest.split_first()?;
    let (first, rest) = rest.split_first_chunk::<8>()?;
    let (second, _) = rest.split_first_chunk::<8>()?;
    let first = (*has_first == 1).then(|| u64::from_le_bytes(*first));
    let second = u64::from_le_bytes(*second);
    let op = match kind {
        0 => RegisterOp::Read,
        1 => RegisterOp::Write(second),
        2 => RegisterOp::Swap(first, second),
        _ => return None,
    };
    Some((u64::from_le_bytes(*key), op))
}

fn encode_answer(ret: &RegisterRet) -> [u8; ANSWER] {
    let (kind, value) = match ret {
        RegisterRet::Value(Some(value)) => (1, *value),
        RegisterRet::Value(None) => (2, 0),
        RegisterRet::Done => (3, 0),
        RegisterRet::Mismatch => (4, 0),
    };
    let mut bytes = [kind; ANSWER];
    bytes.iter_mut().skip(1).zip(value.to_le_bytes()).for_each(|(to, from)| *to = from);
    bytes
}

pub(super) fn decode_answer(bytes: &[u8; ANSWER]) -> Option<RegisterRet> {
    let (kind, rest) = bytes.split_first()?;
    let value = u64::from_le_bytes(*rest.first_chunk::<8>()?);
    match kind {
        1 => Some(RegisterRet::Value(Some(value))),
        2 => Some(RegisterRet::Value(None)),
        3 => Some(RegisterRet::Done),
        4 => Some(RegisterRet::Mismatch),
        _ => None,
    }
}

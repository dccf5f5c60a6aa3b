//! A node as the control API sees it: where it is in its life, and the way to its units.

use super::addresses::announced;
use super::error::NodeError;
use super::units::{Members, Network, SqlDoor};
use crate::config::NodeConfig;
use base::NodeId;
use cluster::{Gossiping, Keyring, NodeIdentity, NodeRecord};
use lifecycle::{Lanes, Slot};
use raft::RaftHost;
use rt::net::{BoundUdp, Listener};
use rt::sync::watch;
use rt::time::Instant;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use store::Store;
use tokio::sync::{Notify, mpsc};

/// Where a node is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// It belongs to no cluster.
    Unformed,
    /// Its units start.
    Forming,
    /// They are up.
    Ready,
    /// It stops.
    Stopping,
}

impl Phase {
    /// The only moves there are.
    pub(super) const fn may_become(self, next: Self) -> bool {
        matches!(
            (self, next),
            (Self::Unformed, Self::Forming)
                | (Self::Forming, Self::Ready | Self::Unformed)
                | (Self::Unformed | Self::Forming | Self::Ready, Self::Stopping)
        )
    }
}

/// Who the node is, and whether it still has to found its cluster.
#[derive(Debug, Clone)]
pub(super) struct Formation {
    pub(super) identity: NodeIdentity,
    /// The founder makes the first entries of `sys`; once they are there the mark is removed.
    pub(super) founding: Option<PathBuf>,
}

/// The sockets that were bound before anything started.
pub(super) struct Sockets {
    pub(super) rpc: Listener,
    pub(super) rpc_address: String,
    /// Datagrams of gossip come to the port of the calls.
    pub(super) gossip: BoundUdp,
    pub(super) dqlite: Listener,
    pub(super) dqlite_address: String,
    pub(super) https: Listener,
    pub(super) https_address: String,
}

/// Where a node tells others that it is, `host:port` each.
#[derive(Debug, Clone)]
pub(super) struct Announced {
    pub(super) rpc: String,
    pub(super) dqlite: String,
    pub(super) https: String,
}

impl Sockets {
    pub(super) async fn bind(config: &NodeConfig) -> Result<Self, NodeError> {
        let listen = remembered(config, &config.listen, |record| &record.address).await;
        let dqlite_listen = remembered(config, &config.dqlite_listen, |record| &record.dqlite_address).await;
        let (rpc, rpc_address, gossip) = bind_both(&listen).await?;
        let (dqlite, dqlite_address) = bind(&dqlite_listen, "dqlite clients").await?;
        let https_listen = remembered(config, &config.https_listen, |record| &record.https_address).await;
        let (https, https_address) = bind(&https_listen, "clients of the API").await?;
        Ok(Self { rpc, rpc_address, gossip, dqlite, dqlite_address, https, https_address })
    }

    fn announced(&self) -> Announced {
        let address = |listener: &Listener, bound: &str| {
            listener.local_addr().map_or_else(|| bound.to_owned(), |address| announced(address).to_string())
        };
        Announced {
            rpc: address(&self.rpc, &self.rpc_address),
            dqlite: address(&self.dqlite, &self.dqlite_address),
            https: address(&self.https, &self.https_address),
        }
    }
}

/// A port that was taken as a free one belongs to the node from then on: others know it.
async fn remembered(config: &NodeConfig, listen: &str, of: impl Fn(&NodeRecord) -> &String) -> String {
    let Some((host, "0")) = listen.rsplit_once(':') else { return listen.to_owned() };
    match load_identity(config).await {
        Ok(Some(formation)) => match of(&formation.identity.record).rsplit_once(':') {
            Some((_, port)) => format!("{host}:{port}"),
            None => listen.to_owned(),
        },
        _ => listen.to_owned(),
    }
}

async fn bind(address: &str, what: &'static str) -> Result<(Listener, String), NodeError> {
    let listener = Listener::bind(address).await.map_err(|source| NodeError::Bind {
        what,
        address: address.to_owned(),
        source,
    })?;
    let bound = listener.local_addr().map_or_else(|| address.to_owned(), |a: SocketAddr| a.to_string());
    Ok((listener, bound))
}

/// How many free ports are tried: one that is free for calls may be taken for datagrams.
const FREE_PORTS_TRIED: u32 = 8;

/// Binds a port for calls and for datagrams.
async fn bind_both(listen: &str) -> Result<(Listener, String, BoundUdp), NodeError> {
    let takes_free = listen.ends_with(":0");
    let mut tried = 0;
    loop {
        let (rpc, address) = bind(listen, "node-to-node calls").await?;
        match bind_gossip(&address).await {
            Ok(gossip) => return Ok((rpc, address, gossip)),
            Err(error) if !takes_free || tried >= FREE_PORTS_TRIED => return Err(error),
            Err(_taken) => tried += 1,
        }
    }
}

/// Binds a port for datagrams.
pub(super) async fn bind_gossip(address: &str) -> Result<BoundUdp, NodeError> {
    BoundUdp::bind(address).await.map_err(|source| NodeError::Bind {
        what: "gossip (UDP)",
        address: address.to_owned(),
        source,
    })
}

/// Makes the state directory and keeps other daemons off it while the returned file is open. What another daemon was receiving
/// when it ended is gone.
pub(super) async fn take_directory(config: &NodeConfig) -> Result<rt::fs::File, NodeError> {
    let (dir, incoming) = (config.state_dir.clone(), incoming_dir(config));
    blocking(move || {
        let path = dir.join("lock");
        let state = |path: &Path| {
            let path = path.to_owned();
            move |source| NodeError::State { path, source }
        };
        rt::fs::create_dir_all(&dir).map_err(state(&dir))?;
        let file = rt::fs::File::create(&path).map_err(state(&path))?;
        file.try_lock().map_err(|source| match source.kind() {
            std::io::ErrorKind::WouldBlock => NodeError::InUse { dir },
            _ => NodeError::State { path, source },
        })?;
        if rt::fs::exists(&incoming) {
            rt::fs::remove_dir_all(&incoming).map_err(state(&incoming))?;
        }
        rt::fs::create_dir_all(&incoming).map_err(state(&incoming))?;
        Ok(file)
    })
    .await
}

/// The node's identity, if it has one.
pub(super) async fn load_identity(config: &NodeConfig) -> Result<Option<Formation>, NodeError> {
    let (dir, mark) = (identity_dir(config), founding_mark(config));
    let transport = config.transport;
    blocking(move || {
        let Some(identity) = NodeIdentity::load(&dir, transport)? else { return Ok(None) };
        let founding = rt::fs::exists(&mark).then_some(mark);
        Ok(Some(Formation { identity, founding }))
    })
    .await
}

/// Where files are kept while they arrive through the control socket.
pub(super) fn incoming_dir(config: &NodeConfig) -> PathBuf {
    config.state_dir.join("incoming")
}

pub(super) fn identity_dir(config: &NodeConfig) -> PathBuf {
    config.state_dir.join("identity")
}

/// There while the node has founded a cluster but not yet written its first entries.
pub(super) fn founding_mark(config: &NodeConfig) -> PathBuf {
    config.state_dir.join("founding")
}

/// Runs file work off the async threads.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, NodeError> + Send + 'static,
) -> Result<T, NodeError> {
    rt::blocking::run(work).await.unwrap_or_else(|end| Err(NodeError::Unit { unit: "files", why: end.to_string() }))
}

/// The way to the units of a node that runs.
pub(super) struct Running {
    pub(super) lanes: Lanes,
    pub(super) record: NodeRecord,
    pub(super) keys: Arc<Keyring>,
    pub(super) network: Slot<Network>,
    pub(super) gossip: Slot<Gossiping>,
    pub(super) raft: Slot<RaftHost>,
    pub(super) store: Slot<Store>,
    pub(super) members: Slot<Members>,
    pub(super) dqlite: Slot<SqlDoor>,
}

/// A node. Cheap to clone; all clones are one.
#[derive(Clone)]
pub(super) struct Node(Arc<Shared>);

struct Shared {
    config: NodeConfig,
    started: Instant,
    phase: watch::Sender<Phase>,
    sockets: Mutex<Option<Sockets>>,
    announced: Announced,
    running: Mutex<Option<Arc<Running>>>,
    formed: mpsc::Sender<Formation>,
    /// Held while `init` or `join` is at work.
    forming: tokio::sync::Mutex<()>,
    stop_asked: Notify,
    is_dismissed: AtomicBool,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Node {
    /// A node without units, and the end on which its formation arrives.
    pub(super) fn new(config: NodeConfig, sockets: Sockets) -> (Self, mpsc::Receiver<Formation>) {
        let (formed, formations) = mpsc::channel(1);
        let node = Self(Arc::new(Shared {
            config,
            started: Instant::now(),
            phase: watch::Sender::new(Phase::Unformed),
            announced: sockets.announced(),
            sockets: Mutex::new(Some(sockets)),
            running: Mutex::new(None),
            formed,
            forming: tokio::sync::Mutex::new(()),
            stop_asked: Notify::new(),
            is_dismissed: AtomicBool::new(false),
        }));
        (node, formations)
    }

    pub(super) fn config(&self) -> &NodeConfig {
        &self.0.config
    }

    /// What others are told unless the operator says otherwise.
    pub(super) fn announced(&self) -> &Announced {
        &self.0.announced
    }

    pub(super) fn uptime(&self) -> std::time::Duration {
        self.0.started.elapsed()
    }

    pub(super) fn phase(&self) -> Phase {
        *self.0.phase.borrow()
    }

    fn enter(&self, next: Phase) {
        self.0.phase.send_if_modified(|phase| {
            let allowed = phase.may_become(next);
            if allowed {
                *phase = next;
            }
            allowed
        });
    }

    /// The units are being started.
    pub(super) fn running(&self, running: Running) {
        self.enter(Phase::Forming);
        *lock(&self.0.running) = Some(Arc::new(running));
    }

    /// All units were up.
    pub(super) fn is_ready(&self) {
        self.enter(Phase::Ready);
    }

    /// The node stops.
    pub(super) fn stopping(&self) {
        self.enter(Phase::Stopping);
    }

    /// Asks for an ordinary stop.
    pub(super) fn ask_to_stop(&self) {
        self.0.stop_asked.notify_one();
    }

    /// The node is no member any more: it stops, and leaves the cluster behind.
    pub(super) fn dismiss(&self) {
        self.0.is_dismissed.store(true, Ordering::Release);
        self.ask_to_stop();
    }

    /// Whether the node is no member any more.
    pub(super) fn is_dismissed(&self) -> bool {
        self.0.is_dismissed.load(Ordering::Acquire)
    }

    /// Waits until a stop was asked for over the API. Cancel-safe.
    pub(super) async fn stop_asked(&self) {
        self.0.stop_asked.notified().await;
    }

    /// The units, if the node has been formed.
    pub(super) fn units(&self) -> Option<Arc<Running>> {
        lock(&self.0.running).clone()
    }

    pub(super) fn take_sockets(&self) -> Result<Sockets, NodeError> {
        lock(&self.0.sockets)
            .take()
            .ok_or_else(|| NodeError::Unit { unit: "network", why: "its sockets are taken already".to_owned() })
    }

    /// Only one `init` or `join` at a time.
    pub(super) async fn begin_forming(&self) -> tokio::sync::MutexGuard<'_, ()> {
        self.0.forming.lock().await
    }

    /// Starts the units of a node that has just got its identity.
    pub(super) async fn form(&self, formation: Formation) {
        // The only receiver is the node's own life, which has ended if it does not listen any more.
        if self.0.formed.send(formation).await.is_err() {
            tracing::debug!("the node stops before it was formed");
        }
    }

    /// Waits until the node leaves `from`, and tells where it went. Cancel-safe.
    pub(super) async fn leaves(&self, from: Phase) -> Phase {
        let mut phase = self.0.phase.subscribe();
        match phase.wait_for(|phase| *phase != from).await {
            Ok(phase) => *phase,
            Err(_gone) => Phase::Stopping,
        }
    }
}

/// The names of the members by id.
pub(super) type Names = BTreeMap<NodeId, String>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_phases_of_a_node() {
        let all = [Phase::Unformed, Phase::Forming, Phase::Ready, Phase::Stopping];
        let table: Vec<String> = all
            .iter()
            .map(|from| {
                let to: Vec<_> = all.iter().filter(|to| from.may_become(**to)).map(|to| format!("{to:?}")).collect();
                format!("{from:?} -> {}", to.join(" | "))
            })
            .collect();
        insta::assert_snapshot!(table.join("\n"), @r"
        Unformed -> Forming | Stopping
        Forming -> Unformed | Ready | Stopping
        Ready -> Stopping
        Stopping -> 
        ");
    }
}

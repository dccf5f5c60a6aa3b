//! The composition root: one node, from its sockets to its last unit, and back.
//!
//! ```text
//!   Unformed ──init, join──▶ Forming ──units ready──▶ Ready ──stop requested──▶ Stopping ──▶ (ends)
//!      │                        │                                                  ▲
//!      └────────────────────────┴────────────────stop requested───────────────────┘
//! ```
//!
//! Sockets are bound before anything else, so that addresses are known; what they serve accepts when it is ready. The
//! control socket is there from the first moment to the last.

mod addresses;
mod control;
mod error;
mod known_members;
mod node;
mod parting;
mod service_manager;
mod switchboard;
mod units;

pub use error::{NodeError, PAGES};

use crate::config::NodeConfig;
use api::control::{Entrance, Problem, Router};
use cluster::Keyring;
use futures::FutureExt;
use known_members::KnownMembers;
use lifecycle::{Settings, Shutdown, Supervisor, UnitError, UnitOptions};
use node::{Formation, Node, Running, Sockets};
use raft::{HostConfig, Part};
use rt::net::Listener;
use sd_notify::NotifyState;
use service_manager::ServiceManager;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use store::StoreConfig;
use units::{DqliteUnit, GossipUnit, HttpsUnit, MembersUnit, NetworkUnit, RaftUnit, StoreUnit};

/// How long requests may take to end when everything else has.
const ANSWERS_MAX: Duration = Duration::from_secs(2);

/// Runs one node until `stop` is requested, or its API is asked for a stop, and it has stopped in order. A stop at any moment, also
/// while the node starts, is an ordinary end; a second request shortens the deadlines. `stop` may be shared by several nodes.
///
/// A node that is removed from its cluster stops in order, puts its state aside, and goes on as a machine that belongs to none.
pub async fn run(config: NodeConfig, stop: Shutdown) -> Result<(), Problem> {
    loop {
        match run_node(config.clone(), stop.clone()).await {
            Ok(Ended::Stopped) => return Ok(()),
            Ok(Ended::Dismissed) => {}
            Err(error) => return Err(control::problem(&error)),
        }
    }
}

/// How the life of a node ended.
enum Ended {
    Stopped,
    /// It was removed, and its state was put aside.
    Dismissed,
}

async fn run_node(config: NodeConfig, stop: Shutdown) -> Result<Ended, NodeError> {
    let _lock = node::take_directory(&config).await?;
    parting::finish(&config).await?;
    let sockets = Sockets::bind(&config).await?;
    let identity = node::load_identity(&config).await?;
    let control = bind_unix(&config.socket, "the control socket")?;
    let manager = ServiceManager::new(config.notify);
    let (node, mut formed) = Node::new(config, sockets);
    let shutdown = Shutdown::new();

    let stopped = tokio::sync::Notify::new();
    let router = api::control::router(Arc::new(node.clone()));
    let serving = api::control::serve(control, Entrance::Trusted, router.clone(), stopped.notified());
    let living = async {
        let formation = if let Some(formation) = identity {
            formation
        } else {
            // It answers: that is all it can do before `init` or `join`, and no service manager waits for those.
            manager.tell(&[
                NotifyState::Ready,
                NotifyState::Status("belongs to no cluster yet: bowline init, or bowline join"),
            ]);
            let formed = tokio::select! {
                biased;
                () = shutdown.requested() => None,
                formation = formed.recv() => formation,
            };
            // A stop while the node waits to be formed is an ordinary end.
            let Some(formation) = formed else { return Ok(()) };
            formation
        };
        live(&node, formation, router, &shutdown, manager).await
    };
    let living = async {
        let ended = living.await;
        stopped.notify_one();
        ended
    };
    let asking = async {
        stop.requested().await;
        node.stopping();
        manager.tell(&[NotifyState::Stopping]);
        shutdown.request();
        stop.hurried().await;
        shutdown.request();
        std::future::pending::<()>().await;
    };
    let asked_by_api = async {
        node.stop_asked().await;
        node.stopping();
        // Who only leaves the cluster goes on.
        if !node.is_dismissed() {
            manager.tell(&[NotifyState::Stopping]);
        }
        shutdown.request();
        std::future::pending::<()>().await;
    };
    let both = async {
        let mut serving = pin!(serving.fuse());
        let ended = tokio::select! {
            biased;
            ended = living => ended,
            // It only ends when it is told that the node's life has.
            () = async { (&mut serving).await; std::future::pending().await } => Ok(()),
        };
        if rt::time::timeout(ANSWERS_MAX, serving).await.is_err() {
            tracing::info!("requests on the control socket were cut off");
        }
        ended
    };
    // The node's life decides; the rest runs beside it and ends with it.
    let ended = tokio::select! {
        biased;
        ended = both => ended,
        () = asking => Ok(()),
        () = asked_by_api => Ok(()),
        never = manager.feed() => match never {},
    };
    ended?;
    match node.units().filter(|_| node.is_dismissed()) {
        Some(units) => {
            parting::put_aside(node.config(), units.record.node).await?;
            Ok(Ended::Dismissed)
        }
        None => Ok(Ended::Stopped),
    }
}

/// Keeps the units of a formed node up until the shutdown.
async fn live(
    node: &Node,
    formation: Formation,
    router: Router,
    shutdown: &Shutdown,
    manager: ServiceManager,
) -> Result<(), NodeError> {
    let mut supervisor = Supervisor::new("node", Settings::default());
    let (dir, life) = (node::identity_dir(node.config()), node.config().certificate_life);
    let keys = Keyring::open(dir, formation.identity.clone(), life).await?;
    let running = compose(&mut supervisor, node, &formation, &keys, router)?;
    let mut lanes = supervisor.lanes();
    node.running(running);
    let ready = async {
        if lanes.wait_ready().await {
            node.is_ready();
            manager.tell(&[NotifyState::Ready, NotifyState::Status("ready")]);
        }
        std::future::pending::<()>().await;
    };
    let report = tokio::select! {
        biased;
        report = supervisor.run(shutdown) => report,
        () = ready => return Ok(()),
    };
    match report.cause {
        None => Ok(()),
        Some((_, UnitError::Fault(fault))) => Err(NodeError::Part(fault)),
        Some((unit, error)) => Err(NodeError::Unit { unit, why: error.to_string() }),
    }
}

/// The units and what they need. The order of this function is the order of starting; stopping is the reverse.
fn compose(
    supervisor: &mut Supervisor,
    node: &Node,
    formation: &Formation,
    keys: &Arc<Keyring>,
    router: Router,
) -> Result<Running, NodeError> {
    let config = node.config();
    let record = formation.identity.record.clone();
    let sockets = node.take_sockets()?;
    let options = UnitOptions::default();
    let stop_late = UnitOptions { stop_max: Duration::from_secs(15), ..options };

    let https = HttpsUnit::new(sockets.https_address, sockets.https, Arc::clone(keys), router);
    supervisor.add("https", https, (), options);

    let gossip = GossipUnit::new(Arc::clone(keys), sockets.rpc_address.clone(), sockets.gossip);
    let gossip = supervisor.add("gossip", gossip, (), options);

    let network = NetworkUnit::new(Arc::clone(keys), sockets.rpc_address, sockets.rpc);
    let network = supervisor.add("network", network, (), options);

    let (part, limits) =
        if record.witness { (Part::Witness, config.sizes.log.of_a_witness()) } else { (Part::Data, config.sizes.log) };
    let raft = RaftUnit::new(HostConfig {
        part,
        limits,
        on_corruption: config.on_damaged_log,
        ..HostConfig::new(record.node, config.state_dir.join("log"))
    });
    let raft = supervisor.add("raft", raft, (network.clone(),), options);

    let store = StoreUnit::new(StoreConfig {
        node: record.node,
        dir: config.state_dir.join("databases"),
        pages: config.sizes.pages,
    });
    let store = supervisor.add("store", store, (network.clone(), raft.clone()), stop_late);

    let removed = node.clone();
    let members = MembersUnit::new(
        formation.clone(),
        Arc::clone(keys),
        KnownMembers::of(config),
        Arc::new(move || removed.dismiss()),
    );
    let needs = (gossip.clone(), network.clone(), raft.clone(), store.clone());
    let members = supervisor.add("members", members, needs, options);

    let dqlite = DqliteUnit::new(config.dqlite_socket(), sockets.dqlite_address, sockets.dqlite, Arc::clone(keys));
    let dqlite = supervisor.add("dqlite", dqlite, (store.clone(), members.clone()), options);

    let keys = Arc::clone(keys);
    Ok(Running { lanes: supervisor.lanes(), record, keys, network, gossip, raft, store, members, dqlite })
}

fn bind_unix(path: &std::path::Path, what: &'static str) -> Result<Listener, NodeError> {
    Listener::bind_unix(path).map_err(|source| NodeError::Bind { what, address: path.display().to_string(), source })
}

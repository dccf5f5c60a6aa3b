//! `init` and `join`: a machine becomes a member.

use super::membership;
use super::{Node, Phase, millis, problem};
use crate::daemon::addresses::{completed, host};
use crate::daemon::error::NodeError;
use crate::daemon::known_members::KnownMembers;
use crate::daemon::node::{Formation, blocking, founding_mark, identity_dir};
use api::control::{Formed, InitRequest, JoinRequest, Problem};
use cluster::{ClusterError, JoinAs, MemberAddress, NodeIdentity, NodeName, Token};
use rt::time::Instant;
use std::path::Path;
use std::time::Duration;
use store::StoreError;

/// How long a join may look for a member that lets it in.
const JOIN_MAX: Duration = Duration::from_secs(30);

pub(super) async fn init(node: &Node, request: InitRequest) -> Result<Formed, Problem> {
    let began = Instant::now();
    let _only = begin(node).await?;
    let who = who(node, request.name, request.address, request.dqlite_address, request.https_address).await?;
    let (dir, mark) = (identity_dir(node.config()), founding_mark(node.config()));
    let (transport, life) = (node.config().transport, node.config().certificate_life);
    let formation = blocking(move || {
        // The mark first: a node with an identity and without it would wait for a cluster that does not exist.
        rt::fs::write_atomic(&mark, b"").map_err(|source| NodeError::State { path: mark.clone(), source })?;
        let identity = NodeIdentity::found(&dir, &who, transport, life)?;
        Ok(Formation { identity, founding: Some(mark) })
    });
    let formation = formation.await.map_err(|e| problem(&e))?;
    node.form(formation).await;
    formed(node, began, None).await
}

pub(super) async fn join(node: &Node, request: JoinRequest) -> Result<Formed, Problem> {
    let began = Instant::now();
    let _only = begin(node).await?;
    let token: Token = request.token.parse().map_err(|e: ClusterError| problem(&e))?;
    let who = who(node, request.name, request.address, request.dqlite_address, request.https_address).await?;
    let who = JoinAs { witness: request.witness, ..who };
    let dir = identity_dir(node.config());
    let known = KnownMembers::of(node.config());
    // On disk, because the daemon may be killed before `sys` has come over.
    let introduce = move |members: &[MemberAddress]| {
        let members = members.iter().map(|member| (member.node, member.address.clone())).collect();
        known.save(&members).map_err(|error| ClusterError::File { path: known.path().to_owned(), error })
    };
    let joined = cluster::join(&dir, &token, &who, node.config().transport, JOIN_MAX, introduce);
    let joined = joined.await.map_err(|e| problem(&e))?;
    let clock_ahead_ms = joined.clock_ahead_ms;
    let formation = Formation { identity: joined.identity, founding: None };
    node.form(formation).await;
    formed(node, began, Some(clock_ahead_ms)).await
}

/// Refuses on a member, and while another `init` or `join` is at work.
async fn begin(node: &Node) -> Result<tokio::sync::MutexGuard<'_, ()>, Problem> {
    let only = node.begin_forming().await;
    match node.units() {
        None => Ok(only),
        Some(units) => Err(problem(&ClusterError::AlreadyMember {
            name: units.record.name.to_string(),
            node: units.record.node,
            cluster: units.record.cluster.to_string(),
        })
        .kind(api::control::ProblemKind::Conflict)),
    }
}

/// Waits until the units are up and the node has its role.
async fn formed(node: &Node, began: Instant, clock_ahead_ms: Option<i64>) -> Result<Formed, Problem> {
    let stopping = || problem(&StoreError::NotOpen { state: "closing" });
    let mut phase = node.phase();
    while matches!(phase, Phase::Unformed | Phase::Forming) {
        phase = node.leaves(phase).await;
    }
    let units = node.units().filter(|_| phase == Phase::Ready).ok_or_else(stopping)?;
    let members = units.members.wait().await.map_err(|_| stopping())?;
    let mut placed = members.placed.clone();
    placed.wait_for(Option::is_some).await.map_err(|_| stopping())?;
    drop(placed);
    let nodes = loop {
        let nodes = membership::list(node).await?;
        if nodes.iter().any(|n| n.id == units.record.node) {
            break nodes;
        }
        // The row has been written; this node's copy of it is on its way.
        let mut changes = node.store()?.sys().changes();
        drop(rt::time::timeout(Duration::from_millis(50), changes.changed()).await);
    };
    let this = nodes.iter().find(|n| n.id == units.record.node).cloned().ok_or_else(stopping)?;
    let lanes = units.lanes.now();
    Ok(Formed {
        node: this,
        nodes,
        units: lanes.iter().map(|unit| unit.name.to_owned()).collect(),
        elapsed_ms: millis(began.elapsed()),
        clock_ahead_ms,
    })
}

/// As what this machine becomes a member: what the operator said, and for the rest what the machine knows of itself.
async fn who(
    node: &Node,
    name: Option<String>,
    address: Option<String>,
    dqlite_address: Option<String>,
    https_address: Option<String>,
) -> Result<JoinAs, Problem> {
    let name = match name {
        Some(name) => name,
        None => hostname().await?,
    };
    let own = node.announced();
    let address = match address {
        Some(given) => completed(&given, port(&own.rpc)),
        None => own.rpc.clone(),
    };
    // Clients find the node where other nodes find it, unless the socket for them is on loopback only.
    let for_clients = |given: Option<String>, bound: &str| match given {
        Some(given) => completed(&given, port(bound)),
        None if host(bound) == host(&own.rpc) => completed(host(&address), port(bound)),
        None => bound.to_owned(),
    };
    let dqlite_address = for_clients(dqlite_address, &own.dqlite);
    let https_address = for_clients(https_address, &own.https);
    Ok(JoinAs {
        name: NodeName::new(name).map_err(|e| problem(&e))?,
        address,
        dqlite_address,
        https_address,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        witness: false,
    })
}

pub(super) fn port(address: &str) -> u16 {
    address.rsplit_once(':').and_then(|(_, port)| port.parse().ok()).unwrap_or_default()
}

/// The name of this machine.
async fn hostname() -> Result<String, Problem> {
    const FILE: &str = "/proc/sys/kernel/hostname";
    let read =
        blocking(|| rt::fs::read(Path::new(FILE)).map_err(|source| NodeError::State { path: FILE.into(), source }));
    let name = read.await.map_err(|e| problem(&e))?;
    let name = String::from_utf8_lossy(&name).trim().to_owned();
    Ok(name.split('.').next().unwrap_or_default().to_owned())
}

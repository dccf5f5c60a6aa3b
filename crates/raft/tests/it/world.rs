//! Nodes with a mesh, a host and one or two toy groups each.

use crate::toy::{Peek, Toy};
use base::{GroupId, LogIndex, NodeId};
use bytes::Bytes;
use lifecycle::Scope;
use raft::{Group, GroupOptions, GroupState, GroupStatus, HostConfig, LogLimits, Proposed, RaftHost};
use rpc::{Handlers, Identity, Mesh, Service};
use rt::time::Instant;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

/// Long enough for a loaded machine; nothing waits this long in a good run.
const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) struct Node {
    pub(crate) id: NodeId,
    pub(crate) host: RaftHost,
    pub(crate) group: Group,
    pub(crate) peek: Peek,
    toy: PathBuf,
    pub(crate) mesh: Arc<Mesh>,
    scope: Scope,
}

pub(crate) struct World {
    dir: tempfile::TempDir,
    ports: BTreeMap<NodeId, String>,
    pub(crate) nodes: BTreeMap<NodeId, Node>,
    pub(crate) limits: LogLimits,
}

pub(crate) fn id(n: u64) -> NodeId {
    NodeId(n)
}

impl Node {
    /// Opens the group once more on the same host, but gives up when it has not come back after so many turns.
    pub(crate) async fn open_for(&self, turns: usize) -> Option<Group> {
        let toy = Toy::open(self.toy.clone(), self.peek.clone());
        let mut opening = Box::pin(self.host.open_group(GroupId::SYS, Box::new(toy), GroupOptions::default()));
        let mut left = turns;
        let opened = std::future::poll_fn(|cx| match opening.as_mut().poll(cx) {
            Poll::Ready(opened) => Poll::Ready(Some(opened)),
            Poll::Pending if left == 0 => Poll::Ready(None),
            Poll::Pending => {
                left -= 1;
                Poll::Pending
            }
        });
        let opened = opened.await.map(Result::unwrap);
        drop(opening);
        if opened.is_none() {
            let deadline = Instant::now() + PATIENCE;
            while !self.host.groups().is_empty() {
                assert!(Instant::now() < deadline, "what was given up stays");
                rt::time::sleep(Duration::from_millis(1)).await;
            }
        }
        opened
    }
}

impl World {
    /// Nodes 1 to `n`, started, none with members.
    pub(crate) async fn new(n: u64) -> Self {
        Self::with_limits(n, LogLimits::default()).await
    }

    pub(crate) async fn with_limits(n: u64, limits: LogLimits) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut world = Self { dir, ports: BTreeMap::new(), nodes: BTreeMap::new(), limits };
        for n in 1..=n {
            world.start(id(n)).await;
        }
        world
    }

    /// Three voters with a leader.
    pub(crate) async fn three() -> Self {
        let world = Self::new(3).await;
        world.initialize(&[1, 2, 3]).await;
        world
    }

    pub(crate) async fn initialize(&self, members: &[u64]) {
        let members: BTreeMap<NodeId, String> = members.iter().map(|n| (id(*n), self.address(id(*n)))).collect();
        let first = *members.keys().next().unwrap();
        self.nodes[&first].group.initialize(members).await.unwrap();
        self.leader().await;
    }

    pub(crate) fn address(&self, node: NodeId) -> String {
        self.ports[&node].clone()
    }

    pub(crate) fn path(&self, node: NodeId) -> PathBuf {
        self.dir.path().join(node.to_string())
    }

    pub(crate) fn config(&self, node: NodeId) -> HostConfig {
        HostConfig { limits: self.limits, ..HostConfig::new(node, self.path(node).join("raft")) }
    }

    pub(crate) async fn start(&mut self, node: NodeId) {
        let config = self.config(node);
        self.start_with(node, config).await;
    }

    pub(crate) async fn start_with(&mut self, node: NodeId, config: HostConfig) {
        let scope = Scope::new(&format!("node {node}"));
        let mesh = Mesh::new(Identity::Plain { node }, &scope).unwrap();
        let wanted = self.ports.get(&node).cloned().unwrap_or_else(|| "127.0.0.1:0".to_owned());
        let listener = rt::net::Listener::bind(&wanted).await.unwrap();
        self.ports.insert(node, listener.local_addr().unwrap().to_string());
        let host = RaftHost::open(config, Arc::clone(&mesh), &scope).await.unwrap();
        mesh.serve(listener, Handlers::new().with(Service::Raft, host.handler()));
        let peek = Peek::default();
        let toy = Toy::open(self.path(node).join("toy"), peek.clone());
        let group = host.open_group(GroupId::SYS, Box::new(toy), GroupOptions::default()).await.unwrap();
        self.nodes.insert(node, Node { id: node, host, group, peek, toy: self.path(node).join("toy"), mesh, scope });
    }

    /// Stops a node in order.
    pub(crate) async fn stop(&mut self, node: NodeId) {
        let node = self.nodes.remove(&node).unwrap();
        let report = node.host.stop(Duration::from_secs(10)).await;
        assert!(report.is_clean(), "{report:?}");
        node.mesh.stop(Duration::from_secs(5)).await;
        assert!(node.scope.stop(Duration::from_secs(5)).await.is_clean());
    }

    /// Takes a node off the network at once, as if its machine were gone, and then ends what is left of it.
    pub(crate) async fn kill(&mut self, node: NodeId) {
        let node = self.nodes.remove(&node).unwrap();
        node.mesh.stop(Duration::ZERO).await;
        node.host.stop(Duration::from_secs(10)).await;
        drop(node.scope.stop(Duration::ZERO).await);
    }

    /// A node that leads, as soon as all others agree.
    pub(crate) async fn leader(&self) -> &Node {
        let first = self.nodes.values().next().unwrap();
        let mut status = first.group.watch();
        let running: BTreeSet<NodeId> = self.nodes.keys().copied().collect();
        let leads = |s: &GroupStatus| s.leader.is_some_and(|l| running.contains(&l));
        let deadline = Instant::now() + PATIENCE;
        loop {
            let seen =
                rt::time::timeout(PATIENCE, status.wait_for(leads)).await.expect("a leader in time").unwrap().leader;
            let node = &self.nodes[&seen.unwrap()];
            if node.group.status().state == GroupState::Leader {
                return node;
            }
            assert!(Instant::now() < deadline, "no leader that knows it");
            rt::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Proposes on whoever leads, again and again while leadership moves and nothing was proposed.
    pub(crate) async fn propose(&self, item: &str) -> Proposed {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let leader = self.leader().await;
            match leader.group.propose(Bytes::from(item.to_owned())).await {
                Ok(proposed) => return proposed,
                Err(raft::ProposeError::NotLeader { .. } | raft::ProposeError::Full { .. }) => {}
                Err(error) => panic!("{error}"),
            }
            assert!(Instant::now() < deadline, "nobody takes the proposal");
            rt::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// All running nodes have applied it, and hold the same.
    pub(crate) async fn agree_on(&self, index: LogIndex) {
        for node in self.nodes.values() {
            let applied = node.group.wait_applied(index, Instant::now() + PATIENCE).await;
            applied.unwrap_or_else(|e| panic!("node {}: {e}; {:?}", node.id, node.group.status()));
        }
        let all: Vec<Vec<Bytes>> = self.nodes.values().map(|n| n.peek.items.lock().unwrap().clone()).collect();
        for items in &all {
            assert_eq!(items, &all[0]);
        }
    }

    pub(crate) async fn until(&self, node: u64, what: &str, is: impl Fn(&GroupStatus) -> bool) {
        let mut status = self.nodes[&id(node)].group.watch();
        let waited = rt::time::timeout(PATIENCE, status.wait_for(is)).await.map(|r| r.is_ok());
        assert_eq!(waited, Ok(true), "{what}: {:?}", self.nodes[&id(node)].group.status());
    }

    pub(crate) async fn end(mut self) {
        let all: Vec<NodeId> = self.nodes.keys().copied().collect();
        for node in all {
            self.stop(node).await;
        }
    }
}

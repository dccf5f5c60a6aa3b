//! Nodes with a network, a log and a store, and nothing above that.

use base::{DbName, NodeId};
use lifecycle::Scope;
use raft::{HostConfig, RaftHost};
use rpc::{Handlers, Identity, Mesh, Service};
use rt::net::Listener;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use store::{Session, SessionOptions, Statement, Store, StoreConfig, StoreError};

/// A node that runs.
pub(crate) struct Node {
    pub(crate) id: NodeId,
    pub(crate) address: String,
    pub(crate) store: Store,
    pub(crate) host: RaftHost,
    pub(crate) mesh: Arc<Mesh>,
    pub(crate) scope: Scope,
}

fn config(node: NodeId, dir: &Path) -> StoreConfig {
    StoreConfig { node, dir: dir.join("databases"), pages: sqlite::PageStoreOptions::default() }
}

impl Node {
    pub(crate) async fn start(id: u64, dir: &Path, address: &str) -> Self {
        let id = NodeId(id);
        let scope = Scope::new(&format!("node{id}"));
        let mesh = Mesh::new(Identity::Plain { node: id }, &scope).unwrap();
        let listener = Listener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let host = RaftHost::open(HostConfig::new(id, dir.join("log")), Arc::clone(&mesh), &scope).await.unwrap();
        let store = Store::open(config(id, dir), host.clone(), Arc::clone(&mesh), scope.clone()).await.unwrap();
        let handlers = Handlers::new().with(Service::Raft, host.handler()).with(Service::Store, store.handler());
        mesh.serve(listener, handlers);
        Self { id, address, store, host, mesh, scope }
    }

    /// A cluster of one with the database `shop`, in which `sql` was run.
    pub(crate) async fn alone(dir: &Path, sql: &str) -> Self {
        let node = Self::start(1, dir, "127.0.0.1:0").await;
        node.store.bootstrap(&node.address).await.unwrap();
        node.store.create(&DbName::new("shop").unwrap()).await.unwrap();
        run(&mut node.session("shop").unwrap(), sql).await.unwrap();
        node
    }

    /// Closes the store alone and opens it again on the log that stays, as a supervisor does when it has failed.
    pub(crate) async fn restart_store(self, dir: &Path) -> Self {
        let Self { id, address, store, host, mesh, scope } = self;
        store.close().await;
        drop(store);
        let store = Store::open(config(id, dir), host.clone(), Arc::clone(&mesh), scope.clone()).await.unwrap();
        Self { id, address, store, host, mesh, scope }
    }

    /// Stops in order.
    pub(crate) async fn stop(self) {
        self.store.close().await;
        self.host.stop(Duration::from_secs(2)).await;
        self.mesh.stop(Duration::from_secs(2)).await;
        self.scope.stop(Duration::from_secs(2)).await;
    }

    /// Ends without closing anything of the store in order. The engine must go, or its log could not be opened again in this
    /// process.
    pub(crate) async fn cut(self) {
        self.host.stop(Duration::from_secs(2)).await;
        self.scope.stop(Duration::ZERO).await;
    }

    pub(crate) fn session(&self, name: &str) -> Result<Session, StoreError> {
        let (name, options) = SessionOptions::default().parse(name).unwrap();
        self.store.session(&name, options)
    }
}

/// Three voters, the first of which founded the cluster.
pub(crate) struct Cluster {
    pub(crate) nodes: Vec<Node>,
    pub(crate) dir: tempfile::TempDir,
}

impl Cluster {
    pub(crate) async fn form(size: u64) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut nodes = Vec::new();
        for id in 1..=size {
            nodes.push(Node::start(id, &dir.path().join(id.to_string()), "127.0.0.1:0").await);
        }
        for node in &nodes {
            for peer in &nodes {
                node.mesh.set_address(peer.id, &peer.address);
            }
        }
        nodes[0].store.bootstrap(&nodes[0].address).await.unwrap();
        let sys = nodes[0].store.sys().group().clone();
        for node in &nodes[1..] {
            sys.add_learner(node.id, node.address.clone()).await.unwrap();
        }
        sys.change_voters(nodes.iter().map(|n| n.id).collect()).await.unwrap();
        Self { nodes, dir }
    }

    pub(crate) async fn with_database(size: u64, name: &str) -> Self {
        let cluster = Self::form(size).await;
        cluster.nodes[0].store.create(&DbName::new(name).unwrap()).await.unwrap();
        cluster
    }

    /// The node that leads a database.
    pub(crate) async fn leader(&self, name: &str) -> &Node {
        let name = DbName::new(name).unwrap();
        eventually("a leader", || {
            self.nodes
                .iter()
                .find(|n| n.store.database(&name).is_some_and(|d| d.leadership().borrow().leading.is_some()))
        })
        .await
    }

    /// A node that does not.
    pub(crate) async fn follower(&self, name: &str) -> &Node {
        let leader = self.leader(name).await.id;
        self.nodes.iter().find(|n| n.id != leader).unwrap()
    }
}

/// Waits until `look` finds something; fails after 20 seconds.
pub(crate) async fn eventually<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = rt::time::Instant::now() + Duration::from_secs(20);
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(rt::time::Instant::now() < deadline, "waited too long for {what}");
        rt::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Runs statements for their effect.
pub(crate) async fn run(session: &mut Session, sql: &str) -> Result<store::Outcome, StoreError> {
    session.execute(Statement::Sql(sql), &[]).await
}

/// The first value of the first row as text.
pub(crate) async fn one(session: &mut Session, sql: &str) -> Result<String, StoreError> {
    let rows = session.rows(sql, &[]).await?;
    Ok(match rows.rows.first().and_then(|row| row.first()) {
        Some(store::Value::Integer(i)) => i.to_string(),
        Some(store::Value::Text(t)) => t.clone(),
        other => format!("{other:?}"),
    })
}

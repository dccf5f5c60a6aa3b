//! A node as the daemon composes it, without the daemon.

use base::{DbName, NodeId, Role};
use cluster::{
    Cluster, ClusterConfig, ClusterError, Gossiping, JoinAs, Joined, Keyring, NODE_LIFE, NodeIdentity, NodeName,
    NodeRow, Placement, Token, Transport, join,
};
use lifecycle::Scope;
use raft::{HostConfig, RaftHost};
use rpc::{Handlers, Mesh, Service};
use rt::net::{BoundUdp, Listener};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use store::{ReadLevel, Store, StoreConfig};

pub(crate) const SOON: Duration = Duration::from_secs(20);

pub(crate) struct Node {
    pub(crate) cluster: Cluster,
    pub(crate) store: Store,
    pub(crate) host: RaftHost,
    pub(crate) mesh: Arc<Mesh>,
    pub(crate) id: NodeId,
    scope: Scope,
    dir: tempfile::TempDir,
}

fn who(name: &str, listener: &Listener) -> JoinAs {
    JoinAs {
        name: NodeName::new(name).unwrap(),
        address: listener.local_addr().unwrap().to_string(),
        dqlite_address: "127.0.0.1:9000".to_owned(),
        https_address: "127.0.0.1:7443".to_owned(),
        version: "0.1.0".to_owned(),
        witness: false,
    }
}

impl Node {
    /// The first node of a new cluster.
    pub(crate) async fn found(name: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let listener = Listener::bind("127.0.0.1:0").await.unwrap();
        let who = who(name, &listener);
        let identity = NodeIdentity::found(&dir.path().join("identity"), &who, Transport::Tls, NODE_LIFE).unwrap();
        let node = Self::start(dir, identity, listener, None).await;
        node.store.bootstrap(&who.address).await.unwrap();
        node.cluster.found().await.unwrap();
        assert_eq!(node.cluster.announce(SOON).await.unwrap().role, Role::Voter);
        node
    }

    /// A machine joins with a token and waits for its role.
    pub(crate) async fn join(name: &str, token: &Token) -> (Self, Placement) {
        let node = Self::join_quietly(name, token).await.unwrap();
        let placement = node.cluster.announce(SOON).await.unwrap();
        (node, placement)
    }

    /// A machine joins and starts, but does not say so.
    pub(crate) async fn join_quietly(name: &str, token: &Token) -> Result<Self, ClusterError> {
        let dir = tempfile::tempdir().unwrap();
        let listener = Listener::bind("127.0.0.1:0").await.unwrap();
        let (identity, who) = (dir.path().join("identity"), who(name, &listener));
        let joined = join(&identity, token, &who, Transport::Tls, SOON, |_| Ok(())).await?;
        let identity = joined.identity.clone();
        Ok(Self::start(dir, identity, listener, Some(joined)).await)
    }

    async fn start(dir: tempfile::TempDir, identity: NodeIdentity, listener: Listener, joined: Option<Joined>) -> Self {
        let (id, identity_address) = (identity.record.node, identity.record.address.clone());
        let scope = Scope::new(identity.record.name.as_str());
        let mesh = Mesh::new(identity.mesh().unwrap(), &scope).unwrap();
        if let Some(joined) = joined {
            joined.introduce(&mesh);
        }
        let host =
            RaftHost::open(HostConfig::new(id, dir.path().join("log")), Arc::clone(&mesh), &scope).await.unwrap();
        let config =
            StoreConfig { node: id, dir: dir.path().join("databases"), pages: sqlite::PageStoreOptions::default() };
        let store = Store::open(config, host.clone(), Arc::clone(&mesh), scope.child("store")).await.unwrap();
        let keys = Keyring::open(dir.path().join("identity"), identity, NODE_LIFE).await.unwrap();
        let address = identity_address.parse().unwrap();
        let socket = BoundUdp::bind(&identity_address).await.unwrap();
        let gossiping = Gossiping::start(&keys, address, socket, &scope).unwrap();
        let config = ClusterConfig { keys, version: "0.1.0".to_owned(), gossiping };
        let sys_group = store.sys().group().clone();
        let sys = Arc::new(store.clone());
        let cluster = Cluster::start(config, sys, sys_group, host.clone(), Arc::clone(&mesh), &scope).unwrap();
        let handlers = Handlers::new()
            .with(Service::Raft, host.handler())
            .with(Service::Store, store.handler())
            .with(Service::Cluster, cluster.member_handler())
            .with(Service::Join, cluster.join_handler());
        mesh.serve(listener, handlers);
        Self { cluster, store, host, mesh, id, scope, dir }
    }

    pub(crate) async fn token(&self) -> Token {
        self.cluster.token_add(None, SOON).await.unwrap().0
    }

    /// What each node does, by name, as this node sees it.
    pub(crate) async fn roles(&self) -> BTreeMap<String, Role> {
        let nodes: Vec<(NodeRow, Role)> = self.cluster.nodes(ReadLevel::Linearizable).await.unwrap();
        nodes.into_iter().map(|(row, role)| (row.name, role)).collect()
    }

    /// Waits until the nodes have these roles, on every database.
    pub(crate) async fn await_roles(&self, wanted: &[(&str, Role)]) {
        let wanted: BTreeMap<String, Role> = wanted.iter().map(|(name, role)| ((*name).to_owned(), *role)).collect();
        let mut watch = self.store.sys().group().watch();
        let reached = async {
            while self.roles().await != wanted {
                tokio::select! {
                    biased;
                    changed = watch.changed() => changed.unwrap(),
                    () = rt::time::sleep(Duration::from_millis(50)) => {}
                }
            }
        };
        let done = rt::time::timeout(SOON, reached).await;
        assert!(done.is_ok(), "{:?} instead of {wanted:?}", self.roles().await);
    }

    pub(crate) fn leads_sys(&self) -> bool {
        self.store.sys().leadership().borrow().leading.is_some()
    }

    pub(crate) fn voters_of(&self, name: &DbName) -> usize {
        self.store.database(name).map_or(0, |database| database.group().status().membership.all_voters().len())
    }

    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Stops as a daemon does.
    pub(crate) async fn stop(self) {
        self.cluster.hand_over(SOON).await;
        self.store.close().await;
        self.host.stop(SOON).await;
        let report = self.scope.stop(SOON).await;
        assert!(report.is_clean(), "{report:?}");
    }

    /// Dies.
    pub(crate) async fn kill(self) {
        self.scope.stop(Duration::ZERO).await;
    }
}

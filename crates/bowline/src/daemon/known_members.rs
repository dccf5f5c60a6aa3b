//! Where the other members were last known to be, in `members.json`. The members themselves are in `sys`; this is what a node goes by
//! while its own copy tells nothing of them: it has just joined, or its log was damaged.

use crate::config::NodeConfig;
use base::{GroupId, NodeId};
use raft::{Group, RaftHost};
use rpc::Mesh;
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

/// Addresses for calls between nodes, `host:port`.
pub(super) type Addresses = BTreeMap<NodeId, String>;

/// The file.
#[derive(Debug, Clone)]
pub(super) struct KnownMembers {
    path: PathBuf,
}

impl KnownMembers {
    pub(super) fn of(config: &NodeConfig) -> Self {
        Self { path: config.state_dir.join("members.json") }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Replaces what was known. Blocks on file IO.
    pub(super) fn save(&self, members: &Addresses) -> io::Result<()> {
        let json = serde_json::to_vec_pretty(members).map_err(io::Error::other)?;
        rt::fs::write_atomic(&self.path, &json)
    }

    fn load(&self) -> io::Result<Addresses> {
        if !rt::fs::exists(&self.path) {
            return Ok(Addresses::new());
        }
        serde_json::from_slice(&rt::fs::read(&self.path)?).map_err(io::Error::other)
    }

    /// Tells the mesh where those are that it does not know yet: a log that was cut may name some of the members only.
    pub(super) async fn introduce(&self, mesh: &Mesh, me: NodeId) {
        let file = self.clone();
        match rt::blocking::run(move || file.load()).await.map_err(io::Error::other).flatten() {
            Ok(members) => {
                let unknown = |node: NodeId| node != me && mesh.address(node).is_none();
                for (node, address) in members.into_iter().filter(|(node, _)| unknown(*node)) {
                    mesh.set_address(node, address);
                }
            }
            // It is one of several ways to find the others: they look for this node as well.
            Err(error) => tracing::warn!(path = %self.path.display(), %error, "the other members are not known"),
        }
    }

    /// Keeps the file as the members of `sys` are. Runs until it is dropped, or the group stops.
    pub(super) async fn follow(self, host: RaftHost, sys: Group) {
        let mut status = sys.watch();
        let mut saved = Addresses::new();
        loop {
            let now = status.borrow_and_update().membership.addresses.clone();
            // A log that was cut may tell of the members of long ago.
            let is_news = now.len() > 1 && now != saved && !host.damaged_groups().contains(&GroupId::SYS);
            if is_news {
                let (file, members) = (self.clone(), now.clone());
                match rt::blocking::run(move || file.save(&members)).await.map_err(io::Error::other).flatten() {
                    Ok(()) => saved = now,
                    Err(error) => {
                        tracing::warn!(path = %self.path.display(), %error, "the members could not be noted; the next change tries again");
                    }
                }
            }
            if status.changed().await.is_err() {
                return;
            }
        }
    }
}

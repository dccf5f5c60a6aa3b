//! What a node is told when it starts: where its state is and where it listens.

use cluster::Transport;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The port of node-to-node RPC.
pub const RPC_PORT: u16 = 7440;
/// The port of the dqlite protocol.
pub const DQLITE_PORT: u16 = 9000;

/// The port of the HTTPS API.
pub const HTTPS_PORT: u16 = 7443;

/// The configuration of one node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeConfig {
    /// The directory that holds everything the node keeps. Created if it is not there.
    pub state_dir: PathBuf,
    /// The control socket.
    pub socket: PathBuf,
    /// Where node-to-node RPC listens, `ip:port`; port 0 takes a free one, which is then the one that is announced.
    pub listen: String,
    /// Where the dqlite protocol listens, `ip:port`; port 0 takes a free one.
    pub dqlite_listen: String,
    /// Where the HTTPS API listens, `ip:port`; port 0 takes a free one.
    pub https_listen: String,
    /// How nodes prove who they are to each other: by certificates, except in the simulator.
    pub transport: Transport,
    /// How long the certificates are good that this node makes. A year; tests take less.
    pub certificate_life: Duration,
    /// How much room the log and the databases take.
    pub sizes: Sizes,
    /// What is done with a Raft log that is damaged in the middle.
    pub on_damaged_log: raft::OnCorruption,
    /// Whether the node notifies a service manager (`sd_notify`) and answers its watchdog.
    pub notify: bool,
}

/// How much room a node's parts take, on disk and in memory. The default is right for a machine of any size.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Sizes {
    /// The Raft log.
    pub log: raft::LogLimits,
    /// Each database.
    pub pages: sqlite::PageStoreOptions,
}

impl NodeConfig {
    /// The local socket of the dqlite protocol: beside the control socket.
    pub fn dqlite_socket(&self) -> PathBuf {
        dqlite_socket(&self.socket)
    }
}

/// The control socket of the node that keeps its state in `state_dir`.
pub fn control_socket(state_dir: &Path) -> PathBuf {
    state_dir.join("control.sock")
}

/// The dqlite socket that belongs to a control socket.
pub fn dqlite_socket(control_socket: &Path) -> PathBuf {
    control_socket.with_file_name("dqlite.sock")
}

/// Where state is kept if nobody says otherwise: `/var/lib/bowline` for root, else `$XDG_STATE_HOME/bowline`.
pub fn default_state_dir() -> PathBuf {
    let environment = |name| std::env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from);
    if rustix::process::geteuid().is_root() {
        PathBuf::from("/var/lib/bowline")
    } else if let Some(state) = environment("XDG_STATE_HOME") {
        state.join("bowline")
    } else if let Some(home) = environment("HOME") {
        home.join(".local/state/bowline")
    } else {
        PathBuf::from(".bowline")
    }
}

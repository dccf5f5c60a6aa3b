//! What a daemon is told before it starts, and where it keeps what.

use std::path::{Path, PathBuf};
use std::time::Duration;

/// The port of node-to-node calls.
pub const RPC_PORT: u16 = 7440;
/// The port of dqlite's protocol.
pub const DQLITE_PORT: u16 = 9000;

/// What a daemon is told before it starts. Everything else it finds in its state directory.
#[derive(Debug, Clone)]
pub struct Config {
    /// The directory that holds all of the node's state.
    pub state_dir: PathBuf,
    /// The control socket; `control.sock` in the state directory if not given. `@name` is an abstract socket.
    pub socket: Option<PathBuf>,
    /// Where node-to-node calls are taken, as `ip:port`; port 0 takes a free one.
    pub listen: String,
    /// Where dqlite clients are served, as `ip:port` or `@name`; port 0 takes a free one.
    pub dqlite_listen: String,
    /// How long each phase of a stop may take.
    pub stop_max: Duration,
}

impl Config {
    /// Defaults for a state directory: the well-known ports on all interfaces, dqlite's on loopback only.
    pub fn new(state_dir: impl Into<PathBuf>) -> Self {
        Self {
            state_dir: state_dir.into(),
            socket: None,
            listen: format!("0.0.0.0:{RPC_PORT}"),
            dqlite_listen: format!("127.0.0.1:{DQLITE_PORT}"),
            stop_max: Duration::from_secs(10),
        }
    }

    /// The control socket.
    pub fn socket(&self) -> PathBuf {
        self.socket.clone().unwrap_or_else(|| self.state_dir.join("control.sock"))
    }

    /// The Unix socket of dqlite's protocol for the local root.
    pub fn dqlite_socket(&self) -> PathBuf {
        self.state_dir.join("dqlite.sock")
    }

    /// Who this node is: keys, certificates, names.
    pub fn identity_dir(&self) -> PathBuf {
        self.state_dir.join("identity")
    }

    /// The Raft log of all groups.
    pub fn log_dir(&self) -> PathBuf {
        self.state_dir.join("log")
    }

    /// The databases' files.
    pub fn databases_dir(&self) -> PathBuf {
        self.state_dir.join("databases")
    }

    /// The lock that keeps a second daemon off the state directory.
    pub fn lock_file(&self) -> PathBuf {
        self.state_dir.join("lock")
    }

    /// The state directory.
    pub fn state_dir(&self) -> &Path {
        &self.state_dir
    }
}

//! Why a node cannot start or go on.

use base::{Code, Disposition, ErrorPage, Fault};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// Why a node cannot start or go on.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    /// A socket could not be bound.
    #[error("{address} cannot be bound for {what}: {source}")]
    Bind {
        /// What it is for.
        what: &'static str,
        /// The address.
        address: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// A file of the state directory could not be used.
    #[error("{}: {source}", path.display())]
    State {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// Another daemon runs on the same state directory.
    #[error("another daemon runs on {}", dir.display())]
    InUse {
        /// The directory.
        dir: PathBuf,
    },
    /// The node's certificates cannot be used.
    #[error("the node's identity cannot be used: {0}")]
    Identity(#[from] rpc::IdentityError),
    /// The Raft log cannot be opened.
    #[error(transparent)]
    Log(#[from] raft::OpenError),
    /// The databases cannot be opened.
    #[error(transparent)]
    Store(#[from] store::StoreError),
    /// The node's membership cannot be read or changed.
    #[error(transparent)]
    Cluster(#[from] cluster::ClusterError),
    /// A part of the node refused in a way that no restart of it helps.
    #[error("{0}")]
    Part(Arc<dyn Fault + Send + Sync>),
    /// A part of the node failed again and again.
    #[error("{unit} failed: {why}")]
    Unit {
        /// Which part.
        unit: &'static str,
        /// Why.
        why: String,
    },
}

impl Fault for NodeError {
    fn code(&self) -> Code {
        match self {
            Self::Bind { .. } => Code("BL-NODE-002"),
            Self::State { .. } => Code("BL-NODE-003"),
            Self::InUse { .. } => Code("BL-NODE-004"),
            Self::Identity(_) => Code("BL-NODE-005"),
            Self::Unit { .. } => Code("BL-NODE-006"),
            Self::Log(e) => e.code(),
            Self::Part(e) => e.code(),
            Self::Store(e) => e.code(),
            Self::Cluster(e) => e.code(),
        }
    }

    fn disposition(&self) -> Disposition {
        match self {
            Self::Bind { .. } => Disposition::Retry { after: Duration::from_secs(1) },
            Self::State { .. } | Self::InUse { .. } | Self::Identity(_) | Self::Unit { .. } => Disposition::Refuse,
            Self::Log(e) => e.disposition(),
            Self::Part(e) => e.disposition(),
            Self::Store(e) => e.disposition(),
            Self::Cluster(e) => e.disposition(),
        }
    }
}

/// The pages behind the codes.
pub const PAGES: &[ErrorPage] = &[
    super::switchboard::NOT_PLUGGED,
    ErrorPage {
        code: Code("BL-NODE-002"),
        title: "A socket could not be bound",
        cause: "Another program uses the port, the address is not one of this machine's, or the port is below 1024 and the \
                daemon does not run as root.",
        next: "`ss -ltnp` shows who uses the port; choose another with --listen, --dqlite-listen or --https-listen.",
    },
    ErrorPage {
        code: Code("BL-NODE-003"),
        title: "The state directory cannot be used",
        cause: "The operating system refused to read or write a file in it: permissions, a full disk, or a failing one.",
        next: "Check the path in the message with `ls -l` and `df`; --state-dir names another directory.",
    },
    ErrorPage {
        code: Code("BL-NODE-004"),
        title: "Another daemon runs on the same state directory",
        cause: "A state directory belongs to one daemon at a time, or its databases would be destroyed.",
        next: "`bowline status` talks to the daemon that runs; `bowline stop` stops it.",
    },
    ErrorPage {
        code: Code("BL-NODE-005"),
        title: "The node's certificates cannot be used",
        cause: "A file in the identity directory is damaged, or certificate and key do not belong together.",
        next: "Restore the identity directory from a backup of this node, or remove the node and join it again.",
    },
    ErrorPage {
        code: Code("BL-NODE-006"),
        title: "A part of the node failed",
        cause: "It panicked or did not end in time, again and again; the node stopped in order.",
        next: "The message and the log say where. Start the node again; if it comes back, please report it with the log.",
    },
];

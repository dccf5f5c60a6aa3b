//! How things can fail here, and what the caller may conclude.

use base::{Code, Disposition, ErrorPage, Fault, GroupId, NodeId};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// The state machine could not do its part. The group stops on this node.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct MachineError {
    /// What to do about it.
    pub disposition: Disposition,
    /// What happened.
    pub message: Arc<str>,
}

impl MachineError {
    /// An error with a disposition and a text.
    pub fn new(disposition: Disposition, message: impl Into<Arc<str>>) -> Self {
        Self { disposition, message: message.into() }
    }

    /// From an error of the product: keeps its disposition and its text with its code.
    pub fn of(error: &impl Fault) -> Self {
        Self::new(error.disposition(), format!("{}: {error}", error.code()))
    }
}

/// Why the log or a group cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// A file or directory of the log failed.
    #[error("the Raft log in {} cannot be opened: {error}", path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// Another process holds the log.
    #[error("the Raft log in {} is in use by another process", path.display())]
    InUse {
        /// The directory.
        path: PathBuf,
    },
    /// A record in the middle of the log is damaged while whole records follow it: not a torn tail.
    #[error("the Raft log is damaged: segment {} at offset {offset}: {what}", segment.display())]
    Corrupt {
        /// The segment file.
        segment: PathBuf,
        /// Where in it.
        offset: u64,
        /// What does not fit.
        what: &'static str,
    },
    /// The group is open already.
    #[error("group {0} is open already")]
    AlreadyOpen(GroupId),
    /// The state machine is behind the log: entries between the two are gone.
    #[error("group {group} has applied up to {applied:?} but its log starts after {purged}")]
    Behind {
        /// The group.
        group: GroupId,
        /// What the state machine says.
        applied: Option<u64>,
        /// The last entry that the log no longer has.
        purged: u64,
    },
    /// The state machine has applied entries, but the log knows nothing of the group, not even its vote.
    #[error(
        "the Raft log of group {group} is lost: the node may have voted and acknowledged what it does not remember"
    )]
    LogLost {
        /// The group.
        group: GroupId,
    },
    /// The engine did not start.
    #[error("group {group} did not start: {why}")]
    Engine {
        /// The group.
        group: GroupId,
        /// Its reason.
        why: String,
    },
    /// The host is stopping.
    #[error("the Raft host is stopping")]
    Stopped,
}

/// Why a proposal has no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProposeError {
    /// This node does not lead the group. Nothing was proposed.
    #[error("this node does not lead the group{}", hint(*leader))]
    NotLeader {
        /// Who does, if known.
        leader: Option<NodeId>,
    },
    /// Leadership was lost while the entry was under way: it may or may not be committed.
    #[error("leadership was lost; the outcome is unknown")]
    Lost,
    /// The group has stopped, or is stopping, on this node. Nothing was proposed.
    #[error("the group has stopped on this node")]
    Stopped,
    /// The disk takes no more: nothing was proposed. The group goes on when it does again.
    #[error("the Raft log cannot be written: {why}")]
    Full {
        /// What the disk said.
        why: Arc<str>,
    },
    /// The payload is longer than an entry may be. Nothing was proposed.
    #[error("an entry of {len} bytes is over the limit of {max}")]
    TooLarge {
        /// The length of the payload.
        len: usize,
        /// The longest allowed.
        max: usize,
    },
}

/// Why a linearizable read has no position to read at.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// This node does not lead the group, or not provably now.
    #[error("this node does not lead the group{}", hint(*leader))]
    NotLeader {
        /// Who does, if known.
        leader: Option<NodeId>,
    },
    /// No leader answered in time.
    #[error("no leader confirmed the read: {why}")]
    NoLeader {
        /// What the last attempt met.
        why: Arc<str>,
    },
    /// The position was not applied here before the deadline.
    #[error("this node did not catch up within {} ms", waited.as_millis())]
    Late {
        /// How long was waited.
        waited: Duration,
    },
    /// The disk takes no more, so the group is suspended on this node. Other members may serve the read.
    #[error("the Raft log cannot be written: {why}")]
    Full {
        /// What the disk said.
        why: Arc<str>,
    },
    /// The group has stopped on this node.
    #[error("the group has stopped on this node")]
    Stopped,
}

/// Why a change of members or leadership did not happen.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChangeError {
    /// This node does not lead the group. Nothing was changed.
    #[error("this node does not lead the group{}", hint(*leader))]
    NotLeader {
        /// Who does, if known.
        leader: Option<NodeId>,
    },
    /// Another change is under way. Nothing was changed.
    #[error("another change of members is under way")]
    InProgress,
    /// The change makes no sense for these members. Nothing was changed.
    #[error("the change is refused: {why}")]
    Refused {
        /// Why.
        why: String,
    },
    /// Leadership was lost on the way, or the deadline passed: it may or may not have happened. Doing it again is harmless.
    #[error("the outcome of the change is unknown: {why}")]
    Unknown {
        /// What happened.
        why: String,
    },
    /// The group has stopped on this node.
    #[error("the group has stopped on this node")]
    Stopped,
    /// The disk takes no more.
    #[error("the Raft log cannot be written: {why}")]
    Full {
        /// What the disk said.
        why: Arc<str>,
    },
    /// The state machine failed.
    #[error(transparent)]
    Machine(MachineError),
}

fn hint(leader: Option<NodeId>) -> String {
    leader.map_or_else(|| ", and no leader is known".to_owned(), |node| format!(": node {node} does"))
}

const IO: Code = Code("BL-RAFT-001");
const IN_USE: Code = Code("BL-RAFT-002");
pub(crate) const CORRUPT: Code = Code("BL-RAFT-003");
const ALREADY_OPEN: Code = Code("BL-RAFT-004");
const BEHIND: Code = Code("BL-RAFT-005");
const ENGINE: Code = Code("BL-RAFT-006");
const STOPPED: Code = Code("BL-RAFT-007");
const NOT_LEADER: Code = Code("BL-RAFT-008");
const LOST: Code = Code("BL-RAFT-009");
const FULL: Code = Code("BL-RAFT-010");
const TOO_LARGE: Code = Code("BL-RAFT-011");
const NO_LEADER: Code = Code("BL-RAFT-012");
const LATE: Code = Code("BL-RAFT-013");
const IN_PROGRESS: Code = Code("BL-RAFT-014");
const REFUSED: Code = Code("BL-RAFT-015");
const MACHINE: Code = Code("BL-RAFT-016");

/// An election takes about this long; trying sooner meets the same gap.
const ELECTION: Disposition = Disposition::Retry { after: Duration::from_millis(100) };

impl Fault for MachineError {
    fn code(&self) -> Code {
        MACHINE
    }
    fn disposition(&self) -> Disposition {
        self.disposition
    }
}

impl Fault for OpenError {
    fn code(&self) -> Code {
        match self {
            Self::Io { .. } => IO,
            Self::InUse { .. } => IN_USE,
            Self::Corrupt { .. } | Self::LogLost { .. } => CORRUPT,
            Self::AlreadyOpen(_) => ALREADY_OPEN,
            Self::Behind { .. } => BEHIND,
            Self::Engine { .. } => ENGINE,
            Self::Stopped => STOPPED,
        }
    }
    fn disposition(&self) -> Disposition {
        match self {
            Self::Io { .. } | Self::InUse { .. } => Disposition::Retry { after: Duration::from_secs(1) },
            Self::Corrupt { .. } | Self::LogLost { .. } | Self::Behind { .. } => Disposition::Corrupt,
            Self::AlreadyOpen(_) | Self::Engine { .. } => Disposition::Bug,
            Self::Stopped => Disposition::Gone,
        }
    }
}

impl Fault for ProposeError {
    fn code(&self) -> Code {
        match self {
            Self::NotLeader { .. } => NOT_LEADER,
            Self::Lost => LOST,
            Self::Stopped => STOPPED,
            Self::Full { .. } => FULL,
            Self::TooLarge { .. } => TOO_LARGE,
        }
    }
    fn disposition(&self) -> Disposition {
        match self {
            Self::NotLeader { .. } | Self::Lost => ELECTION,
            Self::Full { .. } => Disposition::Retry { after: Duration::from_secs(1) },
            Self::Stopped => Disposition::Gone,
            Self::TooLarge { .. } => Disposition::Refuse,
        }
    }
}

impl Fault for ReadError {
    fn code(&self) -> Code {
        match self {
            Self::NotLeader { .. } => NOT_LEADER,
            Self::NoLeader { .. } => NO_LEADER,
            Self::Late { .. } => LATE,
            Self::Full { .. } => FULL,
            Self::Stopped => STOPPED,
        }
    }
    fn disposition(&self) -> Disposition {
        match self {
            Self::Stopped => Disposition::Gone,
            Self::Full { .. } => Disposition::Retry { after: Duration::from_secs(1) },
            _ => ELECTION,
        }
    }
}

impl Fault for ChangeError {
    fn code(&self) -> Code {
        match self {
            Self::NotLeader { .. } => NOT_LEADER,
            Self::InProgress => IN_PROGRESS,
            Self::Refused { .. } => REFUSED,
            Self::Unknown { .. } => LOST,
            Self::Stopped => STOPPED,
            Self::Full { .. } => FULL,
            Self::Machine(_) => MACHINE,
        }
    }
    fn disposition(&self) -> Disposition {
        match self {
            Self::NotLeader { .. } | Self::InProgress | Self::Unknown { .. } => ELECTION,
            Self::Refused { .. } => Disposition::Refuse,
            Self::Stopped => Disposition::Gone,
            Self::Full { .. } => Disposition::Retry { after: Duration::from_secs(1) },
            Self::Machine(error) => error.disposition,
        }
    }
}

/// What `bowline explain` prints for the codes of this crate.
pub const PAGES: &[ErrorPage] = &[
    ErrorPage {
        code: IO,
        title: "The Raft log cannot be opened or written",
        cause: "The file system that holds the node's state refused a read, a write or an fsync.",
        next: "Look at the message, at `df` and at the kernel's log (`dmesg`); then start the node again.",
    },
    ErrorPage {
        code: IN_USE,
        title: "The Raft log is in use",
        cause: "Another process has this node's state directory open: two daemons with the same directory would destroy it.",
        next: "Stop the other daemon (`systemctl status bowline`), or give this one its own --state directory.",
    },
    ErrorPage {
        code: CORRUPT,
        title: "The Raft log is damaged or lost",
        cause: "Its files are gone although the databases are there, or a record fails its checksum although whole records follow it. That is no power cut: the disk returned other bytes \
                than were written. Nothing after it can be trusted, and entries that this node acknowledged may be missing.",
        next: "Check the disk. Then `bowline start --repair-log`: the node drops what is damaged, may not vote until it has \
               caught up, and gets its data from the other members.",
    },
    ErrorPage {
        code: ALREADY_OPEN,
        title: "A group was opened twice",
        cause: "A defect in Bowline.",
        next: "Please report it with `bowline debug bundle`.",
    },
    ErrorPage {
        code: BEHIND,
        title: "A database file is older than the log allows",
        cause: "The file of the database was replaced by an older one, or lost its last checkpoint: the log no longer has the \
                entries in between.",
        next: "Remove the node and join it again: it gets the data from the other members.",
    },
    ErrorPage {
        code: ENGINE,
        title: "A group did not start",
        cause: "The consensus engine refused what it found on disk.",
        next: "Please report it with `bowline debug bundle`; the other members go on.",
    },
    ErrorPage {
        code: STOPPED,
        title: "The group has stopped on this node",
        cause: "The node is stopping, or the database was dropped.",
        next: "Ask another member.",
    },
    ErrorPage {
        code: NOT_LEADER,
        title: "This node does not lead the database",
        cause: "Only the leader takes writes and confirms reads; the message names it if it is known.",
        next: "Clients follow the hint by themselves; `bowline status` shows the leader.",
    },
    ErrorPage {
        code: LOST,
        title: "Leadership was lost, the outcome is unknown",
        cause: "The leader changed while a write or a change was under way. It may be in force or not.",
        next: "Look at the state, then do it again if it is not there.",
    },
    ErrorPage {
        code: FULL,
        title: "The Raft log cannot be written",
        cause: "The disk is full or fails. Nothing that was acknowledged is lost; writes stop on this node until the disk takes \
                them again.",
        next: "Make space (`df`), or replace the disk. The node goes on by itself.",
    },
    ErrorPage {
        code: TOO_LARGE,
        title: "A write is too large to replicate",
        cause: "One entry of the log may hold 24 MiB.",
        next: "Split the transaction.",
    },
    ErrorPage {
        code: NO_LEADER,
        title: "No leader confirmed a read",
        cause: "A linearizable read needs a leader that can reach a majority. There is none now, or it cannot be reached from here.",
        next: "Try again in a second; `bowline status` says who is missing. A local read works without a leader.",
    },
    ErrorPage {
        code: LATE,
        title: "This node did not catch up in time",
        cause: "The read needs a state that this member has not applied yet: it was away, or is slow.",
        next: "Try again, or ask the leader.",
    },
    ErrorPage {
        code: IN_PROGRESS,
        title: "Another change of members is under way",
        cause: "Members are changed one change at a time.",
        next: "Wait until `bowline node list` shows no change, then try again.",
    },
    ErrorPage {
        code: REFUSED,
        title: "The change of members is refused",
        cause: "The message says what does not fit, for example a voter that is no member yet.",
        next: "`bowline node list` shows the members and their roles.",
    },
    ErrorPage {
        code: crate::engine::wire::BAD_MESSAGE,
        title: "A node sent a Raft message that makes no sense",
        cause: "The two nodes run versions that do not fit, or a defect in Bowline.",
        next: "`bowline node list` shows the versions; upgrade the older one.",
    },
    ErrorPage {
        code: crate::engine::serve::NOT_RUNNING,
        title: "A database does not run on a node",
        cause: "The node is starting, stopping, has a full disk, or is no member of the database.",
        next: "It is tried again by itself; `bowline status` on that node says more.",
    },
    ErrorPage {
        code: crate::engine::serve::QUARANTINED,
        title: "A node's Raft log was damaged",
        cause: "What the node promised before may be lost with it, so it neither votes nor acknowledges until it is back as a learner.",
        next: "Nothing: the leader takes its vote away, it catches up, and gets its vote back. If it does not within a minute, a majority of the others is missing: start them.",
    },
    ErrorPage {
        code: MACHINE,
        title: "A database failed on this node",
        cause: "The state machine under the log reported an error; the message has its code. The other members go on.",
        next: "`bowline explain` the code in the message.",
    },
];

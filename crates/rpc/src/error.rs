//! How a call can fail, and what the caller may conclude.

use crate::Refusal;
use base::{Code, Disposition, ErrorPage, Fault, NodeId};
use std::sync::Arc;
use std::time::Duration;

/// Why a call has no answer. [`CallError::may_have_happened`] says whether the other side may have acted on it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// No address of that node is known.
    #[error("no address of node {node} is known")]
    Unknown {
        /// The node called.
        node: NodeId,
    },
    /// The node cannot be reached; known from the last attempt, the call was not sent.
    #[error("node {node} cannot be reached: {why}")]
    Down {
        /// The node called.
        node: NodeId,
        /// What the last attempt to connect met.
        why: Arc<str>,
    },
    /// The connection broke after the call was sent: the other side may have acted on it.
    #[error("the connection to node {node} broke while a call was under way: {why}")]
    Lost {
        /// The node called.
        node: NodeId,
        /// How it broke.
        why: Arc<str>,
    },
    /// The deadline passed. If the call had been sent, the other side may have acted on it.
    #[error("node {node} did not answer within {} ms{}", deadline.as_millis(), if *sent { "" } else { " (the call was not sent)" })]
    Deadline {
        /// The node called.
        node: NodeId,
        /// How long the caller waited.
        deadline: Duration,
        /// Whether the call had left this machine.
        sent: bool,
    },
    /// Too many calls or bytes wait for this peer already; the call was not sent.
    #[error("too much is already waiting for node {node}")]
    Busy {
        /// The node called.
        node: NodeId,
    },
    /// The body is longer than a frame may be; the call was not sent.
    #[error("a call of {len} bytes is over the limit of {max}")]
    TooLarge {
        /// The length of the body.
        len: usize,
        /// The longest allowed.
        max: usize,
    },
    /// This node is stopping; the call was not sent.
    #[error("this node is stopping")]
    Stopped,
    /// The other side heard the call and refused it.
    #[error("{0}")]
    Refused(Refusal),
}

impl CallError {
    /// Whether the other side may have acted on the call. False is a promise that it has not, nor will.
    pub fn may_have_happened(&self) -> bool {
        match self {
            Self::Lost { .. } | Self::Refused(_) => true,
            Self::Deadline { sent, .. } => *sent,
            Self::Unknown { .. } | Self::Down { .. } | Self::Busy { .. } | Self::TooLarge { .. } | Self::Stopped => {
                false
            }
        }
    }
}

impl Fault for CallError {
    fn code(&self) -> Code {
        match self {
            Self::Unknown { .. } => UNKNOWN,
            Self::Down { .. } => DOWN,
            Self::Lost { .. } => LOST,
            Self::Deadline { .. } => DEADLINE,
            Self::Busy { .. } => BUSY,
            Self::TooLarge { .. } => TOO_LARGE,
            Self::Stopped => STOPPED,
            Self::Refused(refusal) => refusal.code_among(&[PAGES]).unwrap_or(REFUSED),
        }
    }

    fn disposition(&self) -> Disposition {
        match self {
            Self::Lost { .. } | Self::Deadline { sent: true, .. } => Disposition::Unknown,
            Self::Unknown { .. } | Self::Down { .. } | Self::Deadline { sent: false, .. } => {
                Disposition::Retry { after: Duration::from_millis(200) }
            }
            Self::Busy { .. } => Disposition::Retry { after: Duration::from_millis(20) },
            Self::TooLarge { .. } => Disposition::Refuse,
            Self::Stopped => Disposition::Retry { after: Duration::from_secs(1) },
            Self::Refused(refusal) => refusal.disposition,
        }
    }
}

const UNKNOWN: Code = Code("BL-RPC-001");
pub(crate) const DOWN: Code = Code("BL-RPC-002");
const LOST: Code = Code("BL-RPC-003");
const DEADLINE: Code = Code("BL-RPC-004");
pub(crate) const BUSY: Code = Code("BL-RPC-005");
pub(crate) const TOO_LARGE: Code = Code("BL-RPC-006");
pub(crate) const STOPPED: Code = Code("BL-RPC-007");
const REFUSED: Code = Code("BL-RPC-008");
pub(crate) const NOT_SERVED: Code = Code("BL-RPC-009");
pub(crate) const STRANGER: Code = Code("BL-RPC-010");
pub(crate) const PANICKED: Code = Code("BL-RPC-011");
pub(crate) const IDENTITY: Code = Code("BL-RPC-012");
pub(crate) const REPLACED_CA: Code = Code("BL-RPC-020");
pub(crate) const TIMES: Code = Code("BL-RPC-021");

/// The pages of this crate's codes.
pub const PAGES: &[ErrorPage] = &[
    ErrorPage {
        code: UNKNOWN,
        title: "The address of a node is not known here",
        cause: "The node is not a member, or this node has not yet heard of it from the `sys` database.",
        next: "`bowline node list` shows the members and their addresses as this node knows them.",
    },
    ErrorPage {
        code: DOWN,
        title: "A node cannot be reached",
        cause: "The last attempt to connect failed: the machine is off, its daemon is not running, a firewall drops port 7440/tcp, \
                or the two sides do not accept each other's certificates. The message has the reason. It is tried again, more \
                slowly each time, and at once when the node itself connects.",
        next: "On that machine run `bowline status`; from here check `nc -vz HOST 7440`.",
    },
    ErrorPage {
        code: LOST,
        title: "A connection broke while a call was under way",
        cause: "The other node stopped or was cut off between the call and its answer. It may or may not have acted on the call.",
        next: "Look at the state before trying again; `bowline status` shows whether the node is back.",
    },
    ErrorPage {
        code: DEADLINE,
        title: "A node did not answer in time",
        cause: "The node is overloaded, its disk is slow, or the network loses packets.",
        next: "`bowline status` on the node that did not answer. It may have done what it was asked for: look before you repeat a change.",
    },
    ErrorPage {
        code: BUSY,
        title: "Too much is already waiting for a node",
        cause: "The bounded queue of calls to that node is full: it takes them more slowly than they are made.",
        next: "Try again in a moment; if it lasts, look at the load of that node.",
    },
    ErrorPage {
        code: TOO_LARGE,
        title: "A message between nodes is over the limit",
        cause: "One call may carry 32 MiB. A single transaction that changes more than that cannot be replicated in one piece.",
        next: "Split the transaction.",
    },
    ErrorPage {
        code: STOPPED,
        title: "This node is stopping",
        cause: "The daemon was asked to stop and takes no new work.",
        next: "Ask another member, or wait until this one is back.",
    },
    ErrorPage {
        code: REFUSED,
        title: "Another node refused a call",
        cause: "The message and the code in it come from that node.",
        next: "`bowline explain` the code that the message names.",
    },
    ErrorPage {
        code: NOT_SERVED,
        title: "A node does not serve this yet, or not at all",
        cause: "The node is still starting, is stopping, or runs a version that does not know the service.",
        next: "Try again in a moment; `bowline node list` shows the versions.",
    },
    ErrorPage {
        code: STRANGER,
        title: "A machine without a certificate of this cluster tried to do more than join",
        cause: "Only members may call each other. A machine that is not a member may redeem a join token and nothing else.",
        next: "On a member run `bowline token add`, then `bowline join TOKEN` on the machine.",
    },
    ErrorPage {
        code: PANICKED,
        title: "A node failed while it answered a call",
        cause: "A defect in Bowline: the handler of the call panicked. The connection and all other calls go on.",
        next: "The log of that node has the place; please report it.",
    },
    ErrorPage {
        code: IDENTITY,
        title: "A node does not prove to be who it should be",
        cause: "The certificate of the other side is of another cluster, or names another node.",
        next: "`bowline node list -o wide` on a member shows who is where, and when the certificates end.",
    },
    ErrorPage {
        code: REPLACED_CA,
        title: "The cluster has replaced the CA that a token pins",
        cause: "A token, and a context made from it, pins the CA that the cluster had when it was issued. That CA was rotated out since \
                (`bowline ca rotate`), and nobody vouches for it any more.",
        next: "On a member: `bowline access revoke NAME`, `bowline access add NAME`, then `bowline context remove` and `add` with the new \
               token; for a machine that is to join, `bowline token add`.",
    },
    ErrorPage {
        code: TIMES,
        title: "By this machine's clock the certificate of a node is not valid",
        cause: "Either this machine's clock is wrong, or the other one's was when its certificate was made, or the other node could not \
                renew its certificate for months. Certificates begin a day before they are made, so that hours do not matter.",
        next: "Compare `date -u` on both machines, and set the wrong clock: `timedatectl set-ntp true`, or `chronyc makestep`. On the \
               other machine `bowline status` says why a certificate was not renewed.",
    },
];

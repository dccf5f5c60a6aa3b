//! What can go wrong for who runs a member, and the pages of this crate's codes.

use base::{Code, Disposition, ErrorPage, Fault};
use std::time::Duration;
use swim::SwimError;

/// A member could not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum GossipError {
    /// The protocol refuses it.
    #[error(transparent)]
    Refused(#[from] SwimError),
    /// The socket is not usable.
    #[error("the gossip socket is not usable: {0}")]
    Socket(#[source] std::io::Error),
    /// An address at which nobody can be asked.
    #[error("{address} is no address: {source}")]
    Address {
        /// What was given.
        address: String,
        /// Why it is none.
        source: std::io::Error,
    },
    /// The member has ended.
    #[error("this member of the gossip group has ended")]
    Ended,
    /// It has ended, and could not tell everybody in time.
    #[error("{untold} packets of farewell were not sent within {within:?}")]
    Untold {
        /// How many were not told.
        untold: usize,
        /// The time that there was.
        within: Duration,
    },
}

impl Fault for GossipError {
    fn code(&self) -> Code {
        match self {
            Self::Refused(error) => error.code(),
            Self::Socket(_) => SOCKET,
            Self::Address { .. } => ADDRESS,
            Self::Ended => ENDED,
            Self::Untold { .. } => UNTOLD,
        }
    }

    fn disposition(&self) -> Disposition {
        match self {
            Self::Refused(error) => error.disposition(),
            Self::Socket(_) | Self::Address { .. } => Disposition::Refuse,
            Self::Ended | Self::Untold { .. } => Disposition::Gone,
        }
    }
}

const SOCKET: Code = Code("BL-GOSSIP-001");
const ENDED: Code = Code("BL-GOSSIP-002");
const UNTOLD: Code = Code("BL-GOSSIP-003");
const ADDRESS: Code = Code("BL-GOSSIP-004");

/// The pages of this crate's codes.
pub const PAGES: &[ErrorPage] = &[
    ErrorPage {
        code: SOCKET,
        title: "The gossip socket is not usable",
        cause: "The UDP socket on which members tell each other who is alive could not be bound or used. Most often another program has the port; the \
                message has the system's reason.",
        next: "See who has it with `ss -ulpn`, stop that program, or start with another address for node-to-node calls: --listen IP:PORT.",
    },
    ErrorPage {
        code: ENDED,
        title: "This member of the gossip group has ended",
        cause: "The daemon is stopping, or the part of it that gossips is being restarted.",
        next: "Ask again once `bowline status` says ready.",
    },
    ErrorPage {
        code: UNTOLD,
        title: "Not everybody could be told that this member goes",
        cause: "The network took no more packets in the time that a stop may take. The others find out by themselves, within a few seconds.",
        next: "Nothing. If it happens at each stop, look at the network interface: `ip -s link`.",
    },
    ErrorPage {
        code: ADDRESS,
        title: "There is no such address to probe",
        cause: "The text is neither `host:port` nor a port, or the name in it is not known where this machine looks names up.",
        next: "Give the address as numbers, such as 10.0.0.7:3301.",
    },
];

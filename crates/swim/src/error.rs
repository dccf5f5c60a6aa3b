//! What can be refused to who runs a node, and the pages of this crate's codes.

use crate::codec::{PAYLOAD_LEN_MAX, PacketError};
use crate::crypto::InvalidKey;
use crate::id::{Incarnation, MemberId};
use base::{Code, Disposition, ErrorPage, Fault};

/// A command that was refused. Nothing has changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SwimError {
    /// The id is nil.
    #[error("the id of a member is not nil")]
    NilId,
    /// An address without an IP address or without a port.
    #[error("{addr} is no address at which a member can be reached")]
    Address {
        /// The address.
        addr: std::net::SocketAddr,
    },
    /// A generation that others would not believe.
    #[error("generation {generation} is above {}", Incarnation::TOLD_GENERATION_MAX)]
    Generation {
        /// The generation.
        generation: u64,
    },
    /// A payload that is too long.
    #[error("a payload of {len} bytes is longer than {PAYLOAD_LEN_MAX}")]
    PayloadTooLong {
        /// Its length.
        len: usize,
    },
    /// A group that signs, without a key.
    #[error("a group that signs its packets needs a key")]
    NoKey,
    /// A member with that id is in the table already.
    #[error("member {id} is known already")]
    Exists {
        /// The id.
        id: MemberId,
    },
    /// A node cannot be removed from its own table.
    #[error("a node cannot remove itself: it quits")]
    Oneself,
    /// The table is full.
    #[error("the table is full with {members} members")]
    Full {
        /// How many members it has.
        members: usize,
    },
    /// The node has quit.
    #[error("the node has left its group")]
    Left,
}

impl Fault for SwimError {
    fn code(&self) -> Code {
        match self {
            Self::NilId | Self::Address { .. } | Self::Generation { .. } | Self::NoKey => CONFIG,
            Self::PayloadTooLong { .. } => PAYLOAD,
            Self::Exists { .. } | Self::Oneself => MEMBER,
            Self::Full { .. } => FULL,
            Self::Left => LEFT,
        }
    }

    fn disposition(&self) -> Disposition {
        match self {
            Self::Left => Disposition::Gone,
            _ => Disposition::Refuse,
        }
    }
}

impl Fault for PacketError {
    fn code(&self) -> Code {
        match self {
            Self::Undecryptable => UNDECRYPTABLE,
            Self::Unsigned => UNSIGNED,
            Self::OtherGroup => OTHER_GROUP,
            _ => PACKET,
        }
    }

    fn disposition(&self) -> Disposition {
        Disposition::Refuse
    }
}

impl Fault for InvalidKey {
    fn code(&self) -> Code {
        CONFIG
    }

    fn disposition(&self) -> Disposition {
        Disposition::Refuse
    }
}

const PACKET: Code = Code("BL-SWIM-001");
const UNDECRYPTABLE: Code = Code("BL-SWIM-002");
const UNSIGNED: Code = Code("BL-SWIM-003");
const OTHER_GROUP: Code = Code("BL-SWIM-004");
const CONFIG: Code = Code("BL-SWIM-005");
const PAYLOAD: Code = Code("BL-SWIM-006");
const MEMBER: Code = Code("BL-SWIM-007");
const FULL: Code = Code("BL-SWIM-008");
const LEFT: Code = Code("BL-SWIM-009");

/// The pages of this crate's codes.
pub const PAGES: &[ErrorPage] = &[
    ErrorPage {
        code: PACKET,
        title: "A datagram is no packet of the gossip protocol",
        cause: "Another program sends to the gossip port, the packet was damaged, or one side encrypts and the other does not. Nothing of it \
                was applied.",
        next: "Find the sender, and give it another port; or compare the encryption settings of all members.",
    },
    ErrorPage {
        code: UNDECRYPTABLE,
        title: "A gossip packet cannot be decrypted",
        cause: "The sender uses another key, algorithm or mode, or none. A group has one for all members.",
        next: "Compare the encryption settings of all members.",
    },
    ErrorPage {
        code: UNSIGNED,
        title: "A gossip packet is not signed with a key of this cluster",
        cause: "A machine of another cluster, a Tarantool, or a member that missed the change of a key sends to the gossip port.",
        next: "If the sender should be a member, bring it up to date; a group with Tarantools in it has to be an open one.",
    },
    ErrorPage {
        code: OTHER_GROUP,
        title: "A gossip packet is of another group",
        cause: "Two groups with different labels can reach each other's gossip ports. They stay apart.",
        next: "Nothing, if both are wanted. If they should be one, give them the same label.",
    },
    ErrorPage {
        code: CONFIG,
        title: "The settings of gossip are not usable",
        cause: "The message says which one: the id is nil, the address is unspecified or has port 0, the generation is above 2^63, or a key has no \
                length that AES has (16, 24 or 32 bytes).",
        next: "Correct the setting that the message names.",
    },
    ErrorPage {
        code: PAYLOAD,
        title: "A member's payload is too long",
        cause: "What a member tells all others of itself has to fit into one packet: 1200 bytes.",
        next: "Keep the data elsewhere, and a reference to it in the payload.",
    },
    ErrorPage {
        code: MEMBER,
        title: "A member cannot be added or removed so",
        cause: "A member that is added is known already, or a node is asked to remove itself.",
        next: "Look at the list of members. A node that is to go quits instead.",
    },
    ErrorPage {
        code: FULL,
        title: "No more members are taken",
        cause: "The table of members has reached its limit. Each member keeps a few kilobytes at most, so that no stranger can fill the memory.",
        next: "If the group is really that large, raise the limit on all members.",
    },
    ErrorPage {
        code: LEFT,
        title: "The node has left its group",
        cause: "It was told to quit, and takes no more commands.",
        next: "Start a new node if it is to come back; with a greater generation it may have the same id.",
    },
];

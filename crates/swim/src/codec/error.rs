//! What can be wrong with a packet.

use std::fmt;

/// A place in a packet, for messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// The map that it is in.
    pub map: &'static str,
    /// The value in that map.
    pub field: &'static str,
}

impl Place {
    pub(crate) const fn of(map: &'static str, field: &'static str) -> Self {
        Self { map, field }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of the {}", self.field, self.map)
    }
}

/// Why bytes are no packet. Nothing of such a packet is applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PacketError {
    /// The bytes end within a value.
    #[error("the packet ends within the {place}")]
    Truncated {
        /// The value.
        place: Place,
    },
    /// A value is of another MessagePack family than the one it has to be of.
    #[error("the {place} is no {wanted}: it starts with {found:#04x}")]
    Family {
        /// The value.
        place: Place,
        /// What it has to be.
        wanted: &'static str,
        /// Its first byte.
        found: u8,
    },
    /// A value is out of its range.
    #[error("the {place} is out of its range")]
    Range {
        /// The value.
        place: Place,
    },
    /// A value that has to be there is not, or is zero.
    #[error("the {place} is missing or zero")]
    Missing {
        /// The value.
        place: Place,
    },
    /// A key that the protocol does not know.
    #[error("key {key} of the {map} is not known")]
    UnknownKey {
        /// The map.
        map: &'static str,
        /// The key.
        key: u64,
    },
    /// The body does not start with who sent it.
    #[error("the body does not start with the sender's id")]
    NoSender,
    /// Longer than a packet may be.
    #[error("a packet of {len} bytes is longer than {max}")]
    TooLong {
        /// How long it is.
        len: usize,
        /// How long it may be.
        max: usize,
    },
    /// It cannot be decrypted: another key, another algorithm, or damage.
    #[error("the packet cannot be decrypted")]
    Undecryptable,
    /// It has no tag that a key of the keyring makes.
    #[error("the packet is not signed with a key of this group")]
    Unsigned,
    /// It is of a group with another label.
    #[error("the packet is of a group with another label")]
    OtherGroup,
}

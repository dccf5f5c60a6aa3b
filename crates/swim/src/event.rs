//! What happened to members, and why.

use crate::id::{Incarnation, MemberId, Status};
use std::fmt;
use std::net::SocketAddr;
use std::ops::BitOr;
use std::time::Duration;

/// Something happened to a member, this node itself among them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// To whom.
    pub id: MemberId,
    /// Its status afterwards.
    pub status: Status,
    /// Its address afterwards.
    pub addr: SocketAddr,
    /// Its incarnation afterwards.
    pub incarnation: Incarnation,
    /// What changed.
    pub changes: Changes,
    /// Why.
    pub reason: Reason,
}

/// What changed: a set, with the numbers of Tarantool's event masks.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct Changes(u8);

impl Changes {
    /// The member is new in the table.
    pub const NEW: Self = Self(0x01);
    /// Its status.
    pub const STATUS: Self = Self(0x02);
    /// Its address.
    pub const ADDR: Self = Self(0x04);
    /// Its generation, and so its version.
    pub const GENERATION: Self = Self(0x18);
    /// Its version.
    pub const VERSION: Self = Self(0x10);
    /// Its payload, as far as it is known.
    pub const PAYLOAD: Self = Self(0x20);
    /// The member is not in the table any more.
    pub const DROP: Self = Self(0x40);

    /// Whether all of `other` are among these.
    pub const fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Whether nothing changed.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The number of the set, as in Tarantool's event masks.
    pub const fn bits(self) -> u8 {
        self.0
    }

    /// The words for them.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        let all = [
            (Self::NEW, "new"),
            (Self::STATUS, "status"),
            (Self::ADDR, "addr"),
            (Self::GENERATION, "generation"),
            (Self::VERSION, "version"),
            (Self::PAYLOAD, "payload"),
            (Self::DROP, "drop"),
        ];
        all.into_iter().filter(move |(change, _)| self.has(*change)).map(|(_, name)| name)
    }

    /// Those of `changes`, if `happened`.
    pub(crate) const fn when(self, happened: bool) -> Self {
        if happened { self } else { Self(0) }
    }
}

impl BitOr for Changes {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl fmt::Debug for Changes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.names()).finish()
    }
}

/// Why something happened to a member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reason {
    /// This node was asked to.
    Asked,
    /// The member itself said so, in a packet of its own.
    Direct,
    /// Another member said so.
    Told {
        /// Who.
        by: MemberId,
    },
    /// It did not answer.
    Silent {
        /// How many pings were sent to it directly.
        pings: u32,
        /// Through how many members it was pinged beside that.
        proxies: u32,
        /// How many of those said that they heard nothing from it either.
        nacks: u32,
        /// For how long it was waited.
        waited: Duration,
    },
    /// Others suspect it.
    Accused {
        /// Who told it.
        by: MemberId,
        /// Who found it silent. Empty where those who told it do not say, as Tarantool.
        accusers: Vec<MemberId>,
    },
    /// It was suspected and did not say in time that it is alive.
    Unrefuted {
        /// Who found it silent. [`MemberId::NIL`] stands for somebody who was not named.
        accusers: Vec<MemberId>,
        /// For how long it was suspected.
        suspected: Duration,
    },
    /// It was told that others believe something else of it, and said that it is alive.
    Refuted {
        /// What they believed.
        rumour: Status,
    },
    /// Nothing was heard of it for so long that it is not kept.
    Forgotten,
}

//! What a node is told about itself and its group.

use crate::codec::{GroupKey, Label};
use crate::crypto::Codec;
use crate::health::LocalHealth;
use crate::id::MemberId;
use crate::suspicion::Bounds;
use std::net::SocketAddr;
use std::time::Duration;

/// What a node is told about itself and its group.
#[derive(Debug, Clone)]
pub struct Config {
    /// Who it is. Not nil.
    pub id: MemberId,
    /// Where it is reached: the address that others are told, with a port. Members of the other family are not learned: a group is of IPv4
    /// or of IPv6, and only the former can have Tarantools in it.
    pub addr: SocketAddr,
    /// Greater at each start, as the microseconds of the clock are. At most 2^63.
    pub generation: u64,
    /// What the clock on the wall said at the caller's time zero. Members whose clocks agree to a part of a period ask in turns; see
    /// [`crate::Swim::set_clock`].
    pub clock: Duration,
    /// What it tells all others of itself, up to [`crate::PAYLOAD_LEN_MAX`] bytes.
    pub payload: Vec<u8>,
    /// The group's label, where several groups share a network.
    pub label: Option<Label>,
    /// Whom it believes.
    pub trust: Trust,
    /// How packets are encrypted. All members of a group have the same.
    pub codec: Option<Codec>,
    /// How long it waits for what.
    pub timing: Timing,
    /// How much of everything there may be.
    pub limits: Limits,
    /// Whether it looks at its own health.
    pub local_health: LocalHealth,
    /// An old mistake that is switched on.
    #[cfg(feature = "mutants")]
    pub mutant: Option<Mutant>,
}

impl Config {
    /// A node of an open group of IPv4 or IPv6, with a period of a second.
    pub fn new(id: MemberId, addr: SocketAddr, generation: u64) -> Self {
        Self {
            id,
            addr,
            generation,
            clock: Duration::ZERO,
            payload: Vec::new(),
            label: None,
            trust: Trust::Open,
            codec: None,
            timing: Timing::of(Duration::from_secs(1)),
            limits: Limits::default(),
            local_health: LocalHealth::On,
            #[cfg(feature = "mutants")]
            mutant: None,
        }
    }
}

/// Whom a node believes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trust {
    /// Everybody who can send to it, as Tarantool does. The only mode in which Tarantools can be members.
    Open,
    /// Members that sign with one of these keys; it signs with the first. A key is replaced without a gap in three steps on all
    /// members: the new key second, the new key first, the old key gone.
    Signed(Vec<GroupKey>),
}

/// How long a node waits for what. [`Timing::of`] gives all from the period.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timing {
    /// From one probe of a random member to the next.
    pub period: Duration,
    /// From the start of a probe to its end, if nothing was heard. Before the next one starts.
    pub verdict: Duration,
    /// From one direct ping of a probe to the next. There are up to four.
    pub retry: Duration,
    /// From the start of a probe to the first pings through others.
    pub indirect: Duration,
    /// From one round of pings through others to the next. There are up to three.
    pub indirect_retry: Duration,
    /// From one packet of pure news to the next, while there is news.
    pub gossip: Duration,
    /// From one look for the dead to the next.
    pub heal: Duration,
    /// How long the dead, and those that have left, stay in the table.
    pub keep_dead: Duration,
    /// How late this node may be before it counts as a stall of its own.
    pub stall: Duration,
}

impl Timing {
    /// Everything in proportion to the period.
    pub fn of(period: Duration) -> Self {
        Self {
            period,
            verdict: period.mul_f64(0.8),
            retry: period.mul_f64(0.1),
            indirect: period.mul_f64(0.4),
            indirect_retry: period.mul_f64(0.13),
            gossip: period.mul_f64(0.2),
            heal: period * 5,
            keep_dead: period * 30,
            stall: period.mul_f64(0.25),
        }
    }

    /// How long a suspected member has, in a group of `present` members: long enough for the rumour to reach it and for its answer to
    /// reach all, which takes steps in proportion to the logarithm of their number.
    pub(crate) fn suspicion(&self, present: usize) -> Bounds {
        let digits = u32::try_from(present.max(1)).map_or(10.0, |n| f64::from(n).log10());
        let min = self.period.mul_f64(0.6 + 0.6 * digits);
        Bounds { min, max: min * 5 }
    }
}

/// How much of everything there may be, whatever others send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The most members in the table.
    pub members: usize,
    /// The most dead members that are remembered after they left the table.
    pub graves: usize,
    /// How long they are remembered.
    pub keep_graves: Duration,
    /// Through how many members a silent one is pinged.
    pub proxies: usize,
    /// To how many members news goes at a time.
    pub fanout: usize,
    /// How many pings to strangers gossip may cause a second, and at once.
    pub greetings_per_second: u32,
    /// How many packets are passed on for others a second, and at once.
    pub forwards_per_second: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            members: 16_384,
            graves: 1_024,
            keep_graves: Duration::from_hours(24),
            proxies: 5,
            fanout: 3,
            greetings_per_second: 128,
            forwards_per_second: 256,
        }
    }
}

/// Mistakes of the past, for showing that the simulator finds them.
#[cfg(feature = "mutants")]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mutant {
    /// All waits for an answer share one timer, which each ping winds up anew: in a group of three or more nobody is ever found dead.
    SharedTimer,
}

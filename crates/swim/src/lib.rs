//! Who is alive: group membership and failure detection by gossip, on the packets of Tarantool's SWIM module.
//!
//! Ring 0: no IO, no async, no clock, no randomness. A [`Swim`] is told the time and given datagrams; it says what to send, what happened, and when
//! it wants to be called again. A real Tarantool is a member of the same group, and sees nothing but its own protocol.
//!
//! * [`Packet`] and [`Trailer`]: the format, as views into the bytes; docs/formats/swim.md.
//! * [`Codec`]: Tarantool's encryption.
//! * [`Swim`]: one member of a group.
//!
//! Sources: SWIM (Das, Gupta, Motivala, DSN 2002); Lifeguard (Dadgar, Phillips, Currey, arXiv 1707.00788); Tarantool 2.6's `src/lib/swim`.

mod allowance;
mod codec;
mod config;
mod crypto;
mod entropy;
mod error;
mod event;
mod graves;
mod health;
mod id;
mod merge;
mod news;
mod node;
mod suspicion;
mod table;
mod time;
mod timers;
mod turns;

pub use codec::{
    Accusation, Body, DATAGRAM_LEN_MAX, FailureDetection, GroupKey, Kind, Label, Meta, PACKET_LEN_MAX, PAYLOAD_LEN_MAX,
    Packet, PacketError, Place, Record, Records, Route, Section, Trailer, VERSION, decode_meta, decode_record,
    encode_record,
};
#[cfg(feature = "mutants")]
pub use config::Mutant;
pub use config::{Config, Limits, Timing, Trust};
pub use crypto::{Codec, InvalidKey, Iv, Mode};
pub use error::{PAGES, SwimError};
pub use event::{Changes, Event, Reason};
pub use health::LocalHealth;
pub use id::{Incarnation, InvalidId, MemberId, Status};
pub use node::{MemberView, Swim, Transmit};
pub use time::Moment;

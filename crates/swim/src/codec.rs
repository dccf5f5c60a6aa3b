//! Packets, to the byte: docs/formats/swim.md.
//!
//! A packet is read whole before anything of it is used, without a copy and without an allocation.

mod body;
mod error;
mod meta;
mod msgpack;
mod record;
mod trailer;

pub use body::{Body, FailureDetection, Kind, Records, Section};
pub use error::{PacketError, Place};
pub use meta::{Meta, Route, VERSION};
pub use record::{PAYLOAD_LEN_MAX, Record};
pub use trailer::{Accusation, GroupKey, Label, Trailer};

pub(crate) use body::{AE_KEY, NEWS_KEY, encode_quit, open_body};
pub(crate) use msgpack::Output;
pub(crate) use trailer::{ACCUSATIONS_MAX, TrailerFields, is_signed, origin};

use msgpack::Input;

/// The longest packet before encryption, also when nothing is encrypted. Packets of more than this that are routed kill
/// a Tarantool on the way, so there is no exception.
pub const PACKET_LEN_MAX: usize = 1440;

/// The longest datagram: a packet with an IV and padding.
pub const DATAGRAM_LEN_MAX: usize = 1472;

/// A whole packet, as views into its bytes.
#[derive(Debug, Clone)]
pub struct Packet<'a> {
    /// The head.
    pub meta: Meta,
    /// The body.
    pub body: Body<'a>,
    /// What stands behind the body. Tarantool passes it on and does not look at it; see [`Trailer`].
    pub trailer: &'a [u8],
}

impl<'a> Packet<'a> {
    /// Reads a packet. What Tarantool accepts is accepted, but for two things: a body with an unknown key, of which Tarantool
    /// applies what stands before that key; the id of nobody as sender.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, PacketError> {
        if bytes.len() > DATAGRAM_LEN_MAX {
            return Err(PacketError::TooLong { len: bytes.len(), max: DATAGRAM_LEN_MAX });
        }
        let mut input = Input::new(bytes);
        let meta = Meta::decode(&mut input)?;
        let body = Body::decode(&mut input)?;
        Ok(Self { meta, body, trailer: input.rest() })
    }

    /// Writes it with the widths that Tarantool uses, and its trailer as it is. Returns the length; `None` if `buf` or
    /// [`PACKET_LEN_MAX`] has no room for it.
    pub fn encode(&self, buf: &mut [u8]) -> Option<usize> {
        let mut out = Output::new(buf, PACKET_LEN_MAX);
        self.meta.encode(&mut out);
        self.body.encode(&mut out);
        out.put(self.trailer);
        out.is_whole().then(|| out.len())
    }
}

/// Reads the head of a packet alone, for fuzzing. Returns how many bytes it took.
pub fn decode_meta(bytes: &[u8]) -> Result<(Meta, usize), PacketError> {
    let mut input = Input::new(bytes);
    Ok((Meta::decode(&mut input)?, input.offset()))
}

/// Reads one record alone, for fuzzing. Returns how many bytes it took.
pub fn decode_record(bytes: &[u8]) -> Result<(Record<'_>, usize), PacketError> {
    let mut input = Input::new(bytes);
    Ok((Record::decode(&mut input)?, input.offset()))
}

/// Writes one record alone. Returns the length; `None` if `buf` has no room for it.
pub fn encode_record(record: &Record<'_>, buf: &mut [u8]) -> Option<usize> {
    let limit = buf.len();
    let mut out = Output::new(buf, limit);
    record.encode(&mut out);
    out.is_whole().then(|| out.len())
}

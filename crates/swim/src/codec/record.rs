//! What one member says of another.

use super::error::{PacketError, Place};
use super::meta::{address, put_address, u16_value, whole};
use super::msgpack::{Input, Output};
use crate::id::{Incarnation, MemberId, Status};
use std::net::SocketAddr;

/// What one member says of another, or of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Record<'a> {
    /// Of whom it is said.
    pub id: MemberId,
    /// What is believed of it.
    pub status: Status,
    /// Where it can be reached.
    pub addr: SocketAddr,
    /// In which of its lives and changes.
    pub incarnation: Incarnation,
    /// Its payload; `None` if who says it does not know the payload of this incarnation. An empty payload is a known one.
    pub payload: Option<&'a [u8]>,
}

/// The longest payload.
pub const PAYLOAD_LEN_MAX: usize = 1200;

const RECORD: &str = "member record";

impl<'a> Record<'a> {
    pub(crate) fn decode(input: &mut Input<'a>) -> Result<Self, PacketError> {
        let (mut status, mut ip, mut port, mut id) = (Status::Alive, None, 0, MemberId::NIL);
        let mut incarnation = Incarnation::default();
        let mut payload = None;
        for _ in 0..input.map(Place::of("member array", "record"))? {
            match input.uint(Place::of(RECORD, "key"))? {
                0 => {
                    let place = Place::of(RECORD, "status");
                    status = Status::from_number(input.uint(place)?).ok_or(PacketError::Range { place })?;
                }
                1 => ip = address(input, Place::of(RECORD, "address"))?,
                2 => port = u16_value(input, Place::of(RECORD, "port"))?,
                3 => id = member_id(input, Place::of(RECORD, "id"))?,
                4 => incarnation.generation = input.uint(Place::of(RECORD, "generation"))?,
                5 => incarnation.version = input.uint(Place::of(RECORD, "version"))?,
                6 => {
                    let place = Place::of(RECORD, "payload");
                    let bytes = input.bin(place)?;
                    if bytes.len() > PAYLOAD_LEN_MAX {
                        return Err(PacketError::Range { place });
                    }
                    payload = Some(bytes);
                }
                key => return Err(PacketError::UnknownKey { map: RECORD, key }),
            }
        }
        let addr = whole(ip, port, Place::of(RECORD, "address"))?;
        Ok(Self { id: present(id, Place::of(RECORD, "id"))?, status, addr, incarnation, payload })
    }

    /// How many bytes it takes.
    pub(crate) fn encoded_len(&self) -> usize {
        let address = if self.addr.is_ipv4() { 0 } else { 13 };
        52 + address + self.payload.map_or(0, |payload| 4 + payload.len())
    }

    pub(crate) fn encode(&self, out: &mut Output<'_>) {
        out.put(&[if self.payload.is_some() { 0x87 } else { 0x86 }, 0, self.status.number()]);
        put_address(out, 1, 2, self.addr);
        put_id(out, 3, &self.id);
        out.put_u64(4, self.incarnation.generation);
        out.put_u64(5, self.incarnation.version);
        if let Some(payload) = self.payload {
            let len = u16::try_from(payload.len()).unwrap_or(u16::MAX);
            out.put(&[6, 0xc5]);
            out.put(&len.to_be_bytes());
            out.put(payload);
        }
    }
}

/// A bin of exactly 16 bytes.
pub(super) fn member_id(input: &mut Input<'_>, place: Place) -> Result<MemberId, PacketError> {
    input.bin(place)?.try_into().map(MemberId).map_err(|_| PacketError::Range { place })
}

/// Nobody has the id of nobody.
pub(super) fn present(id: MemberId, place: Place) -> Result<MemberId, PacketError> {
    if id.is_nil() { Err(PacketError::Missing { place }) } else { Ok(id) }
}

pub(super) fn put_id(out: &mut Output<'_>, key: u8, id: &MemberId) {
    out.put(&[key, 0xc4, 16]);
    out.put(&id.0);
}

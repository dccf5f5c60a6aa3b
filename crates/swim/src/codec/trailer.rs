//! What Bowline's members say to each other behind the body, where Tarantool does not look.
//!
//! A MessagePack extension of type 0x52: a version, then fields of a tag, a length and a value. Unknown fields are skipped, and what is
//! no trailer at all is none: Tarantool accepts any bytes there.

use super::meta::{Meta, put_address};
use super::msgpack::Output;
use crate::id::MemberId;
use base::Reader;
use std::fmt;
use std::net::SocketAddr;

/// Whether a packet is of this group, where several share a network: the first 8 bytes of the BLAKE3 hash of the group's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Label(pub [u8; 8]);

impl Label {
    /// The label of a group with this name.
    pub fn of(name: &str) -> Self {
        let mut label = [0; 8];
        label.iter_mut().zip(blake3::hash(name.as_bytes()).as_bytes()).for_each(|(to, from)| *to = *from);
        Self(label)
    }
}

/// A secret of the group: what packets are signed with.
#[derive(Clone, PartialEq, Eq)]
pub struct GroupKey(pub [u8; 32]);

impl fmt::Debug for GroupKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("GroupKey(..)")
    }
}

/// Who suspects whom. Goes with a record of the subject as suspected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Accusation {
    /// Who is suspected.
    pub subject: MemberId,
    /// Who found it, by its own probe.
    pub accuser: MemberId,
}

/// What a trailer says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Trailer<'a> {
    /// The sender's group.
    pub label: Option<Label>,
    /// Of a ping: its number. Of an ack: the number of the ping that it answers.
    pub number: Option<u64>,
    /// A proxy says that the routed ping of this number was not answered through it.
    pub nack: Option<u64>,
    fields: &'a [u8],
    /// What the signature covers of the trailer, and the signature.
    signature: Option<(&'a [u8], [u8; 16])>,
}

/// The most accusations that a packet carries.
pub(crate) const ACCUSATIONS_MAX: usize = 4;

const EXT_TYPE: u8 = 0x52;
const FORMAT: u8 = 1;
const HEAD_LEN: usize = 5;

const LABEL: u8 = 1;
const NUMBER: u8 = 2;
const ACCUSATION: u8 = 3;
const NACK: u8 = 4;
const SIGNATURE: u8 = 5;

impl<'a> Trailer<'a> {
    /// Reads what stands behind a body; `None` if that is no trailer. Anything may stand there.
    pub fn decode(bytes: &'a [u8]) -> Option<Self> {
        let mut reader = Reader::new(bytes);
        let [marker, high, low, kind] = reader.array().ok()?;
        if (marker, kind) != (0xc8, EXT_TYPE) {
            return None;
        }
        let content = reader.take(usize::from(u16::from_be_bytes([high, low]))).ok()?;
        let mut fields = Reader::new(content);
        if fields.u8().ok()? != FORMAT {
            return None;
        }
        let mut found = Self { fields: fields.rest(), ..Self::default() };
        while !fields.is_empty() {
            let [tag, len] = fields.array().ok()?;
            let covered = bytes.get(..HEAD_LEN - 1 + fields.offset())?;
            let value = fields.take(usize::from(len)).ok()?;
            match tag {
                LABEL => found.label = Some(Label(value.try_into().ok()?)),
                NUMBER => found.number = Some(u64::from_be_bytes(value.try_into().ok()?)),
                NACK => found.nack = Some(u64::from_be_bytes(value.try_into().ok()?)),
                SIGNATURE if fields.is_empty() => found.signature = Some((covered, value.try_into().ok()?)),
                SIGNATURE => return None,
                _ => {}
            }
        }
        Some(found)
    }

    /// Who suspects whom. At most [`ACCUSATIONS_MAX`] are looked at.
    pub fn accusations(&self) -> impl Iterator<Item = Accusation> + use<'a> {
        let mut fields = Reader::new(self.fields);
        let all = std::iter::from_fn(move || {
            let [tag, len] = fields.array().ok()?;
            Some((tag, fields.take(usize::from(len)).ok()?))
        });
        all.filter(|(tag, _)| *tag == ACCUSATION).take(ACCUSATIONS_MAX).filter_map(|(_, value)| {
            let (subject, accuser) = value.split_first_chunk::<16>()?;
            Some(Accusation { subject: MemberId(*subject), accuser: MemberId(accuser.try_into().ok()?) })
        })
    }
}

/// What is to be written behind a body.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct TrailerFields<'a> {
    pub(crate) label: Option<Label>,
    pub(crate) number: Option<u64>,
    pub(crate) nack: Option<u64>,
    pub(crate) accusations: &'a [Accusation],
    pub(crate) key: Option<&'a GroupKey>,
}

impl TrailerFields<'_> {
    /// How many bytes it takes.
    pub(crate) fn encoded_len(&self) -> usize {
        let number = |value: Option<u64>| if value.is_some() { 10 } else { 0 };
        let label = if self.label.is_some() { 10 } else { 0 };
        let signature = if self.key.is_some() { 18 } else { 0 };
        HEAD_LEN + label + number(self.number) + number(self.nack) + 34 * self.accusations.len() + signature
    }

    /// Writes it behind a body that starts at `body_start`, and signs both.
    pub(crate) fn encode(&self, out: &mut Output<'_>, meta: &Meta, body_start: usize) {
        let len = u16::try_from(self.encoded_len() - (HEAD_LEN - 1)).unwrap_or(u16::MAX);
        out.put(&[0xc8]);
        out.put(&len.to_be_bytes());
        out.put(&[EXT_TYPE, FORMAT]);
        if let Some(label) = self.label {
            out.put(&[LABEL, 8]);
            out.put(&label.0);
        }
        for (tag, value) in [(NUMBER, self.number), (NACK, self.nack)] {
            if let Some(value) = value {
                out.put(&[tag, 8]);
                out.put(&value.to_be_bytes());
            }
        }
        for accusation in self.accusations {
            out.put(&[ACCUSATION, 32]);
            out.put(&accusation.subject.0);
            out.put(&accusation.accuser.0);
        }
        if let Some(key) = self.key {
            out.put(&[SIGNATURE, 16]);
            let signature = sign(key, meta, &[out.written().get(body_start..).unwrap_or_default()]);
            out.put(&signature);
        }
    }
}

/// Whether a packet is signed with one of these keys. `body` and `trailer` are its bytes.
pub(crate) fn is_signed(keys: &[GroupKey], meta: &Meta, body: &[u8], trailer: &Trailer<'_>) -> bool {
    let Some((covered, signature)) = trailer.signature else { return false };
    keys.iter().any(|key| {
        let expected = sign(key, meta, &[body, covered]);
        // Without an early end: how much of a guess was right cannot be measured.
        expected.iter().zip(signature).fold(0, |wrong, (a, b)| wrong | (a ^ b)) == 0
    })
}

/// The first 16 bytes of the keyed BLAKE3 hash of the packet. Of the head it covers what a proxy leaves as it is.
fn sign(key: &GroupKey, meta: &Meta, parts: &[&[u8]]) -> [u8; 16] {
    let mut hasher = blake3::Hasher::new_keyed(&key.0);
    let mut addresses = [0; 64];
    let limit = addresses.len();
    let mut out = Output::new(&mut addresses, limit);
    match &meta.route {
        None => put_address(&mut out, 0, 1, meta.source),
        Some(route) => {
            put_address(&mut out, 0, 1, route.source);
            put_address(&mut out, 2, 3, route.destination);
        }
    }
    hasher.update(out.written());
    for part in parts {
        hasher.update(part);
    }
    let mut signature = [0; 16];
    signature.iter_mut().zip(hasher.finalize().as_bytes()).for_each(|(to, from)| *to = *from);
    signature
}

/// Where a packet comes from in the end: not from its proxy.
pub(crate) fn origin(meta: &Meta) -> SocketAddr {
    meta.route.map_or(meta.source, |route| route.source)
}

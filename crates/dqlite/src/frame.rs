//! The handshake word, the message header, and cutting a byte stream into messages.

use base::Reader;
use bytes::{Buf, Bytes, BytesMut};

use crate::wire::WORD;

/// Length of a message header in bytes.
pub const HEADER_LEN: usize = 8;

/// Length of the handshake in bytes.
pub const VERSION_LEN: usize = 8;

/// The protocol version a client asks for in its first eight bytes. The server sends nothing back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Version {
    /// Version 1.
    #[default]
    One,
    /// The version before 1.0: the answer to LEADER has no id.
    Legacy,
}

impl Version {
    /// The number on the wire.
    pub const fn number(self) -> u64 {
        match self {
            Self::One => 1,
            Self::Legacy => 0x8610_4dd7_6043_3fe5,
        }
    }

    /// The version with that number.
    pub const fn from_number(number: u64) -> Option<Self> {
        if number == Self::One.number() {
            Some(Self::One)
        } else if number == Self::Legacy.number() {
            Some(Self::Legacy)
        } else {
            None
        }
    }
}

/// What stands before every message, in both directions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Header {
    /// Length of the body in words.
    pub words: u32,
    /// The message's type number.
    pub kind: u8,
    /// The revision of the message's format, 0 unless said otherwise.
    pub schema: u8,
    /// Zero today; ignored.
    pub extra: u16,
}

impl Header {
    /// The header as it is sent.
    pub fn to_bytes(self) -> [u8; HEADER_LEN] {
        let high = u32::from(self.kind) | u32::from(self.schema) << 8 | u32::from(self.extra) << 16;
        (u64::from(self.words) | u64::from(high) << 32).to_le_bytes()
    }

    /// Reads a header. Any eight bytes are one.
    pub fn from_bytes(bytes: [u8; HEADER_LEN]) -> Self {
        let [w0, w1, w2, w3, kind, schema, low, high] = bytes;
        Self { words: u32::from_le_bytes([w0, w1, w2, w3]), kind, schema, extra: u16::from_le_bytes([low, high]) }
    }

    /// Length of the body in bytes.
    pub const fn body_len(self) -> u64 {
        self.words as u64 * WORD as u64
    }
}

/// The longest message body that is accepted, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BodyLimit(pub u32);

impl BodyLimit {
    /// 64 MiB.
    pub const DEFAULT: Self = Self(64 << 20);
    /// All that the protocol can carry.
    pub const MAX: Self = Self(u32::MAX);
}

impl Default for BodyLimit {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// A message cannot be taken from the stream. The stream has no later point to go on from: close it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// The announced body is over the limit.
    #[error("message body of {len} bytes is over the limit of {} bytes", limit.0)]
    Oversized {
        /// The announced length in bytes.
        len: u64,
        /// The limit.
        limit: BodyLimit,
    },
}

/// One whole message, not yet looked into.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// Its header.
    pub header: Header,
    /// Its body: exactly `header.words` words.
    pub body: Bytes,
}

impl Frame {
    /// The header at the front of `input`, if eight bytes are there. Takes nothing.
    pub fn peek(input: &[u8]) -> Option<Header> {
        Reader::new(input).array().ok().map(Header::from_bytes)
    }

    /// Takes one message from the front of `input`; `None` until it is whole. The body shares `input`'s memory.
    pub fn take(input: &mut BytesMut, limit: BodyLimit) -> Result<Option<Self>, FrameError> {
        let Some(header) = Self::peek(input) else { return Ok(None) };
        let Some(len) = usize::try_from(header.body_len()).ok().filter(|_| header.body_len() <= u64::from(limit.0))
        else {
            return Err(FrameError::Oversized { len: header.body_len(), limit });
        };
        if input.len() < HEADER_LEN + len {
            return Ok(None);
        }
        input.advance(HEADER_LEN);
        let body = input.split_to(len).freeze();
        Ok(Some(Self { header, body }))
    }

    /// How many more bytes must come before [`Self::take`] can succeed, at least. A reader may reserve them.
    pub fn missing(input: &[u8], limit: BodyLimit) -> usize {
        let whole = match Self::peek(input) {
            Some(header) => HEADER_LEN
                .saturating_add(usize::try_from(header.body_len().min(u64::from(limit.0))).unwrap_or(usize::MAX)),
            None => HEADER_LEN,
        };
        whole.saturating_sub(input.len())
    }
}

/// Writes one message around what `body` writes. The body must end on a word; it is padded if it does not.
pub(crate) fn put_message(out: &mut BytesMut, kind: u8, schema: u8, body: impl FnOnce(&mut BytesMut)) {
    let start = open_message(out, kind, schema);
    body(out);
    close_message(out, start);
}

/// Writes a header whose length is not known yet; returns where it stands.
pub(crate) fn open_message(out: &mut BytesMut, kind: u8, schema: u8) -> usize {
    let start = out.len();
    out.extend_from_slice(&Header { words: 0, kind, schema, extra: 0 }.to_bytes());
    start
}

/// Sets the length of the message that was opened at `start`.
pub(crate) fn close_message(out: &mut BytesMut, start: usize) {
    let len = out.len() - start - HEADER_LEN;
    debug_assert_eq!(len % WORD, 0, "a message body is a whole number of words");
    // Bodies are checked against `BodyLimit::MAX` where they can grow without bound (rows); elsewhere they cannot.
    let words = u32::try_from(len / WORD).unwrap_or(u32::MAX);
    if let Some(place) = out.get_mut(start..start + 4) {
        place.copy_from_slice(&words.to_le_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_eight_bytes_are_a_header(bytes: [u8; 8]) {
            prop_assert_eq!(Header::from_bytes(bytes).to_bytes(), bytes);
        }

        #[test]
        fn a_stream_cut_anywhere_gives_the_same_messages(bodies in prop::collection::vec(0u8..5, 1..6), cut in 1usize..40) {
            let mut stream = BytesMut::new();
            for words in &bodies {
                put_message(&mut stream, *words, 0, |out| out.extend_from_slice(&vec![*words; usize::from(*words) * 8]));
            }
            let mut input = BytesMut::new();
            let mut seen = Vec::new();
            for piece in stream.chunks(cut) {
                prop_assert!(Frame::missing(&input, BodyLimit::DEFAULT) > 0);
                input.extend_from_slice(piece);
                while let Some(frame) = Frame::take(&mut input, BodyLimit::DEFAULT).unwrap() {
                    prop_assert_eq!(frame.body.len() as u64, frame.header.body_len());
                    seen.push(frame.header.kind);
                }
            }
            prop_assert_eq!(seen, bodies);
        }
    }

    #[test]
    fn a_body_over_the_limit_is_refused_from_its_header_alone() {
        let header = Header { words: u32::MAX, kind: 1, schema: 0, extra: 0 };
        for limit in [BodyLimit::DEFAULT, BodyLimit(8), BodyLimit::MAX] {
            let mut input = BytesMut::from(&header.to_bytes()[..]);
            assert_eq!(
                Frame::take(&mut input, limit),
                Err(FrameError::Oversized { len: u64::from(u32::MAX) * 8, limit })
            );
        }
    }

    #[test]
    fn versions_have_their_numbers() {
        for version in [Version::One, Version::Legacy] {
            assert_eq!(Version::from_number(version.number()), Some(version));
        }
        assert_eq!(Version::from_number(2), None);
    }
}

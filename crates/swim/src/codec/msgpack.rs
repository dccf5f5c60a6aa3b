//! The part of MessagePack that the protocol is made of: unsigned integers, bins, arrays and maps.
//!
//! Reading takes any width of a family, as the original does; writing uses the fixed widths that the original writes.

use super::error::{PacketError, Place};
use base::Reader;

/// Reads values front to back. Total: no input makes it panic, and nothing is allocated.
#[derive(Debug, Clone)]
pub(crate) struct Input<'a>(Reader<'a>);

impl<'a> Input<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self(Reader::new(bytes))
    }

    /// How many bytes were read.
    pub(crate) fn offset(&self) -> usize {
        self.0.offset()
    }

    /// What was not read.
    pub(crate) fn rest(&self) -> &'a [u8] {
        self.0.rest()
    }

    fn marker(&mut self, place: Place) -> Result<u8, PacketError> {
        self.0.u8().map_err(|_| PacketError::Truncated { place })
    }

    /// A big-endian number of `N` bytes.
    fn number<const N: usize>(&mut self, place: Place) -> Result<u64, PacketError> {
        let bytes: [u8; N] = self.0.array().map_err(|_| PacketError::Truncated { place })?;
        Ok(bytes.iter().fold(0, |number, byte| number << 8 | u64::from(*byte)))
    }

    /// An unsigned integer of any width.
    pub(crate) fn uint(&mut self, place: Place) -> Result<u64, PacketError> {
        match self.marker(place)? {
            small @ 0..=0x7f => Ok(u64::from(small)),
            0xcc => self.number::<1>(place),
            0xcd => self.number::<2>(place),
            0xce => self.number::<4>(place),
            0xcf => self.number::<8>(place),
            found => Err(PacketError::Family { place, wanted: "unsigned integer", found }),
        }
    }

    /// A bin of any width.
    pub(crate) fn bin(&mut self, place: Place) -> Result<&'a [u8], PacketError> {
        let len = match self.marker(place)? {
            0xc4 => self.number::<1>(place)?,
            0xc5 => self.number::<2>(place)?,
            0xc6 => self.number::<4>(place)?,
            found => return Err(PacketError::Family { place, wanted: "bin", found }),
        };
        let len = usize::try_from(len).map_err(|_| PacketError::Truncated { place })?;
        self.0.take(len).map_err(|_| PacketError::Truncated { place })
    }

    /// How many elements the array that starts here has.
    pub(crate) fn array(&mut self, place: Place) -> Result<u64, PacketError> {
        match self.marker(place)? {
            small @ 0x90..=0x9f => Ok(u64::from(small & 0x0f)),
            0xdc => self.number::<2>(place),
            0xdd => self.number::<4>(place),
            found => Err(PacketError::Family { place, wanted: "array", found }),
        }
    }

    /// How many pairs the map that starts here has.
    pub(crate) fn map(&mut self, place: Place) -> Result<u64, PacketError> {
        match self.marker(place)? {
            small @ 0x80..=0x8f => Ok(u64::from(small & 0x0f)),
            0xde => self.number::<2>(place),
            0xdf => self.number::<4>(place),
            found => Err(PacketError::Family { place, wanted: "map", found }),
        }
    }

    /// Whether the next value is a bin: the only place where a family decides is an address.
    pub(crate) fn is_bin(&self) -> bool {
        matches!(self.rest().first(), Some(0xc4..=0xc6))
    }
}

/// Writes into a buffer of the caller's, never past its limit.
///
/// Nothing fails at once: [`Output::is_whole`] says at the end whether all had room. Who writes by the limit asks
/// [`Output::room`] first.
#[derive(Debug)]
pub(crate) struct Output<'b> {
    buf: &'b mut [u8],
    len: usize,
    limit: usize,
    whole: bool,
}

impl<'b> Output<'b> {
    /// Writes from the front of `buf` on, `limit` bytes at most.
    pub(crate) fn new(buf: &'b mut [u8], limit: usize) -> Self {
        let limit = limit.min(buf.len());
        Self { buf, len: 0, limit, whole: true }
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// How many bytes are left before the limit.
    pub(crate) fn room(&self) -> usize {
        self.limit - self.len
    }

    /// Moves the limit, never past the buffer.
    pub(crate) fn set_limit(&mut self, limit: usize) {
        self.limit = limit.clamp(self.len, self.buf.len());
    }

    /// Whether everything had room.
    pub(crate) fn is_whole(&self) -> bool {
        self.whole
    }

    /// What was written.
    pub(crate) fn written(&self) -> &[u8] {
        self.buf.get(..self.len).unwrap_or_default()
    }

    pub(crate) fn put(&mut self, bytes: &[u8]) {
        let end = self.len + bytes.len();
        match self.buf.get_mut(self.len..end) {
            Some(place) if end <= self.limit => {
                place.copy_from_slice(bytes);
                self.len = end;
            }
            _ => self.whole = false,
        }
    }

    pub(crate) fn put_u16(&mut self, key: u8, value: u16) {
        let [a, b] = value.to_be_bytes();
        self.put(&[key, 0xcd, a, b]);
    }

    pub(crate) fn put_u32(&mut self, key: u8, value: u32) {
        let [a, b, c, d] = value.to_be_bytes();
        self.put(&[key, 0xce, a, b, c, d]);
    }

    pub(crate) fn put_u64(&mut self, key: u8, value: u64) {
        self.put(&[key, 0xcf]);
        self.put(&value.to_be_bytes());
    }

    /// The head of an array under `key` whose length is not known yet; [`Output::close_array`] writes it.
    pub(crate) fn open_array(&mut self, key: u8) -> ArrayHead {
        self.put(&[key, 0xdc, 0, 0]);
        ArrayHead { at: self.len.saturating_sub(2), count: 0 }
    }

    pub(crate) fn close_array(&mut self, head: &ArrayHead) {
        if let Some(place) = self.buf.get_mut(head.at..head.at + 2) {
            place.copy_from_slice(&head.count.to_be_bytes());
        }
    }
}

/// An array that is being written.
#[derive(Debug)]
pub(crate) struct ArrayHead {
    at: usize,
    /// How many elements it has.
    pub(crate) count: u16,
}

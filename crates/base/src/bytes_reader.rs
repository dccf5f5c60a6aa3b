//! A cursor over bytes from disk or network that can only succeed or say that the input ended.

/// The input ended before the value did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("input ended: {wanted} bytes wanted at offset {offset}, {left} left")]
pub struct Truncated {
    /// Where the value would have started.
    pub offset: usize,
    /// How long it would have been.
    pub wanted: usize,
    /// How much was there.
    pub left: usize,
}

/// Reads little-endian values from a slice, front to back. Total: no input makes it panic.
#[derive(Debug, Clone)]
pub struct Reader<'a> {
    all: &'a [u8],
    offset: usize,
}

impl<'a> Reader<'a> {
    /// Starts at the front of `bytes`.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { all: bytes, offset: 0 }
    }

    /// How many bytes were read so far.
    pub fn offset(&self) -> usize {
        self.offset
    }

    /// What has not been read yet.
    pub fn rest(&self) -> &'a [u8] {
        self.all.get(self.offset..).unwrap_or_default()
    }

    /// Whether everything was read.
    pub fn is_empty(&self) -> bool {
        self.rest().is_empty()
    }

    /// The next `n` bytes.
    pub fn take(&mut self, n: usize) -> Result<&'a [u8], Truncated> {
        let rest = self.rest();
        let taken = rest.get(..n).ok_or(Truncated { offset: self.offset, wanted: n, left: rest.len() })?;
        self.offset += n;
        Ok(taken)
    }

    /// The next `N` bytes as an array.
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], Truncated> {
        let at = Truncated { offset: self.offset, wanted: N, left: self.rest().len() };
        self.take(N)?.try_into().map_err(|_| at)
    }

    /// The next byte.
    pub fn u8(&mut self) -> Result<u8, Truncated> {
        self.array::<1>().map(u8::from_le_bytes)
    }

    /// The next two bytes.
    pub fn u16(&mut self) -> Result<u16, Truncated> {
        self.array().map(u16::from_le_bytes)
    }

    /// The next four bytes.
    pub fn u32(&mut self) -> Result<u32, Truncated> {
        self.array().map(u32::from_le_bytes)
    }

    /// The next eight bytes.
    pub fn u64(&mut self) -> Result<u64, Truncated> {
        self.array().map(u64::from_le_bytes)
    }

    /// The next eight bytes, signed.
    pub fn i64(&mut self) -> Result<i64, Truncated> {
        self.array().map(i64::from_le_bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn reading_never_panics_and_never_passes_the_end(bytes: Vec<u8>, sizes: Vec<usize>) {
            let mut reader = Reader::new(&bytes);
            for n in sizes {
                let before = reader.offset();
                match reader.take(n) {
                    Ok(taken) => prop_assert_eq!(taken, &bytes[before..before + n]),
                    Err(e) => prop_assert_eq!((e.offset, e.wanted, e.left), (before, n, bytes.len() - before)),
                }
            }
        }
    }
}

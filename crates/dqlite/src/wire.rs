//! Words, texts and blobs: the scalars of the protocol, read totally and written without padding mistakes.

use base::{Reader, Truncated};
use bytes::{BufMut, BytesMut};
use std::ffi::CStr;

/// Bytes in a word.
pub(crate) const WORD: usize = 8;

/// Why bytes are not a message. A server answers it with [`crate::FailureCode::PARSE`] and goes on: the frame around the
/// message was whole.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The body ended before the message did.
    #[error("message body ended early: {0}")]
    Truncated(#[from] Truncated),
    /// A text has no terminating NUL inside the body.
    #[error("text at offset {offset} has no end")]
    EndlessText {
        /// Where the text starts in the body.
        offset: usize,
    },
    /// SQL, a name or an address is not UTF-8.
    #[error("text at offset {offset} is not UTF-8")]
    NotUtf8 {
        /// Where the text starts in the body.
        offset: usize,
    },
    /// No request has this number.
    #[error("unrecognized request type {0}")]
    UnknownRequest(u8),
    /// No response has this number.
    #[error("unrecognized response type {0}")]
    UnknownResponse(u8),
    /// The message exists, but not in this revision.
    #[error("unrecognized schema version {schema} of message type {kind}")]
    UnknownSchema {
        /// The message's type number.
        kind: u8,
        /// The revision asked for.
        schema: u8,
    },
    /// A value in a tuple has a type that does not exist.
    #[error("unrecognized value type {code} at position {position} of a tuple")]
    UnknownValueType {
        /// The unknown code.
        code: u8,
        /// The value's place in its tuple, from 0.
        position: usize,
    },
    /// A CLUSTER or DESCRIBE request asks for a format that does not exist.
    #[error("unrecognized format {0}")]
    UnknownFormat(u64),
    /// A list announces more elements than its body can hold.
    #[error("a list announces {announced} elements, its body has room for {room}")]
    ListTooLong {
        /// How many it announces.
        announced: u64,
        /// How many could fit.
        room: usize,
    },
    /// Rows of no columns are endless.
    #[error("rows without columns")]
    RowsWithoutColumns,
}

/// The next multiple of a word.
pub(crate) const fn align(n: usize) -> usize {
    n.next_multiple_of(WORD)
}

/// Zeroes up to the word boundary after `len` bytes.
fn pad(out: &mut BytesMut, len: usize) {
    out.put_bytes(0, align(len) - len);
}

/// Writes a text: its bytes up to the first NUL, a NUL, zeroes up to the word. The protocol cannot carry an embedded NUL.
pub(crate) fn put_text(out: &mut BytesMut, text: &[u8]) {
    let text = CStr::from_bytes_until_nul(text).map_or(text, CStr::to_bytes);
    out.reserve(align(text.len() + 1));
    out.put_slice(text);
    out.put_u8(0);
    pad(out, text.len() + 1);
}

/// Writes a blob: its length, its bytes, zeroes up to the word.
pub(crate) fn put_blob(out: &mut BytesMut, blob: &[u8]) {
    out.reserve(WORD + align(blob.len()));
    out.put_u64_le(blob.len() as u64);
    out.put_slice(blob);
    pad(out, blob.len());
}

/// Reads a text's bytes, without its NUL, and its padding, whatever that holds.
pub(crate) fn text_bytes<'a>(reader: &mut Reader<'a>) -> Result<&'a [u8], DecodeError> {
    let offset = reader.offset();
    let rest = reader.rest();
    let text = CStr::from_bytes_until_nul(rest).map_err(|_| DecodeError::EndlessText { offset })?.to_bytes();
    reader.take(align(text.len() + 1))?;
    Ok(text)
}

/// Reads a text that must be UTF-8: SQL, a name, an address.
pub(crate) fn text<'a>(reader: &mut Reader<'a>) -> Result<&'a str, DecodeError> {
    let offset = reader.offset();
    std::str::from_utf8(text_bytes(reader)?).map_err(|_| DecodeError::NotUtf8 { offset })
}

/// Reads a blob's bytes and its padding.
pub(crate) fn blob<'a>(reader: &mut Reader<'a>) -> Result<&'a [u8], DecodeError> {
    let at = reader.offset();
    let announced = reader.u64()?;
    let left = reader.rest().len();
    let len = usize::try_from(announced).unwrap_or(usize::MAX);
    if len > left {
        return Err(Truncated { offset: at + WORD, wanted: len, left }.into());
    }
    let blob = reader.take(len)?;
    reader.take(align(len) - len)?;
    Ok(blob)
}

/// Checks an announced element count against the bytes left, so that nothing is allocated on a client's word alone.
pub(crate) fn list_len(reader: &Reader<'_>, announced: u64, element_len_min: usize) -> Result<usize, DecodeError> {
    let room = reader.rest().len() / element_len_min;
    match usize::try_from(announced) {
        Ok(n) if n <= room => Ok(n),
        _ => Err(DecodeError::ListTooLong { announced, room }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn texts_and_blobs_come_back_and_end_on_a_word(text: Vec<u8>, blob_in: Vec<u8>) {
            let mut out = BytesMut::new();
            put_text(&mut out, &text);
            prop_assert_eq!(out.len() % WORD, 0);
            put_blob(&mut out, &blob_in);
            prop_assert_eq!(out.len() % WORD, 0);
            let mut reader = Reader::new(&out);
            let cut = text.split(|b| *b == 0).next().unwrap();
            prop_assert_eq!(text_bytes(&mut reader).unwrap(), cut);
            prop_assert_eq!(blob(&mut reader).unwrap(), &blob_in[..]);
            prop_assert!(reader.is_empty());
        }
    }

    #[test]
    fn a_blob_longer_than_its_body_is_refused() {
        for len in [1, 9, u64::MAX, u64::MAX - 7] {
            assert!(blob(&mut Reader::new(&len.to_le_bytes())).is_err(), "{len}");
        }
    }

    #[test]
    fn a_text_whose_padding_is_cut_off_is_refused() {
        assert!(text_bytes(&mut Reader::new(b"ab\0")).is_err());
        assert!(text_bytes(&mut Reader::new(b"abcdefgh")).is_err());
    }
}

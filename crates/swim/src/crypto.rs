//! Encryption as Tarantool has it: AES with a key of the group's, in one of four modes, without a signature.
//!
//! Each packet has an initialisation vector of its own, sent in clear before it; ECB has none. CBC and ECB pad as PKCS#7 says; CFB and OFB do
//! not pad. Who wants to know that a packet was not changed on its way signs it too: [`crate::Trust::Signed`].

use crate::codec::{DATAGRAM_LEN_MAX, PacketError};
use aes::cipher::block_padding::Pkcs7;
use aes::cipher::{BlockModeDecrypt, BlockModeEncrypt, KeyInit, KeyIvInit, StreamCipher};
use std::fmt;

/// How blocks are chained.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Cipher block chaining, Tarantool's default.
    Cbc,
    /// Each block by itself: equal blocks can be seen to be equal.
    Ecb,
    /// Cipher feedback of 128 bits.
    Cfb,
    /// Output feedback.
    Ofb,
}

/// A cipher with its key: AES-128, AES-192 or AES-256 by the key's length.
#[derive(Clone)]
pub struct Codec {
    key: Key,
    mode: Mode,
}

#[derive(Clone)]
enum Key {
    Aes128([u8; 16]),
    Aes192([u8; 24]),
    Aes256([u8; 32]),
}

/// The key is of a length that AES has not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a key of {len} bytes: AES has keys of 16, 24 and 32")]
pub struct InvalidKey {
    /// The length.
    pub len: usize,
}

/// An initialisation vector: unpredictable, and never used twice with one key.
pub type Iv = [u8; 16];

/// Runs a block of code with the cipher type that fits the key.
macro_rules! with_cipher {
    ($key:expr, |$bytes:ident, $cipher:ident| $run:expr) => {
        match $key {
            Key::Aes128($bytes) => {
                type $cipher = aes::Aes128;
                $run
            }
            Key::Aes192($bytes) => {
                type $cipher = aes::Aes192;
                $run
            }
            Key::Aes256($bytes) => {
                type $cipher = aes::Aes256;
                $run
            }
        }
    };
}

impl Codec {
    /// A cipher with this key.
    pub fn new(key: &[u8], mode: Mode) -> Result<Self, InvalidKey> {
        let invalid = InvalidKey { len: key.len() };
        let key = match key.len() {
            16 => Key::Aes128(key.try_into().map_err(|_| invalid)?),
            24 => Key::Aes192(key.try_into().map_err(|_| invalid)?),
            32 => Key::Aes256(key.try_into().map_err(|_| invalid)?),
            _ => return Err(invalid),
        };
        Ok(Self { key, mode })
    }

    fn iv_len(&self) -> usize {
        if self.mode == Mode::Ecb { 0 } else { size_of::<Iv>() }
    }

    /// Encrypts the packet of `len` bytes at the front of `buf` where it is. Returns the length of the datagram; `None` if `buf` has no
    /// room for the vector and the padding.
    pub fn encrypt(&self, iv: Iv, buf: &mut [u8], len: usize) -> Option<usize> {
        let start = self.iv_len();
        if len + start + 16 > buf.len() {
            return None;
        }
        buf.copy_within(..len, start);
        buf.get_mut(..start)?.copy_from_slice(iv.get(..start)?);
        let body = buf.get_mut(start..)?;
        let encrypted = match self.mode {
            Mode::Cbc => with_cipher!(&self.key, |key, C| {
                let cipher = cbc::Encryptor::<C>::new(key.into(), &iv.into());
                cipher.encrypt_padded::<Pkcs7>(body, len).ok()?.len()
            }),
            Mode::Ecb => with_cipher!(&self.key, |key, C| {
                let cipher = ecb::Encryptor::<C>::new(key.into());
                cipher.encrypt_padded::<Pkcs7>(body, len).ok()?.len()
            }),
            Mode::Cfb => with_cipher!(&self.key, |key, C| {
                cfb_mode::Encryptor::<C>::new(key.into(), &iv.into()).encrypt(body.get_mut(..len)?);
                len
            }),
            Mode::Ofb => with_cipher!(&self.key, |key, C| {
                ofb::Ofb::<C>::new(key.into(), &iv.into()).apply_keystream(body.get_mut(..len)?);
                len
            }),
        };
        Some(start + encrypted)
    }

    /// Decrypts a datagram where it is, and returns the packet in it.
    ///
    /// Only CBC and ECB can tell, by their padding, and not always, that key or bytes are wrong.
    pub fn decrypt<'b>(&self, datagram: &'b mut [u8]) -> Result<&'b mut [u8], PacketError> {
        let wrong = PacketError::Undecryptable;
        if datagram.len() > DATAGRAM_LEN_MAX {
            return Err(PacketError::TooLong { len: datagram.len(), max: DATAGRAM_LEN_MAX });
        }
        let (iv, body) = datagram.split_at_mut_checked(self.iv_len()).ok_or(wrong)?;
        let iv: Iv = if iv.is_empty() { Iv::default() } else { (&*iv).try_into().map_err(|_| wrong)? };
        let len = match self.mode {
            Mode::Cbc => with_cipher!(&self.key, |key, C| {
                let cipher = cbc::Decryptor::<C>::new(key.into(), &iv.into());
                cipher.decrypt_padded::<Pkcs7>(body).map_err(|_| wrong)?.len()
            }),
            Mode::Ecb => with_cipher!(&self.key, |key, C| {
                let cipher = ecb::Decryptor::<C>::new(key.into());
                cipher.decrypt_padded::<Pkcs7>(body).map_err(|_| wrong)?.len()
            }),
            Mode::Cfb => with_cipher!(&self.key, |key, C| {
                cfb_mode::Decryptor::<C>::new(key.into(), &iv.into()).decrypt(body);
                body.len()
            }),
            Mode::Ofb => with_cipher!(&self.key, |key, C| {
                ofb::Ofb::<C>::new(key.into(), &iv.into()).apply_keystream(body);
                body.len()
            }),
        };
        body.get_mut(..len).ok_or(wrong)
    }
}

impl fmt::Debug for Codec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bits = match self.key {
            Key::Aes128(_) => 128,
            Key::Aes192(_) => 192,
            Key::Aes256(_) => 256,
        };
        write!(f, "Codec(aes{bits} {:?})", self.mode)
    }
}

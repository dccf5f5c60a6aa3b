//! Small files that are replaced as a whole and carry their own checksum: a magic word, a body, 16 bytes of BLAKE3.

use crate::page::PageHash;
use bytes::{BufMut, BytesMut};
use std::io;
use std::path::Path;

/// Reads a sealed file's body; `Ok(None)` if there is no such file, `Err(InvalidData)` if it is damaged.
pub(crate) fn read(path: &Path, magic: [u8; 8]) -> io::Result<Option<Vec<u8>>> {
    let mut contents = match rt::fs::read(path) {
        Ok(contents) => contents,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let damaged = || io::Error::new(io::ErrorKind::InvalidData, "the checksum does not match");
    let body_end = contents.len().checked_sub(PageHash::LEN).ok_or_else(damaged)?;
    let (sealed, seal) = contents.split_at_checked(body_end).ok_or_else(damaged)?;
    if seal != PageHash::cut(&blake3::hash(sealed)).0 || sealed.get(..8) != Some(magic.as_slice()) {
        return Err(damaged());
    }
    contents.truncate(body_end);
    contents.drain(..8);
    Ok(Some(contents))
}

/// Begins a sealed file.
pub(crate) fn begin(magic: [u8; 8]) -> BytesMut {
    let mut file = BytesMut::with_capacity(64);
    file.put_slice(&magic);
    file
}

/// Seals a file that was begun and filled, and puts it in place, durably and at once.
pub(crate) fn write(path: &Path, mut file: BytesMut) -> io::Result<()> {
    let seal = PageHash::cut(&blake3::hash(&file));
    file.put_slice(&seal.0);
    rt::fs::write_atomic(path, &file)
}

/// Removes a file; one that is not there is fine.
pub(crate) fn remove(path: &Path) -> io::Result<()> {
    match rt::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

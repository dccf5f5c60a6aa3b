//! An open file on a simulated disk.

use super::Disk;
use super::state::{DiskState, InodeId, to_index};
use std::io;

/// An open file. Dead after a crash of its process or of the power.
#[derive(Debug)]
pub struct SimFile {
    disk: Disk,
    inode: InodeId,
    handle: u64,
    generation: u64,
}

impl SimFile {
    pub(super) fn new(disk: Disk, inode: InodeId, handle: u64, generation: u64) -> Self {
        Self { disk, inode, handle, generation }
    }

    fn with<R>(&self, work: impl FnOnce(&mut DiskState) -> io::Result<R>) -> io::Result<R> {
        let mut state = self.disk.state();
        state.check_power()?;
        if state.generation != self.generation {
            return Err(DiskState::dead_handle());
        }
        work(&mut state)
    }

    pub(crate) fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        self.with(|state| {
            state.begin_read()?;
            let start = to_index(offset);
            let data = &state.inode(self.inode)?.live;
            let found = data.get(start..start.saturating_add(buf.len()));
            buf.copy_from_slice(found.ok_or_else(|| io::Error::from(io::ErrorKind::UnexpectedEof))?);
            Ok(())
        })
    }

    pub(crate) fn write_all_at(&self, buf: &[u8], offset: u64) -> io::Result<()> {
        self.with(|state| state.write(self.inode, buf, offset))
    }

    pub(crate) fn sync_data(&self) -> io::Result<()> {
        self.with(|state| state.sync(self.inode))
    }

    pub(crate) fn len(&self) -> io::Result<u64> {
        self.with(|state| Ok(state.inode(self.inode)?.live.len() as u64))
    }

    pub(crate) fn set_len(&self, len: u64) -> io::Result<()> {
        self.with(|state| state.set_len(self.inode, len))
    }

    pub(crate) fn try_lock(&self) -> io::Result<()> {
        self.with(|state| {
            let inode = state.inode(self.inode)?;
            if inode.locked_by.is_some_and(|holder| holder != self.handle) {
                return Err(io::Error::from(io::ErrorKind::WouldBlock));
            }
            inode.locked_by = Some(self.handle);
            Ok(())
        })
    }
}

impl Drop for SimFile {
    fn drop(&mut self) {
        let mut state = self.disk.state();
        if state.generation == self.generation
            && let Ok(inode) = state.inode(self.inode)
            && inode.locked_by == Some(self.handle)
        {
            inode.locked_by = None;
        }
    }
}

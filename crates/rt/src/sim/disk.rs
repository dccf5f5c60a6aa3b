//! A simulated disk: what a file system on a page cache promises, and nothing more.
//!
//! Writes go to the page cache ("live") and reach the platter ("durable") at a sync. A power cut keeps what is durable, and of
//! the rest whatever the seed says: unsynced writes are lost, kept or torn at sectors of 512 bytes, in any combination; a
//! file's length may survive without its data; unsynced names are lost or kept. A sync that fails leaves its data in the
//! cache but never writes it again, as Linux does. A process that is killed loses nothing but its handles.

mod handle;
mod names;
mod state;

pub use handle::SimFile;

use super::dice::Dice;
use super::trace::Trace;
use state::{DiskState, Power};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// What goes wrong at an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The power goes while the operation runs. Until [`Disk::power_on`] every operation fails.
    PowerCut,
    /// The operation fails with EIO. A failed sync also forgets what it should have written.
    Eio,
    /// The operation fails with ENOSPC; a write may have written a part.
    Enospc,
    /// A sync says it is done but did nothing.
    Lie,
}

/// How the disk behaves without being told at which operation.
#[derive(Debug, Clone, Copy)]
pub struct DiskProfile {
    /// How long an operation takes, at least and at most.
    pub latency: (Duration, Duration),
    /// How long a sync takes.
    pub sync_latency: (Duration, Duration),
    /// Writes and syncs in a million that fail with EIO.
    pub eio_write_ppm: u64,
    /// Reads in a million that fail with EIO.
    pub eio_read_ppm: u64,
    /// Syncs in a million that lie.
    pub lie_ppm: u64,
    /// Bytes that fit.
    pub quota: u64,
}

impl Default for DiskProfile {
    /// A flawless disk of 64 GiB that takes no time.
    fn default() -> Self {
        Self {
            latency: (Duration::ZERO, Duration::ZERO),
            sync_latency: (Duration::ZERO, Duration::ZERO),
            eio_write_ppm: 0,
            eio_read_ppm: 0,
            lie_ppm: 0,
            quota: 64 << 30,
        }
    }
}

/// One machine's disk. It belongs to the world, not to the process: it survives crashes of its node. Clones are the same
/// disk; [`fork`](Self::fork) makes another.
#[derive(Debug, Clone)]
pub struct Disk(Arc<Mutex<DiskState>>);

impl Disk {
    /// An empty disk whose accidents come from `seed`.
    pub fn new(seed: u64) -> Self {
        Self(Arc::new(Mutex::new(DiskState::new(Dice::new(seed)))))
    }

    fn state(&self) -> MutexGuard<'_, DiskState> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An independent copy with the same contents and the same future.
    #[must_use]
    pub fn fork(&self) -> Self {
        Self(Arc::new(Mutex::new(self.state().clone())))
    }

    /// Gives the disk another future.
    pub(crate) fn reseed(&self, seed: u64) {
        self.state().dice = Dice::new(seed);
    }

    /// Reports every operation to `trace`, as done by node `node`.
    pub fn trace_to(&self, trace: Trace, node: u64) {
        self.state().trace = Some((trace, node));
    }

    /// Changes how the disk behaves from now on.
    pub fn set_profile(&self, profile: DiskProfile) {
        self.state().profile = profile;
    }

    /// How it behaves.
    pub fn profile(&self) -> DiskProfile {
        self.state().profile
    }

    /// How many operations that change something were begun: creates, writes, lengths, syncs, renames, removals.
    pub fn operations(&self) -> u64 {
        self.state().operations
    }

    /// How many reads were begun.
    pub fn reads(&self) -> u64 {
        self.state().reads
    }

    /// Makes the operation with that number (see [`operations`](Self::operations), from zero) go wrong.
    pub fn fail_at(&self, operation: u64, fault: Fault) {
        self.state().faults.insert(operation, fault);
    }

    /// Makes the read with that number fail with EIO.
    pub fn fail_read_at(&self, read: u64) {
        self.state().read_faults.insert(read);
    }

    /// Forgets the faults that were ordered and have not happened.
    pub fn forget_faults(&self) {
        let mut state = self.state();
        state.faults.clear();
        state.read_faults.clear();
    }

    /// Cuts the power now.
    pub fn power_cut(&self) {
        self.state().power_cut();
    }

    /// Whether the power is off.
    pub fn is_off(&self) -> bool {
        self.state().power == Power::Off
    }

    /// Power is back. Handles from before are dead; what is on the platter is what the seed left.
    pub fn power_on(&self) {
        self.state().power_on();
    }

    /// The process that used the disk is gone (killed, not powered off): its handles and locks are dead, the page cache is
    /// not.
    pub fn process_died(&self) {
        self.state().new_generation();
    }

    /// Flips one bit of a file, on the platter and in the cache. False if there is no such byte.
    pub fn rot(&self, path: &Path, offset: u64, bit: u8) -> bool {
        self.state().rot(path, offset, bit)
    }

    /// Flips a bit in one of these files, not before that offset, by the seed; says where. None if none is so long.
    pub fn rot_somewhere(&self, is_meant: impl Fn(&Path) -> bool, from: u64) -> Option<(PathBuf, u64)> {
        self.state().rot_somewhere(is_meant, from)
    }

    /// All files with their lengths, as a running process sees them.
    pub fn files(&self) -> Vec<(PathBuf, u64)> {
        self.state().files()
    }

    /// The time that operations have taken since the last call, for the caller to sleep off.
    pub fn take_debt(&self) -> Duration {
        std::mem::take(&mut self.state().debt)
    }

    /// The last operations, oldest first, for a report of a failure.
    pub fn recent(&self) -> Vec<String> {
        self.state().recent.iter().cloned().collect()
    }
}

//! The disk's insides: files as cache and platter, the accidents, and the power.

use super::names::{Entry, NameOp};
use super::{DiskProfile, Fault};
use crate::sim::dice::Dice;
use crate::sim::trace::Trace;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// What a disk writes whole or not at all.
const SECTOR: u64 = 512;
/// Operations kept for reports.
const RECENT_MAX: usize = 64;
const ENOSPC: i32 = 28;
const EIO: i32 = 5;
const EBADF: i32 = 9;

pub(super) type InodeId = u64;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Power {
    On,
    Off,
}

#[derive(Debug, Clone)]
pub(super) struct DiskState {
    pub(super) dice: Dice,
    pub(super) profile: DiskProfile,
    pub(super) inodes: BTreeMap<InodeId, Inode>,
    /// The names as a running process sees them.
    pub(super) live: BTreeMap<PathBuf, Entry>,
    /// The names on the platter.
    pub(super) durable: BTreeMap<PathBuf, Entry>,
    /// Changes of names that are not on the platter yet, in order.
    pub(super) pending_names: Vec<NameOp>,
    pub(super) next_inode: InodeId,
    pub(super) next_handle: u64,
    /// Grows with each crash; handles of older generations are dead.
    pub(super) generation: u64,
    pub(super) power: Power,
    pub(super) operations: u64,
    pub(super) reads: u64,
    pub(super) faults: BTreeMap<u64, Fault>,
    pub(super) read_faults: BTreeSet<u64>,
    pub(super) debt: Duration,
    pub(super) recent: VecDeque<String>,
    pub(super) trace: Option<(Trace, u64)>,
}

#[derive(Debug, Clone, Default)]
pub(super) struct Inode {
    /// The page cache.
    pub(super) live: Vec<u8>,
    /// The platter.
    pub(super) durable: Vec<u8>,
    /// What is in the cache and not on the platter, in order.
    pub(super) pending: Vec<Change>,
    /// The handle that holds the lock.
    pub(super) locked_by: Option<u64>,
}

impl Inode {
    /// Leaves what is pending on the platter or lost, as the dice fall.
    fn strand(&mut self, dice: &mut Dice, character: u64) {
        for change in std::mem::take(&mut self.pending) {
            match change {
                Change::Write { offset, data } => {
                    for (at, sector) in sectors(offset, &data) {
                        if survives(dice, character) {
                            put(&mut self.durable, at, sector);
                        }
                    }
                }
                Change::Length(len) if survives(dice, character) => self.durable.resize(to_index(len), 0),
                Change::Length(_) => {}
            }
        }
        // The length may be on the platter and the data not.
        if self.durable.len() < self.live.len() && dice.chance(1, 8) {
            self.durable.resize(self.live.len(), 0);
        }
    }
}

#[derive(Debug, Clone)]
pub(super) enum Change {
    Write { offset: u64, data: Vec<u8> },
    Length(u64),
}

/// What an operation is told to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    Go,
    /// Do it, then the power goes.
    GoThenCut,
    Fail(Fault),
}

impl DiskState {
    pub(super) fn new(dice: Dice) -> Self {
        let root: BTreeMap<PathBuf, Entry> = [(PathBuf::from("/"), Entry::Directory)].into();
        Self {
            dice,
            profile: DiskProfile::default(),
            inodes: BTreeMap::new(),
            live: root.clone(),
            durable: root,
            pending_names: Vec::new(),
            next_inode: 1,
            next_handle: 1,
            generation: 1,
            power: Power::On,
            operations: 0,
            reads: 0,
            faults: BTreeMap::new(),
            read_faults: BTreeSet::new(),
            debt: Duration::ZERO,
            recent: VecDeque::new(),
            trace: None,
        }
    }

    /// Counts an operation that changes something, and decides how it goes.
    pub(super) fn begin(
        &mut self,
        kind: &'static str,
        detail: impl FnOnce() -> String,
        parts: &[u64],
    ) -> io::Result<Verdict> {
        self.check_power()?;
        let number = self.operations;
        self.operations += 1;
        let is_sync = kind.starts_with("sync");
        let (min, max) = if is_sync { self.profile.sync_latency } else { self.profile.latency };
        self.debt += self.dice.between(min, max);
        if let Some((trace, node)) = &self.trace {
            trace.event(kind, &[*node, number]);
            trace.event(kind, parts);
        }
        let fault = self.faults.remove(&number).or_else(|| self.accident(is_sync));
        if self.recent.len() == RECENT_MAX {
            self.recent.pop_front();
        }
        let shown = fault.map(|f| format!(" -> {f:?}")).unwrap_or_default();
        self.recent.push_back(format!("{number} {kind} {}{shown}", detail()));
        Ok(match fault {
            None => Verdict::Go,
            // A write or a change of names may have got to the cache, and from there by chance to the platter; a sync
            // may have got anywhere.
            Some(Fault::PowerCut) if is_sync || self.dice.chance(1, 2) => {
                self.power_cut();
                return Err(power_is_off());
            }
            Some(Fault::PowerCut) => Verdict::GoThenCut,
            Some(other) => Verdict::Fail(other),
        })
    }

    fn accident(&mut self, is_sync: bool) -> Option<Fault> {
        let (eio, lie) = (self.profile.eio_write_ppm, self.profile.lie_ppm);
        if eio > 0 && self.dice.chance(eio, 1_000_000) {
            return Some(Fault::Eio);
        }
        (is_sync && lie > 0 && self.dice.chance(lie, 1_000_000)).then_some(Fault::Lie)
    }

    /// Counts a read, and decides whether it fails.
    pub(super) fn begin_read(&mut self) -> io::Result<()> {
        self.check_power()?;
        let number = self.reads;
        self.reads += 1;
        let (min, max) = self.profile.latency;
        self.debt += self.dice.between(min, max);
        let ppm = self.profile.eio_read_ppm;
        if self.read_faults.remove(&number) || (ppm > 0 && self.dice.chance(ppm, 1_000_000)) {
            return Err(io::Error::from_raw_os_error(EIO));
        }
        Ok(())
    }

    pub(super) fn check_power(&self) -> io::Result<()> {
        if self.power == Power::Off { Err(power_is_off()) } else { Ok(()) }
    }

    /// Ends an operation after whose effect the power goes.
    pub(super) fn finish(&mut self, verdict: Verdict) -> io::Result<()> {
        if verdict == Verdict::GoThenCut {
            self.power_cut();
            return Err(power_is_off());
        }
        Ok(())
    }

    /// The error of an injected fault; `Lie` is none.
    pub(super) fn refusal(fault: Fault) -> io::Error {
        io::Error::from_raw_os_error(if fault == Fault::Enospc { ENOSPC } else { EIO })
    }

    pub(super) fn dead_handle() -> io::Error {
        io::Error::from_raw_os_error(EBADF)
    }

    pub(super) fn inode(&mut self, id: InodeId) -> io::Result<&mut Inode> {
        self.inodes.get_mut(&id).ok_or_else(Self::dead_handle)
    }

    pub(super) fn write(&mut self, id: InodeId, buf: &[u8], offset: u64) -> io::Result<()> {
        let verdict = self.begin(
            "write",
            || format!("#{id} {} at {offset}", buf.len()),
            &[id, offset, crate::sim::trace::fingerprint(buf)],
        )?;
        let mut buf = buf;
        let mut failure = None;
        if let Verdict::Fail(fault) = verdict {
            // A part of it may have been written.
            let part = self.dice.below(buf.len() as u64 + 1) / SECTOR * SECTOR;
            buf = buf.get(..to_index(part)).unwrap_or_default();
            failure = Some(Self::refusal(fault));
        }
        let end = offset + buf.len() as u64;
        let grows = end.saturating_sub(self.inode(id)?.live.len() as u64);
        if grows > 0 && self.used() + grows > self.profile.quota {
            return Err(io::Error::from_raw_os_error(ENOSPC));
        }
        if !buf.is_empty() {
            let inode = self.inode(id)?;
            put(&mut inode.live, offset, buf);
            inode.pending.push(Change::Write { offset, data: buf.to_vec() });
        }
        failure.map_or_else(|| self.finish(verdict), Err)
    }

    pub(super) fn set_len(&mut self, id: InodeId, len: u64) -> io::Result<()> {
        let verdict = self.begin("length", || format!("#{id} {len}"), &[id, len])?;
        if let Verdict::Fail(fault) = verdict {
            return Err(Self::refusal(fault));
        }
        let grows = len.saturating_sub(self.inode(id)?.live.len() as u64);
        if grows > 0 && self.used() + grows > self.profile.quota {
            return Err(io::Error::from_raw_os_error(ENOSPC));
        }
        let inode = self.inode(id)?;
        inode.live.resize(to_index(len), 0);
        inode.pending.push(Change::Length(len));
        self.finish(verdict)
    }

    pub(super) fn sync(&mut self, id: InodeId) -> io::Result<()> {
        let verdict = self.begin("sync", || format!("#{id}"), &[id])?;
        let inode = self.inode(id)?;
        match verdict {
            Verdict::Fail(Fault::Lie) => return Ok(()),
            Verdict::Fail(fault) => {
                // What the sync should have written is on the platter or lost, from now on: a real kernel calls the pages
                // clean and does not write them again, so that they cannot come over what is written and synced later.
                let character = self.dice.below(4);
                if let Some(inode) = self.inodes.get_mut(&id) {
                    inode.strand(&mut self.dice, character);
                }
                return Err(Self::refusal(fault));
            }
            Verdict::Go | Verdict::GoThenCut => {}
        }
        for change in std::mem::take(&mut inode.pending) {
            match change {
                Change::Write { offset, data } => put(&mut inode.durable, offset, &data),
                Change::Length(len) => inode.durable.resize(to_index(len), 0),
            }
        }
        self.finish(verdict)
    }

    fn used(&self) -> u64 {
        self.inodes.values().map(|i| i.live.len() as u64).sum()
    }

    pub(super) fn new_generation(&mut self) {
        self.generation += 1;
        for inode in self.inodes.values_mut() {
            inode.locked_by = None;
        }
        self.collect_garbage();
    }

    /// Drops files that no name leads to any more. Only called when no handle is alive.
    fn collect_garbage(&mut self) {
        let mut named: BTreeSet<InodeId> =
            self.live.values().chain(self.durable.values()).filter_map(Entry::inode).collect();
        named.extend(self.pending_names.iter().flat_map(NameOp::inodes));
        self.inodes.retain(|id, _| named.contains(id));
    }

    pub(super) fn power_cut(&mut self) {
        if self.power == Power::Off {
            return;
        }
        self.power = Power::Off;
        self.recent.push_back("-- power cut --".to_owned());
        self.cut_names();
        // A cut has a character, so that "all lost" and "all kept" are as common as a mixture.
        let character = self.dice.below(4);
        for inode in self.inodes.values_mut() {
            inode.strand(&mut self.dice, character);
            inode.live.clone_from(&inode.durable);
        }
    }

    pub(super) fn power_on(&mut self) {
        self.power_cut();
        self.power = Power::On;
        self.debt = Duration::ZERO;
        self.recent.push_back("-- power on --".to_owned());
        self.new_generation();
    }

    pub(super) fn rot(&mut self, path: &Path, offset: u64, bit: u8) -> bool {
        let Some(inode) = self.live.get(path).and_then(Entry::inode).and_then(|id| self.inodes.get_mut(&id)) else {
            return false;
        };
        let at = to_index(offset);
        let Some(byte) = inode.live.get_mut(at) else { return false };
        *byte ^= 1 << (bit % 8);
        if let Some(byte) = inode.durable.get_mut(at) {
            *byte ^= 1 << (bit % 8);
        }
        true
    }

    pub(super) fn rot_somewhere(&mut self, is_meant: impl Fn(&Path) -> bool, from: u64) -> Option<(PathBuf, u64)> {
        let files: Vec<_> = self.files().into_iter().filter(|(path, len)| *len > from && is_meant(path)).collect();
        let (path, len) = self.dice.pick(&files)?.clone();
        let (offset, bit) = (from + self.dice.below(len - from), self.dice.below(8).to_le_bytes()[0]);
        self.rot(&path, offset, bit).then_some((path, offset))
    }

    pub(super) fn files(&self) -> Vec<(PathBuf, u64)> {
        let length = |entry: &Entry| entry.inode().and_then(|id| self.inodes.get(&id)).map(|i| i.live.len() as u64);
        self.live.iter().filter_map(|(path, entry)| Some((path.clone(), length(entry)?))).collect()
    }
}

fn survives(dice: &mut Dice, character: u64) -> bool {
    match character {
        0 => false,
        1 => true,
        2 => dice.chance(1, 2),
        _ => dice.chance(7, 8),
    }
}

/// Cuts a write at the disk's sectors.
fn sectors(offset: u64, data: &[u8]) -> impl Iterator<Item = (u64, &[u8])> {
    let mut at = offset;
    let mut rest = data;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let room = to_index(SECTOR - at % SECTOR).min(rest.len());
        let (sector, tail) = rest.split_at(room);
        let here = at;
        at += room as u64;
        rest = tail;
        Some((here, sector))
    })
}

pub(super) fn put(file: &mut Vec<u8>, offset: u64, data: &[u8]) {
    let (start, end) = (to_index(offset), to_index(offset) + data.len());
    if file.len() < end {
        file.resize(end, 0);
    }
    if let Some(place) = file.get_mut(start..end) {
        place.copy_from_slice(data);
    }
}

/// Offsets of simulated files fit into memory.
pub(super) fn to_index(offset: u64) -> usize {
    usize::try_from(offset).unwrap_or(usize::MAX)
}

fn power_is_off() -> io::Error {
    io::Error::other("the simulated power is off")
}

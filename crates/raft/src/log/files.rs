//! The files of the log: names, preallocation, recycling.

use rt::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

/// Zeros are written in pieces of this length.
const PIECE: usize = 1 << 18;

/// A segment file, all of whose blocks are allocated, and which holds no record of its number yet.
#[derive(Debug)]
pub(super) struct Prepared {
    pub(super) number: u64,
    pub(super) file: File,
    pub(super) capacity: usize,
}

pub(super) fn segment_path(dir: &Path, number: u64) -> PathBuf {
    dir.join(format!("{number:016x}.log"))
}

fn damaged_path(dir: &Path, number: u64) -> PathBuf {
    dir.join(format!("{number:016x}.damaged"))
}

/// The numbers of the segment files, ascending.
pub(super) fn list(dir: &Path) -> io::Result<Vec<u64>> {
    let mut numbers: Vec<u64> = fs::list(dir)?
        .iter()
        .filter_map(|name| name.strip_suffix(".log"))
        .filter(|stem| stem.len() == 16)
        .filter_map(|stem| u64::from_str_radix(stem, 16).ok())
        .collect();
    numbers.sort_unstable();
    Ok(numbers)
}

/// Makes a new segment file of zeros, durable with its name.
pub(super) fn create(dir: &Path, number: u64, capacity: usize) -> io::Result<Prepared> {
    let path = segment_path(dir, number);
    let file = File::create(&path)?;
    let made = fill(&file, 0, capacity).and_then(|()| file.sync_data()).and_then(|()| fs::sync_dir(dir));
    if let Err(error) = made {
        // Half a file would hold space that others need now.
        drop(fs::remove_file(&path));
        return Err(error);
    }
    Ok(Prepared { number, file, capacity })
}

/// Makes a prepared file longer.
pub(super) fn grow(prepared: &mut Prepared, capacity: usize) -> io::Result<()> {
    fill(&prepared.file, prepared.capacity, capacity)?;
    prepared.file.sync_data()?;
    prepared.capacity = capacity;
    Ok(())
}

fn fill(file: &File, from: usize, to: usize) -> io::Result<()> {
    let zeros = vec![0; PIECE.min(to.saturating_sub(from))];
    let mut at = from;
    while at < to {
        let piece = zeros.get(..(to - at).min(PIECE)).unwrap_or_default();
        file.write_all_at(piece, at as u64)?;
        at += piece.len();
    }
    Ok(())
}

/// Gives a segment that is no longer needed a new number. What it holds does not read as records under it.
pub(super) fn recycle(dir: &Path, old: u64, number: u64, capacity: usize) -> io::Result<Prepared> {
    let path = segment_path(dir, number);
    fs::rename(&segment_path(dir, old), &path)?;
    fs::sync_dir(dir)?;
    Ok(Prepared { number, file: File::open(&path)?, capacity })
}

pub(super) fn remove(dir: &Path, number: u64) -> io::Result<()> {
    fs::remove_file(&segment_path(dir, number))
}

/// Puts a segment out of the way without losing it.
pub(super) fn set_aside(dir: &Path, number: u64) -> io::Result<()> {
    fs::rename(&segment_path(dir, number), &damaged_path(dir, number))
}

/// Reads a whole segment file.
pub(super) fn read(dir: &Path, number: u64) -> io::Result<Vec<u8>> {
    fs::read(&segment_path(dir, number))
}

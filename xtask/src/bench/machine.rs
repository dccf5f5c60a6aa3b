//! Facts about the machine that belong beside every figure, and about processes and directories on it.

use super::error::BenchError;
use serde::Serialize;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Command;

/// What the figures were measured on.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Machine {
    pub(super) cpu: String,
    pub(super) cores: usize,
    pub(super) memory_mib: u64,
    pub(super) kernel: String,
    pub(super) file_system: String,
    pub(super) load_before: String,
    pub(super) commit: String,
    pub(super) date: String,
}

impl Machine {
    /// Asks the machine. What cannot be found out is empty.
    pub(super) fn look(dir: &Path) -> Self {
        let cpuinfo = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let meminfo = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
        Self {
            cpu: field(&cpuinfo, "model name").unwrap_or_default().to_owned(),
            cores: std::thread::available_parallelism().map_or(0, usize::from),
            memory_mib: kib(&meminfo, "MemTotal").unwrap_or(0) / 1024,
            kernel: read_trimmed("/proc/sys/kernel/osrelease"),
            file_system: file_system(dir).unwrap_or_default(),
            load_before: load(),
            commit: output("git", &["describe", "--always", "--dirty"]),
            date: output("date", &["-u", "+%Y-%m-%dT%H:%M:%SZ"]),
        }
    }
}

/// How busy the machine is, as it says itself.
pub(super) fn load() -> String {
    read_trimmed("/proc/loadavg")
}

fn read_trimmed(path: &str) -> String {
    std::fs::read_to_string(path).unwrap_or_default().trim().to_owned()
}

fn output(program: &str, args: &[&str]) -> String {
    Command::new(program)
        .args(args)
        .output()
        .map(|o| String::from_utf8_lossy(&o.stdout).trim().to_owned())
        .unwrap_or_default()
}

fn field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.lines().find_map(|l| l.strip_prefix(name)?.split_once(':').map(|(_, v)| v.trim()))
}

fn kib(text: &str, name: &str) -> Option<u64> {
    field(text, name)?.split_whitespace().next()?.parse().ok()
}

/// The type of the file system that holds `dir`: the mount with the longest prefix.
fn file_system(dir: &Path) -> Option<String> {
    let dir = dir.canonicalize().ok()?;
    let mounts = std::fs::read_to_string("/proc/self/mounts").ok()?;
    mounts
        .lines()
        .filter_map(|line| {
            let mut words = line.split(' ').skip(1);
            Some((words.next()?, words.next()?))
        })
        .filter(|(point, _)| dir.starts_with(point))
        .max_by_key(|(point, _)| point.len())
        .map(|(_, kind)| kind.to_owned())
}

/// Refuses file systems on which a flush costs nothing.
pub(super) fn require_disk(dir: &Path) -> Result<(), BenchError> {
    match file_system(dir) {
        Some(kind) if kind == "tmpfs" || kind == "ramfs" => Err(BenchError::NotADisk { path: dir.to_path_buf(), kind }),
        _ => Ok(()),
    }
}

/// Bytes that the files under `dir` occupy on the disk.
pub(super) fn disk_bytes(dir: &Path) -> u64 {
    let Ok(entries) = std::fs::read_dir(dir) else { return 0 };
    entries
        .flatten()
        .map(|entry| match entry.metadata() {
            Ok(meta) if meta.is_dir() => disk_bytes(&entry.path()),
            Ok(meta) => meta.blocks() * 512,
            Err(_) => 0,
        })
        .sum()
}

/// Bytes of memory that a process has resident.
pub(super) fn rss_bytes(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    kib(&status, "VmRSS").unwrap_or(0) * 1024
}

/// Seconds of processor time that a process has used, its ended threads included.
pub(super) fn cpu_seconds(pid: u32) -> f64 {
    const TICKS_PER_SECOND: f64 = 100.0;
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // The name, in parentheses, may hold anything; user and system time are the 12th and 13th words after it.
    let words: Vec<&str> = stat.rsplit_once(')').map(|(_, rest)| rest.split_whitespace().collect()).unwrap_or_default();
    let ticks: f64 = words.iter().skip(11).take(2).filter_map(|w| w.parse::<f64>().ok()).sum();
    ticks / TICKS_PER_SECOND
}

/// The same, to the nanosecond and without ended threads, where the kernel counts it so; for what takes less than a tick.
pub(super) fn cpu_seconds_exactly(pid: u32) -> f64 {
    let Ok(threads) = std::fs::read_dir(format!("/proc/{pid}/task")) else { return 0.0 };
    let nanoseconds = |thread: std::fs::DirEntry| -> Option<f64> {
        std::fs::read_to_string(thread.path().join("schedstat")).ok()?.split_whitespace().next()?.parse().ok()
    };
    let of_threads: Option<Vec<f64>> = threads.flatten().map(nanoseconds).collect();
    of_threads.map_or_else(|| cpu_seconds(pid), |each| each.iter().sum::<f64>() / 1e9)
}

/// Bytes that a process has given to the disk.
pub(super) fn written_bytes(pid: u32) -> u64 {
    let io = std::fs::read_to_string(format!("/proc/{pid}/io")).unwrap_or_default();
    field(&io, "write_bytes").and_then(|bytes| bytes.parse().ok()).unwrap_or(0)
}

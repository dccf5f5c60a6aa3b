//! The parts of `bench sql`: what is done to a running cluster, and what is kept of it.

use super::build::Tools;
use super::cluster::{Cluster, DATABASE, PATIENCE};
use super::error::BenchError;
use super::load::{Length, LoopSpec, answer};
use super::process::{self, check_interrupted};
use super::results::{Footprint, Large, Loop, Measured, Results};
use super::{Kind, bowline};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, SystemTime};

/// Connections of the loads.
pub(super) const CONNS: [u32; 3] = [1, 16, 64];
/// Bytes of a row's value.
const ROW_BYTES: u32 = 100;
/// Reads choose among so many rows, which the shortest insert load of any system makes.
const READ_KEYS: u64 = 1000;
/// Bytes of a row's value in the large database: with its header it fills a page.
const PAGE_ROW_BYTES: u32 = 4000;

/// How much of everything.
#[derive(Clone, Copy)]
pub(super) struct Effort {
    pub(super) rounds: u32,
    pub(super) secs: f64,
    pub(super) kills: u32,
    pub(super) peer_kills: u32,
    pub(super) footprint_rows: u64,
    pub(super) large_bytes: u64,
    pub(super) large_secs: f64,
}

fn spec(command: &'static str, conns: u32, length: Length, key: u64) -> LoopSpec {
    LoopSpec { command, database: DATABASE, conns, length, key, size: ROW_BYTES, via: Vec::new() }
}

/// Inserts at each number of connections, one after the other.
pub(super) fn insert(
    cluster: &mut Cluster,
    effort: Effort,
    round: u32,
    results: &mut Results,
) -> Result<(), BenchError> {
    let mut key = 1;
    for conns in CONNS {
        let (result, cpu) = cluster.run(&spec("insert", conns, Length::Seconds(effort.secs), key))?;
        key = result.last_key + 1;
        keep(results, cluster.kind(), "insert", conns, round, result, cpu);
    }
    Ok(())
}

/// The rows that reads need, if no insert load made them.
pub(super) fn seed(cluster: &mut Cluster) -> Result<(), BenchError> {
    cluster.run(&spec("insert", 1, Length::Operations(READ_KEYS), 1)).map(drop)
}

/// Reads by key: on the leader, and on followers where the system has a read level for that.
pub(super) fn read(cluster: &mut Cluster, effort: Effort, round: u32, results: &mut Results) -> Result<(), BenchError> {
    let kind = cluster.kind();
    for conns in CONNS {
        let (result, cpu) = cluster.run(&spec("read", conns, Length::Seconds(effort.secs), READ_KEYS))?;
        keep(results, kind, "read", conns, round, result, cpu);
    }
    if kind != Kind::Bowline {
        return Ok(());
    }
    let followers = cluster.followers()?;
    let mut everybody = vec![cluster.leader()?];
    everybody.extend(followers.clone());
    let levels = [
        ("read followers local", bowline::LOCAL, &followers),
        ("read followers linearizable", bowline::LINEARIZABLE, &followers),
        ("read everywhere local", bowline::LOCAL, &everybody),
    ];
    for (name, database, via) in levels {
        for conns in CONNS {
            let plain = spec("read", conns, Length::Seconds(effort.secs / 2.0), READ_KEYS);
            let (result, cpu) = cluster.run(&LoopSpec { database, via: via.clone(), ..plain })?;
            keep(results, kind, name, conns, round, result, cpu);
        }
    }
    Ok(())
}

fn keep(results: &mut Results, kind: Kind, load: &str, conns: u32, round: u32, result: Loop, cpu: f64) {
    eprintln!(
        "  {:<8} {load:<28} c={conns:<3} {:>9.0}/s  p50 {:>8.3}  p99 {:>8.3}  max {:>8.1} ms  server {cpu:>6.0} µs/op  client {:>4.0} µs/op{}{}",
        kind.name(),
        result.per_second,
        result.p50_ms,
        result.p99_ms,
        result.max_ms,
        per(result.client_cpu_seconds * 1e6, result.n),
        if result.busy_retries > 0 { format!("  {} busy", result.busy_retries) } else { String::new() },
        if result.errors > 0 { format!("  {} errors: {}", result.errors, result.last_error) } else { String::new() },
    );
    let load = load.to_owned();
    results.loads.push(Measured { system: kind.name(), load, conns, round, result, server_cpu_us_per_op: cpu });
}

#[expect(clippy::cast_precision_loss, reason = "a count of operations")]
fn per(total: f64, n: u64) -> f64 {
    total / n.max(1) as f64
}

/// Kills the leader again and again.
pub(super) fn failover(cluster: &mut Cluster, kills: u32, results: &mut Results) -> Result<(), BenchError> {
    for kill in 1..=kills {
        let ms = cluster.failover()?;
        eprintln!("  {:<8} kill {kill:>2}: next write after {ms:>6.0} ms", cluster.kind().name());
        results.failover_ms.entry(cluster.kind().name()).or_default().push(ms);
    }
    Ok(())
}

/// Exactly so many rows, as many reads, and then what each node occupies.
pub(super) fn footprint(cluster: &mut Cluster, rows: u64, results: &mut Results) -> Result<(), BenchError> {
    cluster.run(&spec("insert", 1, Length::Operations(rows), 1))?;
    if cluster.kind() != Kind::Etcd {
        cluster.run(&spec("read", 16, Length::Operations(rows), READ_KEYS))?;
    }
    process::pause(Duration::from_secs(2))?;
    let footprint = Footprint {
        rows,
        data_bytes: rows * u64::from(ROW_BYTES),
        disk_bytes: cluster.disk_bytes(),
        rss_bytes: cluster.rss_bytes(),
    };
    let mib = |bytes: &[u64]| bytes.iter().map(|b| format!("{}", b >> 20)).collect::<Vec<_>>().join(" ");
    eprintln!(
        "  {:<8} after {rows} rows: disk {} MiB, memory {} MiB",
        cluster.kind().name(),
        mib(&footprint.disk_bytes),
        mib(&footprint.rss_bytes)
    );
    results.footprint.insert(cluster.kind().name(), footprint);
    Ok(())
}

/// A large database: updates all over it while checkpoints run, then kill -9 of everybody.
pub(super) fn large(cluster: &mut Cluster, effort: Effort, results: &mut Results) -> Result<(), BenchError> {
    let load = cluster.load_on_leader()?;
    let updates =
        |rows| LoopSpec { size: PAGE_ROW_BYTES, ..spec("update", 4, Length::Seconds(effort.large_secs), rows) };
    let patience = Duration::from_mins(10);
    let (small_rows, _) = load.fill(DATABASE, 16 << 20, PAGE_ROW_BYTES, patience)?;
    let (control, _) = cluster.run(&updates(small_rows))?;
    eprintln!("  bowline  16 MiB: updates {:.0}/s, longest {:.1} ms", control.per_second, control.max_ms);
    let (more_rows, fill_seconds) = load.fill(DATABASE, effort.large_bytes, PAGE_ROW_BYTES, patience)?;
    eprintln!("  bowline  {} MiB filled in {fill_seconds:.1} s", effort.large_bytes >> 20);
    let dir = cluster.leader_dir()?;
    let (loop_result, checkpoints_seen) =
        watching(&dir, effort.large_bytes / 2, || cluster.run(&updates(small_rows + more_rows)))?;
    let (load_result, _) = loop_result;
    eprintln!(
        "  bowline  {} MiB: updates {:.0}/s, longest {:.1} ms, longest gap {:.1} ms, {checkpoints_seen} checkpoints",
        effort.large_bytes >> 20,
        load_result.per_second,
        load_result.max_ms,
        load_result.gap_max_ms,
    );
    let (disk_bytes, rss_bytes) = (cluster.disk_bytes(), cluster.rss_bytes());
    let (restart_write_ms, restart_read_ms) = cluster.restart_all()?;
    eprintln!(
        "  bowline  all killed and started: write after {restart_write_ms:.0} ms, read after {restart_read_ms:.0} ms"
    );
    results.large = Some(Large {
        data_bytes: effort.large_bytes,
        fill_seconds,
        checkpoints_seen,
        load: load_result,
        control,
        restart_write_ms,
        restart_read_ms,
        disk_bytes,
        rss_bytes,
    });
    Ok(())
}

/// Does something and counts how often a checkpoint of a database of at least so many bytes became visible below `dir`
/// meanwhile: each one ends with a new meta file.
fn watching<T>(
    dir: &Path,
    bytes_min: u64,
    action: impl FnOnce() -> Result<T, BenchError>,
) -> Result<(T, u32), BenchError> {
    let over = AtomicBool::new(false);
    let seen = AtomicU32::new(0);
    let outcome = std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut before = meta_times(dir, bytes_min);
            while !over.load(Ordering::Relaxed) && check_interrupted().is_ok() {
                std::thread::sleep(Duration::from_millis(100));
                let after = meta_times(dir, bytes_min);
                let changed = after.iter().filter(|(path, time)| before.get(*path) != Some(*time)).count();
                seen.fetch_add(u32::try_from(changed).unwrap_or(u32::MAX), Ordering::Relaxed);
                before = after;
            }
        });
        let outcome = action();
        over.store(true, Ordering::Relaxed);
        outcome
    })?;
    Ok((outcome, seen.into_inner()))
}

fn meta_times(dir: &Path, bytes_min: u64) -> BTreeMap<PathBuf, SystemTime> {
    let mut times = BTreeMap::new();
    let Ok(entries) = std::fs::read_dir(dir) else { return times };
    for entry in entries.flatten() {
        let path = entry.path();
        let Ok(meta) = entry.metadata() else { continue };
        if meta.is_dir() {
            times.extend(meta_times(&path, bytes_min));
        } else if bowline::is_checkpoint_meta(&path, bytes_min)
            && let Ok(time) = meta.modified()
        {
            times.insert(path, time);
        }
    }
    times
}

/// A local SQLite: inserts, then reads, in one process on one connection.
pub(super) fn sqlite(
    tools: &Tools,
    base: &Path,
    effort: Effort,
    round: u32,
    results: &mut Results,
) -> Result<(), BenchError> {
    let file = base.join("local.db");
    for load in ["insert", "read"] {
        let mut command = process::command(&tools.sqlite_local);
        command.arg(load).arg(&file).arg(effort.secs.to_string());
        let printed = process::call("sqlite_local", command, PATIENCE + Duration::from_secs_f64(effort.secs))?;
        keep(results, Kind::Sqlite, load, 1, round, answer("sqlite_local", &printed)?, 0.0);
    }
    Ok(())
}

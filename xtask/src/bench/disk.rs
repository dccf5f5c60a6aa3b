//! What the disk can do: the floor under every durable write.

use super::build::target_dir;
use super::error::BenchError;
use super::machine;
use super::process::check_interrupted;
use super::results::{DiskRow, quantile};
use super::{DiskArgs, cluster, report};
use std::fs::File;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::time::{Duration, Instant};

const BLOCK: usize = 4096;
const BLOCKS: u64 = 2048;

/// One way of making 4 KiB durable.
#[derive(Clone, Copy)]
enum Way {
    /// Grow the file, then fdatasync.
    Append,
    /// Overwrite what is there, then fdatasync.
    Overwrite,
    /// Overwrite through O_DSYNC.
    Dsync,
    /// Overwrite through O_DIRECT and O_DSYNC, as dqlite writes its log.
    DirectDsync,
}

const WAYS: [(Way, &str); 4] = [
    (Way::Append, "append 4 KiB + fdatasync"),
    (Way::Overwrite, "overwrite 4 KiB + fdatasync"),
    (Way::Dsync, "overwrite 4 KiB O_DSYNC"),
    (Way::DirectDsync, "overwrite 4 KiB O_DIRECT|O_DSYNC"),
];

/// `cargo xtask bench disk`.
pub(super) fn run(args: &DiskArgs) -> Result<(), BenchError> {
    let base = args.dir.clone().unwrap_or_else(target_dir).join("bench-disk");
    let dir = cluster::fresh(&base, "files")?;
    machine::require_disk(&dir)?;
    let rows = measure(&dir, args.secs)?;
    report::disk_table(&rows);
    println!("{}", serde_json::json!({ "disk": rows }));
    std::fs::remove_dir_all(&base).map_err(BenchError::io(&base))
}

/// Measures each way for some seconds.
pub(super) fn measure(dir: &Path, secs: f64) -> Result<Vec<DiskRow>, BenchError> {
    WAYS.iter().map(|(way, name)| measure_way(dir, *way, name, secs)).collect()
}

fn measure_way(dir: &Path, way: Way, name: &'static str, secs: f64) -> Result<DiskRow, BenchError> {
    let path = dir.join("disk-baseline");
    // O_DIRECT wants memory aligned to the block; a vector of two blocks holds an aligned one.
    let memory = vec![7_u8; 2 * BLOCK];
    let from = memory.as_ptr().align_offset(BLOCK);
    let block = memory.get(from..from + BLOCK).unwrap_or_default();
    let flags = match way {
        Way::Append | Way::Overwrite => 0,
        Way::Dsync => libc::O_DSYNC,
        Way::DirectDsync => libc::O_DSYNC | libc::O_DIRECT,
    };
    let growing = matches!(way, Way::Append);
    let prepare = File::create(&path).map_err(BenchError::io(&path))?;
    if !growing {
        for i in 0..BLOCKS {
            prepare.write_all_at(block, i * BLOCK as u64).map_err(BenchError::io(&path))?;
        }
    }
    prepare.sync_all().map_err(BenchError::io(&path))?;
    let file = File::options().write(true).custom_flags(flags).open(&path).map_err(BenchError::io(&path))?;
    let mut took = Vec::new();
    let begin = Instant::now();
    let length = Duration::from_secs_f64(secs);
    let mut i = 0_u64;
    while begin.elapsed() < length {
        check_interrupted()?;
        let at = Instant::now();
        let place = if growing { i } else { i % BLOCKS };
        file.write_all_at(block, place * BLOCK as u64).map_err(BenchError::io(&path))?;
        if flags == 0 {
            file.sync_data().map_err(BenchError::io(&path))?;
        }
        took.push(at.elapsed().as_secs_f64() * 1000.0);
        i += 1;
    }
    let elapsed = begin.elapsed().as_secs_f64();
    std::fs::remove_file(&path).map_err(BenchError::io(&path))?;
    #[expect(clippy::cast_precision_loss, reason = "a count of writes")]
    let per_second = took.len() as f64 / elapsed;
    let at = |share| quantile(took.clone(), share).unwrap_or_default();
    Ok(DiskRow { way: name, per_second, p50_ms: at(0.5), p99_ms: at(0.99), max_ms: at(1.0) })
}

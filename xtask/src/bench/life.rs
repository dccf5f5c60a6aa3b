//! `cargo xtask bench cluster`: what the life of a cluster costs its users. Writes while a leader stops or is killed, joins, stops, and what a
//! cluster does that has nothing to do.

use super::ClusterArgs;
use super::bowline::Bowline;
use super::build::{Tools, target_dir};
use super::cluster::{Cluster, Joins, PATIENCE, fresh};
use super::error::BenchError;
use super::machine::{Machine, require_disk};
use super::process;
use super::results::{median, quantile};
use serde_json::{Value, json};
use std::path::Path;
use std::time::Duration;

/// How long a cluster rests before it counts as idle: what was written has then been carried everywhere.
const REST: Duration = Duration::from_secs(20);

/// How much is done.
struct Effort {
    moves: u32,
    kills: u32,
    joins: u32,
    idle: Duration,
}

#[derive(Default)]
struct Life {
    move_gap_ms: Vec<f64>,
    stop_ms: Vec<f64>,
    kill_gap_ms: Vec<f64>,
    join_ms: Vec<f64>,
    idle: Option<Idle>,
}

/// What a cluster of three did in a minute without anything to do.
pub(super) struct Idle {
    /// Resident memory of the largest member, in bytes.
    pub(super) rss_bytes: u64,
    /// Processor time of the busiest member, in percent of one core.
    pub(super) cpu_percent: f64,
    /// Bytes that all members together gave to the disk.
    pub(super) written_bytes: u64,
    /// How long that was.
    pub(super) length: Duration,
}

/// Runs the bench and prints its table and its JSON line.
pub(super) fn run(args: &ClusterArgs) -> Result<(), BenchError> {
    process::listen_for_interrupts()?;
    let choose = |full, quick| if args.quick { quick } else { full };
    let effort = Effort {
        moves: choose(20, 3),
        kills: choose(20, 3),
        joins: choose(20, 3),
        idle: Duration::from_secs(choose(60, 10).into()),
    };
    let parent = args.dir.clone().unwrap_or_else(target_dir);
    let base = fresh(&parent, &format!("bench-{}", std::process::id()))?;
    require_disk(&base)?;
    eprintln!("building ...");
    let tools = Tools::for_bowline(args.bowline.clone())?;
    let machine = Machine::look(&base);
    let outcome = live(&tools, &base, &effort);
    std::fs::remove_dir_all(&base).map_err(BenchError::io(&base))?;
    print(&outcome?, &machine, args.quick);
    Ok(())
}

fn live(tools: &Tools, base: &Path, effort: &Effort) -> Result<Life, BenchError> {
    let mut life = Life::default();
    let (mut cluster, Joins(joins)) = Cluster::start(Box::new(Bowline::new(tools, base)?), tools)?;
    eprintln!("a member joined in {joins:.0?} ms (until the others knew of it)");
    cluster.prepare()?;
    for one in 1..=effort.moves {
        let (gap, stop) = cluster.planned_move()?;
        eprintln!("  stop {one}: no write for {gap:.0} ms, down in {stop:.0} ms");
        life.move_gap_ms.push(gap);
        life.stop_ms.push(stop);
    }
    for one in 1..=effort.kills {
        let gap = cluster.failover()?;
        eprintln!("  kill {one}: the next write after {gap:.0} ms");
        life.kill_gap_ms.push(gap);
    }
    for one in 1..=effort.joins {
        let took = cluster.rejoin()?;
        eprintln!("  join {one}: {took:.0} ms");
        life.join_ms.push(took);
    }
    eprintln!("  idle for {} s", effort.idle.as_secs());
    cluster.await_leader(PATIENCE)?;
    process::pause(REST)?;
    life.idle = Some(cluster.idle(effort.idle)?);
    Ok(life)
}

/// A figure, its goal in words, and whether it was met.
struct Figure {
    key: &'static str,
    value: Option<f64>,
    median: Option<f64>,
    aim: &'static str,
    most: f64,
}

fn print(life: &Life, machine: &Machine, quick: bool) {
    const MIB: f64 = (1 << 20) as f64;
    let of = |key, values: &[f64], aim, most| Figure {
        key,
        value: quantile(values.to_vec(), 0.99),
        median: median(values.to_vec()),
        aim,
        most,
    };
    let idle = |key, value: fn(&Idle) -> f64, aim, most| Figure {
        key,
        value: life.idle.as_ref().map(value),
        median: None,
        aim,
        most,
    };
    #[expect(clippy::cast_precision_loss, reason = "a number of bytes")]
    let figures = [
        of("planned_move_gap_p99_ms", &life.move_gap_ms, "under 200", 200.0),
        of("kill_gap_p99_ms", &life.kill_gap_ms, "under 1000", 1000.0),
        of("join_p99_ms", &life.join_ms, "under 10000", 10_000.0),
        of("stop_p99_ms", &life.stop_ms, "under 10000", 10_000.0),
        idle("idle_rss_mib", |idle| idle.rss_bytes as f64 / MIB, "under 150", 150.0),
        idle("idle_cpu_percent", |idle| idle.cpu_percent, "under 1", 1.0),
        idle("idle_writes_60s", |idle| idle.written_bytes as f64 * 60.0 / idle.length.as_secs_f64(), "0 bytes", 0.5),
    ];
    eprintln!("\n{:<28} {:>10} {:>10}   goal", "figure", "measured", "median");
    let digits = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), |value| format!("{value:.2}"));
    for Figure { key, value, median, aim, most } in &figures {
        let mark = value.map_or("not measured", |value| if value < *most { "met" } else { "NOT MET" });
        eprintln!("{key:<28} {:>10} {:>10}   {aim:<20} {mark}", digits(*value), digits(*median));
    }
    let mut answer: serde_json::Map<String, Value> = figures
        .iter()
        .map(|figure| {
            (figure.key.to_owned(), figure.value.map_or(Value::Null, |v| json!((v * 1000.0).round() / 1000.0)))
        })
        .collect();
    answer.insert("quick".to_owned(), json!(quick));
    answer.insert("machine".to_owned(), json!(machine));
    let raw = json!({
        "move_gap_ms": life.move_gap_ms,
        "stop_ms": life.stop_ms,
        "kill_gap_ms": life.kill_gap_ms,
        "join_ms": life.join_ms,
    });
    answer.insert("raw".to_owned(), raw);
    println!("{}", Value::Object(answer));
}

//! The table for people, and the JSON line for everybody else.

use super::Kind;
use super::parts::CONNS;
use super::results::{DiskRow, Loop, Results, median, quantile};
use serde_json::{Value, json};

/// A figure with a goal.
struct Goal {
    key: &'static str,
    value: Option<f64>,
    /// The goal in words.
    aim: &'static str,
    met: fn(f64) -> bool,
}

/// Prints what the disk can do.
pub(super) fn disk_table(rows: &[DiskRow]) {
    for row in rows {
        eprintln!(
            "  {:<34} {:>9.0}/s  p50 {:>7.3}  p99 {:>7.3}  max {:>7.1} ms",
            row.way, row.per_second, row.p50_ms, row.p99_ms, row.max_ms
        );
    }
}

/// Prints the table to standard error, and then the one JSON line to standard output.
pub(super) fn print(results: &Results) {
    let goals = goals(results);
    table(results);
    eprintln!("\n{:<28} {:>10}   goal", "figure", "measured");
    for goal in &goals {
        let mark = match goal.value {
            Some(value) if (goal.met)(value) => "met",
            Some(_) => "NOT MET",
            None => "not measured",
        };
        let value = goal.value.map_or_else(|| "-".to_owned(), |v| format!("{v:.2}"));
        eprintln!("{:<28} {value:>10}   {:<44} {mark}", goal.key, goal.aim);
    }
    println!("{}", json_line(results, &goals));
}

fn json_line(results: &Results, goals: &[Goal]) -> Value {
    let mut line = serde_json::Map::new();
    for goal in goals {
        line.insert(goal.key.to_owned(), goal.value.map_or(Value::Null, |v| json!(round(v))));
    }
    let met = goals.iter().filter_map(|g| g.value.map(|v| (g.key.to_owned(), json!((g.met)(v))))).collect();
    line.insert("goals_met".to_owned(), Value::Object(met));
    line.insert("raw".to_owned(), json!(results));
    Value::Object(line)
}

/// Three digits after the point say all that a measurement knows.
fn round(value: f64) -> f64 {
    (value * 1000.0).round() / 1000.0
}

fn goals(results: &Results) -> Vec<Goal> {
    let ratio = |a: Option<f64>, b: Option<f64>| Some(a? / b?);
    let versus = |load, conns, peer| results.ratio((Kind::Bowline, load), (peer, load), conns);
    let failovers = results.failover_ms.get("bowline").cloned().unwrap_or_default();
    let joins = results.join_ms.get("bowline third").cloned().unwrap_or_default();
    let footprint = |kind: Kind| results.footprint.get(kind.name());
    let rss = |kind| footprint(kind).and_then(|f| mean(&f.rss_bytes));
    let large = results.large.as_ref();
    let full_size = large.filter(|l| l.data_bytes >= 1 << 30);
    vec![
        Goal {
            key: "insert_1_vs_dqlite",
            value: versus("insert", 1, Kind::Dqlite),
            aim: "at least 2",
            met: |v| v >= 2.0,
        },
        Goal {
            key: "insert_16_vs_dqlite",
            value: versus("insert", 16, Kind::Dqlite),
            aim: "at least 10",
            met: |v| v >= 10.0,
        },
        Goal {
            key: "insert_64_vs_dqlite",
            value: versus("insert", 64, Kind::Dqlite),
            aim: "at least 50",
            met: |v| v >= 50.0,
        },
        Goal { key: "insert_16_vs_etcd", value: versus("insert", 16, Kind::Etcd), aim: "above 1", met: |v| v > 1.0 },
        Goal {
            key: "insert_64_vs_etcd",
            value: versus("insert", 64, Kind::Etcd),
            aim: "at least 2",
            met: |v| v >= 2.0,
        },
        Goal {
            key: "insert_1_p50_ms",
            value: results.median(Kind::Bowline, "insert", 1, |l| l.p50_ms),
            aim: "under 0.7 where the disk allows it",
            met: |v| v < 0.7,
        },
        Goal { key: "read_1_vs_dqlite", value: versus("read", 1, Kind::Dqlite), aim: "at least 1", met: |v| v >= 1.0 },
        Goal {
            key: "read_16_vs_dqlite",
            value: versus("read", 16, Kind::Dqlite),
            aim: "at least 1",
            met: |v| v >= 1.0,
        },
        Goal {
            key: "read_64_vs_dqlite",
            value: versus("read", 64, Kind::Dqlite),
            aim: "at least 1",
            met: |v| v >= 1.0,
        },
        Goal {
            key: "read_followers_16_vs_dqlite",
            value: results.ratio((Kind::Bowline, "read followers local"), (Kind::Dqlite, "read"), 16),
            aim: "above 0: dqlite has none",
            met: |v| v > 0.0,
        },
        Goal { key: "failover_p99_ms", value: quantile(failovers, 0.99), aim: "under 1000", met: |v| v < 1000.0 },
        Goal { key: "join3_ms", value: median(joins), aim: "under 1000", met: |v| v < 1000.0 },
        Goal {
            key: "disk_per_data",
            value: footprint(Kind::Bowline).and_then(|f| Some(max(&f.disk_bytes)? / max(&[f.data_bytes])?)),
            aim: "under 10",
            met: |v| v < 10.0,
        },
        Goal {
            key: "rss_vs_dqlite",
            value: ratio(rss(Kind::Bowline), rss(Kind::Dqlite)),
            aim: "under 0.5",
            met: |v| v < 0.5,
        },
        Goal {
            key: "checkpoint_stall_max_ms",
            value: full_size.filter(|l| l.checkpoints_seen > 0).map(|l| l.load.max_ms),
            aim: "under 50, on 1 GiB",
            met: |v| v < 50.0,
        },
        Goal {
            key: "restart_1gib_ms",
            value: full_size.map(|l| l.restart_write_ms),
            aim: "under 3000",
            met: |v| v < 3000.0,
        },
    ]
}

#[expect(clippy::cast_precision_loss, reason = "sizes of files and processes, far below 2^52")]
fn max(bytes: &[u64]) -> Option<f64> {
    bytes.iter().max().map(|b| *b as f64)
}

#[expect(clippy::cast_precision_loss, reason = "sizes of files and processes, far below 2^52")]
fn mean(bytes: &[u64]) -> Option<f64> {
    (!bytes.is_empty()).then(|| bytes.iter().sum::<u64>() as f64 / bytes.len() as f64)
}

fn table(results: &Results) {
    let machine = &results.machine;
    eprintln!(
        "\n{} x {}, {} MiB, Linux {}, {}, {}, commit {}, load {}",
        machine.cores,
        machine.cpu,
        machine.memory_mib,
        machine.kernel,
        machine.file_system,
        machine.date,
        machine.commit,
        machine.load_before
    );
    disk_table(&results.disk);
    let mut loads: Vec<(&str, &str)> = Vec::new();
    for measured in &results.loads {
        if !loads.contains(&(measured.load.as_str(), measured.system)) {
            loads.push((measured.load.as_str(), measured.system));
        }
    }
    loads.sort_unstable();
    eprintln!("\n{:<28} {:<8} {:>24} {:>24} {:>24}", "per second (p50 / p99 ms)", "", "1", "16", "64");
    for (load, system) in loads {
        let cells: Vec<String> = CONNS.iter().map(|c| cell(results, load, system, *c)).collect();
        eprintln!("{load:<28} {system:<8} {}", cells.iter().map(|c| format!("{c:>24}")).collect::<Vec<_>>().join(" "));
    }
    for (what, ms) in &results.join_ms {
        eprintln!("join      {what:<16} median {:>6.0} ms of {}", median(ms.clone()).unwrap_or_default(), ms.len());
    }
    for (system, ms) in &results.failover_ms {
        let at = |share| quantile(ms.clone(), share).unwrap_or_default();
        eprintln!("failover  {system:<16} median {:>6.0} ms, worst {:>6.0} ms of {}", at(0.5), at(1.0), ms.len());
    }
    for (system, f) in &results.footprint {
        let mib = |bytes: Option<f64>| bytes.unwrap_or_default() / f64::from(1 << 20);
        let (disk, rss) = (mib(max(&f.disk_bytes)), mib(mean(&f.rss_bytes)));
        eprintln!("footprint {system:<16} {} rows: disk {disk:.1} MiB (largest), memory {rss:.1} MiB (mean)", f.rows);
    }
    for problem in &results.problems {
        eprintln!("problem   {problem}");
    }
}

fn cell(results: &Results, load: &str, system: &str, conns: u32) -> String {
    let of = |figure: fn(&Loop) -> f64| {
        let all = results.loads.iter().filter(|m| m.system == system && m.load == load && m.conns == conns);
        median(all.map(|m| figure(&m.result)).collect())
    };
    match (of(|l| l.per_second), of(|l| l.p50_ms), of(|l| l.p99_ms)) {
        (Some(rate), Some(p50), Some(p99)) => format!("{rate:.0} ({p50:.2} / {p99:.2})"),
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::machine::Machine;
    use crate::bench::results::Measured;
    use std::path::Path;

    const PROMISED: [&str; 11] = [
        "insert_1_vs_dqlite",
        "insert_16_vs_dqlite",
        "insert_64_vs_dqlite",
        "insert_64_vs_etcd",
        "read_16_vs_dqlite",
        "failover_p99_ms",
        "join3_ms",
        "disk_per_data",
        "rss_vs_dqlite",
        "checkpoint_stall_max_ms",
        "restart_1gib_ms",
    ];

    fn inserted(system: &'static str, round: u32, per_second: f64) -> Measured {
        let result = Loop { per_second, ..Loop::default() };
        Measured { system, load: "insert".to_owned(), conns: 16, round, result, server_cpu_us_per_op: 0.0 }
    }

    #[test]
    fn the_json_line_holds_every_promised_figure_and_null_for_what_was_not_measured() {
        let results = Results::new(Machine::look(Path::new("/")), true);
        let line = json_line(&results, &goals(&results));
        for key in PROMISED {
            assert_eq!(line.get(key), Some(&Value::Null), "{key}");
        }
        assert_eq!(line["goals_met"], json!({}));
    }

    #[test]
    fn a_ratio_is_the_median_of_the_ratios_within_a_round() {
        let mut results = Results::new(Machine::look(Path::new("/")), true);
        // In the second round the machine was slow for both; in the third a peer's figure is missing.
        for (round, (ours, theirs)) in [(1, (7500.0, 500.0)), (2, (1500.0, 100.0)), (4, (9000.0, 500.0))] {
            results.loads.push(inserted("bowline", round, ours));
            results.loads.push(inserted("dqlite", round, theirs));
        }
        results.loads.push(inserted("bowline", 3, 90_000.0));
        let line = json_line(&results, &goals(&results));
        assert_eq!(line["insert_16_vs_dqlite"], json!(15.0));
        assert_eq!(line["goals_met"]["insert_16_vs_dqlite"], json!(true));
        assert_eq!(line["insert_64_vs_dqlite"], Value::Null);
    }

    #[test]
    fn the_worst_of_few_failovers_counts() {
        let mut results = Results::new(Machine::look(Path::new("/")), true);
        results.failover_ms.insert("bowline", vec![300.0, 1200.0, 280.0]);
        let line = json_line(&results, &goals(&results));
        assert_eq!(line["failover_p99_ms"], json!(1200.0));
        assert_eq!(line["goals_met"]["failover_p99_ms"], json!(false));
    }
}

//! What was measured, as it goes into the JSON line.

use super::machine::Machine;
use super::{Kind, Part};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// What a load program says of one closed loop. Times are in milliseconds.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Loop {
    pub(super) n: u64,
    pub(super) seconds: f64,
    pub(super) per_second: f64,
    pub(super) p50_ms: f64,
    pub(super) p90_ms: f64,
    pub(super) p99_ms: f64,
    pub(super) max_ms: f64,
    /// The longest time in which no operation ended.
    pub(super) gap_max_ms: f64,
    pub(super) busy_retries: u64,
    pub(super) errors: u64,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) last_error: String,
    #[serde(skip_serializing)]
    pub(super) last_key: u64,
    pub(super) client_cpu_seconds: f64,
}

/// One loop, with where it ran.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Measured {
    pub(super) system: &'static str,
    /// `insert`, `read`, `read followers local`, ...
    pub(super) load: String,
    pub(super) conns: u32,
    pub(super) round: u32,
    #[serde(flatten)]
    pub(super) result: Loop,
    /// Processor time of all servers together, per operation.
    pub(super) server_cpu_us_per_op: f64,
}

/// Disk and memory of each node after equal work.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Footprint {
    pub(super) rows: u64,
    /// Bytes of the rows' values.
    pub(super) data_bytes: u64,
    pub(super) disk_bytes: Vec<u64>,
    pub(super) rss_bytes: Vec<u64>,
}

/// What became of the large database.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Large {
    pub(super) data_bytes: u64,
    pub(super) fill_seconds: f64,
    /// Times that a checkpoint became visible on the leader's disk while the load ran.
    pub(super) checkpoints_seen: u32,
    pub(super) load: Loop,
    /// The same load on a small database, so that the disk's own stalls are known.
    pub(super) control: Loop,
    pub(super) restart_write_ms: f64,
    pub(super) restart_read_ms: f64,
    pub(super) disk_bytes: Vec<u64>,
    pub(super) rss_bytes: Vec<u64>,
}

/// One way of writing to the disk.
#[derive(Debug, Clone, Serialize)]
pub(super) struct DiskRow {
    pub(super) way: &'static str,
    pub(super) per_second: f64,
    pub(super) p50_ms: f64,
    pub(super) p99_ms: f64,
    pub(super) max_ms: f64,
}

/// Everything of one run.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Results {
    pub(super) machine: Machine,
    pub(super) quick: bool,
    pub(super) disk: Vec<DiskRow>,
    pub(super) loads: Vec<Measured>,
    /// Time to join, by `system member`: from the start of its process (Bowline: of `bowline join`) to the member listed
    /// (second) or to three voters (third).
    pub(super) join_ms: BTreeMap<String, Vec<f64>>,
    pub(super) failover_ms: BTreeMap<&'static str, Vec<f64>>,
    pub(super) footprint: BTreeMap<&'static str, Footprint>,
    pub(super) large: Option<Large>,
    /// What could not be measured, and why.
    pub(super) problems: Vec<String>,
}

impl Results {
    /// Nothing measured yet.
    pub(super) fn new(machine: Machine, quick: bool) -> Self {
        Self {
            machine,
            quick,
            disk: Vec::new(),
            loads: Vec::new(),
            join_ms: BTreeMap::new(),
            failover_ms: BTreeMap::new(),
            footprint: BTreeMap::new(),
            large: None,
            problems: Vec::new(),
        }
    }

    /// Notes what could not be measured.
    pub(super) fn problem(&mut self, kind: Kind, part: Part, error: &super::error::BenchError) {
        let text = format!("{} {part:?}: {error}", kind.name()).to_lowercase();
        eprintln!("  ! {text}");
        self.problems.push(text);
    }

    /// Median over the rounds of one figure of a load, if it was measured.
    pub(super) fn median(&self, kind: Kind, load: &str, conns: u32, figure: impl Fn(&Loop) -> f64) -> Option<f64> {
        let of = self.loads.iter().filter(|m| m.system == kind.name() && m.load == load && m.conns == conns);
        median(of.map(|m| figure(&m.result)).collect())
    }

    /// How many times as many a second one did as the other: the median of the ratios within each round. A machine that others use
    /// as well is slow for minutes, and then it is slow for both.
    pub(super) fn ratio(&self, ours: (Kind, &str), theirs: (Kind, &str), conns: u32) -> Option<f64> {
        let in_round = |(kind, load): (Kind, &str), round| {
            let of = |m: &&Measured| (m.system, m.load.as_str(), m.conns, m.round) == (kind.name(), load, conns, round);
            self.loads.iter().find(of).map(|m| m.result.per_second)
        };
        let rounds: BTreeSet<u32> = self.loads.iter().map(|m| m.round).collect();
        median(rounds.into_iter().filter_map(|round| Some(in_round(ours, round)? / in_round(theirs, round)?)).collect())
    }
}

/// The middle value; of an even number, the mean of the two in the middle.
pub(super) fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let half = values.len() / 2;
    let upper = values.get(half).copied()?;
    if values.len() % 2 == 1 { Some(upper) } else { Some(f64::midpoint(*values.get(half.checked_sub(1)?)?, upper)) }
}

/// The smallest value that at least `share` of the values do not exceed.
pub(super) fn quantile(mut values: Vec<f64>, share: f64) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let last = values.len().checked_sub(1)?;
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "an index into a vector of at most a few million values"
    )]
    let rank = (share * values.len() as f64).ceil() as usize;
    values.get(rank.saturating_sub(1).min(last)).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_of_an_even_number_lies_between_the_two_in_the_middle() {
        assert_eq!(median(vec![4.0, 1.0, 3.0, 2.0]), Some(2.5));
        assert_eq!(median(vec![3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(vec![]), None);
    }

    #[test]
    fn the_99th_of_twenty_is_the_worst() {
        let values: Vec<f64> = (1..=20).map(f64::from).collect();
        assert_eq!(quantile(values.clone(), 0.99), Some(20.0));
        assert_eq!(quantile(values, 0.5), Some(10.0));
    }
}

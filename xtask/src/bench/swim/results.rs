//! What was measured of gossip groups, as it goes into the JSON line.

use super::System;
use crate::bench::error::BenchError;
use crate::bench::machine::{Machine, load};
use serde::Serialize;
use std::fmt;

/// What idle members do.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Idle {
    /// Packets that a member sends. As many come.
    pub(super) packets_per_s: f64,
    /// Their bytes, headers of IP and UDP among them.
    pub(super) bytes_per_s: f64,
    /// Processor time of a member: thousandths of a core.
    pub(super) cpu_ms_per_s: f64,
    /// Resident memory of the largest member.
    pub(super) rss_bytes: u64,
    pub(super) length_s: f64,
}

/// How a death was seen.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Death {
    /// By the first of the others.
    pub(super) first_s: Option<f64>,
    /// By all of them.
    pub(super) all_s: Option<f64>,
    /// By how many not in the time that there was.
    pub(super) unseen_by: usize,
    /// The time that there was.
    pub(super) within_s: f64,
}

impl fmt::Display for Death {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.first_s, self.all_s) {
            (Some(first), Some(all)) => write!(f, "the first saw it after {first:.2} s, all after {all:.2} s"),
            _ => write!(f, "{} of the others did not see it within {} s", self.unseen_by, self.within_s),
        }
    }
}

/// What one system did at one size.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Row {
    #[serde(serialize_with = "by_name")]
    pub(super) system: System,
    pub(super) members: usize,
    /// From the joins of all but one through that one, all at once, to a full view of all; one of each start.
    pub(super) full_view_s: Vec<f64>,
    pub(super) idle: Option<Idle>,
    pub(super) deaths: Vec<Death>,
    /// From the join of one that was killed before to a full view of all.
    pub(super) rejoin_s: Vec<f64>,
    /// How often a member was said to be gone that was running.
    pub(super) false_deaths: u32,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde has it so")]
fn by_name<S: serde::Serializer>(system: &System, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(system.name())
}

impl Row {
    /// Nothing measured yet.
    pub(super) fn new(system: System, members: usize) -> Self {
        Self {
            system,
            members,
            full_view_s: Vec::new(),
            idle: None,
            deaths: Vec::new(),
            rejoin_s: Vec::new(),
            false_deaths: 0,
        }
    }

    /// The times until all saw a death; none if there was a death that not all have seen.
    pub(super) fn all_see_death_s(&self) -> Vec<f64> {
        self.deaths.iter().map(|death| death.all_s).collect::<Option<Vec<f64>>>().unwrap_or_default()
    }

    /// Whether there was a death that not all have seen.
    pub(super) fn is_blind(&self) -> bool {
        self.deaths.iter().any(|death| death.all_s.is_none())
    }
}

/// Everything of one run.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Results {
    pub(super) machine: Machine,
    pub(super) load_after: String,
    pub(super) quick: bool,
    /// What the packets and bytes are counted by.
    pub(super) counted_by: &'static str,
    pub(super) rows: Vec<Row>,
    /// What could not be measured, and why.
    pub(super) problems: Vec<String>,
}

impl Results {
    /// Nothing measured yet.
    pub(super) fn new(machine: Machine, quick: bool, is_apart: bool) -> Self {
        let counted_by = if is_apart {
            "/proc/net/snmp and netstat of a network of the group's own, UDP and TCP"
        } else {
            "/proc/net/snmp and netstat of the machine, UDP and TCP: other programs are counted, too"
        };
        Self { machine, load_after: String::new(), quick, counted_by, rows: Vec::new(), problems: Vec::new() }
    }

    /// Notes how busy the machine was.
    pub(super) fn close(&mut self) {
        self.load_after = load();
    }

    /// Notes what could not be measured.
    pub(super) fn problem(&mut self, system: System, error: &BenchError) {
        let text = format!("{}: {error}", system.name());
        eprintln!("  ! {text}");
        self.problems.push(text);
    }

    /// One system at one size.
    pub(super) fn row(&self, system: System, members: usize) -> Option<&Row> {
        self.rows.iter().find(|row| row.system == system && row.members == members)
    }

    /// The sizes that were measured, in order, and those that are promised.
    pub(super) fn sizes(&self) -> Vec<usize> {
        let mut sizes: Vec<usize> = self.rows.iter().map(|row| row.members).chain([3, 10, 50]).collect();
        sizes.sort_unstable();
        sizes.dedup();
        sizes
    }
}

//! What a node measures and counts, in the text format of OpenMetrics, which Prometheus reads.
//!
//! Everything is gathered when it is asked for, from what the parts know anyway; nothing here is on the path of a request but the
//! counts of requests.

mod requests;
mod table;

pub(super) use requests::{Requests, count};
use table::{Kind, TABLE};

use lifecycle::Lane;
use prometheus_client::encoding::text;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use raft::{GroupState, GroupStatus, LogStats};
use rpc::{PeerView, Reach};
use std::sync::atomic::AtomicU64;
use std::time::Duration;

/// The media type of the answer.
pub(super) const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// A node at one moment.
#[derive(Debug, Clone, Default)]
pub struct Metrics {
    /// The version of the program.
    pub version: &'static str,
    /// How long the daemon has run.
    pub uptime: Duration,
    /// Whether everything serves.
    pub is_ready: bool,
    /// Whether it is a witness, once it is a member.
    pub is_witness: Option<bool>,
    /// The units by name, each with where it is.
    pub units: Vec<(&'static str, Lane)>,
    /// The other members by name.
    pub peers: Vec<(String, PeerView)>,
    /// The Raft log, while it is open.
    pub log: Option<LogStats>,
    /// The databases by name, while they are open.
    pub databases: Vec<DatabaseMetrics>,
    /// Gossip, while the node is a member of its group.
    pub gossip: Option<GossipMetrics>,
    /// How long the node's certificate is good yet, in seconds; less than nothing if it has ended.
    pub certificate_left_s: Option<i64>,
    /// The same of the CA that made it.
    pub ca_left_s: Option<i64>,
    /// The process, where the system tells.
    pub process: Option<ProcessMetrics>,
}

/// A database at one moment, as this node has it.
#[derive(Debug, Clone)]
pub struct DatabaseMetrics {
    /// Its name.
    pub name: String,
    /// Whether this node writes to it.
    pub is_leading: bool,
    /// Its group.
    pub group: GroupStatus,
    /// Its pages; a witness has none.
    pub pages: Option<sqlite::Stats>,
}

impl DatabaseMetrics {
    fn is_running(&self) -> bool {
        !matches!(self.group.state, GroupState::Failed(_) | GroupState::Suspended(_) | GroupState::Stopped)
    }
}

/// The node's member of the gossip group at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GossipMetrics {
    /// How many members it believes to have each status.
    pub members: Vec<(String, u64)>,
    /// What went over its socket.
    pub counters: gossip::Counters,
}

/// The process at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct ProcessMetrics {
    /// Memory that it has.
    pub resident_bytes: u64,
    /// Processor time that it has used, in seconds.
    pub cpu_seconds: f64,
    /// Files, sockets and the like that it holds open.
    pub open_fds: u64,
}

/// A label and its value.
type Label = (&'static str, String);
/// One line of a metric: its labels, and what was measured.
type Sample = (Vec<Label>, f64);

/// The page that Prometheus reads.
pub(super) fn page(metrics: &Metrics, requests: &Requests) -> String {
    let mut registry = Registry::default();
    for metric in TABLE {
        let samples = (metric.samples)(metrics, requests);
        match (metric.kind, samples.as_slice()) {
            (_, []) => {}
            (Kind::Gauge, [(labels, value)]) if labels.is_empty() => {
                let gauge = Gauge::<f64, AtomicU64>::default();
                gauge.set(*value);
                registry.register(metric.name, metric.help, gauge);
            }
            (Kind::Counter, [(labels, value)]) if labels.is_empty() => {
                let counter = Counter::<f64, AtomicU64>::default();
                counter.inc_by(*value);
                registry.register(metric.name, metric.help, counter);
            }
            (Kind::Gauge, _) => {
                let family = Family::<Vec<Label>, Gauge<f64, AtomicU64>>::default();
                for (labels, value) in samples {
                    family.get_or_create(&labels).set(value);
                }
                registry.register(metric.name, metric.help, family);
            }
            (Kind::Counter, _) => {
                let family = Family::<Vec<Label>, Counter<f64, AtomicU64>>::default();
                for (labels, value) in samples {
                    family.get_or_create(&labels).inc_by(value);
                }
                registry.register(metric.name, metric.help, family);
            }
        }
    }
    let mut page = String::new();
    match text::encode(&mut page, &registry) {
        Ok(()) => page,
        // Memory takes all that is written to it.
        Err(std::fmt::Error) => String::new(),
    }
}

fn is_up(view: &PeerView) -> bool {
    view.reach == Reach::Up
}

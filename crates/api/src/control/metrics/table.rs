//! Every metric: its name, what it means, and where its numbers come from.

use super::{DatabaseMetrics, Label, Metrics, Requests, Sample, is_up};
use lifecycle::Lane;
use raft::LogStats;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// It goes up and down.
    Gauge,
    /// It only grows, from when the daemon was started. Its name is printed with `_total` behind it.
    Counter,
}

pub(super) struct Metric {
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    pub(super) help: &'static str,
    pub(super) samples: fn(&Metrics, &Requests) -> Vec<Sample>,
}

const fn gauge(name: &'static str, help: &'static str, samples: fn(&Metrics, &Requests) -> Vec<Sample>) -> Metric {
    Metric { name, kind: Kind::Gauge, help, samples }
}

const fn counter(name: &'static str, help: &'static str, samples: fn(&Metrics, &Requests) -> Vec<Sample>) -> Metric {
    Metric { name, kind: Kind::Counter, help, samples }
}

/// In the order of the page.
pub(super) const TABLE: &[Metric] = &[
    gauge("bowline_build_info", "The version that runs", |m, _| vec![(vec![("version", m.version.to_owned())], 1.0)]),
    gauge("bowline_uptime_seconds", "How long the daemon has run", |m, _| one(m.uptime.as_secs_f64())),
    gauge("bowline_ready", "Whether everything serves", |m, _| one(truth(m.is_ready))),
    gauge("bowline_witness", "Whether this member is a witness: it votes, and keeps no data", |m, _| {
        m.is_witness.iter().map(|is_witness| (vec![], truth(*is_witness))).collect()
    }),
    gauge("bowline_unit_ready", "Whether a part of the daemon serves", |m, _| {
        m.units.iter().map(|(name, lane)| (vec![("unit", (*name).to_owned())], truth(*lane == Lane::Ready))).collect()
    }),
    gauge("bowline_peer_connected", "Whether this node is connected to another member", |m, _| {
        m.peers.iter().map(|(name, view)| (peer(name), truth(is_up(view)))).collect()
    }),
    counter("bowline_peer_connections_lost", "Connections with another member that have ended", |m, _| {
        m.peers.iter().map(|(name, view)| (peer(name), count(view.lost))).collect()
    }),
    gauge("bowline_certificate_expiry_seconds", "How long the node's certificate is good yet", |m, _| {
        m.certificate_left_s.iter().map(|left| (vec![], seconds(*left))).collect()
    }),
    gauge("bowline_ca_expiry_seconds", "How long the CA is good yet that made the node's certificate", |m, _| {
        m.ca_left_s.iter().map(|left| (vec![], seconds(*left))).collect()
    }),
    gauge("bowline_raft_log_bytes", "What the Raft log takes on the disk", |m, _| log(m, |log| count(log.bytes))),
    counter("bowline_raft_log_written_bytes", "What was written to the Raft log", |m, _| {
        log(m, |log| count(log.written_bytes))
    }),
    counter("bowline_raft_log_syncs", "How often the disk was told to keep what was written", |m, _| {
        log(m, |log| count(log.syncs))
    }),
    counter(
        "bowline_raft_log_sync_seconds",
        "How long the disk took to keep what was written, taken together",
        |m, _| log(m, |log| log.sync_time.as_secs_f64()),
    ),
    gauge("bowline_database_up", "Whether the database's Raft group runs here", |m, _| {
        each(m, |d| Some(truth(d.is_running())))
    }),
    gauge("bowline_database_leader", "Whether this node leads the database", |m, _| {
        each(m, |d| Some(truth(d.is_leading)))
    }),
    gauge("bowline_database_quarantined", "Whether the copy here has no vote, for its log was damaged", |m, _| {
        each(m, |d| Some(truth(d.group.is_quarantined)))
    }),
    gauge("bowline_database_bytes", "The size of the database", |m, _| {
        pages(m, |p| u64::from(p.pages) * sqlite::PAGE_SIZE as u64)
    }),
    gauge("bowline_database_version", "The newest version that is committed here; each commit makes one", |m, _| {
        pages(m, |p| p.committed.0)
    }),
    gauge("bowline_database_term", "The Raft term: it grows with each election", |m, _| {
        each(m, |d| Some(count(d.group.term.0)))
    }),
    gauge("bowline_database_committed_index", "The last entry of the Raft log known to be committed", |m, _| {
        each(m, |d| d.group.committed.map(|index| count(index.0)))
    }),
    gauge("bowline_database_applied_index", "The last entry of the Raft log that was applied here", |m, _| {
        each(m, |d| d.group.applied.map(|applied| count(applied.index.0)))
    }),
    gauge("bowline_database_log_bytes", "What the database's entries take in the Raft log", |m, _| {
        each(m, |d| Some(count(d.group.log_bytes)))
    }),
    gauge("bowline_database_dirty_bytes", "Pages in memory that the next checkpoint writes", |m, _| {
        pages(m, |p| p.overlay_bytes)
    }),
    gauge(
        "bowline_database_old_versions_bytes",
        "Pages in memory that are kept for readers of old versions",
        |m, _| pages(m, |p| p.old_versions_bytes),
    ),
    gauge("bowline_database_cache_bytes", "Pages in memory that are on the disk as well", |m, _| {
        pages(m, |p| p.cache_bytes)
    }),
    gauge("bowline_database_readers", "Versions that queries and transactions hold", |m, _| {
        pages(m, |p| p.pins as u64)
    }),
    counter("bowline_database_corrupt_pages", "Pages that the disk did not give back as they were written", |m, _| {
        pages(m, |p| p.corrupt_pages)
    }),
    gauge("bowline_gossip_members", "How many members have this status, as this node believes", |m, _| {
        let members = m.gossip.iter().flat_map(|gossip| &gossip.members);
        members.map(|(status, number)| (vec![("status", status.clone())], count(*number))).collect()
    }),
    gauge(
        "bowline_gossip_health_score",
        "How far this node distrusts its own judgement: 0 not at all, 7 entirely",
        |m, _| gossip(m, |counters| counters.health_score),
    ),
    counter("bowline_gossip_sent_packets", "Gossip packets that were sent", |m, _| gossip(m, |counters| counters.sent)),
    counter("bowline_gossip_sent_bytes", "The bytes of the gossip packets that were sent", |m, _| {
        gossip(m, |counters| counters.sent_bytes)
    }),
    counter("bowline_gossip_unsent_packets", "Gossip packets that the network did not take", |m, _| {
        gossip(m, |counters| counters.unsent)
    }),
    counter("bowline_gossip_received_packets", "Gossip packets that came", |m, _| {
        gossip(m, |counters| counters.received)
    }),
    counter("bowline_gossip_received_bytes", "The bytes of the gossip packets that came", |m, _| {
        gossip(m, |counters| counters.received_bytes)
    }),
    counter("bowline_gossip_refused_packets", "Packets that came and were none of this cluster's gossip", |m, _| {
        gossip(m, |counters| counters.refused)
    }),
    counter("bowline_http_requests", "Requests to the control API that were answered", |_, r| {
        r.samples(|counted| count(counted.requests))
    }),
    counter(
        "bowline_http_request_seconds",
        "How long requests took until their answers began, taken together",
        |_, r| r.samples(|counted| counted.time.as_secs_f64()),
    ),
    gauge("process_resident_memory_bytes", "The memory that the process has", |m, _| {
        m.process.iter().map(|p| (vec![], count(p.resident_bytes))).collect()
    }),
    counter("process_cpu_seconds", "The processor time that the process has used", |m, _| {
        m.process.iter().map(|p| (vec![], p.cpu_seconds)).collect()
    }),
    gauge("process_open_fds", "Files, sockets and the like that the process holds open", |m, _| {
        m.process.iter().map(|p| (vec![], count(p.open_fds))).collect()
    }),
];

fn one(value: f64) -> Vec<Sample> {
    vec![(vec![], value)]
}

fn truth(is_so: bool) -> f64 {
    if is_so { 1.0 } else { 0.0 }
}

#[expect(clippy::cast_precision_loss, reason = "the format has nothing else, and 2^53 of anything is far away")]
fn count(number: u64) -> f64 {
    number as f64
}

#[expect(clippy::cast_precision_loss, reason = "as above")]
fn seconds(number: i64) -> f64 {
    number as f64
}

fn peer(name: &str) -> Vec<Label> {
    vec![("peer", name.to_owned())]
}

fn log(metrics: &Metrics, value: fn(&LogStats) -> f64) -> Vec<Sample> {
    metrics.log.iter().map(|log| (vec![], value(log))).collect()
}

fn gossip(metrics: &Metrics, value: fn(&gossip::Counters) -> u64) -> Vec<Sample> {
    metrics.gossip.iter().map(|gossip| (vec![], count(value(&gossip.counters)))).collect()
}

fn pages(metrics: &Metrics, value: fn(&sqlite::Stats) -> u64) -> Vec<Sample> {
    let held = metrics.databases.iter().filter_map(|d| Some((d.name.clone(), d.pages.as_ref()?)));
    held.map(|(name, pages)| (vec![("database", name)], count(value(pages)))).collect()
}

fn each(metrics: &Metrics, value: fn(&DatabaseMetrics) -> Option<f64>) -> Vec<Sample> {
    let databases = metrics.databases.iter();
    databases.filter_map(|d| Some((vec![("database", d.name.clone())], value(d)?))).collect()
}

#[cfg(test)]
mod tests {
    use super::super::{ProcessMetrics, page};
    use super::*;
    use std::fmt::Write;
    use std::time::Duration;

    #[test]
    fn the_guide_has_every_metric() {
        let mut table = "| name | kind | meaning |\n|---|---|---|\n".to_owned();
        for metric in TABLE {
            let (suffix, kind) = match metric.kind {
                Kind::Gauge => ("", "gauge"),
                Kind::Counter => ("_total", "counter"),
            };
            let (name, help) = (metric.name, metric.help);
            writeln!(table, "| `{name}{suffix}` | {kind} | {help} |").unwrap();
        }
        let page = include_str!("../../../../../docs/guide/reference/metrics.md");
        assert!(page.contains(&table), "docs/guide/reference/metrics.md needs this table:\n{table}");
    }

    #[test]
    fn a_page_has_help_and_type_and_escapes_what_stands_in_labels() {
        let metrics = Metrics {
            version: "1.2.3",
            uptime: Duration::from_millis(1500),
            units: vec![("raft", Lane::Ready)],
            peers: vec![("box \"2\"\n".to_owned(), rpc::PeerView { lost: 3, ..Default::default() })],
            log: Some(LogStats { bytes: 4, written_bytes: 5, syncs: 6, sync_time: Duration::from_millis(7) }),
            process: Some(ProcessMetrics { resident_bytes: 8, cpu_seconds: 0.25, open_fds: 9 }),
            ..Metrics::default()
        };
        let requests = Requests::default();
        requests.answered("GET", "/v1/status", 200, Duration::from_millis(250));
        requests.answered("GET", "/v1/status", 200, Duration::from_millis(250));
        insta::assert_snapshot!(page(&metrics, &requests));
    }
}

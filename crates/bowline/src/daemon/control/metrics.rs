//! What the node and its parts measure.

use super::Node;
use api::control::metrics::{DatabaseMetrics, Metrics, ProcessMetrics};

pub(super) async fn gather(node: &Node) -> Metrics {
    let names = node.names().await;
    let units = node.units();
    let units = units.as_deref();
    let mesh = units.and_then(|units| units.network.get()).map(|network| network.mesh.clone());
    let name = |id| names.get(&id).cloned().unwrap_or_else(|| id.to_string());
    let peers = mesh.iter().flat_map(|mesh| {
        mesh.peers().into_iter().filter(|id| *id != mesh.node()).map(|id| (name(id), mesh.watch(id).borrow().clone()))
    });
    let store = units.and_then(|units| units.store.get());
    let databases = store.as_ref().map(|store| store.databases()).unwrap_or_default();
    let witnessed = store.as_ref().map(|store| store.witnessed()).unwrap_or_default();
    let (certificate_left_s, ca_left_s) = super::certificates::left_s(node);
    Metrics {
        gossip: super::members::metrics(node),
        certificate_left_s,
        ca_left_s,
        version: env!("CARGO_PKG_VERSION"),
        uptime: node.uptime(),
        is_witness: units.map(|units| units.record.witness),
        is_ready: api::control::Control::ready(node).is_ready(),
        units: node.lanes().into_iter().map(|unit| (unit.name, unit.lane)).collect(),
        peers: peers.collect(),
        log: units.and_then(|units| units.raft.get()).map(|raft| raft.log_stats()),
        databases: databases
            .iter()
            .map(|database| DatabaseMetrics {
                name: database.name().to_string(),
                is_leading: database.leadership().borrow().leading.is_some(),
                group: database.group().watch().borrow().clone(),
                pages: Some(database.pages().stats()),
            })
            .chain(witnessed.iter().map(|witnessed| DatabaseMetrics {
                name: witnessed.name().to_string(),
                is_leading: false,
                group: witnessed.group().watch().borrow().clone(),
                pages: None,
            }))
            .collect(),
        process: process(),
    }
}

/// What the kernel says of this process; nothing where there is no `/proc`.
fn process() -> Option<ProcessMetrics> {
    let read = |path: &str| String::from_utf8(rt::fs::read(path.as_ref()).ok()?).ok();
    // The name of the process stands in parentheses, and may hold spaces and parentheses itself.
    let stat = read("/proc/self/stat")?;
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_ascii_whitespace().collect();
    // Counted from the third field of proc(5): utime is the 14th, stime the 15th, rss the 24th.
    let field = |number: usize| fields.get(number - 3)?.parse::<u32>().ok();
    let ticks = f64::from(field(14)?) + f64::from(field(15)?);
    Some(ProcessMetrics {
        resident_bytes: u64::from(field(24)?) * rustix::param::page_size() as u64,
        cpu_seconds: ticks / f64::from(u32::try_from(rustix::param::clock_ticks_per_second()).ok()?),
        open_fds: rt::fs::list("/proc/self/fd".as_ref()).ok()?.len() as u64,
    })
}

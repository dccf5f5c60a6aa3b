//! Three hosts in a simulated world: crashes, power cuts, partitions, full and failing disks, pauses and drift, by seed.
//!
//! What is checked: what was acknowledged is in every node's list at its place, for ever; a linearizable read, on any node, by
//! lease or by index, sees all that was acknowledged or read before it began; after the faults the group goes on.

use crate::toy::{Peek, Toy};
use base::{GroupId, NodeId};
use bytes::Bytes;
use lifecycle::Scope;
use raft::{Group, GroupOptions, HostConfig, LogLimits, RaftHost};
use rpc::{Handlers, Identity, Mesh, Service};
use rt::sim::{Dice, Disk, DiskProfile, Node, Points, Trace};
use rt::time::Instant;
use std::sync::{Arc, Mutex};
use std::time::Duration;

const NODES: [u64; 3] = [1, 2, 3];

#[derive(Default)]
struct Board {
    /// What was acknowledged, at its place.
    acked: Vec<(usize, Bytes)>,
    /// How long a list was seen, acknowledged or read, at least.
    seen: usize,
    reads_by_lease: u64,
    reads_by_index: u64,
    broken: Option<String>,
    /// The list of each node, shared while it runs.
    lists: [Option<Peek>; 3],
}

type Shared = Arc<Mutex<Board>>;

fn name(n: u64) -> String {
    format!("n{n}")
}

fn limits() -> LogLimits {
    LogLimits {
        segment_bytes: 1 << 14,
        soft_bytes: 1 << 15,
        hard_bytes: 1 << 20,
        cache_bytes: 1 << 12,
        keep_bytes: 1 << 12,
    }
}

async fn open(n: u64, scope: &Scope, board: &Shared) -> Option<(RaftHost, Group, Peek)> {
    let mesh = Mesh::new(Identity::Plain { node: NodeId(n) }, scope).ok()?;
    let listener = rt::net::Listener::bind("0.0.0.0:7440").await.ok()?;
    rt::fs::create_dir_all(std::path::Path::new("/data")).ok()?;
    let config = HostConfig { limits: limits(), ..HostConfig::new(NodeId(n), "/data/raft") };
    let host = match RaftHost::open(config, Arc::clone(&mesh), scope).await {
        Ok(host) => host,
        Err(error @ (raft::OpenError::Corrupt { .. } | raft::OpenError::Behind { .. })) => {
            board.lock().unwrap().broken = Some(format!("node {n}: {error}"));
            return None;
        }
        Err(_) => return None,
    };
    mesh.serve(listener, Handlers::new().with(Service::Raft, host.handler()));
    let peek = Peek::default();
    let toy = Toy::open("/data/toy".into(), peek.clone());
    let group = match host.open_group(GroupId::SYS, Box::new(toy), GroupOptions::default()).await {
        Ok(group) => group,
        Err(error @ (raft::OpenError::LogLost { .. } | raft::OpenError::Behind { .. })) => {
            board.lock().unwrap().broken = Some(format!("node {n}: {error}"));
            return None;
        }
        Err(_) => return None,
    };
    Some((host, group, peek))
}

async fn live(n: u64, run: u64, board: Shared) {
    let (_host, group, peek, _scope) = loop {
        let scope = Scope::new(&name(n));
        if let Some((host, group, peek)) = open(n, &scope, &board).await {
            break (host, group, peek, scope);
        }
        scope.stop(Duration::from_secs(1)).await;
        rt::time::sleep(Duration::from_millis(200)).await;
    };
    board.lock().unwrap().lists[usize::try_from(n - 1).unwrap()] = Some(peek.clone());
    if n == 1 && run == 0 {
        let members = NODES.iter().map(|m| (NodeId(*m), format!("{}:7440", name(*m)))).collect();
        drop(group.initialize(members).await);
    }
    let write = async {
        for i in 0.. {
            rt::time::sleep(Duration::from_millis(7)).await;
            let item = Bytes::from(format!("{n}.{run}.{i:0>200}"));
            if let Ok(Ok(proposed)) = rt::time::timeout(Duration::from_secs(2), group.propose(item.clone())).await {
                let len: usize = std::str::from_utf8(&proposed.answer).unwrap().parse().unwrap();
                let mut board = board.lock().unwrap();
                board.acked.push((len - 1, item));
                board.seen = board.seen.max(len);
            }
        }
    };
    let read = async {
        loop {
            rt::time::sleep(Duration::from_millis(5)).await;
            let floor = board.lock().unwrap().seen;
            let deadline = Instant::now() + Duration::from_secs(1);
            let (index, by_lease) = match group.lease() {
                Ok(lease) => (lease.index, true),
                Err(_) => match group.read_index(deadline).await {
                    Ok(index) => (index, false),
                    Err(_) => continue,
                },
            };
            if group.wait_applied(index, deadline).await.is_err() {
                continue;
            }
            let len = peek.items.lock().unwrap().len();
            let mut board = board.lock().unwrap();
            if len < floor {
                let how = if by_lease { "lease" } else { "index" };
                board.broken = Some(format!("node {n} read {len} items by {how} although {floor} were seen before"));
            }
            board.seen = board.seen.max(len);
            *(if by_lease { &mut board.reads_by_lease } else { &mut board.reads_by_index }) += 1;
        }
    };
    tokio::join!(write, read);
}

struct World<'a> {
    sim: turmoil::Sim<'a>,
    nodes: Vec<Node>,
    dice: Dice,
    down: Option<(usize, Duration)>,
    board: Shared,
}

impl World<'_> {
    fn new(seed: u64) -> Self {
        let mut dice = Dice::new(seed);
        let mut builder = turmoil::Builder::new();
        builder
            .rng_seed(dice.roll())
            .simulation_duration(Duration::from_mins(10))
            .tick_duration(Duration::from_millis(1))
            .min_message_latency(Duration::from_millis(0))
            .max_message_latency(Duration::from_millis(8));
        let mut sim = builder.build();
        let board = Shared::default();
        let mut nodes = Vec::new();
        for n in NODES {
            let disk = Disk::new(dice.roll());
            let node = Node::new(&name(n), n, dice.roll(), disk, Trace::default(), Points::default());
            node.set_drift(Duration::ZERO, i32::try_from(dice.below(40_000)).unwrap() - 20_000);
            nodes.push(node.clone());
            let (board, runs) = (Arc::clone(&board), Arc::new(Mutex::new(0)));
            sim.host(name(n), move || {
                let (node, board) = (node.clone(), Arc::clone(&board));
                let run = {
                    let mut r = runs.lock().unwrap();
                    *r += 1;
                    *r - 1
                };
                async move {
                    node.run("main", live(n, run, board)).await;
                    Ok(())
                }
            });
        }
        Self { sim, nodes, dice, down: None, board }
    }

    fn run_for(&mut self, time: Duration) {
        let end = self.sim.elapsed() + time;
        while self.sim.elapsed() < end {
            if let Some((n, at)) = self.down
                && self.sim.elapsed() >= at
            {
                self.down = None;
                self.nodes[n].begin_process();
                self.sim.bounce(self.nodes[n].name().to_owned());
            }
            self.sim.step().unwrap();
            let broken = self.board.lock().unwrap().broken.clone();
            assert_eq!(broken, None);
            self.check();
        }
    }

    /// What was acknowledged is at its place wherever the list is that long.
    fn check(&self) {
        let board = self.board.lock().unwrap();
        let Some((at, item)) = board.acked.last() else { return };
        for list in board.lists.iter().flatten() {
            if let Some(found) = list.items.lock().unwrap().get(*at) {
                assert_eq!(found, item, "acknowledged at {at}");
            }
        }
    }

    fn fault(&mut self) {
        let n = usize::try_from(self.dice.below(3)).unwrap();
        let (a, b) = (self.nodes[n].name().to_owned(), self.nodes[(n + 1) % 3].name().to_owned());
        match self.dice.below(9) {
            0 | 1 if self.down.is_none() => {
                let is_power_cut = self.dice.chance(1, 2);
                if is_power_cut {
                    self.nodes[n].disk().power_cut();
                }
                self.nodes[n].kill();
                self.sim.crash(a);
                let away = self.dice.between(Duration::from_millis(50), Duration::from_millis(1500));
                self.down = Some((n, self.sim.elapsed() + away));
            }
            2 => self.sim.partition(a, b),
            3 => self.sim.partition_oneway(a, b),
            4 => self.nodes[n].disk().set_profile(DiskProfile { quota: 1, ..DiskProfile::default() }),
            5 => self.nodes[n].disk().set_profile(DiskProfile { eio_write_ppm: 20_000, ..DiskProfile::default() }),
            6 => self.nodes[n].disk().set_profile(DiskProfile {
                sync_latency: (Duration::from_millis(1), Duration::from_millis(120)),
                ..DiskProfile::default()
            }),
            7 => {
                let pause = self.dice.between(Duration::from_millis(50), Duration::from_millis(900));
                self.nodes[n].pause(self.sim.elapsed() + pause);
            }
            _ => self.heal(),
        }
    }

    fn heal(&mut self) {
        for n in 0..3 {
            let (a, b) = (self.nodes[n].name().to_owned(), self.nodes[(n + 1) % 3].name().to_owned());
            self.sim.repair(a, b);
            self.nodes[n].disk().set_profile(DiskProfile::default());
        }
    }
}

fn scenario(seed: u64) -> (usize, u64, u64) {
    let mut world = World::new(seed);
    world.run_for(Duration::from_secs(2));
    for _ in 0..24 {
        let pause = world.dice.between(Duration::from_millis(100), Duration::from_millis(900));
        world.run_for(pause);
        world.fault();
    }
    world.heal();
    world.run_for(Duration::from_secs(6));
    let before = world.board.lock().unwrap().acked.len();
    world.run_for(Duration::from_secs(4));
    let board = world.board.lock().unwrap();
    assert!(board.acked.len() > before + 10, "after the faults nobody takes proposals: {before}");
    let lists: Vec<Vec<Bytes>> = board.lists.iter().flatten().map(|l| l.items.lock().unwrap().clone()).collect();
    assert_eq!(lists.len(), 3);
    for (at, item) in &board.acked {
        for list in &lists {
            assert!(list.get(*at).is_none_or(|found| found == item), "acknowledged at {at}");
        }
    }
    let shortest = lists.iter().map(Vec::len).min().unwrap();
    assert!(shortest + 50 > board.seen, "a node stays behind: {shortest} of {}", board.seen);
    (board.acked.len(), board.reads_by_lease, board.reads_by_index)
}

#[test]
fn nothing_acknowledged_is_lost_and_reads_are_linearizable_under_all_faults() {
    let seeds = std::env::var("BOWLINE_SEEDS").ok();
    let seeds = seeds.as_deref().and_then(|s| s.split_once("..")).map(|(a, b)| a.parse().unwrap()..b.parse().unwrap());
    let (mut acked, mut leases, mut indexes) = (0, 0, 0);
    for seed in seeds.unwrap_or(0..3u64) {
        println!("seed {seed}");
        let (a, l, i) = scenario(seed);
        println!("seed {seed}: {a} acknowledged, {l} reads by lease, {i} by index");
        acked += a;
        leases += l;
        indexes += i;
    }
    assert!(acked > 200 && leases > 200 && indexes > 200, "a run that shows nothing: {acked} {leases} {indexes}");
}

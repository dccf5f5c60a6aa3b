//! What can go wrong, and how it is done and undone.

use super::{World, guest, host, lock};
use rt::sim::DiskProfile;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// One thing that goes wrong. Durations say when it is undone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// The process is killed; its peers see the connections close. It is down that long.
    Kill(u64, Duration),
    /// The machine loses power; its peers see nothing. It is off that long.
    PowerCut(u64, Duration),
    /// The power goes at the n-th disk operation from now on.
    PowerCutAtIo(u64, u64),
    /// SIGTERM; the process is started again after it ended.
    Stop(u64),
    /// SIGTERM, and again that much later.
    StopTwice(u64, Duration),
    /// The process stands still that long; its clocks do not.
    Pause(u64, Duration),
    /// Killed that often, with that pause in between.
    RestartLoop(u64, u32, Duration),
    /// These nodes and the clients beside them cannot talk to the others, in the directions that the side says; what is under way
    /// is lost.
    Cut(BTreeSet<u64>, Side, Duration),
    /// The links between these nodes, the clients beside them, and the others hold everything back that long, and then deliver it.
    Hold(BTreeSet<u64>, Duration),
    /// These two cannot talk to each other; others reach both.
    CutLink(u64, u64, Duration),
    /// The link between the two is cut and repaired that often, with that pause.
    Flap(u64, u64, u32, Duration),
    /// The link between two nodes takes that long for a message, for a while.
    SlowLink(u64, u64, Duration, Duration),
    /// The n-th disk operation from now on fails with EIO.
    Eio(u64, u64),
    /// The disk is full for that long.
    Full(u64, Duration),
    /// The disk is slow (a sync takes the first duration) for the second.
    SlowDisk(u64, Duration, Duration),
    /// A bit flips in a database file, behind the header by which the file is known.
    RotPage(u64),
    /// A bit flips in the Raft log: in a segment that is full, since nobody can tell a change of the last record from a write
    /// that a power cut has torn.
    RotLog(u64),
    /// The clocks run that much faster, in parts per million.
    Drift(u64, i32),
    /// The wall clock jumps by milliseconds.
    WallJump(u64, i64),
}

/// In which direction a cut works.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// Both.
    Both,
    /// The nodes are heard by nobody.
    Mute,
    /// The nodes hear nobody.
    Deaf,
}

/// Which links are cut, and how often: overlapping cuts are repaired when the last one ends.
#[derive(Debug, Default)]
pub(super) struct Links {
    cut: BTreeMap<(String, String), u32>,
}

impl Links {
    pub(super) fn clear(&mut self) {
        for count in self.cut.values_mut() {
            *count = 0;
        }
    }
}

impl World<'_> {
    /// Lets something go wrong now.
    pub fn strike(&mut self, fault: &Fault) {
        let now = self.now();
        tracing::info!(at = now.as_secs_f64(), ?fault, "fault");
        self.run.note_fault(now, fault);
        match fault {
            Fault::Kill(n, down) => self.fell(*n, *down, false),
            Fault::PowerCut(n, down) => self.fell(*n, *down, true),
            Fault::PowerCutAtIo(n, operation) => self.disk_fault(*n, *operation, rt::sim::Fault::PowerCut),
            Fault::Eio(n, operation) => self.disk_fault(*n, *operation, rt::sim::Fault::Eio),
            Fault::Stop(n) => self.terminate(*n),
            Fault::StopTwice(n, gap) => {
                self.terminate(*n);
                self.later(*gap, Fault::Stop(*n));
            }
            Fault::Pause(n, d) => self.on_node(*n, |node| node.pause(now + *d)),
            Fault::RestartLoop(n, times, pause) => {
                self.fell(*n, *pause / 2, false);
                if let Some(times) = times.checked_sub(1).filter(|t| *t > 0) {
                    self.later(*pause, Fault::RestartLoop(*n, times, *pause));
                }
            }
            Fault::Cut(nodes, side, d) => {
                self.cut(nodes, *side, true);
                self.later(*d, fault.clone());
            }
            Fault::CutLink(a, b, d) => {
                self.cut_ways(both_ways(*a, *b), true);
                self.later(*d, fault.clone());
            }
            Fault::Hold(nodes, d) => {
                for (a, b) in self.across(nodes) {
                    self.sim.hold(a, b);
                }
                self.later(*d, fault.clone());
            }
            Fault::Flap(a, b, times, pause) => {
                self.strike(&Fault::CutLink(*a, *b, *pause / 2));
                if let Some(times) = times.checked_sub(1).filter(|t| *t > 0) {
                    self.later(*pause, Fault::Flap(*a, *b, times, *pause));
                }
            }
            Fault::SlowLink(a, b, latency, d) => {
                self.sim.set_link_max_message_latency(host(*a), host(*b), *latency);
                self.later(*d, fault.clone());
            }
            Fault::Full(n, d) => {
                self.set_disk(*n, |profile| profile.quota = 0);
                self.later(*d, fault.clone());
            }
            Fault::SlowDisk(n, sync, d) => {
                self.set_disk(*n, |profile| profile.sync_latency = (*sync / 2, *sync));
                self.later(*d, fault.clone());
            }
            Fault::RotPage(n) => self.on_node(*n, |node| {
                drop(node.disk().rot_somewhere(|path| path.ends_with("data.db"), 100));
            }),
            Fault::RotLog(n) => self.on_node(*n, |node| {
                let mut segments: Vec<_> = node.disk().files().into_iter().map(|(path, _)| path).collect();
                segments.retain(|path| path.extension().is_some_and(|e| e == "log"));
                // Their names are their numbers: the newest is prepared, the one before it is written.
                segments.sort();
                segments.truncate(segments.len().saturating_sub(2));
                drop(node.disk().rot_somewhere(|path| segments.iter().any(|s| s == path), 0));
            }),
            Fault::Drift(n, ppm) => self.on_node(*n, |node| node.set_drift(now, *ppm)),
            Fault::WallJump(n, ms) => self.on_node(*n, |node| node.jump_wall(*ms)),
        }
    }

    /// The end of a fault, or the next round of one that comes in rounds.
    pub(super) fn undo(&mut self, fault: &Fault) {
        match fault {
            Fault::Cut(nodes, side, _) => self.cut(nodes, *side, false),
            Fault::CutLink(a, b, _) => self.cut_ways(both_ways(*a, *b), false),
            Fault::Hold(nodes, _) => {
                for (a, b) in self.across(nodes) {
                    self.sim.release(a, b);
                }
                self.reapply_cuts();
            }
            Fault::SlowLink(a, b, ..) => {
                self.sim.set_link_max_message_latency(host(*a), host(*b), Duration::from_millis(50));
            }
            Fault::Full(n, _) | Fault::SlowDisk(n, ..) => self.set_disk(*n, |p| *p = DiskProfile::default()),
            round => self.strike(round),
        }
    }

    fn later(&mut self, after: Duration, fault: Fault) {
        self.next_repair += 1;
        self.repairs.insert((self.sim.elapsed() + after, self.next_repair), fault);
    }

    fn on_node(&mut self, id: u64, work: impl FnOnce(&rt::sim::Node)) {
        if let Some(machine) = self.machines.get(&id) {
            work(&machine.node);
        }
    }

    fn set_disk(&mut self, id: u64, change: impl FnOnce(&mut DiskProfile)) {
        self.on_node(id, |node| {
            let mut profile = node.disk().profile();
            change(&mut profile);
            node.disk().set_profile(profile);
        });
    }

    fn disk_fault(&mut self, id: u64, operation: u64, fault: rt::sim::Fault) {
        self.on_node(id, |node| node.disk().fail_at(node.disk().operations() + operation, fault));
    }

    fn fell(&mut self, id: u64, down: Duration, power: bool) {
        let up_at = self.now() + down;
        let Some(machine) = self.machines.get_mut(&id) else { return };
        if let Some(at) = machine.up_at {
            machine.up_at = Some(at.max(up_at));
            return;
        }
        if lock(&machine.process).ended {
            return;
        }
        if power {
            machine.node.disk().power_cut();
        }
        self.take_down(id, up_at);
    }

    /// The links between these nodes, with the clients beside them, and the others.
    fn across(&self, nodes: &BTreeSet<u64>) -> Vec<(String, String)> {
        let guests = (1..).zip(&self.clients).filter_map(|(number, client)| Some((guest(number), client.beside?)));
        let (inner, outer): (Vec<_>, Vec<_>) = guests.partition(|(_, beside)| nodes.contains(beside));
        let others: Vec<u64> = self.nodes().into_iter().filter(|b| !nodes.contains(b)).collect();
        let between = nodes.iter().flat_map(|a| others.iter().map(|b| (host(*a), host(*b))));
        let out = inner.iter().flat_map(|(a, _)| others.iter().map(|b| (a.clone(), host(*b))));
        let into = nodes.iter().flat_map(|a| outer.iter().map(|(b, _)| (host(*a), b.clone())));
        between.chain(out).chain(into).collect()
    }

    fn cut(&mut self, nodes: &BTreeSet<u64>, side: Side, on: bool) {
        let mut ways = Vec::new();
        for (a, b) in self.across(nodes) {
            if side != Side::Deaf {
                ways.push((a.clone(), b.clone()));
            }
            if side != Side::Mute {
                ways.push((b, a));
            }
        }
        self.cut_ways(ways, on);
    }

    fn cut_ways(&mut self, ways: impl IntoIterator<Item = (String, String)>, on: bool) {
        for way in ways {
            let count = self.links.cut.entry(way.clone()).or_default();
            *count = if on { *count + 1 } else { count.saturating_sub(1) };
            if on {
                self.sim.partition_oneway(way.0, way.1);
            } else if *count == 0 {
                self.sim.repair_oneway(way.0, way.1);
            }
        }
    }

    /// Makes the network what the cuts say, after something else has touched the links.
    pub(super) fn reapply_cuts(&mut self) {
        for ((from, to), count) in &self.links.cut {
            if *count > 0 {
                self.sim.partition_oneway(from.clone(), to.clone());
            } else {
                self.sim.repair_oneway(from.clone(), to.clone());
            }
        }
    }
}

fn both_ways(a: u64, b: u64) -> [(String, String); 2] {
    [(host(a), host(b)), (host(b), host(a))]
}

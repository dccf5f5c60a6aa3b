//! What goes wrong, and how it is put right again.

mod members;

use crate::cluster::{Clocks, Cluster, Needs, can_set_clocks, name};
use crate::dice::Dice;
use crate::error::ChaosError;
use crate::network::Shaper;
use crate::process::pause;
use crate::volume::{self, can_throttle};
use clap::ValueEnum;
use std::collections::BTreeSet;
use std::time::Duration;

/// The nemeses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Nemesis {
    /// Nothing goes wrong
    None,
    /// Kill -9: one, a minority, or all
    Kill,
    /// SIGSTOP: one, a minority, or a majority
    Pause,
    /// SIGTERM and start again, one after the other
    Restart,
    /// Two parts that do not hear each other, in any sizes
    Halves,
    /// One node that is heard and hears nobody, or the other way round
    OneWay,
    /// Two parts with one node that hears and is heard by both
    Bridge,
    /// Cuts of all kinds that come and go several times a second
    Flap,
    /// Each node hears a majority, and no two the same (from five nodes on)
    Ring,
    /// Up to a third of all packets is lost
    Loss,
    /// Delay with jitter where the kernel has netem, else links of 512 kbit/s
    SlowNet,
    /// The disks of a minority, or of all, are full
    FullDisk,
    /// The disks of a minority carry out a few writes a second
    SlowDisk,
    /// The wall clock of nodes jumps, by seconds to days
    Clock,
    /// Clocks that run up to 9 % apart, and cuts and pauses that leases must outlast
    Drift,
    /// A node leaves in order and joins again
    Leave,
    /// A node dies for good, is removed, and a new one of its name joins
    Replace,
    /// A node leaves and joins again while somebody is killed or cut off
    JoinCut,
    /// Something to processes and something to the network at the same time
    Mix,
}

/// What [`Nemesis::Mix`] does to processes and to the network. Two of one kind would undo each other.
const TO_PROCESSES: [Nemesis; 3] = [Nemesis::Kill, Nemesis::Pause, Nemesis::Restart];
const TO_THE_NETWORK: [Nemesis; 6] =
    [Nemesis::Halves, Nemesis::OneWay, Nemesis::Bridge, Nemesis::Flap, Nemesis::Loss, Nemesis::SlowNet];

/// Writes a second that a slow disk carries out.
const SLOW_WRITES: u32 = 12;

/// Large rows that are written while a disk is full: several segments of the log.
const LARGE_ROWS: u64 = 24;
/// So many that were not written show that the disk is full.
const LARGE_REFUSED_MAX: u64 = 4;

impl Nemesis {
    /// As on the command line.
    pub(crate) fn word(self) -> String {
        self.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
    }

    /// Whether large rows may be written beside the workload: over a slow link each would take seconds.
    pub(crate) fn bears_large_rows(self) -> bool {
        !matches!(self, Self::SlowNet | Self::SlowDisk | Self::Mix)
    }

    /// What it needs of the nodes.
    pub(crate) fn needs(self, nodes: usize, in_memory: bool) -> Needs {
        let disk = match self {
            Self::FullDisk => volume::Kind::Small,
            Self::SlowDisk => volume::Kind::Throttled,
            _ if in_memory => volume::Kind::Small,
            _ => volume::Kind::Directory,
        };
        let clocks = match self {
            Self::Clock => Clocks::Own,
            Self::Drift => Clocks::Drifting,
            _ => Clocks::Machine,
        };
        Needs { nodes, disk, clocks }
    }

    /// Why it cannot be had here.
    pub(crate) fn is_possible(self, nodes: usize) -> Result<(), String> {
        match self {
            Self::Ring if nodes < 5 => Err("with three nodes it is the same as bridge: --nodes 5".to_owned()),
            Self::SlowDisk => can_throttle(),
            Self::Clock | Self::Drift => can_set_clocks(),
            _ => Ok(()),
        }
    }

    /// Strikes; what was done, in a few words.
    pub(crate) fn strike(self, cluster: &mut Cluster, dice: &mut Dice) -> Result<String, ChaosError> {
        match self {
            Self::None => Ok("nothing".to_owned()),
            Self::Kill => {
                let all = dice.below(6) == 0;
                let victims = victims(cluster, dice, if all { cluster.len() } else { 0 });
                for node in &victims {
                    cluster.kill(*node);
                }
                Ok(format!("killed {}", names(&victims)))
            }
            Self::Pause => {
                let most = if dice.below(6) == 0 { cluster.len() / 2 + 1 } else { 0 };
                let victims = victims(cluster, dice, most);
                for node in &victims {
                    cluster.set_paused(*node, true);
                }
                Ok(format!("paused {}", names(&victims)))
            }
            Self::Restart => {
                let victims = victims(cluster, dice, 0);
                for node in &victims {
                    cluster.stop(*node);
                    cluster.start(*node)?;
                }
                Ok(format!("restarted {}", names(&victims)))
            }
            Self::Halves | Self::OneWay | Self::Bridge | Self::Ring => {
                let (deaf, told) = self.cuts(cluster, dice);
                cluster.network.cut(&deaf)?;
                Ok(told)
            }
            Self::Flap => {
                let cuts = 4 + dice.below(8);
                for _ in 0..cuts {
                    let kind = one_of(&[Self::Halves, Self::OneWay, Self::Bridge], dice);
                    cluster.network.cut(&kind.cuts(cluster, dice).0)?;
                    let length = dice.between(50, 700);
                    pause(length)?;
                    if dice.below(2) == 0 {
                        cluster.network.cut(&BTreeSet::new())?;
                        let length = dice.between(20, 400);
                        pause(length)?;
                    }
                }
                Ok(format!("{cuts} cuts that came and went"))
            }
            Self::Drift => one_of(&[Self::Halves, Self::OneWay, Self::Pause], dice).strike(cluster, dice),
            Self::Loss => {
                let percent = 5 + u32::try_from(dice.below(30)).unwrap_or_default();
                cluster.network.lose(percent)?;
                Ok(format!("lost {percent} % of all packets"))
            }
            Self::SlowNet => {
                let shaper = if cluster.network.has_netem() { Shaper::Delay } else { Shaper::Slow };
                cluster.network.shape(Some(shaper))?;
                Ok(format!("links: {shaper:?}"))
            }
            Self::FullDisk => {
                let most = if dice.below(5) == 0 { cluster.len() } else { 0 };
                let victims = victims(cluster, dice, most);
                victims.iter().try_for_each(|node| cluster.fill(*node, true))?;
                // What has been made ready beforehand is used up by something large.
                let (mut rows, mut refused) = (0, 0);
                while rows + refused < LARGE_ROWS && refused < LARGE_REFUSED_MAX {
                    let is_written = cluster.write_large(dice.index(cluster.len()), rows % 8);
                    *(if is_written { &mut rows } else { &mut refused }) += 1;
                }
                Ok(format!("filled the disk of {}; {rows} large rows were written", names(&victims)))
            }
            Self::SlowDisk => {
                let victims = victims(cluster, dice, 0);
                victims.iter().try_for_each(|node| cluster.throttle(*node, SLOW_WRITES))?;
                Ok(format!("{SLOW_WRITES} writes a second on the disk of {}", names(&victims)))
            }
            Self::Clock => {
                let mut told = Vec::new();
                for node in victims(cluster, dice, cluster.len()) {
                    let size = [5, 60, 3600, 200_000].get(dice.index(4)).copied().unwrap_or(60);
                    let seconds = if dice.below(2) == 0 { size } else { -size };
                    cluster.set_clock(node, seconds)?;
                    told.push(format!("{} {seconds:+} s", name(node)));
                }
                Ok(format!("clocks: {}", told.join(", ")))
            }
            Self::Leave | Self::Replace | Self::JoinCut => members::strike(self, cluster, dice),
            Self::Mix => {
                let (to_processes, to_the_network) = (one_of(&TO_PROCESSES, dice), one_of(&TO_THE_NETWORK, dice));
                // What is started again may find the network cut, and what is cut may fall.
                let is_cut_first = dice.below(2) == 0;
                let order = if is_cut_first { [to_the_network, to_processes] } else { [to_processes, to_the_network] };
                Ok([order[0].strike(cluster, dice)?, order[1].strike(cluster, dice)?].join("; "))
            }
        }
    }

    /// Who hears nothing of whom: pairs of the unheard and the deaf.
    fn cuts(self, cluster: &Cluster, dice: &mut Dice) -> (BTreeSet<(usize, usize)>, String) {
        let count = cluster.len();
        let mut order = dice.shuffled(count);
        // The leader is in the more interesting place half of the time.
        if dice.below(2) == 0
            && let Some(leader) = cluster.leader()
        {
            order.retain(|node| *node != leader);
            order.insert(0, leader);
        }
        let both = |a: &[usize], b: &[usize]| -> BTreeSet<(usize, usize)> {
            a.iter().flat_map(|x| b.iter().flat_map(move |y| [(*x, *y), (*y, *x)])).collect()
        };
        match self {
            Self::OneWay => {
                let lone = order.first().copied().unwrap_or_default();
                let others = order.iter().skip(1);
                if dice.below(2) == 0 {
                    (others.map(|other| (*other, lone)).collect(), format!("{} hears nobody", name(lone)))
                } else {
                    (others.map(|other| (lone, *other)).collect(), format!("nobody hears {}", name(lone)))
                }
            }
            Self::Bridge => {
                let (bridge, rest) = order.split_last().map_or((0, &[][..]), |(last, rest)| (*last, rest));
                let (a, b) = rest.split_at(rest.len() / 2);
                (both(a, b), format!("{} | {} with {} between", names(a), names(b), name(bridge)))
            }
            Self::Ring => {
                // Each hears those that are at most a quarter of the ring away: a majority with itself.
                let reach = count / 4 + usize::from(count < 4);
                let is_far = |a: usize, b: usize| {
                    let apart = a.abs_diff(b);
                    apart.min(count - apart) > reach
                };
                let places = order.iter().enumerate();
                let deaf = places.flat_map(|(a, x)| {
                    order.iter().enumerate().filter(move |(b, _)| is_far(a, *b)).map(move |(_, y)| (*x, *y))
                });
                (deaf.collect(), format!("ring {}", names(&order)))
            }
            _ => {
                let (a, b) = order.split_at(1 + dice.index(count - 1));
                (both(a, b), format!("{} | {}", names(a), names(b)))
            }
        }
    }
}

fn one_of(nemeses: &[Nemesis], dice: &mut Dice) -> Nemesis {
    nemeses.get(dice.index(nemeses.len())).copied().unwrap_or(Nemesis::None)
}

/// Ends everything that a nemesis has begun: from now on the machines, the disks and the network are whole.
pub(crate) fn heal(cluster: &mut Cluster) -> Result<(), ChaosError> {
    cluster.network.cut(&BTreeSet::new())?;
    cluster.network.lose(0)?;
    cluster.network.shape(None)?;
    for node in 0..cluster.len() {
        cluster.fill(node, false)?;
        cluster.throttle(node, 0)?;
        cluster.set_paused(node, false);
        cluster.start(node)?;
    }
    Ok(())
}

/// Lets nodes that belong to no cluster join again, until every node is a member.
pub(crate) fn readmit(cluster: &mut Cluster, patience: Duration) -> Result<(), ChaosError> {
    members::readmit(cluster, patience)
}

/// Waits while a fault is on; daemons that end by themselves meanwhile are noted.
pub(crate) fn hold(cluster: &mut Cluster, length: Duration) -> Result<(), ChaosError> {
    pause(length)?;
    for node in 0..cluster.len() {
        cluster.is_running(node);
    }
    Ok(())
}

/// Some nodes in any order, the leader among them half of the time: up to `most`, or a minority if that is zero.
fn victims(cluster: &Cluster, dice: &mut Dice, most: usize) -> Vec<usize> {
    let minority = (cluster.len() - 1) / 2;
    let count = if most == 0 { 1 + dice.index(minority) } else { most };
    let mut order = dice.shuffled(cluster.len());
    if dice.below(2) == 0
        && let Some(leader) = cluster.leader()
    {
        order.retain(|node| *node != leader);
        order.insert(0, leader);
    }
    order.truncate(count);
    order
}

fn names(nodes: &[usize]) -> String {
    nodes.iter().map(|node| name(*node)).collect::<Vec<_>>().join(" ")
}

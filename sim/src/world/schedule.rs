//! Faults from the seed.

use super::fault::{Fault, Side};
use rt::sim::Dice;
use std::collections::BTreeSet;
use std::time::Duration;

/// Which faults may happen, each with its weight, and how often one comes.
#[derive(Debug, Clone)]
pub struct FaultMix {
    /// The mean pause between two faults.
    pub every: Duration,
    /// Kinds and their weights.
    pub weights: Vec<(Kind, u64)>,
}

/// A kind of fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "they are the variants of Fault")]
pub enum Kind {
    Kill,
    PowerCut,
    PowerCutAtIo,
    Stop,
    StopTwice,
    Pause,
    RestartLoop,
    Cut,
    CutLink,
    OneWay,
    Hold,
    Flap,
    SlowLink,
    Eio,
    Full,
    SlowDisk,
    Drift,
    WallJump,
}

impl FaultMix {
    /// Everything that a correct cluster survives with its promises kept.
    pub fn everything(every: Duration) -> Self {
        use Kind::{
            Cut, CutLink, Drift, Eio, Flap, Full, Hold, Kill, OneWay, Pause, PowerCut, PowerCutAtIo, RestartLoop,
            SlowDisk, SlowLink, Stop, StopTwice, WallJump,
        };
        let weights = [
            (Kill, 4),
            (PowerCut, 4),
            (PowerCutAtIo, 4),
            (Stop, 2),
            (StopTwice, 1),
            (Pause, 3),
            (RestartLoop, 1),
            (Cut, 5),
            (CutLink, 3),
            (OneWay, 3),
            (Hold, 3),
            (Flap, 2),
            (SlowLink, 2),
            (Eio, 2),
            (Full, 1),
            (SlowDisk, 2),
            (Drift, 1),
            (WallJump, 1),
        ];
        Self { every, weights: weights.into() }
    }

    /// Only these kinds.
    pub fn only(every: Duration, kinds: &[Kind]) -> Self {
        Self { every, weights: kinds.iter().map(|k| (*k, 1)).collect() }
    }

    fn kind(&self, dice: &mut Dice) -> Option<Kind> {
        let mut roll = dice.below(self.weights.iter().map(|(_, w)| w).sum());
        for (kind, weight) in &self.weights {
            match roll.checked_sub(*weight) {
                Some(rest) => roll = rest,
                None => return Some(*kind),
            }
        }
        None
    }
}

/// A schedule of faults for `nodes` nodes, until `until`.
pub fn schedule(dice: &mut Dice, mix: &FaultMix, nodes: u64, until: Duration) -> Vec<(Duration, Fault)> {
    let mut plan = Vec::new();
    let mut at = dice.between(Duration::ZERO, mix.every * 2);
    while at < until {
        if let Some(fault) = mix.kind(dice).and_then(|kind| one(dice, kind, nodes)) {
            plan.push((at, fault));
        }
        at += dice.between(Duration::from_millis(1), mix.every * 2);
    }
    plan
}

fn one(dice: &mut Dice, kind: Kind, nodes: u64) -> Option<Fault> {
    let ms = Duration::from_millis;
    let n = 1 + dice.below(nodes);
    let span = |dice: &mut Dice, max: u64| dice.between(ms(10), ms(max));
    Some(match kind {
        Kind::Kill => Fault::Kill(n, span(dice, 5000)),
        Kind::PowerCut => Fault::PowerCut(n, span(dice, 5000)),
        Kind::PowerCutAtIo => Fault::PowerCutAtIo(n, dice.below(200)),
        Kind::Stop => Fault::Stop(n),
        Kind::StopTwice => Fault::StopTwice(n, span(dice, 2000)),
        Kind::Pause => Fault::Pause(n, span(dice, 4000)),
        Kind::RestartLoop => Fault::RestartLoop(n, 2 + u32::from(dice.below(4).to_le_bytes()[0]), span(dice, 2000)),
        Kind::Cut => Fault::Cut(some(dice, nodes)?, Side::Both, span(dice, 6000)),
        Kind::CutLink => {
            let (a, b) = two(dice, nodes)?;
            Fault::CutLink(a, b, span(dice, 6000))
        }
        Kind::OneWay => {
            let side = if dice.chance(1, 2) { Side::Mute } else { Side::Deaf };
            Fault::Cut(some(dice, nodes)?, side, span(dice, 4000))
        }
        Kind::Hold => Fault::Hold(some(dice, nodes)?, span(dice, 3000)),
        Kind::Flap => {
            let (a, b) = two(dice, nodes)?;
            Fault::Flap(a, b, 2 + u32::from(dice.below(6).to_le_bytes()[0]), span(dice, 1000))
        }
        Kind::SlowLink => {
            let (a, b) = two(dice, nodes)?;
            Fault::SlowLink(a, b, span(dice, 1500), span(dice, 5000))
        }
        Kind::Eio => Fault::Eio(n, dice.below(100)),
        Kind::Full => Fault::Full(n, span(dice, 4000)),
        Kind::SlowDisk => Fault::SlowDisk(n, span(dice, 500), span(dice, 5000)),
        Kind::Drift => Fault::Drift(n, i32::try_from(dice.below(100_001)).unwrap_or(0) - 50_000),
        Kind::WallJump => Fault::WallJump(n, i64::try_from(dice.below(7_200_001)).unwrap_or(0) - 3_600_000),
    })
}

/// Some of the nodes, neither none nor all.
fn some(dice: &mut Dice, nodes: u64) -> Option<BTreeSet<u64>> {
    if nodes < 2 {
        return None;
    }
    let mut left: Vec<u64> = (1..=nodes).collect();
    let size = 1 + dice.below(nodes - 1);
    let mut chosen = BTreeSet::new();
    for _ in 0..size {
        let at = usize::try_from(dice.below(left.len() as u64)).unwrap_or(0);
        chosen.insert(left.swap_remove(at));
    }
    Some(chosen)
}

fn two(dice: &mut Dice, nodes: u64) -> Option<(u64, u64)> {
    let a = 1 + dice.below(nodes);
    let b = 1 + (a + dice.below(nodes.checked_sub(1).filter(|n| *n > 0)?)) % nodes;
    Some((a, b))
}

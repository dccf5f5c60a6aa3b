//! Two machines and a witness, any one of which may be away: also the one that has written what the other one lacks.
//!
//! Beside the faults of `cluster` there is the order of events that a witness is for: a machine with data is cut off, the other one and the
//! witness go on, and just when the first is back the other one falls. What was acknowledged is then on the disk of the witness alone, and on
//! one that is away. Sometimes the log of the witness does not reach back far enough: then everybody waits for that machine.
//!
//! Held to what `cluster` is held to; and the witness never has a file of pages of any database but `sys`.

use super::cluster::{Board, CONVERGENCE, Crowd, Daemon, EXPECTED_LOGS, FORMING, sizes};
use crate::run::{Broken, Run, Scenario};
use crate::world::{Fault, FaultMix, Oracle, Shape, Side, Software, World, WorldConfig, schedule};
use rt::sim::Dice;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// See the module.
pub(super) const SCENARIO: Scenario = Scenario {
    name: "witness",
    story: "Two machines and a witness keep a database while any of them falls, above all the one that is ahead of the other.",
    play,
    expected_logs: &[EXPECTED_LOGS],
    mutants: &["raft.witness-votes-for-anybody"],
};

const NODES: u64 = 3;
const WITNESS: u64 = 3;
/// How long things go wrong.
const SAFETY: Duration = Duration::from_secs(14);

fn play(run: &Run) -> Result<(), Broken> {
    sqlite::reseed_random();
    let mut dice = run.dice("witness");
    let config = WorldConfig::from_dice(&mut dice, &Shape { nodes: NODES..=NODES, ..Shape::default() });
    let board = Board::new(None, None);
    board.expect_witness(WITNESS);
    let software: Arc<dyn Software> =
        Arc::new(Daemon { board: board.clone(), sizes: sizes(&mut dice), nodes: config.nodes });
    let mut world = World::new(run, &config, &software);
    let crowd = Crowd::from_dice(&mut dice, &mut world, NODES, &board);
    let mut oracles: Vec<Box<dyn Oracle>> = vec![Box::new(board.clone()), Box::new(NoPages)];

    if dice.chance(3, 4) {
        let formed = board.clone();
        world.run(FORMING, &mut oracles, move |_| formed.members() == NODES)?;
        if board.members() < NODES {
            return Err(Broken::new("forming", format!("{} of {NODES} nodes", board.members())));
        }
    }
    let begin = world.now();
    let mut faults = only_one_ahead(&mut dice);
    if dice.chance(1, 2) {
        let mix = FaultMix::everything(Duration::from_millis(800 + dice.below(4000)));
        faults.extend(schedule(&mut dice, &mix, NODES, SAFETY));
    }
    faults.sort_by_key(|(at, _)| *at);
    world.plan(faults.into_iter().map(|(at, fault)| (begin + at, fault)).collect());
    world.run(begin + SAFETY, &mut oracles, |_| false)?;

    world.heal();
    board.heal();
    // Copies are compared with each other, and the witness has one of `sys` alone.
    crowd.finish(run, &mut world, &mut oracles, &board, &(1..=NODES).filter(|node| *node != WITNESS).collect())?;
    let same = board.clone();
    world.run(world.now() + CONVERGENCE, &mut oracles, move |_| same.has_same_sys(WITNESS, 1))?;
    if !board.has_same_sys(WITNESS, 1) {
        return Err(Broken::new("convergence", format!("the witness has another sys: {}", board.copies())));
    }
    Ok(())
}

/// One machine with data lags, and the other one falls when the first is about to be back, or just was.
fn only_one_ahead(dice: &mut Dice) -> Vec<(Duration, Fault)> {
    let ms = Duration::from_millis;
    let mut faults = Vec::new();
    let mut at = dice.between(Duration::ZERO, ms(500));
    while at < SAFETY {
        let behind = 1 + dice.below(2);
        let ahead = 3 - behind;
        let lag = dice.between(ms(100), ms(3000));
        let cut = match dice.below(4) {
            0 => Fault::CutLink(behind, ahead, lag),
            1 => Fault::Kill(behind, lag),
            2 => Fault::Pause(behind, lag),
            _ => Fault::Cut([behind].into(), Side::Both, lag),
        };
        faults.push((at, cut));
        at = (at + lag + dice.between(Duration::ZERO, ms(60))).saturating_sub(ms(30));
        let away = dice.between(ms(500), ms(4000));
        faults.push((at, if dice.chance(1, 2) { Fault::PowerCut(ahead, away) } else { Fault::Kill(ahead, away) }));
        if dice.chance(1, 6) {
            faults
                .push((at + dice.between(Duration::ZERO, away), Fault::Kill(WITNESS, dice.between(ms(10), ms(1000)))));
        }
        at += away + dice.between(ms(200), ms(2500));
    }
    faults
}

/// A witness keeps no pages of users' databases.
struct NoPages;

impl Oracle for NoPages {
    fn name(&self) -> &'static str {
        "witness"
    }

    fn look(&mut self, world: &mut World<'_>) -> Result<(), Broken> {
        let Some(node) = world.node(WITNESS) else { return Ok(()) };
        let is_page_file = |path: &Path| {
            let Ok(below) = path.strip_prefix("/var/lib/bowline/databases") else { return false };
            !below.starts_with("sys.1")
                && !path.file_name().is_some_and(|name| name == "position" || name == "position.new")
        };
        match node.disk().files().into_iter().find(|(path, _)| is_page_file(path)) {
            Some((path, bytes)) => Err(Broken::new("witness", format!("it keeps {} of {bytes} bytes", path.display()))),
            None => Ok(()),
        }
    }
}

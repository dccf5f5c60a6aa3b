//! INC-2: a third machine joins a cluster of two, alone or together with a fourth one that was given the same token, while somebody stops: the leader,
//! the other member or the one that joins. The stop comes at any millisecond of the join, and with it, in some worlds, a cut between the leader and
//! the others.
//!
//! Held to what `cluster` is held to; and: a token lets in one machine only; what was not let in joins with another token; no database is left with
//! two sets of voters.

use super::cluster::{Board, CONVERGENCE, Crowd, Daemon, EXPECTED_LOGS, FORMING, sizes};
use crate::run::{Broken, Run, Scenario};
use crate::world::{Fault, Oracle, Shape, Side, Software, World, WorldConfig};
use rt::sim::{Dice, Strike};
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// See the module.
pub(super) const SCENARIO: Scenario = Scenario {
    name: "joining",
    story: "A third machine joins, or a third and a fourth with one token, while the leader or one that joins stops.",
    play,
    expected_logs: &[EXPECTED_LOGS],
    mutants: &["cluster.leave-joint", "cluster.trust-the-look"],
};

/// How many were members before.
const MEMBERS: u64 = 2;
/// How long after the token was first shown the stop comes at most: a join takes less.
const JOIN_MS: u64 = 400;
/// How long after that everything is repaired.
const AFTER: Duration = Duration::from_secs(6);

fn play(run: &Run) -> Result<(), Broken> {
    sqlite::reseed_random();
    let mut dice = run.dice("joining");
    let shape = Shape { nodes: 3..=4, slow_disks: false, ..Shape::default() };
    let config = WorldConfig::from_dice(&mut dice, &shape);
    let board = Board::new(None, None);
    board.expect_guests((MEMBERS + 1..=config.nodes).collect());
    let software: Arc<dyn Software> =
        Arc::new(Daemon { board: board.clone(), sizes: sizes(&mut dice), nodes: config.nodes });
    let mut world = World::new(run, &config, &software);
    let crowd = Crowd::from_dice(&mut dice, &mut world, config.nodes, &board);
    let mut oracles: Vec<Box<dyn Oracle>> = vec![Box::new(board.clone())];
    world.run(FORMING, &mut oracles, |_| board.members() == MEMBERS)?;

    let shown = watch_for_token(run);
    board.open();
    world.run(world.now() + FORMING, &mut oracles, |_| at(&shown).is_some())?;
    let Some(begin) = at(&shown) else {
        return Err(Broken::new("vacuity", "nobody has shown a token"));
    };
    let plan = faults(&mut dice, config.nodes).into_iter().map(|(after, fault)| (begin + after, fault));
    let mut plan: Vec<(Duration, Fault)> = plan.collect();
    plan.sort_by_key(|(at, _)| *at);
    world.plan(plan);
    world.run(begin + AFTER, &mut oracles, |_| false)?;
    world.heal();
    board.heal();
    crowd.finish(run, &mut world, &mut oracles, &board, &(1..=config.nodes).collect())?;
    world.run(world.now() + CONVERGENCE, &mut oracles, |_| !board.is_changing())?;
    if board.is_changing() {
        return Err(Broken::new("joint", "a database is left with two sets of voters"));
    }
    Ok(())
}

/// Notes when the first guest has shown a token that is good.
fn watch_for_token(run: &Run) -> Arc<Mutex<Option<Duration>>> {
    let shown = Arc::new(Mutex::new(None));
    let noted = Arc::clone(&shown);
    run.points.handle(Box::new(move |node, point, _| {
        if point == "join.before_redeem" {
            noted.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(node.world_now());
        }
        Strike::Pass
    }));
    shown
}

fn at(shown: &Mutex<Option<Duration>>) -> Option<Duration> {
    *shown.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One stops, at any millisecond of the join; others may lose the leader meanwhile.
fn faults(dice: &mut Dice, nodes: u64) -> Vec<(Duration, Fault)> {
    let moment = |dice: &mut Dice| Duration::from_millis(dice.below(JOIN_MS + 1));
    let victim = 1 + dice.below(nodes);
    let stop = match dice.below(4) {
        0 | 1 => Fault::Stop(victim),
        2 => Fault::StopTwice(victim, moment(dice)),
        _ => Fault::Kill(victim, moment(dice)),
    };
    let mut faults = vec![(moment(dice), stop)];
    if dice.chance(1, 3) {
        let length = dice.between(Duration::from_millis(100), Duration::from_secs(3));
        faults.push((moment(dice), Fault::Cut(BTreeSet::from([1]), Side::Both, length)));
    }
    faults
}

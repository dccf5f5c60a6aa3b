//! The product whole: daemons form a cluster, keep a database, and keep their promises under everything that a world can do.
//!
//! Each node is `bowline::daemon` with nothing left out but TLS. An operator at each node forms the cluster through the control
//! socket, with a join token, and checks the node's copies of the databases now and then. Clients speak the dqlite protocol.
//!
//! Held to: histories are linearizable (registers and lists), nothing acknowledged is lost, copies of one version have one hash,
//! `integrity_check` finds nothing wrong, no log and no database is refused at a start; and after all is repaired, everybody
//! is served again and all copies become equal.

mod board;
mod client;
mod daemon;
mod wire;

use crate::check::{check_appends, check_registers};
use crate::run::{Broken, Run, Scenario};
use crate::world::{Fault, FaultMix, Shape, Software, World, WorldConfig, schedule};
use board::Board;
use client::{Histories, Plan};
use daemon::{Daemon, sizes};
use rt::sim::Dice;
use std::sync::Arc;
use std::time::Duration;

/// See the module.
pub(super) const SCENARIO: Scenario = Scenario {
    name: "cluster",
    story: "Daemons form a cluster and keep a database through kills, power cuts, cuts of the network and bad disks.",
    play,
    expected_logs: daemon::EXPECTED_LOGS,
    mutants: &[],
};

const CLIENTS: u64 = 4;
/// How long a cluster may take to form when nothing goes wrong.
const FORMING: Duration = Duration::from_secs(30);
const SAFETY: Duration = Duration::from_secs(20);
/// How long it may take after everything was repaired until all clients were served, and then until all copies are equal.
const LIVENESS: Duration = Duration::from_mins(1);
const CONVERGENCE: Duration = Duration::from_secs(30);

fn play(run: &Run) -> Result<(), Broken> {
    let mut dice = run.dice("cluster");
    let shape = Shape { nodes: 1..=5, ..Shape::default() };
    let config = WorldConfig::from_dice(&mut dice, &shape);
    let board = Board::default();
    let software: Arc<dyn Software> = Arc::new(Daemon { board: board.clone(), sizes: sizes(&mut dice) });
    let mut world = World::new(run, &config, &software);
    let histories = Histories::default();
    for _ in 0..CLIENTS {
        let plan = Plan { nodes: config.nodes, board: board.clone(), histories: histories.clone() };
        world.client(move |number| client::work(number, plan));
    }
    let mut oracles: Vec<Box<dyn crate::world::Oracle>> = vec![Box::new(board.clone())];

    // In some worlds things go wrong while the cluster forms.
    if dice.chance(3, 4) {
        let formed = board.clone();
        world.run(FORMING, &mut oracles, move |_| formed.members() == config.nodes)?;
        if board.members() < config.nodes {
            let members = board.members();
            return Err(Broken::new("forming", format!("{members} of {} nodes after {FORMING:?}", config.nodes)));
        }
    }
    let begin = world.now();
    world.plan(faults(&mut dice, config.nodes, begin));
    world.run(begin + SAFETY, &mut oracles, |_| false)?;

    world.heal();
    board.heal();
    let healed = world.now();
    world.run(healed + LIVENESS, &mut oracles, World::clients_done)?;
    let (registers, lists) = (histories.registers.entries(), histories.lists.entries());
    run.count("calls", (registers.len() + lists.len()) as u64);
    run.count("answers", (histories.registers.answered() + histories.lists.answered()) as u64);
    run.count("checks", board.checks());
    check_registers(&registers)?;
    check_appends(&lists)?;
    if !world.clients_done() {
        return Err(Broken::new("liveness", "a client could not finish within a minute after everything was repaired"));
    }
    let equal = board.clone();
    world.run(world.now() + CONVERGENCE, &mut oracles, move |_| equal.is_converged(config.nodes))?;
    if !board.is_converged(config.nodes) {
        return Err(Broken::new("convergence", format!("the copies differ: {}", board.copies())));
    }
    if histories.lists.answered() < 20 {
        return Err(Broken::new("vacuity", format!("only {} answers: nothing was shown", histories.lists.answered())));
    }
    Ok(())
}

fn faults(dice: &mut Dice, nodes: u64, begin: Duration) -> Vec<(Duration, Fault)> {
    let mix = FaultMix::everything(Duration::from_millis(300 + dice.below(3000)));
    schedule(dice, &mix, nodes, SAFETY).into_iter().map(|(at, fault)| (begin + at, fault)).collect()
}

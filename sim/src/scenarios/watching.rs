//! Resources are changed and watched while machines fall and links break.
//!
//! Watchers follow all changes at one member after the other, from the last revision that they have heard of. Writers count up a number of a
//! resource, each from the revision that they have seen; others make and drop databases.
//!
//! Held to: every watcher is told every change, in order, none twice and none left out, and all are told the same; of two who have seen
//! the same revision one is refused, so that the number is what was counted; and after all is repaired, everybody is told the last change.

mod client;
mod ledger;

use super::cluster::{Board, Daemon, EXPECTED_LOGS, FORMING, LIVENESS, sizes};
use crate::run::{Broken, Run, Scenario};
use crate::world::{FaultMix, Oracle, Shape, Software, World, WorldConfig, schedule};
use client::Client;
use ledger::Ledger;
use std::sync::Arc;
use std::time::Duration;

/// See the module.
pub(super) const SCENARIO: Scenario = Scenario {
    name: "watching",
    story: "Resources are changed and watched while machines fall and links break.",
    play,
    expected_logs: &[EXPECTED_LOGS],
    mutants: &["store.watch-from-the-newest", "store.update-unseen"],
};

const WATCHERS: u64 = 4;
const WRITERS: u64 = 3;
const SAFETY: Duration = Duration::from_secs(10);

fn play(run: &Run) -> Result<(), Broken> {
    sqlite::reseed_random();
    let mut dice = run.dice("watching");
    let config = WorldConfig::from_dice(&mut dice, &Shape { nodes: 1..=3, ..Shape::default() });
    let nodes = config.nodes;
    let board = Board::new(None, None);
    let daemon = Daemon { board: board.clone(), sizes: sizes(&mut dice), nodes };
    let software: Arc<dyn Software> = Arc::new(daemon);
    let mut world = World::new(run, &config, &software);
    let mut oracles: Vec<Box<dyn Oracle>> = vec![Box::new(board.clone())];
    let formed = board.clone();
    world.run(FORMING, &mut oracles, move |_| formed.members() == nodes)?;
    if board.members() < nodes {
        return Err(Broken::new("forming", format!("{} of {nodes} nodes after {FORMING:?}", board.members())));
    }
    let ledger = Ledger::new(board.clone());
    for _ in 0..WATCHERS {
        let ledger = ledger.clone();
        world.client(None, move |_| async move { Client::new(ledger, nodes).watch().await });
    }
    for writer in 0..WRITERS {
        let ledger = ledger.clone();
        world.client(None, move |_| async move { Client::new(ledger, nodes).write(writer).await });
    }
    let begin = world.now();
    let mix = FaultMix::everything(Duration::from_millis(300 + dice.below(2000)));
    world.plan(schedule(&mut dice, &mix, nodes, SAFETY).into_iter().map(|(at, fault)| (begin + at, fault)).collect());
    world.run(begin + SAFETY, &mut oracles, |_| false)?;
    world.heal();
    board.heal();
    world.run(world.now() + LIVENESS, &mut oracles, World::clients_done)?;
    run.count("changes", ledger.changes());
    run.count("updates", ledger.acknowledged());
    if !world.clients_done() {
        return Err(Broken::new("liveness", "a client could not finish within a minute after everything was repaired"));
    }
    if ledger.changes() < 10 {
        return Err(Broken::new("vacuity", format!("only {} changes: nothing was shown", ledger.changes())));
    }
    Ok(())
}

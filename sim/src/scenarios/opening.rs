//! INC-1: clients write and list from the first moment on, while a machine opens its databases, falls, and opens them again.
//!
//! They speak HTTP, as programs on other machines do. Held to: before the node is ready every answer is 503 and says when to come
//! again; after that none is an error of the server; each list is a state that some prefix of the writes gives, with everything that
//! was acknowledged; no database is left out; and a query that fails is that query's error.

mod client;
mod door;

use super::cluster::{Board, Daemon, EXPECTED_LOGS, sizes};
use crate::run::{Broken, Run, Scenario};
use crate::world::{Fault, FaultMix, Kind, Oracle, Process, Shape, Software, World, WorldConfig, schedule};
use client::Client;
use door::Door;
use futures::future::BoxFuture;
use std::sync::Arc;
use std::time::Duration;

/// See the module.
pub(super) const SCENARIO: Scenario = Scenario {
    name: "opening",
    story: "Clients write and list from the first moment on, while a machine opens its databases, falls, and opens them again.",
    play,
    expected_logs: &[EXPECTED_LOGS],
    mutants: &["api.answer-before-ready"],
};

const WRITERS: usize = 2;
const LISTERS: usize = 3;
const SAFETY: Duration = Duration::from_secs(10);
const LIVENESS: Duration = Duration::from_mins(1);

/// A daemon whose lives are noted at the door.
struct Watched {
    daemon: Daemon,
    door: Door,
}

impl Software for Watched {
    fn start(&self, process: Process) -> BoxFuture<'static, ()> {
        self.door.begins(process.shutdown.clone());
        self.daemon.start(process)
    }
}

fn play(run: &Run) -> Result<(), Broken> {
    sqlite::reseed_random();
    let mut dice = run.dice("opening");
    // One machine: whether it serves depends on nobody else.
    let config = WorldConfig::from_dice(&mut dice, &Shape { nodes: 1..=1, ..Shape::default() });
    let board = Board::new(None, None);
    let door = Door::new(board.clone(), WRITERS);
    let daemon = Daemon { board: board.clone(), sizes: sizes(&mut dice), nodes: config.nodes };
    let software: Arc<dyn Software> = Arc::new(Watched { daemon, door: door.clone() });
    let mut world = World::new(run, &config, &software);
    if let Some(node) = world.node(1) {
        door.is_on(node.disk().clone());
    }
    for writer in 0..WRITERS {
        let door = door.clone();
        world.client(None, move |_| async move { Client::new(door).write(writer).await });
    }
    for _ in 0..LISTERS {
        let door = door.clone();
        world.client(None, move |_| async move { Client::new(door).list().await });
    }
    let mut oracles: Vec<Box<dyn Oracle>> = vec![Box::new(board.clone())];
    let prepared = door.clone();
    world.run(LIVENESS, &mut oracles, move |_| prepared.is_prepared())?;
    let begin = world.now();
    let mix = FaultMix::only(
        Duration::from_millis(400 + dice.below(1200)),
        &[Kind::Kill, Kind::PowerCut, Kind::PowerCutAtIo, Kind::Stop, Kind::StopTwice],
    );
    let falls = schedule(&mut dice, &mix, config.nodes, SAFETY).into_iter().map(|(at, fault)| (begin + at, fault));
    let mut plan: Vec<(Duration, Fault)> = falls.collect();
    if dice.chance(1, 2) {
        // Opening takes its time.
        let sync = Duration::from_millis(20 + dice.below(180));
        plan.insert(0, (begin, Fault::SlowDisk(1, sync, SAFETY)));
    }
    world.plan(plan);
    world.run(begin + SAFETY, &mut oracles, |_| false)?;
    world.heal();
    board.heal();
    world.run(world.now() + LIVENESS, &mut oracles, World::clients_done)?;
    run.count("answers", door.answers());
    run.count("refusals", door.refusals());
    if !world.clients_done() {
        return Err(Broken::new("liveness", "a client could not finish within a minute after everything was repaired"));
    }
    if let Some(answers) = door.answers_again().filter(|answers| *answers < 8) {
        return Err(Broken::new("vacuity", format!("only {answers} answers after a fall: nothing was shown")));
    }
    Ok(())
}

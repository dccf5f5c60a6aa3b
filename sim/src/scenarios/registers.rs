//! The simulator's own proof: a small store of registers, correct by construction, under everything that a world can do
//! to it. If this fails, the simulator, `rt` or `lifecycle` is wrong; if its mutants pass, the oracles are.
//!
//! Node n owns the keys k with k mod nodes = n - 1 and keeps each in a file of its own, replaced atomically before the answer.
//! Each process is a supervisor with two units: the store, and the door that needs it.

mod client;
mod server;

use crate::check::{History, RegisterOp, RegisterRet, check_registers};
use crate::run::{Broken, Run, Scenario};
use crate::world::{FaultMix, Shape, Software, World, WorldConfig, schedule};
use client::{Phase, Plan};
use std::sync::Arc;
use std::time::Duration;

/// See the module.
pub(super) const SCENARIO: Scenario = Scenario {
    name: "registers",
    story: "A small store of registers answers truthfully through kills, power cuts, cuts of the network and bad disks.",
    play,
    expected_logs: &[&[
        "a unit did not start",
        "a unit failed",
        "aborting tasks",
        "deadline passed",
        "stopping in a hurry",
        "waiting for tasks",
    ]],
    mutants: &["registers.answer-before-write", "registers.show-what-failed"],
};

const CLIENTS: u64 = 4;
const KEYS: u64 = 5;
const SAFETY: Duration = Duration::from_secs(20);
const LIVENESS: Duration = Duration::from_mins(1);

fn play(run: &Run) -> Result<(), Broken> {
    let mut dice = run.dice("registers");
    let config = WorldConfig::from_dice(&mut dice, &Shape { nodes: 1..=3, ..Shape::default() });
    let software: Arc<dyn Software> = Arc::new(server::Registers);
    let mut world = World::new(run, &config, &software);
    let history: History<RegisterOp, RegisterRet> = History::default();
    let phase = Phase::default();
    for _ in 0..CLIENTS {
        let plan = Plan { nodes: config.nodes, keys: KEYS, phase: phase.clone(), history: history.clone() };
        world.client(None, move |number| client::work(number, plan));
    }
    let mix = FaultMix::everything(Duration::from_millis(300 + dice.below(3000)));
    world.plan(schedule(&mut dice, &mix, config.nodes, SAFETY));
    world.run(SAFETY, &mut [], |_| false)?;
    world.heal();
    phase.heal();
    world.run(SAFETY + LIVENESS, &mut [], World::clients_done)?;
    run.count("calls", history.len() as u64);
    run.count("answers", history.answered() as u64);
    if !world.clients_done() {
        return Err(Broken::new("liveness", "a client could not finish within a minute after everything was repaired"));
    }
    if history.answered() < 20 {
        return Err(Broken::new("vacuity", format!("only {} answers: nothing was shown", history.answered())));
    }
    Ok(check_registers(&history.entries())?)
}

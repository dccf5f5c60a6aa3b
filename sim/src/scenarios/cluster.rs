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
use crate::world::{Fault, FaultMix, Oracle, Shape, Software, World, WorldConfig, schedule};
pub(super) use board::Board;
pub(super) use daemon::{Daemon, EXPECTED_LOGS, HTTPS_PORT, sizes};

use client::{Histories, Plan};
use rt::sim::Dice;
use std::sync::Arc;
use std::time::Duration;

/// See the module.
pub(super) const SCENARIO: Scenario = Scenario {
    name: "cluster",
    story: "Daemons form a cluster and keep a database through kills, power cuts, cuts of the network and bad disks.",
    play,
    expected_logs: &[EXPECTED_LOGS],
    mutants: &["raft.acknowledge-before-sync", "raft.lease-for-ever"],
};

const CLIENTS: u64 = 4;
/// How long a cluster may take to form when nothing goes wrong.
const FORMING: Duration = Duration::from_secs(30);
/// How long it may take after everything was repaired until all clients were served, and then until all copies are equal.
const LIVENESS: Duration = Duration::from_mins(1);
const CONVERGENCE: Duration = Duration::from_secs(30);

/// What goes wrong from `begin` on, by time.
type Faults = Box<dyn FnOnce(&mut Dice, u64, Duration) -> Vec<(Duration, Fault)>>;

/// What one story about a cluster has of its own.
pub(super) struct Story {
    pub(super) shape: Shape,
    /// Whose disk changes pages, if any does: its checks may find damage, until all is repaired.
    pub(super) rotten: Option<u64>,
    /// Who leaves the cluster and joins it again, if anybody does.
    pub(super) leaver: Option<u64>,
    /// Nothing goes wrong before all are members.
    pub(super) is_formed_in_peace: bool,
    /// How long things go wrong.
    pub(super) safety: Duration,
    /// What goes wrong among so many nodes.
    pub(super) faults: Faults,
}

fn play(run: &Run) -> Result<(), Broken> {
    let safety = Duration::from_secs(12);
    let story = Story {
        shape: Shape { nodes: 1..=5, ..Shape::default() },
        rotten: None,
        leaver: None,
        // In some worlds things go wrong while the cluster forms.
        is_formed_in_peace: run.dice("peace").chance(3, 4),
        safety,
        faults: Box::new(move |dice, nodes, begin| {
            let mix = FaultMix::everything(Duration::from_millis(300 + dice.below(3000)));
            schedule(dice, &mix, nodes, safety).into_iter().map(|(at, fault)| (begin + at, fault)).collect()
        }),
    };
    tell(run, story)
}

/// Forms a cluster, lets things go wrong, repairs everything, and holds the cluster to its promises.
pub(super) fn tell(run: &Run, story: Story) -> Result<(), Broken> {
    // One generator for the whole process: without this a run would begin where the one before has left it.
    sqlite::reseed_random();
    let mut dice = run.dice("cluster");
    let config = WorldConfig::from_dice(&mut dice, &story.shape);
    let board = Board::new(story.rotten, story.leaver);
    let software: Arc<dyn Software> =
        Arc::new(Daemon { board: board.clone(), sizes: sizes(&mut dice), nodes: config.nodes });
    let mut world = World::new(run, &config, &software);
    let histories = Histories::default();
    let (have_homes, is_heavy) = (dice.chance(1, 2), dice.chance(1, 4));
    let pause_max = Duration::from_millis(*dice.pick(&[100, 100, 1000]).unwrap_or(&100));
    // A reader that is cut off together with the leader hears nothing of what others write: nothing but the leader's lease keeps
    // it from being told what was.
    let readers = if have_homes { config.nodes } else { 0 };
    let clients = (0..CLIENTS).map(|_| (have_homes.then(|| 1 + dice.below(config.nodes)), false));
    for (home, only_reads) in clients.chain((1..=readers).map(|node| (Some(node), true))).collect::<Vec<_>>() {
        let plan = Plan {
            nodes: config.nodes,
            home,
            only_reads,
            pause_max,
            is_heavy,
            board: board.clone(),
            histories: histories.clone(),
        };
        world.client(home, move |number| client::work(number, plan));
    }
    let mut oracles: Vec<Box<dyn Oracle>> = vec![Box::new(board.clone())];

    if story.is_formed_in_peace {
        let formed = board.clone();
        world.run(FORMING, &mut oracles, move |_| formed.members() == config.nodes)?;
        if board.members() < config.nodes {
            let members = board.members();
            return Err(Broken::new("forming", format!("{members} of {} nodes after {FORMING:?}", config.nodes)));
        }
    }
    let begin = world.now();
    world.plan((story.faults)(&mut dice, config.nodes, begin));
    world.run(begin + story.safety, &mut oracles, |_| false)?;

    world.heal();
    board.heal();
    world.run(world.now() + LIVENESS, &mut oracles, World::clients_done)?;
    run.count("calls", histories.calls());
    run.count("answers", histories.answers());
    run.count("checks", board.checks());
    check_registers(&histories.registers.entries())?;
    check_appends(&histories.lists.entries())?;
    if !world.clients_done() {
        return Err(Broken::new("liveness", "a client could not finish within a minute after everything was repaired"));
    }
    let equal = board.clone();
    world.run(world.now() + CONVERGENCE, &mut oracles, move |_| equal.is_converged(config.nodes))?;
    if !board.is_converged(config.nodes) {
        return Err(Broken::new("convergence", format!("the copies differ: {}", board.copies())));
    }
    if histories.answers() < 40 {
        return Err(Broken::new("vacuity", format!("only {} answers: nothing was shown", histories.answers())));
    }
    Ok(())
}

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
mod crowd;
mod daemon;
mod wire;

use crate::run::{Broken, Run, Scenario};
use crate::world::{Fault, FaultMix, Oracle, Shape, Software, World, WorldConfig, schedule};
pub(super) use board::Board;
pub(super) use crowd::Crowd;
pub(super) use daemon::{Daemon, EXPECTED_LOGS, HTTPS_PORT, sizes};

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

/// How long a cluster may take to form when nothing goes wrong.
pub(super) const FORMING: Duration = Duration::from_secs(30);
/// How long it may take after everything was repaired until all clients were served, and then until all copies are equal.
pub(super) const LIVENESS: Duration = Duration::from_mins(1);
pub(super) const CONVERGENCE: Duration = Duration::from_secs(30);

/// What goes wrong from `begin` on, by time.
type Faults = Box<dyn FnOnce(&mut Dice, u64, Duration) -> Vec<(Duration, Fault)>>;

/// What one story about a cluster has of its own.
pub(super) struct Story {
    pub(super) shape: Shape,
    /// Whose disk changes pages, if any does: its checks may find damage, until all is repaired.
    pub(super) rotten: Option<u64>,
    /// Who leaves the cluster and joins it again, if anybody does.
    pub(super) leaver: Option<u64>,
    /// How many stand by is changed again and again.
    pub(super) has_restless_roles: bool,
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
        has_restless_roles: false,
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
    let crowd = Crowd::from_dice(&mut dice, &mut world, config.nodes, &board);
    let mut oracles: Vec<Box<dyn Oracle>> = vec![Box::new(board.clone())];

    if story.is_formed_in_peace {
        let formed = board.clone();
        world.run(FORMING, &mut oracles, move |_| formed.members() == config.nodes)?;
        if board.members() < config.nodes {
            let members = board.members();
            return Err(Broken::new("forming", format!("{members} of {} nodes after {FORMING:?}", config.nodes)));
        }
    }
    if story.has_restless_roles {
        board.move_roles();
    }
    let begin = world.now();
    world.plan((story.faults)(&mut dice, config.nodes, begin));
    world.run(begin + story.safety, &mut oracles, |_| false)?;

    world.heal();
    board.heal();
    crowd.finish(run, &mut world, &mut oracles, &board, &(1..=config.nodes).collect())
}

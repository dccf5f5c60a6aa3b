//! Machines are lost for good, often most of them, and one of those that are left may lack what was acknowledged last. Whoever sits at
//! the others goes on without the lost ones, all of them at once, while machines fall in the middle of it. Later one of the lost
//! is found again and switched on.
//!
//! Before the loss the clients pause for a while, so that the survivors together have everything: then a recovery loses nothing, and the
//! histories before and after it are one. Held to what `cluster` is held to. The machine that was found hears that it is out, and joins
//! as a new one.

use super::cluster::{Board, Crowd, Daemon, EXPECTED_LOGS, FORMING, LIVENESS, sizes};
use crate::run::{Broken, Run, Scenario};
use crate::world::{Fault, Oracle, Shape, Side, Software, World, WorldConfig};
use rt::sim::{Dice, Strike};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

/// See the module.
pub(super) const SCENARIO: Scenario = Scenario {
    name: "lost",
    story: "Machines are lost for good, the others go on without them, and one is found again.",
    play,
    expected_logs: &[
        EXPECTED_LOGS,
        &[
            "a group goes on with this node as its only member",
            "a group does not go on with this node alone",
            "a lost member was taken out of the cluster",
            "this machine is no member any more; what it had",
        ],
    ],
    mutants: &["cluster.recover-from-here"],
};

/// How long the clients work before one survivor is cut off, and how long after that.
const WORK: Duration = Duration::from_secs(3);
/// How long they pause: what they have written reaches everybody who can be reached.
const QUIET: Duration = Duration::from_secs(4);

/// Who is lost, and who of the others lacks what was written last.
struct Loss {
    lost: BTreeSet<u64>,
    straggler: Option<u64>,
}

impl Loss {
    fn from_dice(dice: &mut Dice, nodes: u64) -> Self {
        let mut left: Vec<u64> = (1..=nodes).collect();
        let mut lost = BTreeSet::new();
        // At least two, and never all.
        for _ in 0..2 + dice.below(nodes - 2) {
            if left.len() > 1 {
                let at = usize::try_from(dice.below(left.len() as u64)).unwrap_or(0);
                lost.insert(left.swap_remove(at));
            }
        }
        let straggler = dice.pick(&left).copied().filter(|_| left.len() > 1);
        Self { lost, straggler }
    }
}

fn play(run: &Run) -> Result<(), Broken> {
    sqlite::reseed_random();
    let mut dice = run.dice("lost");
    let config = WorldConfig::from_dice(&mut dice, &Shape { nodes: 3..=5, slow_disks: false, ..Shape::default() });
    let Loss { lost, straggler } = Loss::from_dice(&mut dice, config.nodes);
    let board = Board::new(None, None);
    let software: Arc<dyn Software> =
        Arc::new(Daemon { board: board.clone(), sizes: sizes(&mut dice), nodes: config.nodes });
    let mut world = World::new(run, &config, &software);
    let crowd = Crowd::from_dice(&mut dice, &mut world, config.nodes, &board);
    let mut oracles: Vec<Box<dyn Oracle>> = vec![Box::new(board.clone())];

    let formed = board.clone();
    world.run(FORMING, &mut oracles, move |_| formed.members() == config.nodes)?;
    if board.members() < config.nodes {
        return Err(Broken::new("forming", format!("{} of {} nodes", board.members(), config.nodes)));
    }
    world.run(world.now() + WORK, &mut oracles, |_| false)?;
    if let Some(straggler) = straggler {
        world.strike(&Fault::Cut([straggler].into(), Side::Both, WORK + QUIET));
    }
    world.run(world.now() + WORK, &mut oracles, |_| false)?;
    board.quiet(true);
    world.run(world.now() + QUIET, &mut oracles, |_| false)?;

    strike_between_steps(run, world.now() + Duration::from_secs(15));
    for id in &lost {
        world.lose(*id);
    }
    board.lose(&lost);
    let recovered = board.clone();
    world.run(world.now() + LIVENESS, &mut oracles, move |_| recovered.is_recovered())?;
    if !board.is_recovered() {
        return Err(Broken::new("recovery", format!("the others do not go on without {lost:?}")));
    }
    let mut there: BTreeSet<u64> = (1..=config.nodes).filter(|id| !lost.contains(id)).collect();
    world.heal();
    let equal = board.clone();
    let survivors = there.clone();
    world.run(world.now() + LIVENESS, &mut oracles, |_| equal.is_converged(&survivors))?;
    if let Some(found) = lost.first().copied().filter(|_| dice.chance(1, 2)) {
        world.find(found);
        board.find(found);
        there.insert(found);
    }
    board.quiet(false);
    world.run(world.now() + WORK, &mut oracles, |_| false)?;
    board.heal();
    crowd.finish(run, &mut world, &mut oracles, &board, &there)
}

/// Machines fall between two steps of what is done about it, until then.
fn strike_between_steps(run: &Run, until: Duration) {
    let mut dice = run.dice("strikes");
    run.points.handle(Box::new(move |node, point, _| {
        let is_step = ["recover.", "reseed.", "roles.", "join.", "part."].iter().any(|steps| point.starts_with(steps));
        if !is_step || node.world_now() >= until {
            return Strike::Pass;
        }
        match dice.below(16) {
            0 => Strike::Kill,
            1 => Strike::PowerCut,
            2 => Strike::Pause(dice.between(Duration::from_millis(10), Duration::from_secs(2))),
            _ => Strike::Pass,
        }
    }));
}

//! More machines than roles: how many stand by is changed again and again, so that machines get copies and give them up, while machines fall
//! and links break.
//!
//! Held to what `cluster` is held to. In the end all stand by, and all copies are equal, also those that were given up meanwhile.

use super::cluster::{Story, tell};
use crate::run::{Broken, Run, Scenario};
use crate::world::{FaultMix, Kind, Shape, schedule};
use rt::sim::Strike;
use std::time::Duration;

/// See the module.
pub(super) const SCENARIO: Scenario = Scenario {
    name: "spares",
    story: "Machines become spares, give their copies up, and get them again, while machines fall and links break.",
    play,
    expected_logs: &[super::cluster::EXPECTED_LOGS],
    mutants: &[],
};

fn play(run: &Run) -> Result<(), Broken> {
    use Kind::{Cut, CutLink, Kill, Pause, PowerCut, PowerCutAtIo, Stop};
    let safety = Duration::from_secs(10);
    let mut dice = run.dice("strikes");
    run.points.handle(Box::new(move |node, point, _| {
        if !point.starts_with("roles.") || node.world_now() >= safety {
            return Strike::Pass;
        }
        match dice.below(12) {
            0 => Strike::Kill,
            1 => Strike::PowerCut,
            2 => Strike::Pause(dice.between(Duration::from_millis(10), Duration::from_secs(2))),
            _ => Strike::Pass,
        }
    }));
    let story = Story {
        shape: Shape { nodes: 4..=5, slow_disks: false, ..Shape::default() },
        rotten: None,
        leaver: None,
        has_restless_roles: true,
        is_formed_in_peace: true,
        safety,
        faults: Box::new(move |dice, nodes, begin| {
            let every = Duration::from_millis(400 + dice.below(1600));
            let mix = FaultMix::only(every, &[Kill, PowerCut, PowerCutAtIo, Stop, Pause, Cut, CutLink]);
            schedule(dice, &mix, nodes, safety).into_iter().map(|(at, fault)| (begin + at, fault)).collect()
        }),
    };
    tell(run, story)
}

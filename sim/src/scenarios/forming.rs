//! Machines join, are given roles and get their copies, and in every other world one leaves and joins again, while machines fall and links break: the worst time for a change of members.
//! Some fall between two steps of a change.
//!
//! Held to what `cluster` is held to: in the end every machine is a member with equal copies, whatever became of its first tries.

use super::cluster::{Story, tell};
use crate::run::{Broken, Run, Scenario};
use crate::world::{FaultMix, Kind, Shape, schedule};
use rt::sim::Strike;
use std::time::Duration;

/// See the module.
pub(super) const SCENARIO: Scenario = Scenario {
    name: "forming",
    story: "Machines join a cluster, and leave it, while its members are killed, lose power and lose each other.",
    play,
    expected_logs: &[super::cluster::EXPECTED_LOGS, &["this machine is no member any more; what it had"]],
    // A leader that waits for ever shows itself in one of hundreds of worlds: it is caught by a test of `raft` that makes that world.
    mutants: &["cluster.leave-others-behind"],
};

fn play(run: &Run) -> Result<(), Broken> {
    use Kind::{Cut, CutLink, Kill, Pause, PowerCut, PowerCutAtIo, Stop};
    let safety = Duration::from_secs(8);
    let mut dice = run.dice("strikes");
    run.points.handle(Box::new(move |node, point, _| {
        let is_step = ["join.", "part.", "roles.", "lead.", "snapshot.", "raft.snapshot."]
            .iter()
            .any(|steps| point.starts_with(steps));
        if !is_step || node.world_now() >= safety {
            return Strike::Pass;
        }
        // Whoever asks to lead and falls at once leaves a leader that waits for it: that comes seldom enough.
        match dice.below(if point.starts_with("lead.") { 6 } else { 24 }) {
            0 | 1 => Strike::Kill,
            2 => Strike::PowerCut,
            3 => Strike::Pause(dice.between(Duration::from_millis(10), Duration::from_secs(2))),
            _ => Strike::Pass,
        }
    }));
    let leaver = (run.seed % 2 == 1).then(|| 1 + run.seed / 2 % 3);
    let story = Story {
        shape: Shape { nodes: 3..=5, slow_disks: false, ..Shape::default() },
        rotten: None,
        leaver,
        has_restless_roles: false,
        // Only who is a member can leave.
        is_formed_in_peace: leaver.is_some(),
        safety,
        faults: Box::new(move |dice, nodes, begin| {
            let every = Duration::from_millis(200 + dice.below(1200));
            let mix = FaultMix::only(every, &[Kill, PowerCut, PowerCutAtIo, Stop, Pause, Cut, CutLink]);
            schedule(dice, &mix, nodes, safety).into_iter().map(|(at, fault)| (begin + at, fault)).collect()
        }),
    };
    tell(run, story)
}

//! One machine's disk changes pages of its databases, and its Raft log. What is damaged is never returned, nor passed on; it comes
//! back from the other machines.
//!
//! Machines lose their power meanwhile. Held to what `cluster` is held to: so all copies are whole and equal in the end.

use super::cluster::{Story, tell};
use crate::run::{Broken, Run, Scenario};
use crate::world::{Fault, FaultMix, Kind, Shape, schedule};
use std::time::Duration;

/// See the module.
pub(super) const SCENARIO: Scenario = Scenario {
    name: "rot",
    story: "One machine's disk changes pages and logs: they are refused, and mended with what the others have.",
    play,
    expected_logs: &[
        super::cluster::EXPECTED_LOGS,
        &[
            "corrupt page",
            "a damaged page was replaced by another member's",
            "repairing the Raft log",
            "its log was damaged: it has no vote until it has caught up",
            "a damaged entry of the Raft log was replaced by a checkpoint",
            "no checkpoint to replace a damaged entry of the Raft log",
            "a damaged segment of the Raft log is not needed any more",
            "the log of a group is damaged; the group stays down on this node",
            "a group has failed on this node: another one leads from now on",
        ],
    ],
    mutants: &["sqlite.trust-the-disk"],
};

fn play(run: &Run) -> Result<(), Broken> {
    let safety = Duration::from_secs(8);
    let victim = 1 + run.seed % 3;
    let story = Story {
        shape: Shape { nodes: 3..=3, slow_disks: false, ..Shape::default() },
        rotten: Some(victim),
        leaver: None,
        has_restless_roles: false,
        is_formed_in_peace: true,
        safety,
        faults: Box::new(move |dice, nodes, begin| {
            let mix = FaultMix::only(Duration::from_secs(2), &[Kind::Kill, Kind::PowerCut, Kind::Stop, Kind::Cut]);
            let mut faults = schedule(dice, &mix, nodes, safety);
            for _ in 0..4 + dice.below(20) {
                let rot = if dice.chance(1, 2) { Fault::RotLog(victim) } else { Fault::RotPage(victim) };
                faults.push((dice.between(Duration::ZERO, safety), rot));
            }
            faults.sort_by_key(|(at, _)| *at);
            faults.into_iter().map(|(at, fault)| (begin + at, fault)).collect()
        }),
    };
    tell(run, story)
}

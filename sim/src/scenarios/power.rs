//! The power goes at every operation of a disk: of the log, votes, checkpoints, snapshots, and of the recovery after it.
//!
//! The seed says where: node `seed % 3` loses its power at its operation `seed / 3`, counted from the moment when the cluster
//! stands, and in half of the worlds again soon after the restart. So seeds 0 to 3n go through the first n operations of each
//! node, one by one. Nothing else goes wrong. Held to what `cluster` is held to.

use super::cluster::{Story, tell};
use crate::run::{Broken, Run, Scenario};
use crate::world::{Fault, Shape};
use std::time::Duration;

/// See the module.
pub(super) const SCENARIO: Scenario = Scenario {
    name: "power",
    story: "A machine loses its power at one operation of its disk, each in its turn, and nothing acknowledged is lost.",
    play,
    expected_logs: &[super::cluster::EXPECTED_LOGS],
    mutants: &["raft.acknowledge-before-sync"],
};

fn play(run: &Run) -> Result<(), Broken> {
    let (victim, operation) = (1 + run.seed % 3, run.seed / 3);
    let story = Story {
        shape: Shape { nodes: 3..=3, slow_disks: false, drift_ppm_max: 0, latency_max: Duration::from_millis(3) },
        rotten: None,
        leaver: None,
        has_restless_roles: false,
        is_formed_in_peace: true,
        safety: Duration::from_secs(6),
        faults: Box::new(move |dice, _, begin| {
            let mut faults = vec![(begin, Fault::PowerCutAtIo(victim, operation))];
            if dice.chance(1, 2) {
                // Among the first operations of the next process, or a little later.
                let again = begin + dice.between(Duration::from_millis(600), Duration::from_secs(5));
                faults.push((again, Fault::PowerCutAtIo(victim, dice.below(60))));
            }
            faults
        }),
    };
    tell(run, story)
}

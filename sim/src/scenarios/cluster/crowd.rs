//! The clients of a cluster, and what all of them are told in the end.

use super::board::Board;
use super::client::{self, Histories, Plan};
use super::{CONVERGENCE, LIVENESS};
use crate::check::{check_appends, check_registers};
use crate::run::{Broken, Run};
use crate::world::{Oracle, World};
use rt::sim::Dice;
use std::collections::BTreeSet;
use std::time::Duration;

const CLIENTS: u64 = 4;
/// Fewer answers show nothing.
const ANSWERS_MIN: u64 = 40;

/// They have begun.
pub(in crate::scenarios) struct Crowd {
    histories: Histories,
}

impl Crowd {
    /// Some read and write, each of its own kind; in some worlds each node has one beside it that only reads.
    pub(in crate::scenarios) fn from_dice(dice: &mut Dice, world: &mut World<'_>, nodes: u64, board: &Board) -> Self {
        let histories = Histories::default();
        let (have_homes, is_heavy) = (dice.chance(1, 2), dice.chance(1, 4));
        let pause_max = Duration::from_millis(*dice.pick(&[100, 100, 1000]).unwrap_or(&100));
        // A reader that is cut off together with the leader hears nothing of what others write: nothing but the leader's lease keeps
        // it from being told what was.
        let readers = if have_homes { nodes } else { 0 };
        let clients = (0..CLIENTS).map(|_| (have_homes.then(|| 1 + dice.below(nodes)), false));
        for (home, only_reads) in clients.chain((1..=readers).map(|node| (Some(node), true))).collect::<Vec<_>>() {
            let (board, histories) = (board.clone(), histories.clone());
            let plan = Plan { nodes, home, only_reads, pause_max, is_heavy, board, histories };
            world.client(home, move |number| client::work(number, plan));
        }
        Self { histories }
    }

    /// All is repaired. Everybody is served, the histories hold, and the copies of these nodes become equal.
    pub(in crate::scenarios) fn finish(
        &self,
        run: &Run,
        world: &mut World<'_>,
        oracles: &mut [Box<dyn Oracle>],
        board: &Board,
        nodes: &BTreeSet<u64>,
    ) -> Result<(), Broken> {
        world.run(world.now() + LIVENESS, oracles, World::clients_done)?;
        run.count("calls", self.histories.calls());
        run.count("answers", self.histories.answers());
        run.count("checks", board.checks());
        check_registers(&self.histories.registers.entries())?;
        check_appends(&self.histories.lists.entries())?;
        if !world.clients_done() {
            let what = "a client could not finish within a minute after everything was repaired";
            return Err(Broken::new("liveness", what));
        }
        world.run(world.now() + CONVERGENCE, oracles, |_| board.is_converged(nodes))?;
        if !board.is_converged(nodes) {
            return Err(Broken::new("convergence", format!("the copies differ: {}", board.copies())));
        }
        if self.histories.answers() < ANSWERS_MIN {
            let what = format!("only {} answers: nothing was shown", self.histories.answers());
            return Err(Broken::new("vacuity", what));
        }
        Ok(())
    }
}

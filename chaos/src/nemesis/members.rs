//! Nodes that leave, die for good, and join, also while something else goes wrong.

use super::{Nemesis, heal, one_of, victims};
use crate::cluster::{Cluster, name};
use crate::dice::Dice;
use crate::error::ChaosError;
use crate::process::pause;
use std::time::{Duration, Instant};

/// Time for one change of the membership.
const CHANGE: Duration = Duration::from_secs(20);

/// Strikes. That a change is refused or late while something else is wrong is no finding: [`readmit`] must succeed after it.
pub(super) fn strike(nemesis: Nemesis, cluster: &mut Cluster, dice: &mut Dice) -> Result<String, ChaosError> {
    let Some(node) = victims(cluster, dice, 0).first().copied() else { return Ok("nobody".to_owned()) };
    let member = (node + 1 + dice.index(cluster.len() - 1)) % cluster.len();
    let mut told = Vec::new();
    let mut tell = |what: &str, ended: Result<(), ChaosError>| match ended {
        Err(ChaosError::Interrupted) => Err(ChaosError::Interrupted),
        Err(error) => {
            told.push(format!("{what}: {error}"));
            Ok(())
        }
        Ok(()) => {
            told.push(what.to_owned());
            Ok(())
        }
    };
    if nemesis == Nemesis::Replace {
        cluster.wipe(node)?;
        let removed = cluster.command(member, &["node", "remove", &name(node), "--yes", "--force"], CHANGE).map(drop);
        tell(&format!("{} died and was removed", name(node)), removed)?;
        cluster.start(node)?;
        cluster.until("a new node", CHANGE, |cluster| cluster.state(node) == "unformed")?;
        let joined = cluster.join(node, member, CHANGE);
        tell("a new one joined", joined)?;
        return Ok(told.join(", "));
    }
    let left = cluster.command(node, &["leave", "--yes"], CHANGE).map(drop);
    tell(&format!("{} left", name(node)), left)?;
    // It goes on as a machine without a cluster, if it has left.
    drop(cluster.until("a node without a cluster", Duration::from_secs(3), |c| c.state(node) == "unformed"));
    if nemesis == Nemesis::Leave {
        let joined = cluster.join(node, member, CHANGE);
        tell("joined again", joined)?;
        return Ok(told.join(", "));
    }
    // The join goes on beside us while somebody falls: the joiner, its helper, or another.
    match cluster.token(member, CHANGE) {
        Err(error) => tell("a token", Err(error))?,
        Ok(token) => {
            let words = ["join", &token, "--name", &name(node)];
            let mut join = cluster.command_line(node, &words, CHANGE);
            let quiet = join.stdin(std::process::Stdio::null()).stdout(std::process::Stdio::null());
            let mut join = quiet
                .stderr(std::process::Stdio::null())
                .spawn()
                .map_err(|error| ChaosError::failed("bowline join", error.to_string()))?;
            let moment = dice.between(0, 1500);
            pause(moment)?;
            let fault = one_of(&[Nemesis::Kill, Nemesis::Halves, Nemesis::OneWay, Nemesis::Pause], dice);
            let what = fault.strike(cluster, dice)?;
            tell(&format!("while it joined, after {moment:?}: {what}"), Ok(()))?;
            let hold = dice.between(500, 4000);
            pause(hold)?;
            heal(cluster)?;
            let ended = join.wait().is_ok_and(|status| status.success());
            tell(if ended { "joined" } else { "the join gave up" }, Ok(()))?;
        }
    }
    Ok(told.join(", "))
}

/// Until every node is a member again: whoever belongs to no cluster is removed, if the others still know it, and joins.
pub(super) fn readmit(cluster: &mut Cluster, patience: Duration) -> Result<(), ChaosError> {
    let until = Instant::now() + patience;
    loop {
        let states: Vec<String> = (0..cluster.len()).map(|node| cluster.state(node)).collect();
        let Some(node) = states.iter().position(|state| state == "unformed") else { return Ok(()) };
        let member = states.iter().position(|state| state == "ready");
        let joined = match member {
            Some(member) => cluster.join(node, member, CHANGE).or_else(|_| {
                // Of a join that was cut short there may be a member of that name, which never was one.
                cluster.command(member, &["node", "remove", &name(node), "--yes", "--force"], CHANGE)?;
                cluster.join(node, member, CHANGE)
            }),
            None => Err(ChaosError::failed("joining again", format!("no node is ready: {states:?}"))),
        };
        match joined {
            Ok(()) => {}
            Err(ChaosError::Interrupted) => return Err(ChaosError::Interrupted),
            Err(error) if Instant::now() > until => {
                cluster.findings.push(format!("{} cannot join again within {patience:?}: {error}", name(node)));
                return Ok(());
            }
            Err(_) => pause(Duration::from_millis(300))?,
        }
    }
}

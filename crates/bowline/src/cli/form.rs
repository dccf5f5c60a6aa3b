//! `bowline init` and `bowline join`: this machine becomes a member.

use super::args::{IdentityArgs, InitArgs, JoinArgs};
use super::failure::{self, Failure};
use super::output::talk;
use super::{Context, daemon_process};
use crate::human;
use api::control::{Formed, InitRequest, JoinRequest, NodeInfo};
use base::Role;
use std::time::Duration;

/// Clocks that differ by more are worth a word.
const CLOCKS_DIFFER_MAX: Duration = Duration::from_mins(1);

pub(super) async fn init(context: &Context, args: InitArgs) -> Result<(), Failure> {
    let started = rt::time::Instant::now();
    daemon_process::ensure(context, &args.listen).await?;
    let IdentityArgs { name, address, dqlite_address, https_address } = args.identity;
    let formed = context.client().init(&InitRequest { name, address, dqlite_address, https_address }).await?;
    context.output.outcome(&formed, &formed.node.name, &ready_line(&formed, started.elapsed()))?;
    let bowline = context.bowline();
    context.output.next(&format!("{bowline} token add"), "add another machine");
    context.output.next(&format!("{bowline} sql shop \"select 1\""), "talk SQL");
    Ok(())
}

pub(super) async fn join(context: &Context, args: JoinArgs) -> Result<(), Failure> {
    let token = if args.token == "-" { read_token()? } else { args.token };
    if !token.starts_with("bl1.") {
        return Err(failure::misuse(
            "that is not a join token",
            "a join token starts with bl1. and has no blanks in it",
            "`bowline token add` on a member prints one",
        ));
    }
    daemon_process::ensure(context, &args.listen).await?;
    let IdentityArgs { name, address, dqlite_address, https_address } = args.identity;
    let formed = context
        .client()
        .join(&JoinRequest { token, name, address, dqlite_address, https_address, witness: args.witness })
        .await?;
    let bowline = context.bowline();
    context.output.outcome(&formed, &formed.node.name, &joined_line(&formed.node, &formed.nodes))?;
    if let Some(warning) = formed.clock_ahead_ms.and_then(|ahead| clocks_differ(ahead, rt::time::wall())) {
        talk(&warning);
    }
    context.output.next(&format!("{bowline} status"), "shows the cluster");
    Ok(())
}

/// `ready in 1.4 s: store, membership, ...` and where to reach it.
fn ready_line(formed: &Formed, elapsed: Duration) -> String {
    let units = if formed.units.is_empty() { String::new() } else { format!(": {}", formed.units.join(", ")) };
    format!(
        "{} is ready in {}{units}\n  https  {}\n  dqlite {}\n  nodes  {}",
        formed.node.name,
        human::duration(elapsed),
        formed.node.https_address,
        formed.node.dqlite_address,
        formed.node.address,
    )
}

/// What the cluster survives now, and what it does not.
fn joined_line(node: &NodeInfo, nodes: &[NodeInfo]) -> String {
    let names = |role| nodes.iter().filter(|n| n.role == role).map(|n| n.name.as_str()).collect::<Vec<_>>();
    let voters = names(Role::Voter);
    let data = nodes.iter().filter(|n| !n.witness).count();
    let survives = voters.len().saturating_sub(1) / 2;
    let promise = match survives {
        0 => format!(
            "Losing {} now stops writes. Next: {}.",
            if let [only] = voters.as_slice() {
                (*only).to_owned()
            } else {
                format!("any of {}", human::list(&voters))
            },
            if data < 2 { "add a second machine that keeps data" } else { "add a third machine or a witness" }
        ),
        1 => "The cluster survives the loss of any one machine.".to_owned(),
        n => format!("The cluster survives the loss of any {n} machines."),
    };
    match node.role {
        Role::Voter if node.witness => {
            format!("{} joined as witness; voters are now {}. {promise}", node.name, voters.join(", "))
        }
        _ if node.witness => {
            let vote = match data {
                0 | 1 => "it votes once two machines keep data",
                2 => "it votes when all three machines answer",
                _ => "it is idle as long as so many machines keep data",
            };
            format!("{} joined as witness; {vote}. {promise}", node.name)
        }
        Role::Voter => format!("{} joined; voters are now {}. {promise}", node.name, voters.join(", ")),
        role => format!(
            "{} joined as {role} ({} of {}). {promise}",
            node.name,
            human::count(voters.len() as u64, "voter", "voters"),
            nodes.len()
        ),
    }
}

/// What to say if this machine's clock and the leader's differ by more than a minute.
fn clocks_differ(ahead_ms: i64, now: Duration) -> Option<String> {
    let by = Duration::from_millis(ahead_ms.unsigned_abs());
    if by <= CLOCKS_DIFFER_MAX {
        return None;
    }
    let second = |time: Duration| {
        let second = i64::try_from(time.as_secs()).ok().and_then(|second| jiff::Timestamp::from_second(second).ok());
        second.unwrap_or_default().strftime("%Y-%m-%d %H:%M:%SZ").to_string()
    };
    let there = if ahead_ms > 0 { now.saturating_sub(by) } else { now + by };
    let side = if ahead_ms > 0 { "ahead of" } else { "behind" };
    Some(format!(
        "warning BL-CLU-044: this machine's clock says {}, the leader's {}: it is {} {side} it\n   next  where the clock is wrong: \
         timedatectl set-ntp true, or chronyc makestep\n",
        second(now),
        second(there),
        human::duration(by),
    ))
}

pub(super) fn read_token() -> Result<String, Failure> {
    let mut line = String::new();
    std::io::stdin()
        .read_line(&mut line)
        .map_err(|error| Failure::from(failure::io(&failure::FILE, "standard input", &error)))?;
    if line.trim().is_empty() {
        talk("no token came on standard input\n");
    }
    Ok(line.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use api::control::Health;
    use base::NodeId;

    fn node(id: u64, role: Role) -> NodeInfo {
        NodeInfo {
            id: NodeId(id),
            name: format!("box{id}"),
            role,
            witness: false,
            health: Health::Up,
            leader: id == 1,
            address: format!("10.0.0.{id}:7440"),
            dqlite_address: format!("10.0.0.{id}:9000"),
            https_address: format!("10.0.0.{id}:7443"),
            version: None,
            failure_domain: 0,
            weight: 0,
            certificate_ends: None,
            clock_ahead_ms: None,
        }
    }

    #[test]
    fn a_join_says_what_the_cluster_survives_now() {
        use Role::{Spare, StandBy, Voter};
        let line = |roles: &[Role]| {
            let nodes: Vec<_> = (1..).zip(roles).map(|(id, role)| node(id, *role)).collect();
            joined_line(nodes.last().unwrap(), &nodes)
        };
        assert_eq!(
            line(&[Voter, StandBy]),
            "box2 joined as stand-by (1 voter of 2). Losing box1 now stops writes. Next: add a third machine or a witness."
        );
        assert_eq!(
            line(&[Voter, Voter, Voter]),
            "box3 joined; voters are now box1, box2, box3. The cluster survives the loss of any one machine."
        );
        assert_eq!(
            line(&[Voter, Voter, Voter, StandBy]),
            "box4 joined as stand-by (3 voters of 4). The cluster survives the loss of any one machine."
        );
        assert_eq!(
            line(&[Voter, Voter, Voter, Voter, Voter, Spare]),
            "box6 joined as spare (5 voters of 6). The cluster survives the loss of any 2 machines."
        );
    }

    #[test]
    fn a_join_says_whose_clock_says_what_if_they_differ_by_more_than_a_minute() {
        let now = Duration::from_secs(1_790_000_000);
        assert_eq!(clocks_differ(60_000, now), None);
        assert_eq!(clocks_differ(-59_000, now), None);
        let both = [90_000, -3 * 3_600_000].map(|ahead| clocks_differ(ahead, now).unwrap());
        insta::assert_snapshot!(both.concat());
    }

    #[test]
    fn a_witness_that_joins_says_whether_it_votes() {
        use Role::{Spare, StandBy, Voter};
        let line = |roles: &[Role]| {
            let mut nodes: Vec<_> = (1..).zip(roles).map(|(id, role)| node(id, *role)).collect();
            nodes.last_mut().unwrap().witness = true;
            joined_line(nodes.last().unwrap(), &nodes)
        };
        insta::assert_snapshot!(
            [
                line(&[Voter, Voter, Voter]),
                line(&[Voter, Spare]),
                line(&[Voter, StandBy, Spare]),
                line(&[Voter, Voter, Voter, Spare])
            ]
            .join("\n")
        );
    }

    #[test]
    fn ready_says_what_runs_and_where() {
        let formed = Formed {
            node: node(1, Role::Voter),
            nodes: vec![node(1, Role::Voter)],
            units: vec!["identity".into(), "raft".into(), "store".into(), "dqlite".into()],
            elapsed_ms: 700,
            clock_ahead_ms: None,
        };
        insta::assert_snapshot!(ready_line(&formed, Duration::from_millis(1_420)));
    }
}

//! `bowline node list|remove`, `bowline leave`, and the table of members that other commands show too.

use super::args::{LeaveArgs, NodeCommand};
use super::failure::Failure;
use super::{Context, confirm};
use crate::human;
use crate::text::style::Tone;
use crate::text::table::{Cell, Table};
use api::control::{ClientError, Health, NodeInfo, NodeRequest, NodeState, Parted};
use base::Role;
use std::time::Duration;

/// How long the daemon may take to put aside what it had of the cluster, and to answer again.
const ASIDE_MAX: Duration = Duration::from_secs(30);
/// How often it is asked.
const LOOK_EVERY: Duration = Duration::from_millis(50);

pub(super) async fn run(context: &Context, command: NodeCommand) -> Result<(), Failure> {
    match command {
        NodeCommand::List => list(context).await,
        NodeCommand::Set { name, failure_domain, weight } => {
            let node = context.client().node_set(&name, &NodeRequest { failure_domain, weight }).await?;
            let line = format!("{name} has failure domain {} and weight {}.", node.failure_domain, node.weight);
            context.output.outcome(&node, &name, &line)
        }
        NodeCommand::Roles { voters, stand_bys, dead_after } => roles(context, voters, stand_bys, dead_after).await,
        NodeCommand::Remove { name, how } => remove(context, &name, &how).await,
    }
}

/// What is not given stays.
async fn roles(
    context: &Context,
    voters: Option<usize>,
    stand_bys: Option<usize>,
    dead_after_s: Option<u64>,
) -> Result<(), Failure> {
    let client = context.client();
    let mut targets = client.roles().await?;
    if voters.is_some() || stand_bys.is_some() || dead_after_s.is_some() {
        targets.voters = voters.unwrap_or(targets.voters);
        targets.stand_bys = stand_bys.unwrap_or(targets.stand_bys);
        targets.dead_after_s = dead_after_s.unwrap_or(targets.dead_after_s);
        targets = client.roles_set(&targets).await?;
    }
    let line = format!(
        "{} vote from three members on, {} stand by; the others are spare. A member that is away for {} loses its roles.",
        targets.voters,
        targets.stand_bys,
        human::duration(Duration::from_secs(targets.dead_after_s)),
    );
    context.output.outcome(&targets, &targets.voters.to_string(), &line)?;
    context.output.next(&format!("{} node list", context.bowline()), "shows who does what");
    Ok(())
}

async fn remove(context: &Context, name: &str, how: &LeaveArgs) -> Result<(), Failure> {
    if !how.yes {
        confirm::by_name("removing", name, "take its copies of all databases out of the cluster")?;
    }
    let parted = context.client().node_remove(name, how.force).await?;
    context.output.outcome(&parted, name, &parted_line(&parted))?;
    context.output.next(&format!("{} node list", context.bowline()), "shows who stays");
    Ok(())
}

/// Waits until the daemon belongs to no cluster any more: then this machine may join again.
pub(super) async fn leave(context: &Context, how: &LeaveArgs) -> Result<(), Failure> {
    let client = context.client();
    // A machine that belongs to no cluster says so.
    client.nodes().await?;
    let Some(name) = client.status().await?.name else { return Ok(()) };
    if !how.yes {
        confirm::by_name("leaving with", &name, "take this machine's copies of all databases out of the cluster")?;
    }
    let parted = client.node_remove(&name, how.force).await?;
    let asked = rt::time::Instant::now();
    loop {
        match client.ready().await {
            Ok(readiness) if readiness.state == NodeState::Unformed => break,
            Ok(_) | Err(ClientError::Unreachable { .. } | ClientError::Broken { .. })
                if asked.elapsed() < ASIDE_MAX =>
            {
                rt::time::sleep(LOOK_EVERY).await;
            }
            Ok(_) => return Err(ClientError::Deadline { after: ASIDE_MAX }.into()),
            Err(error) => return Err(error.into()),
        }
    }
    let aside = context.state_dir.join(format!("left-{}", parted.node));
    let line = format!("{} What it had is in {}", parted_line(&parted), aside.display());
    context.output.outcome(&parted, &name, &line)?;
    context.output.next(&format!("{} join TOKEN", context.bowline()), "enters a cluster, as a new node");
    Ok(())
}

/// What the cluster survives without the node. By the number of those who stay: their roles may still move.
fn parted_line(parted: &Parted) -> String {
    let witnesses = parted.nodes.iter().filter(|node| node.witness).count();
    let promise = match parted.nodes.len() {
        2 if witnesses > 0 => {
            "One machine that keeps data is left, and a witness: losing it loses its databases. Next: add another machine."
        }
        0 | 1 => "One machine is left: losing it loses its databases. Next: add another machine.",
        2 => "Two machines are left: losing the one that votes stops writes. Next: add a third machine or a witness.",
        _ => "The cluster still survives the loss of any one machine.",
    };
    format!("{} left. {promise}", parted.name)
}

async fn list(context: &Context) -> Result<(), Failure> {
    let nodes = context.client().nodes().await?;
    context.output.list(&nodes, || table(&nodes), |node| node.name.clone())
}

/// The members, one a line.
pub(super) fn table(nodes: &[NodeInfo]) -> Table {
    let mut table = Table::new(&[
        "NODE",
        "ROLE",
        "HEALTH",
        "LEADS",
        "ADDRESS",
        "DQLITE",
        "+HTTPS",
        "+DOMAIN",
        "+WEIGHT",
        "+ID",
        "+VERSION",
        "+CERTIFICATE UNTIL",
    ]);
    for node in nodes {
        table.row([
            Cell::new(&node.name),
            Cell::new(role(node)),
            health(node.health),
            Cell::new(if node.leader { "yes" } else { "-" }),
            Cell::new(&node.address),
            Cell::new(&node.dqlite_address),
            Cell::new(&node.https_address),
            Cell::new(node.failure_domain),
            Cell::new(node.weight),
            Cell::new(node.id),
            Cell::new(node.version.as_deref().unwrap_or("-")),
            match node.certificate_ends {
                Some(ends) => Cell::new(ends.strftime("%Y-%m-%d %H:%M:%SZ")).raw(ends),
                None => Cell::new("-"),
            },
        ]);
    }
    table
}

/// What a node does, in a word. A witness without a vote is idle.
fn role(node: &NodeInfo) -> String {
    match (node.witness, node.role) {
        (true, Role::Voter) => "witness".to_owned(),
        (true, _) => "witness, idle".to_owned(),
        (false, role) => role.to_string(),
    }
}

/// A word for the health, in its colour.
pub(super) fn health(health: Health) -> Cell {
    match health {
        Health::Up => Cell::new("healthy").raw("up").tone(Tone::Good),
        Health::Down => Cell::new("down").tone(Tone::Bad),
        Health::Unknown => Cell::new("unknown").tone(Tone::Warn),
    }
}

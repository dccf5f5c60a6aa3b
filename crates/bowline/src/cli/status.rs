//! `bowline status`: the first line answers the question that people have before they touch a machine.

use super::Context;
use super::args::StatusArgs;
use super::failure::Failure;
use super::node;
use super::output::{Shape, data};
use crate::human;
use crate::text::style::{Style, Tone};
use crate::text::table::{Cell, Shown, Table};
use api::control::{NodeState, Status, Trouble, TroubleKind, UnitStatus, Warning};
use std::time::Duration;

pub(super) async fn run(context: &Context, args: &StatusArgs) -> Result<(), Failure> {
    let status = context.client().status().await?;
    match context.output.shape() {
        Shape::Table(shown) => {
            data(&render(&status, shown, context.output.style()))?;
            if args.units {
                data(&format!("\n{}", units(&status.units).columns(shown, context.output.style())))?;
            }
        }
        Shape::Tsv if args.units => data(&units(&status.units).tsv())?,
        Shape::Tsv => data(&node::table(&status.nodes).tsv())?,
        Shape::Name | Shape::Json | Shape::Yaml => {
            context.output.outcome(&status, status.name.as_deref().unwrap_or("-"), "")?;
        }
    }
    match status.state {
        NodeState::Ready => Ok(()),
        NodeState::Unformed => {
            let bowline = context.bowline();
            context.output.next(&format!("{bowline} init"), "starts a cluster on this machine");
            context.output.next(&format!("{bowline} join TOKEN"), "enters one; the token is from `bowline token add`");
            Err(Failure::Said(3))
        }
        NodeState::Starting | NodeState::Stopping => {
            if !args.units {
                context.output.next(&format!("{} status --units", context.bowline()), "shows each part of the daemon");
            }
            Err(Failure::Said(3))
        }
    }
}

fn render(status: &Status, shown: Shown, style: Style) -> String {
    let (answer, tone) = if status.reboot.safe { ("yes", Tone::Good) } else { ("no", Tone::Warn) };
    let uptime = human::duration(Duration::from_millis(status.uptime_ms));
    let verdict = format!("Safe to reboot this machine: {}, {}.\n", style.paint(tone, answer), status.reboot.reason);
    let state = match status.state {
        NodeState::Unformed => format!("The daemon is up for {uptime}; this machine belongs to no cluster yet.\n"),
        NodeState::Starting => format!("Starting for {uptime}; waiting for {}.\n", human::list(&status.waiting_for)),
        NodeState::Stopping => "Stopping.\n".to_owned(),
        NodeState::Ready => format!(
            "{} is ready, up for {uptime}; {}, {} here; Raft log {}.\n",
            status.name.as_deref().unwrap_or("This node"),
            human::count(status.databases, "database", "databases"),
            human::bytes(status.database_bytes),
            human::bytes(status.log_bytes),
        ),
    };
    let members = match status.nodes.as_slice() {
        [] => String::new(),
        nodes => format!("\n{}", node::table(nodes).columns(shown, style)),
    };
    let troubles: Vec<String> =
        status.troubles.iter().map(|trouble| style.paint(Tone::Bad, &said(trouble)) + "\n").collect();
    let warnings: Vec<String> = status
        .warnings
        .iter()
        .map(|Warning { code, message, next }| {
            style.paint(Tone::Warn, &format!("{message} ({code}).")) + &format!("\n  Next: {next}.\n")
        })
        .collect();
    let losses = match status.losses.as_slice() {
        [] => String::new(),
        sentences => format!("\n{}\n", sentences.join("\n")),
    };
    let more = match (shown, &status.cluster) {
        (Shown::Wide, Some(cluster)) => format!("\ncluster {cluster}, bowline {}\n", status.version),
        _ => String::new(),
    };
    [verdict, state, troubles.concat(), warnings.concat(), members, losses, more].concat()
}

fn said(Trouble { database, kind, why }: &Trouble) -> String {
    match kind {
        TroubleKind::Suspended => format!("Database {database} is suspended here until the disk takes writes: {why}"),
        TroubleKind::Failed => format!("Database {database} is down here until the daemon is started again: {why}"),
        TroubleKind::WithoutVote => format!("Database {database} has no vote here until it has caught up: {why}"),
        TroubleKind::BehindWitness => format!("Database {database} waits for a machine that is away: {why}"),
        TroubleKind::VotersChange => format!("Database {database} changes its voters: {why}"),
    }
}

/// The lanes of the daemon's units.
fn units(units: &[UnitStatus]) -> Table {
    let mut table = Table::new(&["UNIT", "PHASE", "#FOR", "DETAIL"]);
    for unit in units {
        let tone = match unit.phase.as_str() {
            "ready" => Tone::Good,
            "failed" => Tone::Bad,
            "stopped" => Tone::Dim,
            _ => Tone::Warn,
        };
        table.row([
            Cell::new(&unit.name),
            Cell::new(&unit.phase).tone(tone),
            Cell::new(human::duration(Duration::from_millis(unit.phase_ms))).raw(unit.phase_ms),
            Cell::new(unit.detail.as_deref().unwrap_or("")),
        ]);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;
    use api::control::{Health, NodeInfo, Reboot, losses};
    use base::{NodeId, Role};

    fn member(id: u64, role: Role, health: Health) -> NodeInfo {
        NodeInfo {
            id: NodeId(id),
            name: format!("box{id}"),
            role,
            witness: false,
            health,
            leader: id == 1,
            address: format!("10.0.0.{id}:7440"),
            dqlite_address: format!("10.0.0.{id}:9000"),
            https_address: format!("10.0.0.{id}:7443"),
            version: (health == Health::Up).then(|| "0.1.0".to_owned()),
            failure_domain: 0,
            weight: 0,
            certificate_ends: None,
            clock_ahead_ms: None,
        }
    }

    fn status(state: NodeState, nodes: Vec<NodeInfo>) -> Status {
        let phase = |name: &str, phase: &str, detail: Option<&str>| UnitStatus {
            name: name.into(),
            phase: phase.into(),
            phase_ms: 11_040_000,
            detail: detail.map(str::to_owned),
        };
        Status {
            state,
            waiting_for: if state == NodeState::Starting { vec!["raft".into(), "store".into()] } else { vec![] },
            reboot: Reboot::judge(&nodes, NodeId(1)),
            node: nodes.first().map(|n| n.id),
            name: nodes.first().map(|n| n.name.clone()),
            cluster: nodes.first().map(|_| "7f2k93qd".to_owned()),
            version: "0.1.0".into(),
            uptime_ms: 11_520_000,
            losses: losses(&nodes),
            nodes,
            databases: 2,
            database_bytes: 13_002_342,
            log_bytes: 4 << 20,
            troubles: vec![],
            warnings: vec![],
            units: vec![phase("store", "ready", None), phase("dqlite", "failed", Some("port 9000 is taken"))],
        }
    }

    #[test]
    fn the_first_line_says_whether_a_reboot_is_safe() {
        use Health::{Down, Up};
        let three = |third| vec![member(1, Role::Voter, Up), member(2, Role::Voter, Up), member(3, Role::Voter, third)];
        let text = |status: &Status, shown| render(status, shown, Style::Plain);
        insta::assert_snapshot!("three_healthy", text(&status(NodeState::Ready, three(Up)), Shown::Always));
        insta::assert_snapshot!("one_of_three_down", text(&status(NodeState::Ready, three(Down)), Shown::Wide));
        insta::assert_snapshot!("unformed", text(&status(NodeState::Unformed, vec![]), Shown::Always));
        insta::assert_snapshot!("starting", text(&status(NodeState::Starting, three(Up)), Shown::Always));
    }

    #[test]
    fn with_two_machines_it_says_what_a_loss_means_and_with_a_witness_that_any_one_may_go() {
        use Health::Up;
        let two = vec![member(1, Role::Voter, Up), member(2, Role::StandBy, Up)];
        let witness = NodeInfo { witness: true, ..member(3, Role::Voter, Up) };
        let with_witness = vec![member(1, Role::Voter, Up), member(2, Role::Voter, Up), witness];
        let text = |nodes| render(&status(NodeState::Ready, nodes), Shown::Always, Style::Plain);
        insta::assert_snapshot!("two_machines", text(two));
        insta::assert_snapshot!("two_machines_and_a_witness", text(with_witness));
    }

    #[test]
    fn troubles_are_said_before_the_members() {
        let trouble = |kind, why: &str| Trouble { database: "shop".parse().unwrap(), kind, why: why.to_owned() };
        let mut status = status(NodeState::Ready, vec![member(1, Role::Voter, Health::Up)]);
        status.troubles = vec![
            trouble(TroubleKind::Suspended, "No space left on device (os error 28)"),
            trouble(
                TroubleKind::Failed,
                "BL-RAFT-003: entry 3.1@77 of the Raft log is damaged and was not applied yet",
            ),
            trouble(TroubleKind::WithoutVote, "its log was damaged"),
        ];
        insta::assert_snapshot!("troubles", render(&status, Shown::Always, Style::Plain));
    }

    #[test]
    fn warnings_come_with_what_to_do() {
        let mut status = status(NodeState::Ready, vec![member(1, Role::Voter, Health::Up)]);
        status.warnings = vec![Warning {
            code: cluster::warning::CLOCK_DIFFERS.0.to_owned(),
            message: "The clock of box2 is 3 min 20 s ahead of the leader's".to_owned(),
            next: "where the clock is wrong: `timedatectl set-ntp true`".to_owned(),
        }];
        insta::assert_snapshot!("warnings", render(&status, Shown::Always, Style::Plain));
    }

    #[test]
    fn units_are_shown_with_what_is_wrong() {
        let table = units(&status(NodeState::Ready, vec![]).units);
        insta::assert_snapshot!(table.columns(Shown::Always, Style::Plain));
        assert_eq!(table.tsv(), "store\tready\t11040000\t\ndqlite\tfailed\t11040000\tport 9000 is taken\n");
    }
}

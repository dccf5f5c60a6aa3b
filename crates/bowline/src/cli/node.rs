//! `bowline node list`, and the table of members that other commands show too.

use super::Context;
use super::failure::Failure;
use crate::text::style::Tone;
use crate::text::table::{Cell, Table};
use api::control::{Health, NodeInfo};

pub(super) async fn list(context: &Context) -> Result<(), Failure> {
    let nodes = context.client().nodes().await?;
    context.output.list(&nodes, || table(&nodes), |node| node.name.clone())
}

/// The members, one a line.
pub(super) fn table(nodes: &[NodeInfo]) -> Table {
    let mut table = Table::new(&["NODE", "ROLE", "HEALTH", "LEADS", "ADDRESS", "DQLITE", "+ID", "+VERSION"]);
    for node in nodes {
        table.row([
            Cell::new(&node.name),
            Cell::new(node.role),
            health(node.health),
            Cell::new(if node.leader { "yes" } else { "-" }),
            Cell::new(&node.address),
            Cell::new(&node.dqlite_address),
            Cell::new(node.id),
            Cell::new(node.version.as_deref().unwrap_or("-")),
        ]);
    }
    table
}

/// A word for the health, in its colour.
pub(super) fn health(health: Health) -> Cell {
    match health {
        Health::Up => Cell::new("healthy").raw("up").tone(Tone::Good),
        Health::Down => Cell::new("down").tone(Tone::Bad),
        Health::Unknown => Cell::new("unknown").tone(Tone::Warn),
    }
}

//! `bowline audit`: who asked for what.

use super::Context;
use super::args::AuditArgs;
use super::failure::Failure;
use crate::text::style::Tone;
use crate::text::table::{Cell, Table};
use api::control::AuditInfo;

pub(super) async fn run(context: &Context, args: &AuditArgs) -> Result<(), Failure> {
    let entries = context.client().audit(args.before, args.limit).await?;
    context.output.list(&entries, || table(&entries), |entry| entry.id.to_string())
}

fn table(entries: &[AuditInfo]) -> Table {
    let mut table = Table::new(&["TIME", "WHO", "ROLE", "NODE", "REQUEST", "ANSWER", "+ID"]);
    for entry in entries {
        let (answer, tone) = match (entry.status, &entry.code) {
            (None, _) => ("-".to_owned(), Tone::Dim),
            (Some(_), Some(code)) => (code.clone(), Tone::Warn),
            (Some(status), None) if status < 400 => ("done".to_owned(), Tone::Good),
            (Some(status), None) => (status.to_string(), Tone::Warn),
        };
        table.row([
            Cell::new(entry.at.strftime("%Y-%m-%d %H:%M:%SZ")).raw(entry.at),
            Cell::new(&entry.who),
            Cell::new(&entry.role),
            Cell::new(&entry.node),
            Cell::new(&entry.request),
            Cell::new(answer).tone(tone),
            Cell::new(entry.id),
        ]);
    }
    table
}

//! `bowline db create|list|check|drop|export|import`.

use super::Context;
use super::args::DbCommand;
use super::confirm;
use super::failure::{self, Failure};
use super::output::{self, Shape};
use super::progress::Progress;
use crate::human;
use crate::text::table::{Cell, Table};
use api::control::{ByteStream, DatabaseCheck, DatabaseContents, DatabaseInfo, Problem, ProblemKind};
use base::DbName;
use bytes::Bytes;
use futures::StreamExt;
use std::path::{Path, PathBuf};

/// How much of a file is sent at once.
const CHUNK_BYTES: u64 = 1 << 20;

pub(super) async fn run(context: &Context, command: DbCommand) -> Result<(), Failure> {
    match command {
        DbCommand::Create { name } => create(context, &parse(&name)?).await,
        DbCommand::List => {
            let databases = context.client().databases().await?;
            context.output.list(&databases, || table(&databases), |database| database.name.to_string())
        }
        DbCommand::Check { name } => check(context, name.as_deref()).await,
        DbCommand::Drop { name, yes } => drop_database(context, &parse(&name)?, yes).await,
        DbCommand::Export { name, file, force } => export(context, &parse(&name)?, file, force).await,
        DbCommand::Import { name, file } => import(context, &parse(&name)?, &file).await,
    }
}

/// A database's name from the command line.
pub(super) fn parse(name: &str) -> Result<DbName, Failure> {
    DbName::new(name).map_err(|error| {
        failure::misuse(
            format!("{:?} cannot be the name of a database", error.name),
            error.why,
            "a name has letters, digits, dots, underscores and dashes, as in `bowline sql shop`",
        )
    })
}

fn table(databases: &[DatabaseInfo]) -> Table {
    let mut table = Table::new(&["DATABASE", "#SIZE", "#COPIES", "LEADER", "+#COMMITS"]);
    for database in databases {
        table.row([
            Cell::new(&database.name),
            if database.is_here {
                Cell::new(human::bytes(database.bytes)).raw(database.bytes)
            } else {
                Cell::new("-").raw("")
            },
            Cell::new(database.copies),
            Cell::new(database.leader.as_deref().unwrap_or("-")),
            Cell::new(database.version),
        ]);
    }
    table
}

async fn create(context: &Context, name: &DbName) -> Result<(), Failure> {
    let made = context.client().db_create(name).await?;
    let copies = human::count(made.database.copies, "machine", "machines");
    let sentence = if made.created {
        format!("{name} is ready on {copies}")
    } else {
        format!("{name} was there already, on {copies}")
    };
    context.output.outcome(&made, name.as_str(), &sentence)?;
    context.output.next(&format!("{} sql {name}", context.bowline()), "opens a shell on it");
    Ok(())
}

async fn check(context: &Context, name: Option<&str>) -> Result<(), Failure> {
    let client = context.client();
    let names = match name {
        Some(name) => vec![parse(name)?],
        // A witness has its copy of `sys`, and no others.
        None => client.databases().await?.into_iter().filter(|d| d.is_here).map(|database| database.name).collect(),
    };
    let mut checks = Vec::new();
    for name in &names {
        checks.push(client.db_check(name).await?);
    }
    context.output.list(&checks, || checked(&checks), |check| check.name.to_string())?;
    match checks.iter().find(|check| !check.problems.is_empty()) {
        None => Ok(()),
        Some(DatabaseCheck { name, problems, .. }) => {
            let message = format!("this machine's copy of {name} is damaged");
            let found = problems.iter().take(3).map(String::as_str).collect::<Vec<_>>().join("; ");
            Err(Problem::new(&failure::DAMAGED, ProblemKind::Corrupt, message).because(found).into())
        }
    }
}

fn checked(checks: &[DatabaseCheck]) -> Table {
    let mut table = Table::new(&["DATABASE", "RESULT", "#COMMITS", "#SIZE", "HASH"]);
    for check in checks {
        let result = if check.problems.is_empty() { "ok" } else { "damaged" };
        table.row([
            Cell::new(&check.name),
            Cell::new(result),
            Cell::new(check.version),
            Cell::new(human::bytes(check.bytes)).raw(check.bytes),
            Cell::new(&check.hash),
        ]);
    }
    table
}

/// `3 tables (12 rows, 1.9 GiB): orders 10, items 2, empty 0`.
fn loss(contents: &DatabaseContents) -> String {
    let mut tables: Vec<_> = contents.tables.iter().collect();
    tables.sort_by_key(|table| std::cmp::Reverse(table.rows));
    let shown: Vec<String> = tables.iter().take(5).map(|table| format!("{} {}", table.name, table.rows)).collect();
    let more = if tables.len() > shown.len() { ", ..." } else { "" };
    let list = if shown.is_empty() { String::new() } else { format!(": {}{more}", shown.join(", ")) };
    format!(
        "{} in {} and {}{list}",
        human::count(contents.rows, "row", "rows"),
        human::count(contents.tables.len() as u64, "table", "tables"),
        human::bytes(contents.bytes),
    )
}

async fn drop_database(context: &Context, name: &DbName, yes: bool) -> Result<(), Failure> {
    let client = context.client();
    if !yes {
        let loss = loss(&client.db_contents(name).await?);
        confirm::by_name("dropping", name.as_str(), &format!("lose {loss}, on all members"))?;
    }
    let dropped = client.db_drop(name).await?;
    let sentence = format!("dropped {name}: {}", loss(&dropped.contents));
    context.output.outcome(&dropped, name.as_str(), &sentence)?;
    context.output.next(&format!("{} db list", context.bowline()), "shows what is left");
    Ok(())
}

async fn export(context: &Context, name: &DbName, file: Option<PathBuf>, force: bool) -> Result<(), Failure> {
    let mut progress = Progress::new("exporting");
    let client = context.client();
    let mut done = 0;
    if file.as_deref() == Some(Path::new("-")) {
        let sink =
            |_, chunk: &[u8]| output::bytes(chunk).map_err(|_| std::io::Error::from(std::io::ErrorKind::BrokenPipe));
        client.db_export(name, sink).await?;
        return Ok(());
    }
    let path = file.unwrap_or_else(|| PathBuf::from(format!("{name}.db")));
    if rt::fs::exists(&path) && !force {
        let message = format!("{} is there already", path.display());
        return Err(Problem::new(&failure::FILE_EXISTS, ProblemKind::Unsafe, message).into());
    }
    let mut partial = path.clone().into_os_string();
    partial.push(".partial");
    let partial = PathBuf::from(partial);
    let trouble = |error| Failure::from(failure::io(&failure::FILE, &partial.display().to_string(), &error));
    let target = rt::fs::File::create(&partial).map_err(trouble)?;
    target.set_len(0).map_err(trouble)?;
    let sent = client
        .db_export(name, |total, chunk| {
            target.write_all_at(chunk, done)?;
            done += chunk.len() as u64;
            progress.at(done, total);
            Ok(())
        })
        .await;
    drop(progress);
    let finished = match sent {
        Ok(bytes) => target.sync_data().and_then(|()| rt::fs::rename(&partial, &path)).map(|()| bytes).map_err(trouble),
        Err(error) => Err(error.into()),
    };
    if finished.is_err()
        && let Err(error) = rt::fs::remove_file(&partial)
    {
        tracing::debug!(%error, "the partial file was gone already");
    }
    let bytes = finished?;
    let what = serde_json::json!({ "database": name, "file": path, "bytes": bytes });
    let sentence = format!("{name} is in {} ({}), a plain SQLite file", path.display(), human::bytes(bytes));
    context.output.outcome(&what, &path.display().to_string(), &sentence)?;
    context.output.next(&format!("{} db import NAME {}", context.bowline(), path.display()), "makes a database of it");
    Ok(())
}

async fn import(context: &Context, name: &DbName, path: &Path) -> Result<(), Failure> {
    let trouble = |error| Failure::from(failure::io(&failure::FILE, &path.display().to_string(), &error));
    if !rt::fs::exists(path) {
        return Err(trouble(std::io::Error::from(std::io::ErrorKind::NotFound)));
    }
    let source = rt::fs::File::open(path).map_err(trouble)?;
    let total = source.len().map_err(trouble)?;
    let made = context.client().db_import(name, total, stream(source, total)).await;
    // The node sees bytes; which file they came from is known here.
    let made = made.map_err(|error| match Failure::from(error) {
        Failure::Problem(problem) if problem.code == "BL-SQL-061" => {
            Failure::Problem(problem).at(&path.display().to_string())
        }
        other => other,
    })?;
    let sentence = format!("{name} is ready: {} from {}", human::bytes(total), path.display());
    context.output.outcome(&made, name.as_str(), &sentence)?;
    if matches!(context.output.shape(), Shape::Table(_)) {
        context.output.next(&format!("{} sql {name} .tables", context.bowline()), "shows what is in it");
    }
    Ok(())
}

/// The file's bytes in chunks, with the progress on the terminal.
fn stream(source: rt::fs::File, total: u64) -> ByteStream {
    let state = (source, 0, Progress::new("importing"));
    futures::stream::try_unfold(state, move |(source, done, mut progress)| async move {
        let left = total.saturating_sub(done).min(CHUNK_BYTES);
        if left == 0 {
            return Ok(None);
        }
        let mut chunk = vec![0; usize::try_from(left).unwrap_or_default()];
        source.read_exact_at(&mut chunk, done).map_err(|error| failure::io(&failure::FILE, "the file", &error))?;
        progress.at(done + left, total);
        Ok(Some((Bytes::from(chunk), (source, done + left, progress))))
    })
    .boxed()
}

#[cfg(test)]
mod tests {
    use super::*;
    use api::control::TableContents;

    #[test]
    fn a_loss_is_told_in_rows_tables_and_bytes() {
        let table = |name: &str, rows| TableContents { name: name.into(), rows };
        let mut contents = DatabaseContents {
            name: DbName::new("shop").unwrap(),
            bytes: 2_040_109_466,
            rows: 12,
            tables: vec![table("empty", 0), table("orders", 10), table("items", 2)],
        };
        assert_eq!(loss(&contents), "12 rows in 3 tables and 1.9 GiB: orders 10, items 2, empty 0");
        contents = DatabaseContents { bytes: 4096, rows: 0, tables: vec![], ..contents };
        assert_eq!(loss(&contents), "0 rows in 0 tables and 4.0 KiB");
    }
}

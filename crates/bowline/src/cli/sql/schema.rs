//! What the dot commands ask a database about itself: names, definitions, and all of it as SQL.

use super::session::{Done, Session, Sink};
use super::trouble::Trouble;
use dqlite::ValueRef;
use std::io::Write;

/// A name as SQL takes any name.
pub(super) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// The names of tables and views that match a LIKE pattern.
pub(super) async fn tables(session: &mut Session, pattern: &str) -> Result<Vec<String>, Trouble> {
    let sql = "select name from sqlite_schema where type in ('table','view') and name not like 'sqlite\\_%' escape '\\' \
               and name like ?1 order by name";
    let rows = session.texts(sql, &[ValueRef::Text(pattern.as_bytes())]).await?;
    Ok(rows.into_iter().filter_map(|row| row.into_iter().next().flatten()).collect())
}

/// The definitions of what matches a LIKE pattern, and of what belongs to it.
pub(super) async fn definitions(session: &mut Session, pattern: &str) -> Result<Vec<String>, Trouble> {
    let sql = "select sql || ';' from sqlite_schema where sql is not null and name not like 'sqlite\\_%' escape '\\' \
               and tbl_name like ?1 order by tbl_name, type <> 'table', type <> 'view', rowid";
    let rows = session.texts(sql, &[ValueRef::Text(pattern.as_bytes())]).await?;
    Ok(rows.into_iter().filter_map(|row| row.into_iter().next().flatten()).collect())
}

/// Writes a database, or one table, as SQL that makes it again. All of it is of one committed state.
pub(super) async fn dump(session: &mut Session, pattern: &str, out: &mut dyn Write) -> Result<(), Trouble> {
    let began = !session.is_in_transaction();
    if began {
        session.run("begin", &[], &mut Nowhere).await?;
    }
    let dumped = dump_in_transaction(session, pattern, out).await;
    if began && session.is_in_transaction() {
        session.run("rollback", &[], &mut Nowhere).await?;
    }
    dumped
}

async fn dump_in_transaction(session: &mut Session, pattern: &str, out: &mut dyn Write) -> Result<(), Trouble> {
    let write = |out: &mut dyn Write, text: &str| writeln!(out, "{text}").map_err(|source| Trouble::Sink { source });
    write(out, "PRAGMA foreign_keys=OFF;\nBEGIN TRANSACTION;")?;
    let sql = "select type, name, sql from sqlite_schema where sql is not null \
               and (name not like 'sqlite\\_%' escape '\\') and tbl_name like ?1 order by rowid";
    let objects = session.texts(sql, &[ValueRef::Text(pattern.as_bytes())]).await?;
    let part = |object: &[Option<String>], i: usize| object.get(i).cloned().flatten().unwrap_or_default();
    for object in objects.iter().filter(|object| part(object, 0) == "table") {
        let (name, definition) = (part(object, 1), part(object, 2));
        write(out, &format!("{definition};"))?;
        if !definition.to_ascii_uppercase().starts_with("CREATE VIRTUAL") {
            dump_rows(session, &name, out).await?;
        }
    }
    let sequence = "select name, seq from sqlite_sequence where name like ?1";
    let has_sequence =
        !session.texts("select 1 from sqlite_schema where name = 'sqlite_sequence'", &[]).await?.is_empty();
    if has_sequence {
        for row in session.texts(sequence, &[ValueRef::Text(pattern.as_bytes())]).await? {
            let (name, seq) = (part(&row, 0).replace('\'', "''"), part(&row, 1));
            write(out, &format!("DELETE FROM sqlite_sequence WHERE name='{name}';"))?;
            write(out, &format!("INSERT INTO sqlite_sequence(name,seq) VALUES('{name}',{seq});"))?;
        }
    }
    for object in objects.iter().filter(|object| part(object, 0) != "table") {
        write(out, &format!("{};", part(object, 2)))?;
    }
    write(out, "COMMIT;")
}

async fn dump_rows(session: &mut Session, table: &str, out: &mut dyn Write) -> Result<(), Trouble> {
    // Generated columns cannot be inserted: hidden is 2 or 3 for them.
    let columns = "select name from pragma_table_xinfo(?1) where hidden = 0 order by cid";
    let columns: Vec<String> = session
        .texts(columns, &[ValueRef::Text(table.as_bytes())])
        .await?
        .into_iter()
        .filter_map(|row| row.into_iter().next().flatten())
        .map(|name| quoted(&name))
        .collect();
    let values: Vec<String> = columns.iter().map(|column| format!("quote({column})")).collect();
    let sql = format!("select {} from {}", values.join(" || ',' || "), quoted(table));
    let head = format!("INSERT INTO {}({}) VALUES(", quoted(table), columns.join(","));
    session.run(&sql, &[], &mut Inserts { head, out }).await.map(drop)
}

/// Writes each row, which is one text, as an INSERT.
struct Inserts<'a> {
    head: String,
    out: &'a mut dyn Write,
}

impl Sink for Inserts<'_> {
    fn columns(&mut self, _names: &[&str]) -> std::io::Result<()> {
        Ok(())
    }

    fn row(&mut self, values: &[ValueRef<'_>]) -> std::io::Result<()> {
        let text = values.first().map(super::rows::plain).unwrap_or_default();
        writeln!(self.out, "{}{text});", self.head)
    }
}

/// For statements whose rows nobody wants.
pub(super) struct Nowhere;

impl Sink for Nowhere {
    fn columns(&mut self, _names: &[&str]) -> std::io::Result<()> {
        Ok(())
    }

    fn row(&mut self, _values: &[ValueRef<'_>]) -> std::io::Result<()> {
        Ok(())
    }
}

/// How many values one INSERT of an import carries at most.
const VALUES_MAX: usize = 2000;

/// Inserts the records of a CSV text into a table, in one transaction. A table that is not there is made, with text
/// columns named by the first record. Returns how many rows were inserted.
pub(super) async fn import(session: &mut Session, csv: &str, table: &str) -> Result<u64, Trouble> {
    let refuse = |message: String| Trouble::Refused { code: dqlite::FailureCode::ERROR, message };
    let mut records = super::csv::records(csv).filter(|record| record.iter().any(|field| !field.is_empty())).peekable();
    let Some(width) = records.peek().map(Vec::len) else {
        return Err(refuse("the file holds no records".to_owned()));
    };
    let began = !session.is_in_transaction();
    if began {
        session.run("begin immediate", &[], &mut Nowhere).await?;
    }
    let imported = async {
        if session
            .texts("select 1 from sqlite_schema where name = ?1", &[ValueRef::Text(table.as_bytes())])
            .await?
            .is_empty()
        {
            let names: Vec<String> =
                records.next().unwrap_or_default().iter().map(|name| quoted(name) + " text").collect();
            let create = format!("create table {}({})", quoted(table), names.join(", "));
            session.run(&create, &[], &mut Nowhere).await?;
        }
        let row = format!("({})", vec!["?"; width].join(","));
        let mut inserted = 0;
        let mut number = 0u64;
        loop {
            let batch: Vec<Vec<String>> = records.by_ref().take((VALUES_MAX / width).max(1)).collect();
            if batch.is_empty() {
                return Ok(inserted);
            }
            for record in &batch {
                number += 1;
                if record.len() != width {
                    return Err(refuse(format!("record {number} has {} fields, the first has {width}", record.len())));
                }
            }
            let sql = format!("insert into {} values {}", quoted(table), vec![row.as_str(); batch.len()].join(","));
            let values: Vec<ValueRef<'_>> =
                batch.iter().flatten().map(|field| ValueRef::Text(field.as_bytes())).collect();
            if let Done::Changed(rows) = session.run(&sql, &values, &mut Nowhere).await? {
                inserted += rows;
            }
        }
    }
    .await;
    if began && session.is_in_transaction() {
        let end = if imported.is_ok() { "commit" } else { "rollback" };
        session.run(end, &[], &mut Nowhere).await?;
    }
    imported
}

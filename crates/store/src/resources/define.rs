//! The tables under all resources, and the triggers and views that a kind becomes.

use super::kind::{Column, EventRule, Form, Kind, When};
use crate::Command;

/// What all kinds share. One statement each; running them again changes nothing.
pub(crate) const BASE: &[&str] = &[
    "CREATE TABLE IF NOT EXISTS changes (
    revision   INTEGER PRIMARY KEY AUTOINCREMENT,   -- each one more than the one before; none is used twice
    at_ms      INTEGER NOT NULL DEFAULT (CAST(unixepoch('subsec') * 1000 AS INTEGER)),
    kind       TEXT NOT NULL,
    key        ANY NOT NULL,                        -- the name of the object, or its number
    verb       TEXT NOT NULL CHECK (verb IN ('created', 'updated', 'deleted')),
    generation INTEGER NOT NULL,                    -- counts the changes of the spec
    spec       TEXT NOT NULL,                       -- JSON, after the change; before it if it was deleted
    status     TEXT NOT NULL
) STRICT",
    "CREATE TABLE IF NOT EXISTS objects (
    kind       TEXT NOT NULL,
    key        ANY NOT NULL,
    generation INTEGER NOT NULL,
    revision   INTEGER NOT NULL,                    -- of its last change
    PRIMARY KEY (kind, key)
) STRICT, WITHOUT ROWID",
    "CREATE TABLE IF NOT EXISTS finalizers (
    kind        TEXT NOT NULL,
    key         ANY NOT NULL,
    name        TEXT NOT NULL,                      -- what has to be done before the object is gone
    deadline_ms INTEGER NOT NULL,                   -- when it should be done
    overdue     INTEGER NOT NULL DEFAULT 0,         -- that it is not was told
    PRIMARY KEY (kind, key, name)
) STRICT, WITHOUT ROWID",
    "CREATE TABLE IF NOT EXISTS events (
    id       INTEGER PRIMARY KEY AUTOINCREMENT,
    at_ms    INTEGER NOT NULL DEFAULT (CAST(unixepoch('subsec') * 1000 AS INTEGER)),
    kind     TEXT NOT NULL,                         -- of what it happened to
    name     TEXT NOT NULL,
    severity TEXT NOT NULL CHECK (severity IN ('normal', 'warning')),
    reason   TEXT NOT NULL,                         -- one word, for programs
    message  TEXT NOT NULL
) STRICT",
    // So many of the newest changes are kept: who watches may fall so far behind.
    "CREATE TRIGGER IF NOT EXISTS changes_noted AFTER INSERT ON changes BEGIN
    DELETE FROM objects WHERE kind = NEW.kind AND key = NEW.key;
    INSERT INTO objects (kind, key, generation, revision)
        SELECT NEW.kind, NEW.key, NEW.generation, NEW.revision WHERE NEW.verb <> 'deleted';
    DELETE FROM changes WHERE revision <= NEW.revision - 20000;
END",
    "CREATE TRIGGER IF NOT EXISTS events_kept AFTER INSERT ON events BEGIN
    DELETE FROM events WHERE id <= NEW.id - 10000;
END",
];

/// The statements that make kinds resources, and the view of all of them. To be run once when a cluster is founded, after the tables are
/// there; running them again changes nothing as long as the kinds are the same.
pub fn definitions(kinds: &[&Kind]) -> Vec<Command> {
    let mut sql: Vec<String> = kinds.iter().flat_map(|kind| define(kind)).collect();
    let all = kinds.iter().map(|kind| of_all(kind)).collect::<Vec<_>>().join("\nUNION ALL ");
    sql.push(format!("CREATE VIEW IF NOT EXISTS resources (kind, key, generation, revision, spec, status) AS\n{all}"));
    sql.push(FINALIZER_ADDED.to_owned());
    sql.push(FINALIZER_REMOVED.to_owned());
    sql.into_iter().map(|sql| Command::new(sql, [])).collect()
}

/// What has to be done before an object is gone is a part of it: that changes, too.
const FINALIZER_ADDED: &str = "CREATE TRIGGER IF NOT EXISTS finalizer_added AFTER INSERT ON finalizers BEGIN
    INSERT INTO changes (kind, key, verb, generation, spec, status)
        SELECT kind, key, 'updated', generation, spec, status FROM resources WHERE kind = NEW.kind AND key = NEW.key;
END";
const FINALIZER_REMOVED: &str = "CREATE TRIGGER IF NOT EXISTS finalizer_removed AFTER DELETE ON finalizers BEGIN
    INSERT INTO changes (kind, key, verb, generation, spec, status)
        SELECT kind, key, 'updated', generation, spec, status FROM resources WHERE kind = OLD.kind AND key = OLD.key;
END";

fn define(kind: &Kind) -> Vec<String> {
    let Kind { name, table, .. } = kind;
    let exists = |row| with(kind.exists, row);
    let (old, new) = (exists("OLD."), exists("NEW."));
    let changed = [true, false].map(|spec| format!("{} IS NOT {}", json(kind, spec, "OLD."), json(kind, spec, "NEW.")));
    let trigger = |when: &str, happens: When, condition: &str, verb: &str| {
        let row = happens.row();
        let key = format!("{row}{}", kind.key.column());
        let generation = match verb {
            "created" => "1".to_owned(),
            "updated" => format!("{} + ({})", generation(name, &key), changed[0]),
            _ => generation(name, &key),
        };
        let (spec, status) = (json(kind, true, row), json(kind, false, row));
        format!(
            "CREATE TRIGGER IF NOT EXISTS {name}_{when} AFTER {} ON {table} WHEN {condition} BEGIN
    INSERT INTO changes (kind, key, verb, generation, spec, status)
        VALUES ('{name}', {key}, '{verb}', {generation}, {spec}, {status});
END",
            happens.sql()
        )
    };
    let mut made = vec![
        trigger("inserted", When::Inserted, &new, "created"),
        trigger("deleted", When::Deleted, &old, "deleted"),
        trigger(
            "updated",
            When::Updated,
            &format!("({old}) AND ({new}) AND ({} OR {})", changed[0], changed[1]),
            "updated",
        ),
        view(kind),
    ];
    if kind.exists != "1" {
        made.push(trigger("appeared", When::Updated, &format!("NOT ({old}) AND ({new})"), "created"));
        made.push(trigger("vanished", When::Updated, &format!("({old}) AND NOT ({new})"), "deleted"));
    }
    made.extend(kind.events.iter().map(|rule| event(kind, rule)));
    made
}

fn event(kind: &Kind, rule: &EventRule) -> String {
    let Kind { name, table, .. } = kind;
    let EventRule { when, condition, severity, reason, message } = rule;
    let key = format!("{}{}", when.row(), kind.key.column());
    format!(
        "CREATE TRIGGER IF NOT EXISTS {name}_event_{reason} AFTER {} ON {table} WHEN {condition} BEGIN
    INSERT INTO events (kind, name, severity, reason, message)
        VALUES ('{name}', {key}, '{}', '{reason}', {message});
END",
        when.sql(),
        severity.as_str()
    )
}

fn with(sql: &str, row: &str) -> String {
    sql.replace("ROW.", row)
}

fn generation(kind: &str, key: &str) -> String {
    format!("coalesce((SELECT generation FROM objects WHERE kind = '{kind}' AND key = {key}), 1)")
}

/// A value as people and programs see it.
fn shown(column: &Column, row: &str) -> String {
    let sql = with(column.sql, row);
    match column.form {
        Form::Integer | Form::Text => sql,
        Form::Seconds => format!("strftime('%Y-%m-%dT%H:%M:%SZ', {sql}, 'unixepoch')"),
        Form::Millis => format!("strftime('%Y-%m-%dT%H:%M:%fZ', {sql} / 1000.0, 'unixepoch')"),
        Form::Id => format!("CASE WHEN {sql} IS NOT NULL THEN printf('%016x', {sql}) END"),
    }
}

/// The spec or the status as JSON.
fn json(kind: &Kind, spec: bool, row: &str) -> String {
    let part = kind.columns.iter().filter(|column| column.part.is_spec() == spec);
    let fields: Vec<String> = part.map(|column| format!("'{}', {}", column.name, shown(column, row))).collect();
    format!("json_object({})", fields.join(", "))
}

/// `resource_KIND`: the objects with their columns.
fn view(kind: &Kind) -> String {
    let Kind { name, table, .. } = kind;
    let key = kind.key.column();
    let names: Vec<&str> = kind.columns.iter().map(|column| column.name).collect();
    let values: Vec<String> = kind.columns.iter().map(|column| shown(column, "t.")).collect();
    format!(
        "CREATE VIEW IF NOT EXISTS resource_{name} (key, generation, revision, {}) AS
SELECT t.{key}, coalesce(o.generation, 1), coalesce(o.revision, 0), {}
FROM {table} t LEFT JOIN objects o ON o.kind = '{name}' AND o.key = t.{key} WHERE {}",
        names.join(", "),
        values.join(", "),
        with(kind.exists, "t.")
    )
}

/// What a kind adds to the view of all.
fn of_all(kind: &Kind) -> String {
    let Kind { name, table, .. } = kind;
    let key = kind.key.column();
    let (spec, status) = (json(kind, true, "t."), json(kind, false, "t."));
    format!(
        "SELECT '{name}', t.{key}, coalesce(o.generation, 1), coalesce(o.revision, 0), {spec}, {status}
FROM {table} t LEFT JOIN objects o ON o.kind = '{name}' AND o.key = t.{key} WHERE {}",
        with(kind.exists, "t.")
    )
}

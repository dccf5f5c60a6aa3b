//! Finalizers: what has to be done before an object is gone, by when, and what is said if it is not.
//!
//! The part of the product that has to do it adds the finalizer in the transaction that asks for the end of the object, and removes it when it
//! is done; the row goes when none is left. A deadline forces nothing: past it the cluster says what it waits for, once, as a warning.

use super::events::{Severity, event};
use crate::{Command, Rows, Value};
use std::time::Duration;

/// The statement that makes the object `name` of a kind wait for `finalizer`; to be run in the transaction that asks for its end.
pub fn finalize(kind: &str, name: &str, finalizer: &str, within: Duration) -> Command {
    let deadline = i64::try_from((rt::time::wall() + within).as_millis()).unwrap_or(i64::MAX);
    Command::new(
        "INSERT OR IGNORE INTO finalizers (kind, key, name, deadline_ms) VALUES (?1, ?2, ?3, ?4)",
        [kind.into(), name.into(), finalizer.into(), deadline.into()],
    )
}

/// The statement that notes that `finalizer` has done its work.
pub fn finalized(kind: &str, name: &str, finalizer: &str) -> Command {
    Command::new(
        "DELETE FROM finalizers WHERE kind = ?1 AND key = ?2 AND name = ?3",
        [kind.into(), name.into(), finalizer.into()],
    )
}

/// The query for finalizers that are late and were not told of.
pub fn overdue() -> Command {
    let now = i64::try_from(rt::time::wall().as_millis()).unwrap_or(i64::MAX);
    Command::new("SELECT kind, key, name FROM finalizers WHERE deadline_ms <= ?1 AND overdue = 0", [now.into()])
}

/// The statements that tell of what [`overdue`] has found: a warning for each, once.
pub fn tell_overdue(late: &Rows) -> Vec<Command> {
    late.rows.iter().filter_map(|row| told(row)).flatten().collect()
}

fn told(row: &[Value]) -> Option<[Command; 2]> {
    let [kind, key, name] = row else { return None };
    let (kind, key, name) = (kind.text()?, key.text()?, name.text()?);
    let mark = Command::new(
        "UPDATE finalizers SET overdue = 1 WHERE kind = ?1 AND key = ?2 AND name = ?3",
        [kind.into(), key.into(), name.into()],
    );
    let message = format!("it is to be removed, and waits longer than it should for: {name}");
    Some([mark, event(kind, key, Severity::Warning, "FinalizerOverdue", message)])
}

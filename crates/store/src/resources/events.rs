//! Events: what happened to resources, in sentences for people. Most are written by the triggers of a kind, in the transaction that they tell
//! of; what is no change of a row is noted with a statement.

use crate::Command;

/// Is it news or a warning.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// As it should be.
    Normal,
    /// Somebody should look.
    Warning,
}

impl Severity {
    /// As it stands in the row.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Normal => "normal",
            Self::Warning => "warning",
        }
    }
}

/// The statement that notes an event of the object `name` of a kind. `reason` is one word, for programs.
pub fn event(kind: &str, name: &str, severity: Severity, reason: &str, message: impl Into<String>) -> Command {
    Command::new(
        "INSERT INTO events (kind, name, severity, reason, message) VALUES (?1, ?2, ?3, ?4, ?5)",
        [kind.into(), name.into(), severity.as_str().into(), reason.into(), message.into().into()],
    )
}

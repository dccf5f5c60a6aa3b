//! The one place where the store's errors become dqlite's codes.

use crate::dqlite::backend::Refusal;
use ::dqlite::FailureCode;
use base::{Disposition, Fault};
use sqlite::SqlError;
use store::StoreError;

/// SQLITE_ABORT_ROLLBACK: the transaction was rolled back under its client.
const ABORT_ROLLBACK: FailureCode = FailureCode(516);

/// What clients act on.
fn code(error: &StoreError) -> FailureCode {
    match error {
        StoreError::Sql(error) => FailureCode::from_sqlite(error.extended()),
        // Whoever cannot answer for the database now sends the client to look for another leader; nothing was done.
        StoreError::NotLeader { .. }
        | StoreError::ReadTimeout { .. }
        | StoreError::NotOpen { .. }
        | StoreError::Suspended(_) => FailureCode::NOT_LEADER,
        StoreError::OutcomeUnknown => FailureCode::LEADERSHIP_LOST,
        StoreError::Busy { .. } => FailureCode::BUSY,
        StoreError::TransactionIdle { .. } => ABORT_ROLLBACK,
        StoreError::NoSuchStatement | StoreError::NoSuchDatabase { .. } => FailureCode::NOT_FOUND,
        other => match other.disposition() {
            Disposition::Retry { .. } => FailureCode::BUSY,
            _ => FailureCode::ERROR,
        },
    }
}

impl From<StoreError> for Refusal {
    fn from(error: StoreError) -> Self {
        let code = code(&error);
        let message = match &error {
            // Clients compare SQLite's and dqlite's own words.
            StoreError::Sql(SqlError::Sqlite { .. } | SqlError::NotLeader | SqlError::LeadershipLost)
            | StoreError::NotLeader { .. }
            | StoreError::OutcomeUnknown
            | StoreError::NoSuchStatement => error.to_string(),
            _ => format!("{error} [{}]", error.code()),
        };
        Self { code, message }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn errors_have_the_codes_that_clients_act_on() {
        let waited = Duration::from_secs(5);
        for (error, code, message) in [
            (StoreError::NotLeader { leader: None }, 10250, "not leader"),
            (StoreError::OutcomeUnknown, 10506, "leadership lost"),
            (SqlError::NotLeader.into(), 10250, "not leader"),
            (SqlError::LeadershipLost.into(), 10506, "leadership lost"),
            (SqlError::Sqlite { extended: 2067, message: "UNIQUE".to_owned(), offset: None }.into(), 2067, "UNIQUE"),
            (StoreError::NoSuchStatement, 12, "no statement with the given id"),
        ] {
            let refusal = Refusal::from(error);
            assert_eq!((refusal.code.0, refusal.message.as_str()), (code, message));
        }
        for (error, code) in [
            (StoreError::Busy { waited }, 5),
            (StoreError::ReadTimeout { waited }, 10250),
            // A full disk: another member may lead.
            (StoreError::Suspended(raft::ReadError::Full { why: "No space left on device".into() }), 10250),
            (StoreError::TransactionIdle { idle: waited }, 516),
            (SqlError::SnapshotStale.into(), 517),
            (SqlError::Interrupted.into(), 9),
            (StoreError::TooStale { bound: waited }, 5),
        ] {
            let refusal = Refusal::from(error);
            assert_eq!(refusal.code.0, code);
            assert!(refusal.message.contains("[BL-"), "{}", refusal.message);
        }
    }
}

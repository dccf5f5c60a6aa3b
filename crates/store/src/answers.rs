//! Answers kept for writes that carry a client id and a sequence number, so that a retry returns the first answer.
//!
//! The table is part of the replicated state: answers travel in the record of the commit they belong to, every member
//! applies them in the same order, and each checkpoint and snapshot carries them.

use base::Version;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A client's number for one write. Sequence numbers of a client only go up; one write is in flight at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct WriteId {
    /// Who writes.
    pub client: u64,
    /// Which of its writes.
    pub sequence: u64,
}

/// What a write did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Outcome {
    /// The rowid of the last inserted row on this connection.
    pub last_insert_rowid: i64,
    /// How many rows the statement changed.
    pub rows_affected: u64,
}

/// A write and what it did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Answer {
    /// The write.
    pub(crate) id: WriteId,
    /// Its outcome.
    pub(crate) outcome: Outcome,
}

/// What the table knows of a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Known {
    /// It was not seen before.
    New,
    /// It was answered: this is the answer.
    Answered(Outcome),
    /// The client has had an answer for a later write.
    Overtaken {
        /// That later write's number.
        latest: u64,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Latest {
    sequence: u64,
    outcome: Outcome,
    at: Version,
}

/// The newest answer of each client, for the [`Answers::CLIENTS_MAX`] clients that wrote last.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct Answers {
    latest: BTreeMap<u64, Latest>,
}

impl Answers {
    /// How many clients are remembered. The one whose last write is oldest is forgotten first.
    pub(crate) const CLIENTS_MAX: usize = 4096;

    /// What is known of a write.
    pub(crate) fn known(&self, id: WriteId) -> Known {
        match self.latest.get(&id.client) {
            Some(l) if l.sequence == id.sequence => Known::Answered(l.outcome),
            Some(l) if l.sequence > id.sequence => Known::Overtaken { latest: l.sequence },
            _ => Known::New,
        }
    }

    /// Takes over the answers of a record that was applied as version `at`.
    pub(crate) fn apply(&mut self, answers: &[Answer], at: Version) {
        for answer in answers {
            let latest = Latest { sequence: answer.id.sequence, outcome: answer.outcome, at };
            self.latest.insert(answer.id.client, latest);
        }
        while self.latest.len() > Self::CLIENTS_MAX {
            let Some(oldest) = self.latest.iter().min_by_key(|(client, l)| (l.at, **client)).map(|(c, _)| *c) else {
                return;
            };
            self.latest.remove(&oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(client: u64, sequence: u64) -> Answer {
        Answer { id: WriteId { client, sequence }, outcome: Outcome { last_insert_rowid: 7, rows_affected: sequence } }
    }

    #[test]
    fn a_retry_gets_the_first_answer_and_an_older_number_is_overtaken() {
        let mut answers = Answers::default();
        assert_eq!(answers.known(answer(1, 1).id), Known::New);
        answers.apply(&[answer(1, 1), answer(2, 9)], Version(1));
        assert_eq!(answers.known(answer(1, 1).id), Known::Answered(answer(1, 1).outcome));
        assert_eq!(answers.known(answer(1, 2).id), Known::New);
        assert_eq!(answers.known(answer(2, 8).id), Known::Overtaken { latest: 9 });
    }

    #[test]
    fn the_client_that_wrote_longest_ago_is_forgotten_first() {
        let mut answers = Answers::default();
        for n in 0..=u64::try_from(Answers::CLIENTS_MAX).unwrap() {
            answers.apply(&[answer(n, 1)], Version(n));
        }
        assert_eq!(answers.known(answer(0, 1).id), Known::New);
        assert_ne!(answers.known(answer(1, 1).id), Known::New);
    }
}

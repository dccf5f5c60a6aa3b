//! What a database's sessions, its replicator and its state machine share.

use crate::answers::{Answer, Answers, Known, WriteId};
use crate::waiters::Waiters;
use base::Version;
use serde::{Deserialize, Serialize};
use sqlite::PageStore;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::{Notify, watch};

/// The shared part of one database on this node.
#[derive(Debug)]
pub(crate) struct Core {
    pub(crate) pages: PageStore,
    pub(crate) waiters: Waiters,
    book: Mutex<Book>,
    /// Held by a numbered write from its commit until its answer is in the book, so that no record leaves without it.
    pub(crate) numbered: Arc<tokio::sync::Mutex<()>>,
    /// Wakes the replicator: there is a commit to take.
    pub(crate) commits: Notify,
    /// The committed version, for those who follow the contents.
    changes: watch::Sender<Version>,
}

#[derive(Debug, Default)]
struct Book {
    /// Answers of applied records.
    answers: Answers,
    /// Answers of local commits that are not applied yet, oldest first.
    pending: Vec<(Version, Answer)>,
}

/// What a record carries beside its pages.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct RecordExtra {
    pub(crate) answers: Vec<Answer>,
}

/// What a checkpoint keeps beside the pages.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct CheckpointExtra {
    pub(crate) applied: raft::AppliedState,
    pub(crate) answers: Answers,
}

impl Core {
    pub(crate) fn new(pages: PageStore, answers: Answers) -> Self {
        let book = Book { answers, ..Book::default() };
        let committed = pages.committed();
        let core = Self {
            pages,
            waiters: Waiters::default(),
            book: Mutex::new(book),
            numbered: Arc::default(),
            commits: Notify::new(),
            changes: watch::Sender::new(committed),
        };
        core.waiters.advance(committed);
        core
    }

    /// The committed version, as it moves.
    pub(crate) fn changes(&self) -> watch::Receiver<Version> {
        self.changes.subscribe()
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A session is done with its commit: the replicator may take it. Its answer, if it has one, is known before that,
    /// because a numbered write holds [`numbered`](Self::numbered) until here.
    pub(crate) fn release(&self, version: Version, answer: Option<Answer>) {
        self.book().pending.extend(answer.map(|a| (version, a)));
        self.commits.notify_one();
    }

    /// What is known of a numbered write, and the version that must be committed before that may be told.
    pub(crate) fn known(&self, id: WriteId) -> (Known, Version) {
        let book = self.book();
        let of_client = |(_, a): &&(Version, Answer)| a.id.client == id.client;
        match book.pending.iter().rev().find(of_client) {
            Some((at, a)) if a.id.sequence == id.sequence => (Known::Answered(a.outcome), *at),
            Some((at, a)) if a.id.sequence > id.sequence => (Known::Overtaken { latest: a.id.sequence }, *at),
            _ => (book.answers.known(id), Version::default()),
        }
    }

    /// The answers that belong into a record that ends with `version`.
    pub(crate) fn answers_up_to(&self, version: Version) -> Vec<Answer> {
        self.book().pending.iter().filter(|(at, _)| *at <= version).map(|(_, a)| *a).collect()
    }

    /// A record was applied.
    pub(crate) fn applied(&self, version: Version, answers: &[Answer]) {
        {
            let mut book = self.book();
            book.answers.apply(answers, version);
            book.pending.retain(|(at, _)| *at > version);
        }
        self.waiters.advance(version);
        self.changes.send_replace(version);
    }

    /// The applied answers, for a checkpoint.
    pub(crate) fn answers(&self) -> Answers {
        self.book().answers.clone()
    }

    /// A snapshot replaced everything.
    pub(crate) fn installed(&self, answers: Answers) {
        {
            let mut book = self.book();
            book.answers = answers;
            book.pending.clear();
        }
        let committed = self.pages.committed();
        self.waiters.advance(committed);
        self.changes.send_replace(committed);
    }

    /// Leadership ended: local commits that were not confirmed are dropped, and their clients learn that.
    pub(crate) fn lose(&self) {
        self.pages.resign();
        self.book().pending.clear();
        self.waiters.lose();
    }
}

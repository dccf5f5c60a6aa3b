//! What a database's sessions, its replicator and its state machine share.
//!
//! One lock guards the answers, those who wait, and the beginning and end of each reign: that the page store leads, or
//! does not any more, and that the waiters know it, is one step. The page store's own lock is taken inside of it, never
//! the other way round.

use crate::answers::{Answer, Answers, Known, WriteId};
use crate::machine::corrupt;
use crate::waiters::{Lost, ToTell, Wait, Waiters};
use base::{Term, Version};
use bytes::Bytes;
use raft::MachineError;
use rt::sync::watch;
use serde::{Deserialize, Serialize};
use sqlite::{Applied, Connection, PageStore};
use std::sync::{Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;

/// The shared part of one database on this node.
#[derive(Debug)]
pub(crate) struct Core {
    pub(crate) pages: PageStore,
    book: Mutex<Book>,
    /// Wakes the replicator: there is a commit to take, or its reign has ended.
    pub(crate) commits: Notify,
    /// The committed version, for those who follow the contents.
    changes: watch::Sender<Version>,
}

#[derive(Debug, Default)]
struct Book {
    /// Answers of applied records.
    answers: Answers,
    /// Answers of this reign's commits that are not applied yet, oldest first.
    pending: Vec<(Version, Answer)>,
    waiters: Waiters,
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

impl Book {
    /// What was not confirmed is not told any more, and those who wait for it are to be told.
    fn lose(&mut self) -> ToTell {
        self.pending.clear();
        self.waiters.lose()
    }
}

impl Core {
    pub(crate) fn new(pages: PageStore, answers: Answers) -> Self {
        let committed = pages.committed();
        let mut book = Book { answers, ..Book::default() };
        book.waiters.advance(committed).tell(Ok(()));
        Self { pages, book: Mutex::new(book), commits: Notify::new(), changes: watch::Sender::new(committed) }
    }

    /// The committed version, as it moves.
    pub(crate) fn changes(&self) -> watch::Receiver<Version> {
        self.changes.subscribe()
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    // ---- reigns ----

    /// A reign begins: Raft has applied everything before it.
    pub(crate) fn lead(&self, term: Term) {
        let lost = {
            let mut book = self.book();
            self.pages.lead(term);
            book.lose()
        };
        lost.tell(Err(Lost));
    }

    /// The reign is over: local commits that were not confirmed are dropped, and their clients learn that.
    pub(crate) fn lose(&self) {
        let lost = {
            let mut book = self.book();
            self.pages.resign();
            book.lose()
        };
        lost.tell(Err(Lost));
    }

    /// Lets a connection write for the rest of this reign, and gives its number.
    pub(crate) fn grant(&self, connection: &mut Connection) -> u64 {
        let book = self.book();
        connection.grant_write();
        book.waiters.reign()
    }

    // ---- sessions ----

    /// A session is done with a statement: its commit, if it made one in `reign`, may be taken by the replicator, which is
    /// woken if the answer rests on anything that is not confirmed.
    pub(crate) fn release(
        &self,
        connection: &mut Connection,
        commit: Option<Version>,
        reign: u64,
        answer: Option<Answer>,
        rests_on: Version,
    ) {
        if let (Some(version), Some(answer)) = (commit, answer) {
            let mut book = self.book();
            if book.waiters.reign() == reign {
                book.pending.push((version, answer));
            }
        }
        // A numbered one was held until now: no record has left without its answer.
        connection.let_go(commit);
        if commit.is_some() || rests_on > self.pages.committed() {
            self.commits.notify_one();
        }
    }

    /// Waits until `version`, made in `reign`, is committed. Cancel-safe.
    pub(crate) async fn committed(&self, version: Version, reign: u64) -> Result<(), Lost> {
        let wait = self.book().waiters.wait(version, reign);
        match wait {
            Wait::Over(end) => end,
            Wait::Pending(answer) => answer.await.unwrap_or(Err(Lost)),
        }
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

    // ---- the replicator and the state machine ----

    /// The answers that belong into a record that ends with `version`.
    pub(crate) fn answers_up_to(&self, version: Version) -> Vec<Answer> {
        self.book().pending.iter().filter(|(at, _)| *at <= version).map(|(_, a)| *a).collect()
    }

    /// Applies a record. One that this node did not make in its present reign ends that reign before anyone is told of the
    /// version: what was committed here under the same number is something else.
    pub(crate) fn apply(&self, record: &Bytes, term: Term) -> Result<Applied, MachineError> {
        let (applied, version, lost, done) = {
            let mut book = self.book();
            let (applied, extra) = self.pages.apply_encoded(record, term).map_err(|e| MachineError::of(&e))?;
            let (version, lost) = match applied {
                Applied::Void => return Ok(applied),
                Applied::Confirmed(version) => (version, ToTell::default()),
                Applied::Done(version) => (version, book.lose()),
            };
            let extra: RecordExtra = postcard::from_bytes(&extra).map_err(corrupt)?;
            book.answers.apply(&extra.answers, version);
            book.pending.retain(|(at, _)| *at > version);
            (applied, version, lost, book.waiters.advance(version))
        };
        lost.tell(Err(Lost));
        done.tell(Ok(()));
        self.changes.send_replace(version);
        if matches!(applied, Applied::Done(_)) {
            self.commits.notify_one();
        }
        Ok(applied)
    }

    /// The applied answers, for a checkpoint.
    pub(crate) fn answers(&self) -> Answers {
        self.book().answers.clone()
    }

    /// A snapshot replaced everything.
    pub(crate) fn installed(&self, answers: Answers) {
        let (committed, lost, done) = {
            let mut book = self.book();
            self.pages.resign();
            let lost = book.lose();
            book.answers = answers;
            let committed = self.pages.committed();
            (committed, lost, book.waiters.advance(committed))
        };
        lost.tell(Err(Lost));
        done.tell(Ok(()));
        self.changes.send_replace(committed);
        self.commits.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sqlite::{ConnectionOptions, PageStoreOptions};

    /// A database with a table, led here in term 1.
    fn leading(dir: &std::path::Path) -> (Core, Connection, u64) {
        let (pages, _) = PageStore::open(dir, PageStoreOptions::default()).unwrap();
        let core = Core::new(pages, Answers::default());
        core.lead(Term(1));
        let mut connection = Connection::open(&core.pages, ConnectionOptions::default()).unwrap();
        let reign = core.grant(&mut connection);
        connection.execute("CREATE TABLE t(x)").unwrap();
        core.apply(&record(&core), Term(1)).unwrap();
        (core, connection, reign)
    }

    fn record(core: &Core) -> Bytes {
        let mut record = core.pages.next_record().unwrap();
        record.extra = extra(core, record.version);
        record.encode()
    }

    fn extra(core: &Core, version: Version) -> Bytes {
        postcard::to_stdvec(&RecordExtra { answers: core.answers_up_to(version) }).unwrap().into()
    }

    fn commit(connection: &mut Connection, sql: &str) -> Version {
        connection.execute(sql).unwrap();
        connection.take_commit().unwrap()
    }

    /// A leader that was cut off holds a commit; the next leader's record of the same version arrives.
    #[tokio::test]
    async fn a_record_of_another_leader_never_confirms_a_commit_of_this_one() {
        let (here, there) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let (core, mut connection, reign) = leading(here.path());
        let (other, mut its_connection, _) = leading(there.path());
        let ours = commit(&mut connection, "INSERT INTO t VALUES('ours')");
        let waits = core.committed(ours, reign);
        let theirs = commit(&mut its_connection, "INSERT INTO t VALUES('theirs')");
        assert_eq!(ours, theirs);
        assert_eq!(core.apply(&record(&other), Term(1)).unwrap(), Applied::Done(theirs));
        assert_eq!(waits.await, Err(Lost));
        assert_eq!(core.committed(ours, reign).await, Err(Lost));
        assert_eq!(core.pages.leads(), None, "another reign must begin before anything is written here");
    }

    /// A record was given up for lost, the node leads again in the same term and has made another commit of that number.
    #[tokio::test]
    async fn a_lost_record_that_comes_back_in_its_term_does_not_confirm_its_successor() {
        let dir = tempfile::tempdir().unwrap();
        let (core, mut connection, _) = leading(dir.path());
        let first = commit(&mut connection, "INSERT INTO t VALUES('first')");
        let lost = record(&core);
        core.lose();
        core.lead(Term(1));
        let mut connection = Connection::open(&core.pages, ConnectionOptions::default()).unwrap();
        let reign = core.grant(&mut connection);
        let second = commit(&mut connection, "INSERT INTO t VALUES('second')");
        assert_eq!(first, second);
        let in_flight = record(&core);
        let waits = core.committed(second, reign);
        assert_eq!(core.apply(&lost, Term(1)).unwrap(), Applied::Done(first));
        assert_eq!(waits.await, Err(Lost));
        assert_eq!(core.apply(&in_flight, Term(1)).unwrap(), Applied::Void);
        let mut reader = Connection::open(&core.pages, ConnectionOptions::default()).unwrap();
        let rows = reader.query("SELECT x FROM t", &[]).unwrap();
        assert_eq!(rows, [[sqlite::Value::Text(b"first".to_vec())]]);
    }

    #[test]
    fn a_grant_of_an_earlier_reign_writes_nothing_in_a_later_one() {
        let dir = tempfile::tempdir().unwrap();
        let (core, mut connection, _) = leading(dir.path());
        core.lose();
        core.lead(Term(2));
        let refused = connection.execute("INSERT INTO t VALUES(1)");
        assert_eq!(refused, Err(sqlite::SqlError::NotLeader));
        core.grant(&mut connection);
        connection.execute("INSERT INTO t VALUES(1)").unwrap();
    }

    #[test]
    fn an_answer_of_an_earlier_reign_is_not_told() {
        let dir = tempfile::tempdir().unwrap();
        let (core, mut connection, reign) = leading(dir.path());
        connection.take_commit();
        connection.hold_commits();
        let id = WriteId { client: 1, sequence: 1 };
        let version = commit(&mut connection, "INSERT INTO t VALUES(1)");
        assert!(core.pages.next_record().is_none(), "no record leaves before the answer is known");
        core.lose();
        core.lead(Term(2));
        let answer = Answer { id, outcome: crate::Outcome::default() };
        core.release(&mut connection, Some(version), reign, Some(answer), version);
        assert_eq!(core.known(id), (Known::New, Version(0)));
    }
}

//! The task that turns local commits into replicated records, one record in flight at a time: commits that arrive
//! meanwhile are merged into the next one. It also follows the group's leadership.

use crate::core::RecordExtra;
use crate::database::{Database, Leadership};
use crate::machine::DONE;
use bytes::Bytes;
use raft::{GroupState, ProposeError, Proposed};
use rt::time::Instant;
use sqlite::Record;
use std::sync::Arc;
use std::time::Duration;

/// How long a leader that no majority answers keeps its clients waiting before it tells them that the outcome is unknown.
const QUORUM_SILENCE_MAX: Duration = Duration::from_secs(3);

/// Runs until the scope that it was spawned in is cancelled.
pub(crate) async fn run(database: Arc<Database>) {
    let mut status = database.group().watch();
    let mut applied = database.group().watch_applied();
    loop {
        applied.borrow_and_update();
        follow(&database);
        while database.check_leading().is_ok()
            && let Some(record) = take(&database).await
        {
            if replicate(&database, record).await.is_err() {
                lose(&database);
                break;
            }
            follow(&database);
        }
        tokio::select! {
            biased;
            changed = status.changed() => if changed.is_err() {
                lose(&database);
                return;
            },
            // A leader becomes one for us when it has applied an entry of its term, which the status does not tell.
            changed = applied.changed(), if database.check_leading().is_err() => if changed.is_err() {
                lose(&database);
                return;
            },
            () = database.core().commits.notified() => {}
        }
    }
}

/// All commits that wait, as one record.
async fn take(database: &Database) -> Option<Record> {
    let _all_answers_known = database.core().numbered.lock().await;
    database.pages().next_record()
}

/// Takes over what the group says of its leadership. It leads for us when it has applied the first entry of its term,
/// and with it everything of earlier terms.
fn follow(database: &Database) {
    let (leading, leader) = {
        let status = database.group().watch();
        let status = status.borrow();
        let applied = database.group().watch_applied().borrow().is_some_and(|pos| pos.term == status.term);
        ((status.state == GroupState::Leader && applied).then_some(status.term), status.leader)
    };
    let before = *database.leadership().borrow();
    if before.leading.is_some() && before.leading != leading {
        lose(database);
    }
    if let Some(term) = leading
        && before.leading != leading
    {
        database.pages().lead(term);
    }
    database.set_leadership(Leadership { leading, leader });
}

/// Drops what was not confirmed and tells its clients.
fn lose(database: &Database) {
    let leader = database.group().watch().borrow().leader;
    database.set_leadership(Leadership { leading: None, leader });
    database.core().lose();
}

struct NotReplicated;

async fn replicate(database: &Database, mut record: Record) -> Result<(), NotReplicated> {
    let extra = RecordExtra { answers: database.core().answers_up_to(record.version) };
    record.extra = postcard::to_stdvec(&extra).map(Bytes::from).map_err(|_| NotReplicated)?;
    let mut proposal = std::pin::pin!(database.group().propose(record.encode()));
    let mut told = false;
    let mut since = Instant::now();
    loop {
        tokio::select! {
            biased;
            result = &mut proposal => return judge(database, result, told),
            () = rt::time::sleep(QUORUM_SILENCE_MAX / 3) => {}
        }
        if database.group().lease().is_ok() {
            since = Instant::now();
        }
        if !told && since.elapsed() >= QUORUM_SILENCE_MAX {
            // Nobody may wait on a leader that is alone. The record itself is still awaited: until its fate is known
            // no other may be made.
            rt::sometimes!("a leader without a majority told its clients");
            tracing::warn!(database = %database.name(), "no majority answers: waiting commits end with outcome unknown");
            lose(database);
            told = true;
        }
    }
}

fn judge(database: &Database, result: Result<Proposed, ProposeError>, told: bool) -> Result<(), NotReplicated> {
    match result {
        Ok(proposed) if proposed.answer.as_ref() == DONE && !told => Ok(()),
        Ok(_) => Err(NotReplicated),
        Err(error) => {
            tracing::info!(database = %database.name(), %error, "a record was not replicated");
            Err(NotReplicated)
        }
    }
}

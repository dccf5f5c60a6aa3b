//! The task that turns local commits into replicated records, one record in flight at a time: commits that arrive
//! meanwhile are merged into the next one. It also follows the group's leadership.
//!
//! ```text
//!   Following ── Raft leads in a new term and has applied its first entry ──────────▶ Leading
//!       ▲  │                                                                            │
//!       │  └─ Raft leads in the term of a reign that was lost ─▶ Settling ──▶ Leading   │
//!       └──────────── a record is lost, another's came, Raft leads no more ◀────────────┘
//! ```
//!
//! A record that was given up may still be committed. Settling proposes a void record behind it: when that one is applied,
//! the fate of everything before it is known.

use crate::core::RecordExtra;
use crate::database::{Database, Leadership};
use crate::machine::DONE;
use base::Term;
use bytes::Bytes;
use futures::FutureExt as _;
use raft::{GroupState, GroupStatus, Part, ProposeError};
use rt::sync::watch;
use rt::time::Instant;
use sqlite::Record;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

/// How long a leader that no majority answers keeps its clients waiting before it tells them that the outcome is unknown.
const QUORUM_SILENCE_MAX: Duration = Duration::from_secs(3);
/// How long it waits before it tries to lead again.
const PAUSE: Duration = Duration::from_millis(10);

/// Runs until the scope that it was spawned in is cancelled. A panic ends the reign, and the next one begins anew.
///
/// A witness runs no SQL: while it leads a group for the others' sake, it does not lead the database.
pub(crate) async fn run(database: Arc<Database>, part: Part) {
    while AssertUnwindSafe(follow(&database, part)).catch_unwind().await.is_err() {
        tracing::error!(database = %database.name(), "the replicator panicked; it starts again");
        rt::time::sleep(PAUSE).await;
    }
}

/// Nobody waits for a replicator that has ended, however it did.
struct Ended<'a>(&'a Database);

impl Drop for Ended<'_> {
    fn drop(&mut self) {
        lose(self.0, None);
    }
}

async fn follow(database: &Database, part: Part) {
    let _ended = Ended(database);
    let mut status = database.group().watch();
    let mut applied = database.group().watch_applied();
    // In this term there may be records that this task, or the process before it, has sent and lost sight of.
    let mut suspect = database.group().status().term;
    loop {
        status.borrow_and_update();
        applied.borrow_and_update();
        let now = database.group().status();
        database.set_leadership(Leadership { leading: None, leader: now.leader });
        let leads = part == Part::Data && now.state == GroupState::Leader;
        if leads && (if now.term == suspect { is_settled(database, &now).await } else { is_first_applied(&now) }) {
            lead(database, now.term, &mut status).await;
            lose(database, None);
            suspect = now.term;
        }
        let pause = leads && now.term == suspect;
        tokio::select! {
            biased;
            changed = status.changed() => if changed.is_err() { return },
            changed = applied.changed(), if leads => if changed.is_err() { return },
            () = rt::time::sleep(PAUSE), if pause => {}
        }
    }
}

/// Whether the first entry of the term that this node leads is applied, and with it everything of earlier terms.
fn is_first_applied(now: &GroupStatus) -> bool {
    now.applied.is_some_and(|pos| pos.term == now.term && Some(pos.node) == now.leader)
}

/// Whether everything that this node has ever proposed in the term is applied or will never be: an entry behind it is applied.
async fn is_settled(database: &Database, now: &GroupStatus) -> bool {
    let mut status = database.group().watch();
    let moved = status.wait_for(|s| s.state != GroupState::Leader || s.term != now.term);
    tokio::select! {
        biased;
        proposed = database.group().propose(Record::void().encode()) => match proposed {
            Ok(proposed) => proposed.pos.term == now.term,
            Err(error) => {
                tracing::debug!(database = %database.name(), %error, "this node cannot lead again yet");
                false
            }
        },
        _ = moved => false,
    }
}

/// Leads until it cannot.
async fn lead(database: &Database, term: Term, status: &mut watch::Receiver<GroupStatus>) {
    database.core().lead(term);
    let leader = database.group().status().leader;
    database.set_leadership(Leadership { leading: Some(term), leader });
    // Another's record ends the reign in the page store itself.
    while database.pages().leads() == Some(term) && is_leader(status, term) {
        if let Some(record) = database.pages().next_record() {
            if replicate(database, record, term, status).await.is_err() {
                return;
            }
            continue;
        }
        tokio::select! {
            biased;
            changed = status.changed() => if changed.is_err() { return },
            () = database.core().commits.notified() => {}
        }
    }
}

fn is_leader(status: &mut watch::Receiver<GroupStatus>, term: Term) -> bool {
    let now = status.borrow_and_update();
    now.state == GroupState::Leader && now.term == term
}

/// Drops what was not confirmed and tells its clients.
fn lose(database: &Database, leader: Option<base::NodeId>) {
    database.set_leadership(Leadership { leading: None, leader });
    database.core().lose();
}

struct NotReplicated;

/// Sends a record and waits until it is applied. Gives up when this node leads no more or no majority answers: nobody may wait
/// on a leader that is alone.
async fn replicate(
    database: &Database,
    mut record: Record,
    term: Term,
    status: &mut watch::Receiver<GroupStatus>,
) -> Result<(), NotReplicated> {
    let extra = RecordExtra { answers: database.core().answers_up_to(record.version) };
    record.extra = postcard::to_stdvec(&extra).map(Bytes::from).map_err(|_| NotReplicated)?;
    let mut proposal = std::pin::pin!(database.group().propose(record.encode()));
    let mut since = Instant::now();
    loop {
        tokio::select! {
            biased;
            result = &mut proposal => return match result {
                Ok(proposed) if proposed.answer.as_ref() == DONE => Ok(()),
                Ok(_) => Err(NotReplicated),
                Err(error) => Err(refused(database, &error)),
            },
            changed = status.changed() => if changed.is_err() || !is_leader(status, term) {
                return Err(NotReplicated);
            },
            () = rt::time::sleep(QUORUM_SILENCE_MAX / 3) => {}
        }
        if database.group().lease().is_ok() {
            since = Instant::now();
        }
        if since.elapsed() >= QUORUM_SILENCE_MAX {
            rt::sometimes!("a leader without a majority told its clients");
            tracing::warn!(database = %database.name(), "no majority answers: waiting commits end with outcome unknown");
            return Err(NotReplicated);
        }
    }
}

fn refused(database: &Database, error: &ProposeError) -> NotReplicated {
    tracing::info!(database = %database.name(), %error, "a record was not replicated");
    NotReplicated
}

//! Watching: the changes of resources, in order, none left out, from a revision on.
//!
//! Changes are read from this member's own copy of `sys.changes`, at committed states: a member that lags tells later, never otherwise.
//! Who was cut off asks again from the last revision that they have heard of, at any member.

use super::Revision;
use super::list::ResourceKey;
use crate::database::Database;
use crate::session::{Session, SessionOptions};
use crate::{ReadLevel, Store, StoreError, Value};
use raft::LogPos;
use rt::sync::watch;
use std::sync::Arc;
use std::time::Duration;

/// As many changes are read at once.
const BATCH_MAX: i64 = 256;
/// How long who begins to watch waits for this member to know the newest state.
const FRESH_MAX: Duration = Duration::from_secs(2);

/// What happened to an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verb {
    /// It is there now.
    Created,
    /// Something of it is otherwise.
    Updated,
    /// It is gone.
    Deleted,
}

impl Verb {
    /// As it stands in the row.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Updated => "updated",
            Self::Deleted => "deleted",
        }
    }

    fn from_str(text: &str) -> Option<Self> {
        [Self::Created, Self::Updated, Self::Deleted].into_iter().find(|verb| verb.as_str() == text)
    }
}

/// One change of one object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Its number.
    pub revision: Revision,
    /// When it was made, in milliseconds since the Unix epoch, by the clock of the leader.
    pub at_ms: i64,
    /// The kind.
    pub kind: String,
    /// The object.
    pub key: ResourceKey,
    /// What happened to it.
    pub verb: Verb,
    /// How often what is wanted of it was changed.
    pub generation: u64,
    /// What is wanted after the change, as JSON; before it if the object is gone.
    pub spec: String,
    /// What is observed, likewise.
    pub status: String,
}

/// The changes after a revision, of all kinds.
pub struct Watch {
    session: Session,
    /// Moves when something was applied, and ends when the node stops.
    applied: watch::Receiver<Option<LogPos>>,
    after: Revision,
}

impl Store {
    /// Watches the changes after a revision; those from now on, if `after` is none. Refused with [`StoreError::WatchLost`] if some of them are
    /// not kept any more, or if this cluster never came so far: list again, and watch from there.
    pub async fn watch(&self, after: Option<Revision>) -> Result<Watch, StoreError> {
        let sys: Arc<Database> = Arc::clone(self.sys());
        let fresh = match sys.fresh(ReadLevel::Linearizable, false, FRESH_MAX).await {
            // Without a majority there is nothing new; what this member has can be told.
            fresh @ (Ok(()) | Err(StoreError::ReadTimeout { .. } | StoreError::NotLeader { .. })) => fresh,
            Err(error) => return Err(error),
        };
        let applied = sys.group().watch_applied();
        let options = SessionOptions { read: ReadLevel::Local, ..SessionOptions::default() };
        let mut session = Session::open(sys, options)?;
        let newest = "SELECT coalesce(max(revision), 0) FROM changes";
        let newest = session.rows(newest, &[]).await?.rows.first().and_then(|row| row.first()?.integer());
        let newest = Revision(newest.unwrap_or_default().cast_unsigned());
        let after = after.filter(|_| !rt::mutant!("store.watch-from-the-newest")).unwrap_or(newest);
        if after > newest {
            // Who lags behind cannot say that there is no such change.
            return Err(fresh.err().unwrap_or(StoreError::WatchLost { after: after.0 }));
        }
        Ok(Watch { session, applied, after })
    }
}

impl Watch {
    /// The last change that was given, or the one after which the watch began.
    pub fn revision(&self) -> Revision {
        self.after
    }

    /// The next changes, at least one. Waits for them; ends with an error when the node stops.
    ///
    /// Cancel-safe: what was not given is given next time.
    pub async fn next(&mut self) -> Result<Vec<Change>, StoreError> {
        loop {
            self.applied.borrow_and_update();
            let changes = self.read().await?;
            if let Some(last) = changes.last() {
                self.after = last.revision;
                return Ok(changes);
            }
            self.applied.changed().await.map_err(|_closed| StoreError::NotOpen { state: "closing" })?;
        }
    }

    async fn read(&mut self) -> Result<Vec<Change>, StoreError> {
        let sql = "SELECT revision, at_ms, kind, key, verb, generation, spec, status FROM changes \
                   WHERE revision > ?1 ORDER BY revision LIMIT ?2";
        let after = self.after.0.cast_signed();
        let rows = self.session.rows(sql, &[after.into(), BATCH_MAX.into()]).await?.rows;
        let changes = rows.iter().map(|row| parse(row)).collect::<Result<Vec<_>, _>>()?;
        match changes.first() {
            Some(first) if first.revision.0 != self.after.0 + 1 => Err(StoreError::WatchLost { after: self.after.0 }),
            _ => Ok(changes),
        }
    }
}

fn parse(row: &[Value]) -> Result<Change, StoreError> {
    let unexpected = || StoreError::Internal(format!("a row of sys.changes is not of its form: {row:?}"));
    let [
        Value::Integer(revision),
        Value::Integer(at_ms),
        Value::Text(kind),
        key,
        Value::Text(verb),
        Value::Integer(generation),
        Value::Text(spec),
        Value::Text(status),
    ] = row
    else {
        return Err(unexpected());
    };
    Ok(Change {
        revision: Revision(revision.cast_unsigned()),
        at_ms: *at_ms,
        kind: kind.clone(),
        key: ResourceKey::of(key).ok_or_else(unexpected)?,
        verb: Verb::from_str(verb).ok_or_else(unexpected)?,
        generation: generation.cast_unsigned(),
        spec: spec.clone(),
        status: status.clone(),
    })
}

//! A group's part of the segmented log, as openraft wants it.

use super::codec::{decode_membership, encode_membership};
use super::{Data, Entry, EntryPayload, Id, LeaderId, StoredMembership, Types, Vote, id, pos};
use crate::Payload;
use crate::log::{Log, NewEntry};
use base::{GroupId, NodeId, Term};
use futures::{Stream, StreamExt, TryStreamExt};
use openraft::storage::{IOFlushed, LogState, RaftLogReader, RaftLogStorage};
use std::fmt::Debug;
use std::io;
use std::ops::{Bound, RangeBounds, RangeInclusive};
use tokio::sync::oneshot;

/// Entries are read for other members, and to be applied, in pieces of about this length.
const PIECE_BYTES: usize = 1 << 20;

/// One group's log.
#[derive(Debug, Clone)]
pub(crate) struct LogStore {
    pub(crate) log: Log,
    pub(crate) group: GroupId,
}

fn to_log(entry: Entry) -> NewEntry {
    let payload = match entry.payload {
        EntryPayload::Blank => Payload::Blank,
        EntryPayload::Normal(data) => Payload::App(data.0),
        EntryPayload::Membership(m) => {
            Payload::Membership(encode_membership(&StoredMembership::new(Some(entry.log_id), m)))
        }
    };
    NewEntry { pos: pos(&entry.log_id), payload }
}

fn from_log(entry: NewEntry) -> io::Result<Entry> {
    let payload = match entry.payload {
        Payload::Blank => EntryPayload::Blank,
        Payload::App(bytes) => EntryPayload::Normal(Data(bytes)),
        Payload::Membership(bytes) => {
            let stored = decode_membership(&bytes).map_err(io::Error::other)?;
            let stored = stored.ok_or_else(|| io::Error::other("an entry of members has none"))?;
            EntryPayload::Membership(stored.membership().clone())
        }
    };
    Ok(Entry { log_id: id(entry.pos), payload })
}

fn bounds(range: &impl RangeBounds<u64>) -> (u64, u64) {
    let start = match range.start_bound() {
        Bound::Included(i) => *i,
        Bound::Excluded(i) => i.saturating_add(1),
        Bound::Unbounded => 0,
    };
    let end = match range.end_bound() {
        Bound::Included(i) => i.saturating_add(1),
        Bound::Excluded(i) => *i,
        Bound::Unbounded => u64::MAX,
    };
    (start, end)
}

impl LogStore {
    async fn read(&self, start: u64, end: u64, bytes_max: usize) -> io::Result<Vec<Entry>> {
        let entries = self.log.read(self.group, start, end, bytes_max).await?;
        entries.into_iter().map(from_log).collect()
    }
}

impl RaftLogReader<Types> for LogStore {
    async fn try_get_log_entries<RB>(&mut self, range: RB) -> io::Result<Vec<Entry>>
    where
        RB: RangeBounds<u64> + Clone + Debug + Send,
    {
        let (start, end) = bounds(&range);
        self.read(start, end, usize::MAX).await
    }

    async fn limited_get_log_entries(&mut self, start: u64, end: u64) -> io::Result<Vec<Entry>> {
        self.read(start, end, PIECE_BYTES).await
    }

    async fn entries_stream<RB>(&mut self, range: RB) -> impl Stream<Item = io::Result<Entry>> + Send
    where
        RB: RangeBounds<u64> + Clone + Debug + Send,
    {
        let (start, end) = bounds(&range);
        let store = self.clone();
        futures::stream::try_unfold(start, move |next| {
            let store = store.clone();
            async move {
                if next >= end {
                    return Ok(None);
                }
                let entries = store.read(next, end, PIECE_BYTES).await?;
                let Some(last) = entries.last().map(|e| e.log_id.index) else {
                    return Err(io::Error::new(io::ErrorKind::NotFound, "committed entries are not in the log"));
                };
                Ok(Some((futures::stream::iter(entries).map(Ok), last + 1)))
            }
        })
        .try_flatten()
    }

    async fn read_vote(&mut self) -> io::Result<Option<Vote>> {
        Ok(self.log.head(self.group).vote.map(|vote| Vote {
            leader_id: LeaderId { term: vote.term.0, node_id: vote.node.0 },
            committed: vote.committed,
        }))
    }

    /// The last entry of each leader: that is what the engine's list holds, although the trait's text speaks of the first. A test
    /// in simulation found out.
    async fn get_key_log_ids(&mut self, range: RangeInclusive<Id>) -> io::Result<Vec<Id>> {
        Ok(self.log.leaders(self.group, range.start().index, range.end().index).into_iter().map(id).collect())
    }
}

impl RaftLogStorage<Types> for LogStore {
    type LogReader = Self;

    async fn get_log_state(&mut self) -> io::Result<LogState<Types>> {
        let head = self.log.head(self.group);
        Ok(LogState { last_purged_log_id: head.purged.map(id), last_log_id: head.last.map(id) })
    }

    async fn get_log_reader(&mut self) -> Self {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote) -> io::Result<()> {
        let (done, saved) = oneshot::channel();
        let vote = crate::log::Vote {
            term: Term(vote.leader_id.term),
            node: NodeId(vote.leader_id.node_id),
            committed: vote.committed,
        };
        self.log.save_vote(self.group, vote, Box::new(move |result| drop(done.send(result))));
        saved.await.unwrap_or_else(|_| Err(io::Error::other("the log has stopped")))
    }

    async fn save_committed(&mut self, committed: Option<Id>) -> io::Result<()> {
        if let Some(upto) = committed {
            self.log.committed(self.group, pos(&upto));
        }
        Ok(())
    }

    async fn read_committed(&mut self) -> io::Result<Option<Id>> {
        let head = self.log.head(self.group);
        Ok(head.committed.min(head.last).map(id))
    }

    async fn append<I>(&mut self, entries: I, callback: IOFlushed<Types>) -> io::Result<()>
    where
        I: IntoIterator<Item = Entry> + Send,
        I::IntoIter: Send,
    {
        let entries = entries.into_iter().map(to_log).collect();
        self.log.append(self.group, entries, Box::new(move |result| callback.io_completed(result)))
    }

    async fn truncate_after(&mut self, last: Option<Id>) -> io::Result<()> {
        self.log.truncate(self.group, last.as_ref().map(pos));
        Ok(())
    }

    async fn purge(&mut self, upto: Id) -> io::Result<()> {
        self.log.purge(self.group, pos(&upto));
        Ok(())
    }
}

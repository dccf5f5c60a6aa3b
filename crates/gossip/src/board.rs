//! What the driver notes for others to read: who is there, what happened, and how much was sent.

use rt::sync::watch;
use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use swim::{Changes, Event, Incarnation, MemberId, Reason, Status, Swim};

/// How many events are remembered.
const HISTORY_MAX: usize = 1024;

/// What this member knows of one of its group, itself among them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Known {
    /// Who.
    pub id: MemberId,
    /// What is believed of it.
    pub status: Status,
    /// Where it is reached.
    pub addr: SocketAddr,
    /// In which incarnation.
    pub incarnation: Incarnation,
    /// Its payload; `None` while that of this incarnation is not known.
    pub payload: Option<Arc<[u8]>>,
    /// Since when it has its status, as time since the Unix epoch by this machine's clock.
    pub since: Duration,
    /// Why it has its status.
    pub why: Reason,
}

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    /// Counts what this member was told, from 1 on.
    pub number: u64,
    /// When, as time since the Unix epoch by this machine's clock.
    pub at: Duration,
    /// What.
    pub event: Event,
}

/// What went over the socket since the start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counters {
    /// Datagrams that were handed to the network.
    pub sent: u64,
    /// Their bytes, without the headers of IP and UDP.
    pub sent_bytes: u64,
    /// Datagrams that the network did not take.
    pub unsent: u64,
    /// Datagrams that came.
    pub received: u64,
    /// Their bytes.
    pub received_bytes: u64,
    /// Those of them that were no packets of this group.
    pub refused: u64,
    /// How far this member distrusts itself: 0 not at all, 7 entirely.
    pub health_score: u64,
}

#[derive(Debug, Default)]
pub(crate) struct Board {
    state: Mutex<State>,
    /// The number of the newest event.
    newest: watch::Sender<u64>,
    pub(crate) sent: AtomicU64,
    pub(crate) sent_bytes: AtomicU64,
    pub(crate) unsent: AtomicU64,
    pub(crate) received: AtomicU64,
    pub(crate) received_bytes: AtomicU64,
    pub(crate) refused: AtomicU64,
    pub(crate) health: AtomicU64,
}

#[derive(Debug, Default)]
struct State {
    members: BTreeMap<MemberId, Known>,
    history: VecDeque<Told>,
    told: u64,
}

impl Board {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes what happened, and how the member is then.
    pub(crate) fn note(&self, event: Event, swim: &Swim) -> Told {
        let at = rt::time::wall();
        let mut state = self.state();
        if event.changes.has(Changes::DROP) {
            state.members.remove(&event.id);
        } else if let Some(view) = swim.member(&event.id) {
            // Of one that was only added the first word of itself or of others is news.
            let same = state.members.remove(&event.id);
            let same = same.filter(|known| known.status == view.status && known.why != Reason::Asked);
            let (since, why) = same.map_or_else(|| (at, event.reason.clone()), |known| (known.since, known.why));
            let known = Known {
                id: view.id,
                status: view.status,
                addr: view.addr,
                incarnation: view.incarnation,
                payload: view.payload.map(Arc::from),
                since,
                why,
            };
            state.members.insert(view.id, known);
        }
        state.told += 1;
        let told = Told { number: state.told, at, event };
        if state.history.len() >= HISTORY_MAX {
            state.history.pop_front();
        }
        state.history.push_back(told.clone());
        drop(state);
        self.newest.send_replace(told.number);
        told
    }

    pub(crate) fn members(&self) -> Vec<Known> {
        self.state().members.values().cloned().collect()
    }

    pub(crate) fn member(&self, id: &MemberId) -> Option<Known> {
        self.state().members.get(id).cloned()
    }

    /// Up to `limit` events after number `after`, the oldest first, as far as they are remembered.
    pub(crate) fn events(&self, after: u64, limit: usize) -> Vec<Told> {
        let state = self.state();
        let from = state.history.partition_point(|told| told.number <= after);
        state.history.range(from..).take(limit).cloned().collect()
    }

    pub(crate) fn watch(&self) -> watch::Receiver<u64> {
        self.newest.subscribe()
    }

    pub(crate) fn counters(&self) -> Counters {
        let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Counters {
            sent: of(&self.sent),
            sent_bytes: of(&self.sent_bytes),
            unsent: of(&self.unsent),
            received: of(&self.received),
            received_bytes: of(&self.received_bytes),
            refused: of(&self.refused),
            health_score: of(&self.health),
        }
    }
}

/// Adds to a counter.
pub(crate) fn count(counter: &AtomicU64, by: usize) {
    counter.fetch_add(u64::try_from(by).unwrap_or(0), Ordering::Relaxed);
}

//! What the clients of a machine know together: which of its lives this is, whether it has served in it, and what was acknowledged.

use crate::scenarios::cluster::Board;
use lifecycle::Shutdown;
use rt::sim::Disk;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Clones are the same door.
#[derive(Clone)]
pub(super) struct Door(Arc<Mutex<Known>>);

struct Known {
    board: Board,
    /// The number of the present life, from 1, and its request to stop.
    life: u64,
    shutdown: Shutdown,
    /// Its disk: when the power goes, that is what the process hears of it before it ends.
    disk: Option<Disk>,
    /// The life in which a request about data was last answered.
    served_in: u64,
    /// The tables are there.
    is_prepared: bool,
    /// How many rows of each writer were sent, and how many were acknowledged.
    sent: Vec<u64>,
    acknowledged: Vec<u64>,
    answers: u64,
    /// Those of them that came after the machine had fallen.
    answers_again: u64,
    refusals: u64,
}

/// What was known when a request was sent.
#[derive(Debug, Clone, Copy)]
pub(super) struct Moment {
    life: u64,
    has_served: bool,
}

impl Door {
    pub(super) fn new(board: Board, writers: usize) -> Self {
        Self(Arc::new(Mutex::new(Known {
            board,
            life: 0,
            shutdown: Shutdown::new(),
            disk: None,
            served_in: 0,
            is_prepared: false,
            sent: vec![0; writers],
            acknowledged: vec![0; writers],
            answers: 0,
            answers_again: 0,
            refusals: 0,
        })))
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The machine's disk.
    pub(super) fn is_on(&self, disk: Disk) {
        self.known().disk = Some(disk);
    }

    /// A process starts.
    pub(super) fn begins(&self, shutdown: Shutdown) {
        let mut known = self.known();
        known.life += 1;
        known.shutdown = shutdown;
    }

    pub(super) fn prepared(&self) {
        self.known().is_prepared = true;
    }

    pub(super) fn is_prepared(&self) -> bool {
        self.known().is_prepared
    }

    pub(super) fn is_healed(&self) -> bool {
        let known = self.known();
        known.board.is_healed()
    }

    pub(super) fn breaks(&self, what: String) {
        let board = self.known().board.clone();
        board.breaks("INC-1", what);
    }

    pub(super) fn moment(&self) -> Moment {
        let known = self.known();
        Moment { life: known.life, has_served: known.served_in == known.life }
    }

    /// Whether it was the same life all the time since then, and nothing has come to end it.
    pub(super) fn lives_on(&self, since: Moment) -> bool {
        let known = self.known();
        let has_power = known.disk.as_ref().is_none_or(|disk| !disk.is_off());
        known.life == since.life && known.shutdown.requests() == 0 && has_power
    }

    /// Whether a request about data had been answered in that life before that moment.
    pub(super) fn had_served(since: Moment) -> bool {
        since.has_served
    }

    /// A request about data was answered that was sent at that moment.
    pub(super) fn served(&self, since: Moment) {
        let mut known = self.known();
        known.answers += 1;
        known.answers_again += u64::from(known.life > 1);
        if known.life == since.life {
            known.served_in = since.life;
        }
    }

    pub(super) fn refused(&self) {
        self.known().refusals += 1;
    }

    pub(super) fn answers(&self) -> u64 {
        self.known().answers
    }

    /// How many requests were answered by a machine that had fallen before; none if it never fell.
    pub(super) fn answers_again(&self) -> Option<u64> {
        let known = self.known();
        (known.life > 1).then_some(known.answers_again)
    }

    pub(super) fn refusals(&self) -> u64 {
        self.known().refusals
    }

    /// The next row of a writer: its number.
    pub(super) fn next_row(&self, writer: usize) -> u64 {
        let mut known = self.known();
        let next = known.acknowledged.get(writer).copied().unwrap_or_default();
        if let Some(sent) = known.sent.get_mut(writer) {
            *sent = next + 1;
        }
        next
    }

    pub(super) fn acknowledge(&self, writer: usize, row: u64) {
        if let Some(acknowledged) = self.known().acknowledged.get_mut(writer) {
            *acknowledged = row + 1;
        }
    }

    /// How many rows of each writer must be there.
    pub(super) fn acknowledged(&self) -> Vec<u64> {
        self.known().acknowledged.clone()
    }

    /// How many there can be.
    pub(super) fn sent(&self) -> Vec<u64> {
        self.known().sent.clone()
    }
}

//! What memberlist believes of members, how rumours change it, and how long a suspected one has.

use super::{AWARENESS_MAX, Memberlist, PROBE_INTERVAL, Rumour, Wait};
use crate::detector::Belief;
use std::time::Duration;
use swim::Moment;

const SUSPICION_MULT: usize = 4;
const SUSPICION_MAX_MULT: u32 = 6;

/// What is believed of a member.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    Alive,
    Suspect,
    Dead,
}

/// A member that is known.
#[derive(Debug, Clone, Copy)]
pub(super) struct Peer {
    pub(super) state: State,
    pub(super) incarnation: u64,
    /// When its state last changed.
    pub(super) since: Moment,
}

/// The time that a suspected member has.
#[derive(Debug)]
pub(super) struct Suspicion {
    /// Tells its deadline from earlier ones.
    epoch: u64,
    since: Moment,
    /// The one that it began with, and those that confirmed it.
    accusers: Vec<usize>,
    /// How many confirmations bring the time down to its least.
    confirmations_max: usize,
    min: Duration,
}

impl Suspicion {
    /// `max - (max - min) * log(n + 1) / log(k + 1)`, in whole milliseconds.
    fn deadline(&self) -> Moment {
        let ln = |n: usize| u32::try_from(n + 1).map_or(0.0, f64::from).ln();
        let max = self.min * SUSPICION_MAX_MULT;
        let timeout = if self.confirmations_max == 0 {
            self.min
        } else {
            let way = ln(self.accusers.len() - 1) / ln(self.confirmations_max);
            let raw = max.as_secs_f64() - way * max.saturating_sub(self.min).as_secs_f64();
            Duration::from_secs_f64((1000.0 * raw).floor() / 1000.0).max(self.min)
        };
        self.since.after(timeout)
    }
}

impl Memberlist {
    pub(super) fn hear(&mut self, rumour: Rumour) {
        match rumour.state {
            State::Alive => self.hear_alive(rumour),
            State::Suspect => self.hear_suspect(rumour),
            State::Dead => self.hear_dead(rumour),
        }
    }

    fn hear_alive(&mut self, rumour: Rumour) {
        let Rumour { subject, incarnation, .. } = rumour;
        if subject == self.me {
            if incarnation > self.incarnation {
                self.refute(incarnation);
            }
            return;
        }
        let known = self.peer(subject);
        if known.is_some_and(|peer| incarnation <= peer.incarnation) {
            return;
        }
        if known.is_none() {
            // A new member has any place in the round.
            self.order.push(subject);
            let place = self.random.below(self.order.len());
            let last = self.order.len() - 1;
            self.order.swap(place, last);
        }
        self.suspicions.remove(&subject);
        self.rumour(rumour);
        let since = known.filter(|peer| peer.state == State::Alive).map_or(self.now, |peer| peer.since);
        self.set(subject, Peer { state: State::Alive, incarnation, since });
        self.see(subject, incarnation, Belief::Present);
    }

    pub(super) fn hear_suspect(&mut self, rumour: Rumour) {
        let Rumour { subject, incarnation, from, .. } = rumour;
        let Some(peer) = self.peer(subject).filter(|peer| incarnation >= peer.incarnation) else { return };
        if let Some(suspicion) = self.suspicions.get_mut(&subject) {
            let counts = suspicion.accusers.len() <= suspicion.confirmations_max;
            if counts && !suspicion.accusers.contains(&from) {
                suspicion.accusers.push(from);
                let (deadline, epoch) = (suspicion.deadline(), suspicion.epoch);
                self.agenda.put(deadline, Wait::Suspicion { subject, epoch });
                self.rumour(rumour);
            }
            return;
        }
        if peer.state != State::Alive {
            return;
        }
        if subject == self.me {
            return self.refute(incarnation);
        }
        self.rumour(rumour);
        self.set(subject, Peer { state: State::Suspect, incarnation, since: self.now });
        let suspicion = self.new_suspicion(from);
        self.agenda.put(suspicion.deadline(), Wait::Suspicion { subject, epoch: suspicion.epoch });
        self.suspicions.insert(subject, suspicion);
    }

    fn new_suspicion(&mut self, from: usize) -> Suspicion {
        self.epochs += 1;
        let count = self.count();
        let wanted = SUSPICION_MULT - 2;
        let confirmations_max = if count < wanted + 2 { 0 } else { wanted };
        let scale = u32::try_from(count.max(1)).map_or(1.0, f64::from).log10().max(1.0);
        let min = (PROBE_INTERVAL * 4).mul_f64((scale * 1000.0).floor() / 1000.0);
        Suspicion { epoch: self.epochs, since: self.now, accusers: vec![from], confirmations_max, min }
    }

    /// The time of a suspected member may be over: at a deadline that a confirmation has not moved forward since.
    pub(super) fn end_suspicion(&mut self, subject: usize, epoch: u64) {
        let is_over = |suspicion: &Suspicion| suspicion.epoch == epoch && suspicion.deadline() <= self.now;
        let Some(peer) = self.peer(subject).filter(|_| self.suspicions.get(&subject).is_some_and(is_over)) else {
            return;
        };
        self.hear_dead(Rumour { subject, incarnation: peer.incarnation, state: State::Dead, from: self.me });
    }

    fn hear_dead(&mut self, rumour: Rumour) {
        let Rumour { subject, incarnation, .. } = rumour;
        let Some(peer) = self.peer(subject).filter(|peer| incarnation >= peer.incarnation) else { return };
        self.suspicions.remove(&subject);
        if peer.state == State::Dead {
            return;
        }
        if subject == self.me {
            return self.refute(incarnation);
        }
        self.rumour(rumour);
        self.set(subject, Peer { state: State::Dead, incarnation, since: self.now });
        self.see(subject, incarnation, Belief::Dead);
    }

    /// Says that this member is alive, in an incarnation above that of the rumour.
    fn refute(&mut self, incarnation: u64) {
        self.incarnation = self.incarnation.max(incarnation) + 1;
        self.worse(1);
        let subject = self.me;
        self.set(subject, Peer { state: State::Alive, incarnation: self.incarnation, since: self.now });
        self.rumour(Rumour { subject, incarnation: self.incarnation, state: State::Alive, from: self.me });
    }

    pub(super) fn peer(&self, node: usize) -> Option<Peer> {
        self.peers.get(node).copied().flatten()
    }

    pub(super) fn set(&mut self, node: usize, peer: Peer) {
        if let Some(place) = self.peers.get_mut(node) {
            *place = Some(peer);
        }
    }

    pub(super) fn forget(&mut self, node: usize) {
        if let Some(place) = self.peers.get_mut(node) {
            *place = None;
        }
    }

    fn rumour(&mut self, rumour: Rumour) {
        let len = super::len(&super::Message::Rumour(rumour));
        self.rumours.put(rumour.subject, len, rumour);
    }

    pub(super) fn worse(&mut self, by: u32) {
        self.awareness = self.awareness.saturating_add(by).min(AWARENESS_MAX - 1);
    }
}

//! How memberlist asks members whether they are alive: directly, through three others, and over TCP.

use super::{
    CHECKSUM_LEN, COMPOUND_LEN, FRAME_LEN, GOSSIP_TO_THE_DEAD, INDIRECT_CHECKS, Memberlist, Message, PROBE_INTERVAL,
    PROBE_TIMEOUT, Peer, Rumour, State, Wait, len,
};
use crate::detector::{Belief, Transmit, Way};

/// The probe that is under way.
#[derive(Debug)]
pub(super) struct Probe {
    number: u64,
    target: usize,
    /// As it was known at the start: what became newer since is not suspected.
    incarnation: u64,
    nacks_expected: usize,
    nacks: usize,
    /// Whether the target has answered over TCP.
    is_reached: bool,
}

/// A ping for somebody else.
#[derive(Debug)]
pub(super) struct Relay {
    for_whom: usize,
    number: u64,
}

impl Memberlist {
    pub(super) fn tick(&mut self) {
        if self.probe.is_some() {
            self.has_missed_tick = true;
        } else {
            self.start_probe();
        }
    }

    fn next_to_probe(&mut self) -> Option<usize> {
        for _ in 0..=self.order.len() {
            if self.next >= self.order.len() {
                self.next = 0;
                self.begin_round();
            }
            let node = self.order.get(self.next).copied()?;
            self.next += 1;
            if node != self.me && self.peer(node).is_some_and(|peer| peer.state != State::Dead) {
                return Some(node);
            }
        }
        None
    }

    /// Forgets those that have been dead for long, and shuffles the others.
    fn begin_round(&mut self) {
        for node in std::mem::take(&mut self.order) {
            let is_over = |peer: Peer| peer.state == State::Dead && self.now.since(peer.since) > GOSSIP_TO_THE_DEAD;
            if self.peer(node).is_some_and(is_over) {
                self.forget(node);
            } else {
                self.order.push(node);
            }
        }
        self.random.shuffle(&mut self.order);
    }

    fn start_probe(&mut self) {
        let Some(target) = self.next_to_probe() else { return };
        let Some(peer) = self.peer(target) else { return };
        let (number, incarnation) = (self.new_number(), peer.incarnation);
        let probe = Probe { number, target, incarnation, nacks_expected: 0, nacks: 0, is_reached: false };
        self.probe = Some(probe);
        let ping = Message::Ping { number };
        if peer.state == State::Alive {
            self.send(target, ping);
        } else {
            // It is told at once that it is suspected.
            let rumour = Rumour { subject: target, incarnation, state: State::Suspect, from: self.me };
            let packet = vec![ping, Message::Rumour(rumour)];
            let len =
                CHECKSUM_LEN + COMPOUND_LEN + packet.iter().map(|message| FRAME_LEN + len(message)).sum::<usize>();
            self.out.push_back(Transmit { to: target, len, way: Way::Datagram, packet });
        }
        self.agenda.put(self.now.after(PROBE_TIMEOUT), Wait::Indirect { number });
        let interval = PROBE_INTERVAL * (self.awareness + 1);
        self.agenda.put(self.now.after(interval), Wait::Verdict { number });
    }

    fn new_number(&mut self) -> u64 {
        self.numbers += 1;
        self.numbers
    }

    pub(super) fn ask_others(&mut self, number: u64) {
        let Some(target) = self.probe.as_ref().filter(|probe| probe.number == number).map(|probe| probe.target) else {
            return;
        };
        let others = self.pick(INDIRECT_CHECKS, |node, peer| node != target && peer.state == State::Alive);
        if let Some(probe) = &mut self.probe {
            probe.nacks_expected = others.len();
        }
        for other in others {
            self.send(other, Message::IndirectPing { number, target });
        }
        self.stream(target, Way::Connect, Message::StreamPing { number });
    }

    /// Pings a member for another one.
    pub(super) fn relay(&mut self, for_whom: usize, number: u64, target: usize) {
        let mine = self.new_number();
        self.relays.insert(mine, Relay { for_whom, number });
        self.send(target, Message::Ping { number: mine });
        self.agenda.put(self.now.after(PROBE_TIMEOUT), Wait::Relay { number: mine });
    }

    pub(super) fn give_up_relay(&mut self, number: u64) {
        if let Some(Relay { for_whom, number }) = self.relays.remove(&number) {
            self.send(for_whom, Message::Nack { number });
        }
    }

    pub(super) fn hear_ack(&mut self, number: u64) {
        if let Some(Relay { for_whom, number }) = self.relays.remove(&number) {
            self.send(for_whom, Message::Ack { number });
        } else if self.probe.as_ref().is_some_and(|probe| probe.number == number) {
            self.end_probe_well();
        }
    }

    pub(super) fn hear_stream_ack(&mut self, number: u64) {
        if let Some(probe) = self.probe.as_mut().filter(|probe| probe.number == number) {
            probe.is_reached = true;
        }
    }

    pub(super) fn hear_nack(&mut self, number: u64) {
        if let Some(probe) = self.probe.as_mut().filter(|probe| probe.number == number) {
            probe.nacks += 1;
        }
    }

    fn end_probe_well(&mut self) {
        self.probe = None;
        self.awareness = self.awareness.saturating_sub(1);
        self.make_up_for_tick();
    }

    /// The time of the probe is over.
    pub(super) fn judge(&mut self, number: u64) {
        let Some(probe) = self.probe.take_if(|probe| probe.number == number) else { return };
        if probe.is_reached {
            return self.end_probe_well();
        }
        let missing = if probe.nacks_expected > 0 { probe.nacks_expected.saturating_sub(probe.nacks) } else { 1 };
        self.worse(u32::try_from(missing).unwrap_or(u32::MAX));
        let (subject, incarnation) = (probe.target, probe.incarnation);
        if self.peer(subject).is_some_and(|peer| peer.state == State::Alive && peer.incarnation == incarnation) {
            self.see(subject, incarnation, Belief::Silent);
        }
        self.hear_suspect(Rumour { subject, incarnation, state: State::Suspect, from: self.me });
        self.make_up_for_tick();
    }

    fn make_up_for_tick(&mut self) {
        if std::mem::take(&mut self.has_missed_tick) {
            self.start_probe();
        }
    }
}

//! A member by the rules of caio/foca, with the settings of its `Config::new_lan` for the size of the group.
//!
//! Written from what its sources say as of July 2026 (version 1.0.0: `config.rs`, `lib.rs`, `member.rs`, `probe.rs` and `broadcast.rs` at commit
//! 6aa9e9e2); nothing is copied.
//!
//! Modelled: the probe of one member a second in shuffled rounds, with its direct ping and its three requests to others; suspicion, which
//! only those that found a member silent themselves let run out, after a fixed time; incarnations and refutation; death, which is final for an
//! identity; the word to the dead that they are, and the new identity with which they come back; rumours with their limit, on every packet and
//! every 0.2 s to three members; the requests for members every 30 s, and to the dead every 65 s.
//!
//! Not modelled: joining and leaving, broadcasts of the user, dead identities that are forgotten after a day, and incarnations beyond 65,535. An identity
//! is an address and a counter that grows when it comes back, as in foca's own example of an agent; the lengths of packets are those of its
//! postcard codec. A group begins with its timers in any phase, as if it had run for long.

mod member;

use crate::agenda::Agenda;
use crate::detector::{Detector, Sighting, Start, Transmit, Way};
use crate::random::Random;
use crate::rumours::Rumours;
use member::{Member, State};
use std::collections::VecDeque;
use std::time::Duration;
use swim::Moment;

const PROBE_PERIOD: Duration = Duration::from_secs(1);
/// Until others are asked.
const PROBE_RTT: Duration = Duration::from_millis(500);
/// How many others; and to how many a member tells at once that it is alive.
const INDIRECT_PROBES: usize = 3;
const GOSSIP: (Duration, usize) = (Duration::from_millis(200), 3);
const ANNOUNCE: (Duration, usize) = (Duration::from_secs(30), 1);
const ANNOUNCE_TO_DOWN: (Duration, usize) = (Duration::from_secs(65), 2);
/// The most bytes in a packet.
const PACKET_LEN_MAX: usize = 1400;
/// An address of IPv4 and a counter.
const IDENTITY_LEN: usize = 9;
/// Two identities, an incarnation and the kind of message.
const HEADER_LEN: usize = 2 * IDENTITY_LEN + 2;
/// An identity, an incarnation and a state.
const UPDATE_LEN: usize = IDENTITY_LEN + 2;
/// How many updates there are.
const TALLY_LEN: usize = 2;

/// Who somebody is: a new one when it comes back from the dead.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Identity {
    node: usize,
    bump: u64,
}

/// A packet.
#[derive(Debug, Clone)]
pub struct Packet {
    from: Identity,
    incarnation: u64,
    to: Identity,
    message: Message,
    updates: Vec<Update>,
}

/// What is said of a member.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Update {
    identity: Identity,
    incarnation: u64,
    state: State,
}

/// What a packet is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Message {
    Ping { number: u64 },
    Ack { number: u64 },
    PingReq { target: Identity, number: u64 },
    IndirectPing { origin: Identity, number: u64 },
    IndirectAck { target: Identity, number: u64 },
    ForwardedAck { number: u64 },
    Announce,
    Feed,
    Gossip,
    TurnUndead,
}

impl Message {
    fn len(self) -> usize {
        match self {
            Self::Ping { .. } | Self::Ack { .. } => 1,
            Self::PingReq { .. } | Self::IndirectPing { .. } | Self::IndirectAck { .. } | Self::ForwardedAck { .. } => {
                IDENTITY_LEN + 1
            }
            Self::Announce | Self::Feed | Self::Gossip | Self::TurnUndead => 0,
        }
    }
}

#[derive(Debug, Clone, Copy)]
enum Wait {
    Probe,
    /// The direct ping of a probe has had its time.
    Indirect {
        target: Identity,
    },
    Suspicion {
        subject: Identity,
        incarnation: u64,
    },
    Gossip,
    Announce,
    AnnounceToDown,
}

/// The probe that is under way.
#[derive(Debug, Clone)]
struct Probe {
    target: Identity,
    /// As it was known at the start.
    incarnation: u64,
    /// Through whom it was asked.
    through: Vec<Identity>,
    is_answered: bool,
    has_asked_others: bool,
}

/// A member by the rules of foca.
#[derive(Debug)]
pub struct Foca {
    me: Identity,
    incarnation: u64,
    random: Random,
    now: Moment,
    /// With the token of the time in which each was put down: all are void once this member takes a new identity.
    agenda: Agenda<(u64, Wait)>,
    token: u64,
    /// Whether it takes part: not between the news of its death and the next packet.
    is_connected: bool,
    out: VecDeque<Transmit<Packet>>,
    sightings: VecDeque<Sighting>,
    /// By number.
    members: Vec<Option<Member>>,
    updates: Rumours<Update>,
    /// The order of the round.
    order: Vec<usize>,
    next: usize,
    probe: Option<Probe>,
    number: u64,
    times: usize,
    suspicion: Duration,
}

impl Detector for Foca {
    type Settings = ();
    type Packet = Packet;

    fn start((): &(), start: Start) -> Option<Self> {
        Some(Self {
            me: Identity { node: start.node, bump: start.lives },
            incarnation: 0,
            random: Random::new(u64::from_le_bytes(*start.seed.first_chunk()?)),
            now: start.now,
            agenda: Agenda::new(),
            token: 0,
            is_connected: false,
            out: VecDeque::new(),
            sightings: VecDeque::new(),
            members: Vec::new(),
            updates: Rumours::new(),
            order: Vec::new(),
            next: 0,
            probe: None,
            number: 0,
            times: 1,
            suspicion: PROBE_PERIOD * 4,
        })
    }

    fn know(&mut self, count: usize) {
        let member = |bump| Some(Member { bump, incarnation: 0, state: State::Alive });
        self.members = (0..count).map(|node| if node == self.me.node { None } else { member(0) }).collect();
        self.order = (0..count).filter(|node| *node != self.me.node).collect();
        self.random.shuffle(&mut self.order);
        let log10 = |n: usize| u32::try_from(n).map_or(1.0, f64::from).log10();
        self.suspicion = PROBE_PERIOD.mul_f64(4.0 * log10(count).max(1.0));
        let times = 4.0 * log10(count + 1);
        self.times = (1..=u8::MAX).take_while(|n| f64::from(*n) <= times).count().max(1);
        self.connect(Phase::Any);
    }

    fn handle_packet(&mut self, now: Moment, _: usize, packet: Packet) -> bool {
        self.now = now;
        self.handle(&packet);
        false
    }

    fn handle_timeout(&mut self, now: Moment) {
        self.now = now;
        while let Some((_, (token, wait))) = self.agenda.due(now) {
            if token == self.token {
                self.do_due(wait);
            }
        }
    }

    fn poll_timeout(&self) -> Option<Moment> {
        self.agenda.next()
    }

    fn poll_transmit(&mut self) -> Option<Transmit<Packet>> {
        self.out.pop_front()
    }

    fn poll_sighting(&mut self) -> Option<Sighting> {
        self.sightings.pop_front()
    }

    fn damaged(_: Packet, _: &mut Random) -> Option<Packet> {
        None
    }
}

/// When the timers of a member that begins to take part come first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// After a whole interval.
    Whole,
    /// At any time within it.
    Any,
}

impl Foca {
    fn wait(&mut self, after: Duration, wait: Wait) {
        self.agenda.put(self.now.after(after), (self.token, wait));
    }

    fn connect(&mut self, phase: Phase) {
        self.is_connected = true;
        for (interval, wait) in [
            (PROBE_PERIOD, Wait::Probe),
            (ANNOUNCE.0, Wait::Announce),
            (ANNOUNCE_TO_DOWN.0, Wait::AnnounceToDown),
            (GOSSIP.0, Wait::Gossip),
        ] {
            let share = if phase == Phase::Whole { 1.0 } else { self.random.unit() };
            self.wait(interval.mul_f64(share), wait);
        }
    }

    fn do_due(&mut self, wait: Wait) {
        match wait {
            Wait::Probe => self.next_probe(),
            Wait::Indirect { target } => self.ask_others(target),
            Wait::Suspicion { subject, incarnation } => self.end_suspicion(subject, incarnation),
            Wait::Gossip => {
                self.wait(GOSSIP.0, wait);
                if !self.updates.is_empty() {
                    self.tell(GOSSIP.1, Message::Gossip);
                }
            }
            Wait::Announce => {
                self.wait(ANNOUNCE.0, wait);
                self.tell(ANNOUNCE.1, Message::Announce);
            }
            Wait::AnnounceToDown => {
                self.wait(ANNOUNCE_TO_DOWN.0, wait);
                for to in self.pick(ANNOUNCE_TO_DOWN.1, |_, member| member.state == State::Down) {
                    self.send(to, Message::Announce);
                }
            }
        }
    }

    /// Sends a message to a few members that are there.
    fn tell(&mut self, count: usize, message: Message) {
        for to in self.pick(count, |_, member| member.state != State::Down) {
            self.send(to, message);
        }
    }

    /// Members that fit, by chance.
    fn pick(&mut self, count: usize, fits: impl Fn(usize, &Member) -> bool) -> Vec<Identity> {
        let (me, members) = (self.me.node, &self.members);
        let known = |node: usize| members.get(node).and_then(Option::as_ref);
        let fits = |node: usize| node != me && known(node).is_some_and(|member| fits(node, member));
        let picked = self.random.pick(count, members.len(), fits);
        picked.into_iter().filter_map(|node| self.identity(node)).collect()
    }

    fn send(&mut self, to: Identity, message: Message) {
        let mut len = HEADER_LEN + message.len();
        let mut updates = Vec::new();
        let room = PACKET_LEN_MAX - len - TALLY_LEN;
        match message {
            Message::Announce | Message::TurnUndead => {}
            Message::Feed => {
                // About as many as fit, by its own estimate.
                let estimate = (room / (len / 2)).max(5).min(room / UPDATE_LEN);
                let picked = self.pick(estimate, |node, member| node != to.node && member.state != State::Down);
                updates.extend(picked.into_iter().filter_map(|identity| self.update(identity.node)));
                len += TALLY_LEN + UPDATE_LEN * updates.len();
            }
            _ => {
                let (told, told_len) = self.updates.take(room, 0, self.times);
                updates = told;
                len += TALLY_LEN + told_len;
            }
        }
        let packet = Packet { from: self.me, incarnation: self.incarnation, to, message, updates };
        self.out.push_back(Transmit { to: to.node, len, way: Way::Datagram, packet });
    }

    fn next_probe(&mut self) {
        // One that is not over, because this member was stopped in the middle, is worth nothing.
        if let Some(probe) = self.probe.take().filter(|probe| probe.has_asked_others && !probe.is_answered) {
            self.judge(&probe);
        }
        if let Some(target) = self.next_to_probe() {
            self.number = self.number.wrapping_add(1);
            let incarnation = self.update(target.node).map_or(0, |update| update.incarnation);
            let through = Vec::new();
            let probe = Probe { target, incarnation, through, is_answered: false, has_asked_others: false };
            self.probe = Some(probe);
            self.send(target, Message::Ping { number: self.number });
            self.wait(PROBE_RTT, Wait::Indirect { target });
        }
        self.wait(PROBE_PERIOD, Wait::Probe);
    }

    fn next_to_probe(&mut self) -> Option<Identity> {
        for _ in 0..=self.order.len() {
            if self.next >= self.order.len() {
                self.next = 0;
                self.random.shuffle(&mut self.order);
            }
            let node = self.order.get(self.next).copied()?;
            self.next += 1;
            if self.is_active(node) {
                return self.identity(node);
            }
        }
        None
    }

    fn ask_others(&mut self, target: Identity) {
        let Some(probe) = self.probe.as_mut().filter(|probe| probe.target == target) else { return };
        probe.has_asked_others = true;
        if probe.is_answered || !self.is_active(target.node) {
            return;
        }
        let through = self.pick(INDIRECT_PROBES, |node, member| node != target.node && member.state != State::Down);
        for proxy in &through {
            self.send(*proxy, Message::PingReq { target, number: self.number });
        }
        self.probe.iter_mut().for_each(|probe| probe.through.clone_from(&through));
    }

    fn handle(&mut self, packet: &Packet) {
        let Packet { from, incarnation, to, message, .. } = *packet;
        let is_for_me = to == self.me || (message == Message::Announce && to.node == self.me.node);
        if !is_for_me {
            return;
        }
        if !self.apply(Update { identity: from, incarnation, state: State::Alive }) {
            if message == Message::TurnUndead {
                self.hear_of_itself(0, State::Down);
            }
            return self.send(from, Message::TurnUndead);
        }
        for update in &packet.updates {
            if update.identity == self.me {
                self.hear_of_itself(update.incarnation, update.state);
            } else if update.identity.node == self.me.node {
                // An identity that it had before, or somebody who pretends to be it.
                self.apply(Update { state: State::Down, incarnation: 0, ..*update });
            } else {
                self.apply(*update);
            }
        }
        if !self.is_connected {
            self.connect(Phase::Whole);
        }
        self.answer(from, message);
    }

    fn answer(&mut self, from: Identity, message: Message) {
        match message {
            Message::Ping { number } => self.send(from, Message::Ack { number }),
            Message::PingReq { target, number } => self.send(target, Message::IndirectPing { origin: from, number }),
            Message::IndirectPing { origin, number } => {
                self.send(from, Message::IndirectAck { target: origin, number });
            }
            Message::IndirectAck { target, number } => self.send(target, Message::ForwardedAck { number }),
            Message::Ack { number } => {
                let is_current = |probe: &&mut Probe| number == self.number && probe.target == from;
                self.probe.as_mut().filter(is_current).into_iter().for_each(|probe| probe.is_answered = true);
            }
            Message::ForwardedAck { number } => {
                let is_current = |probe: &&mut Probe| number == self.number && probe.through.contains(&from);
                self.probe.as_mut().filter(is_current).into_iter().for_each(|probe| probe.is_answered = true);
            }
            Message::Announce => self.send(from, Message::Feed),
            Message::TurnUndead => self.hear_of_itself(0, State::Down),
            Message::Feed | Message::Gossip => {}
        }
    }
}

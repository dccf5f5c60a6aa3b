//! A member by the rules of hashicorp/memberlist, with the settings of its `DefaultLANConfig`.
//!
//! Written from what its sources say as of July 2026 (`state.go`, `suspicion.go`, `awareness.go`, `queue.go`, `net.go` and `util.go` at commit
//! 1b4c746c); nothing is copied.
//!
//! Modelled: the probe of one member a second in shuffled rounds, with its direct ping, its three requests to others, their nacks, and the ping over
//! TCP; the ticker that keeps one missed tick; awareness; suspicions with confirmations; incarnations and refutation; rumours with their
//! limit, on every packet and every 0.2 s to three members, those that died lately among them; push/pull over TCP, the rarer the larger
//! the group; the dead that are forgotten after 30 s.
//!
//! Not modelled: joining and leaving, meta data, user messages, several protocol versions, encryption, compression, and the order in which waiting
//! messages are handled. The lengths of packets are those of its MessagePack maps with a checksum and without compression, which would make a
//! push/pull shorter. A group begins with its timers in any phase, as if it had run for long.

mod member;
mod probing;

use crate::agenda::Agenda;
use crate::detector::{Belief, Detector, Sighting, Start, Transmit, Way};
use crate::random::Random;
use crate::rumours::Rumours;
use member::{Peer, State, Suspicion};
use probing::{Probe, Relay};
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;
use swim::{Incarnation, Moment};

/// From one probe to the next.
const PROBE_INTERVAL: Duration = Duration::from_secs(1);
/// Until others are asked.
const PROBE_TIMEOUT: Duration = Duration::from_millis(500);
/// How many others.
const INDIRECT_CHECKS: usize = 3;
const GOSSIP_INTERVAL: Duration = Duration::from_millis(200);
const GOSSIP_NODES: usize = 3;
const GOSSIP_TO_THE_DEAD: Duration = Duration::from_secs(30);
const PUSH_PULL_INTERVAL: Duration = Duration::from_secs(30);
const RETRANSMIT_MULT: usize = 4;
const AWARENESS_MAX: u32 = 8;
/// The most bytes in a packet.
const PACKET_LEN_MAX: usize = 1400;

/// What a message adds to a packet beside itself: in a packet of several.
const FRAME_LEN: usize = 2;
/// The head of a packet of several messages.
const COMPOUND_LEN: usize = 2;
/// The checksum before everything.
const CHECKSUM_LEN: usize = 5;

/// A message.
#[derive(Debug, Clone)]
pub enum Message {
    /// Says that its receiver is to answer.
    Ping {
        /// What the answer repeats.
        number: u64,
    },
    /// The same over TCP.
    StreamPing {
        /// What the answer repeats.
        number: u64,
    },
    /// The answer to either.
    Ack {
        /// That of the ping.
        number: u64,
    },
    /// The answer over TCP.
    StreamAck {
        /// That of the ping.
        number: u64,
    },
    /// Says that its receiver is to ping another member.
    IndirectPing {
        /// What the answer repeats.
        number: u64,
        /// The other member.
        target: usize,
    },
    /// The other member has not answered.
    Nack {
        /// That of the indirect ping.
        number: u64,
    },
    /// A rumour.
    Rumour(Rumour),
    /// All that a member knows, which is to be answered with the same.
    Push(Vec<Known>),
    /// The answer.
    Pull(Vec<Known>),
}

/// What is said of a member.
#[derive(Debug, Clone, Copy)]
pub struct Rumour {
    subject: usize,
    incarnation: u64,
    state: State,
    /// Who says so.
    from: usize,
}

/// What a member knows of one.
#[derive(Debug, Clone, Copy)]
pub struct Known {
    subject: usize,
    incarnation: u64,
    state: State,
}

/// Lengths with names of nine letters and without meta data.
fn len(message: &Message) -> usize {
    match message {
        Message::Ping { .. } | Message::StreamPing { .. } => 80,
        Message::Ack { .. } | Message::StreamAck { .. } => 24,
        Message::IndirectPing { .. } => 110,
        Message::Nack { .. } => 14,
        Message::Rumour(Rumour { state: State::Alive, .. }) => 75,
        Message::Rumour(_) => 49,
        Message::Push(known) | Message::Pull(known) => 20 + 78 * known.len(),
    }
}

#[derive(Debug, Clone, Copy)]
enum Wait {
    Tick,
    Gossip,
    PushPull,
    /// The direct ping of a probe has had its time.
    Indirect {
        number: u64,
    },
    /// The whole probe has.
    Verdict {
        number: u64,
    },
    /// So has a ping for somebody else.
    Relay {
        number: u64,
    },
    Suspicion {
        subject: usize,
        epoch: u64,
    },
}

/// A member by the rules of memberlist.
#[derive(Debug)]
pub struct Memberlist {
    me: usize,
    random: Random,
    now: Moment,
    agenda: Agenda<Wait>,
    out: VecDeque<Transmit<Vec<Message>>>,
    sightings: VecDeque<Sighting>,
    /// By number; nothing of those that were forgotten.
    peers: Vec<Option<Peer>>,
    suspicions: BTreeMap<usize, Suspicion>,
    epochs: u64,
    incarnation: u64,
    rumours: Rumours<Rumour>,
    /// Those that are known, this one among them, in the order of the round.
    order: Vec<usize>,
    next: usize,
    probe: Option<Probe>,
    /// Whether a tick came while a probe was under way. One is kept.
    has_missed_tick: bool,
    relays: BTreeMap<u64, Relay>,
    numbers: u64,
    /// 0 is well.
    awareness: u32,
}

impl Detector for Memberlist {
    type Settings = ();
    type Packet = Vec<Message>;

    fn start((): &(), start: Start) -> Option<Self> {
        let mut random = Random::new(u64::from_le_bytes(*start.seed.first_chunk()?));
        let mut agenda = Agenda::new();
        for (interval, wait) in [(PROBE_INTERVAL, Wait::Tick), (GOSSIP_INTERVAL, Wait::Gossip)] {
            agenda.put(start.now.after(interval.mul_f64(random.unit())), wait);
        }
        Some(Self {
            me: start.node,
            random,
            now: start.now,
            agenda,
            out: VecDeque::new(),
            sightings: VecDeque::new(),
            peers: Vec::new(),
            suspicions: BTreeMap::new(),
            epochs: 0,
            incarnation: 0,
            rumours: Rumours::new(),
            order: Vec::new(),
            next: 0,
            probe: None,
            has_missed_tick: false,
            relays: BTreeMap::new(),
            numbers: 0,
            awareness: 0,
        })
    }

    fn know(&mut self, count: usize) {
        let peer = Peer { state: State::Alive, incarnation: 0, since: self.now };
        self.peers = vec![Some(peer); count];
        self.order = (0..count).collect();
        self.random.shuffle(&mut self.order);
        let wait = self.push_pull_interval().mul_f64(self.random.unit());
        self.agenda.put(self.now.after(wait), Wait::PushPull);
    }

    fn handle_packet(&mut self, now: Moment, from: usize, packet: Vec<Message>) -> bool {
        self.now = now;
        for message in packet {
            self.handle(from, message);
        }
        false
    }

    fn handle_timeout(&mut self, now: Moment) {
        self.now = now;
        while let Some((at, wait)) = self.agenda.due(now) {
            match wait {
                Wait::Tick => {
                    self.again(at, PROBE_INTERVAL, Wait::Tick);
                    self.tick();
                }
                Wait::Gossip => {
                    self.again(at, GOSSIP_INTERVAL, Wait::Gossip);
                    self.gossip();
                }
                Wait::PushPull => {
                    self.agenda.put(now.after(self.push_pull_interval()), Wait::PushPull);
                    self.push_pull();
                }
                Wait::Indirect { number } => self.ask_others(number),
                Wait::Verdict { number } => self.judge(number),
                Wait::Relay { number } => self.give_up_relay(number),
                Wait::Suspicion { subject, epoch } => self.end_suspicion(subject, epoch),
            }
        }
    }

    fn poll_timeout(&self) -> Option<Moment> {
        self.agenda.next()
    }

    fn poll_transmit(&mut self) -> Option<Transmit<Vec<Message>>> {
        self.out.pop_front()
    }

    fn poll_sighting(&mut self) -> Option<Sighting> {
        self.sightings.pop_front()
    }

    fn damaged(_: Vec<Message>, _: &mut Random) -> Option<Vec<Message>> {
        None
    }
}

impl Memberlist {
    /// The next tick of a ticker: on its grid, and those that were missed are not made up for.
    fn again(&mut self, at: Moment, interval: Duration, wait: Wait) {
        let mut next = at.after(interval);
        while next <= self.now {
            next = next.after(interval);
        }
        self.agenda.put(next, wait);
    }

    fn handle(&mut self, from: usize, message: Message) {
        match message {
            Message::Ping { number } => self.send(from, Message::Ack { number }),
            Message::StreamPing { number } => self.stream(from, Way::Reply, Message::StreamAck { number }),
            Message::Ack { number } => self.hear_ack(number),
            Message::StreamAck { number } => self.hear_stream_ack(number),
            Message::IndirectPing { number, target } => self.relay(from, number, target),
            Message::Nack { number } => self.hear_nack(number),
            Message::Rumour(rumour) => self.hear(rumour),
            Message::Push(known) => {
                let mine = self.known();
                self.stream(from, Way::Reply, Message::Pull(mine));
                self.merge(&known);
            }
            Message::Pull(known) => self.merge(&known),
        }
    }

    /// Sends a message, and as many rumours as fit beside it.
    fn send(&mut self, to: usize, message: Message) {
        let room = PACKET_LEN_MAX - COMPOUND_LEN - len(&message);
        let (rumours, rumours_len) = self.rumours.take(room, FRAME_LEN, self.retransmits());
        let frame = if rumours.is_empty() { 0 } else { COMPOUND_LEN + FRAME_LEN };
        let len = CHECKSUM_LEN + frame + len(&message) + rumours_len;
        let packet = std::iter::once(message).chain(rumours.into_iter().map(Message::Rumour)).collect();
        self.out.push_back(Transmit { to, len, way: Way::Datagram, packet });
    }

    fn stream(&mut self, to: usize, way: Way, message: Message) {
        self.out.push_back(Transmit { to, len: len(&message), way, packet: vec![message] });
    }

    fn gossip(&mut self) {
        let now = self.now;
        let listens = |peer: &Peer| peer.state != State::Dead || now.since(peer.since) <= GOSSIP_TO_THE_DEAD;
        for to in self.pick(GOSSIP_NODES, |_, peer| listens(peer)) {
            let (rumours, len) = self.rumours.take(PACKET_LEN_MAX - COMPOUND_LEN, FRAME_LEN, self.retransmits());
            if rumours.is_empty() {
                return;
            }
            let len = len + CHECKSUM_LEN + if rumours.len() > 1 { COMPOUND_LEN } else { 0 };
            let packet = rumours.into_iter().map(Message::Rumour).collect();
            self.out.push_back(Transmit { to, len, way: Way::Datagram, packet });
        }
    }

    fn push_pull(&mut self) {
        for to in self.pick(1, |_, peer| peer.state == State::Alive) {
            let known = self.known();
            self.stream(to, Way::Connect, Message::Push(known));
        }
    }

    fn known(&self) -> Vec<Known> {
        let known = |(subject, peer): (usize, &Option<Peer>)| {
            let peer = peer.as_ref()?;
            Some(Known { subject, incarnation: peer.incarnation, state: peer.state })
        };
        self.peers.iter().enumerate().filter_map(known).collect()
    }

    fn merge(&mut self, known: &[Known]) {
        for Known { subject, incarnation, state } in known.iter().copied() {
            // One that is dead to the other is only suspected here, until somebody has looked.
            let state = if state == State::Dead { State::Suspect } else { state };
            self.hear(Rumour { subject, incarnation, state, from: self.me });
        }
    }

    /// Members other than this one that fit, by chance.
    fn pick(&mut self, count: usize, fits: impl Fn(usize, &Peer) -> bool) -> Vec<usize> {
        let (me, peers) = (self.me, &self.peers);
        let known = |node: usize| peers.get(node).and_then(Option::as_ref);
        self.random.pick(count, peers.len(), |node| node != me && known(node).is_some_and(|peer| fits(node, peer)))
    }

    fn see(&mut self, subject: usize, incarnation: u64, belief: Belief) {
        let incarnation = Incarnation { generation: 0, version: incarnation };
        self.sightings.push_back(Sighting { subject, incarnation, belief });
    }

    /// How many members are known.
    fn count(&self) -> usize {
        self.order.len()
    }

    /// How often a rumour is told: in proportion to the logarithm of the count, rounded up.
    fn retransmits(&self) -> usize {
        let count = self.count() + 1;
        let digits = count.checked_ilog10().unwrap_or(0);
        let rest = u32::from(10_usize.checked_pow(digits) != Some(count));
        RETRANSMIT_MULT * usize::try_from(digits + rest).unwrap_or(1)
    }

    fn push_pull_interval(&self) -> Duration {
        let threshold = 32.0;
        let count = u32::try_from(self.count()).map_or(threshold, f64::from).max(1.0);
        if count <= threshold {
            return PUSH_PULL_INTERVAL;
        }
        PUSH_PULL_INTERVAL.mul_f64((count.log2() - threshold.log2()).ceil() + 1.0)
    }
}

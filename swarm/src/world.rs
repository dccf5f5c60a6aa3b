//! A group and its time.

use crate::agenda::Agenda;
use crate::detector::{Detector, Start, Transmit, Way};
use crate::figures::Figures;
use crate::network::Network;
use crate::ours::{addr, id};
use crate::random::Random;
use std::collections::VecDeque;
use std::time::Duration;
use swim::{Config, Moment, Status, Swim};

/// A group in virtual time, of members that follow the rules of `D`.
pub struct World<D: Detector> {
    now: Moment,
    /// What happens to packets.
    pub network: Network,
    /// What was seen.
    pub figures: Figures,
    /// The random numbers of this history.
    pub random: Random,
    nodes: Vec<Node<D>>,
    agenda: Agenda<Due<D::Packet>>,
    settings: D::Settings,
}

struct Node<D: Detector> {
    detector: Option<D>,
    frozen_until: Option<Moment>,
    /// What came while it was frozen and from whom, as far as a socket keeps it.
    inbox: VecDeque<(usize, D::Packet)>,
    /// How far its clock is ahead.
    ahead: Duration,
    /// For how long its clock stood still.
    behind: Duration,
    wake: Option<Moment>,
    /// By how much later it sees what is sent to it, in seconds.
    slowness: (f64, f64),
    lives: u64,
}

enum Due<P> {
    Packet { from: usize, to: usize, packet: P },
    Wake { node: usize },
    Thaw { node: usize },
}

/// What the clock of a frozen member does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Clock {
    /// It goes on, as where a process is stopped.
    Runs,
    /// It stands still, as where a whole machine is.
    Stands,
}

/// So many packets wait in a socket.
const INBOX_MAX: usize = 256;

impl<D: Detector> World<D> {
    fn empty(seed: u64, count: usize, settings: D::Settings) -> Self {
        Self {
            now: Moment::default(),
            network: Network::default(),
            figures: Figures::new(count),
            random: Random::new(seed),
            nodes: Vec::new(),
            agenda: Agenda::new(),
            settings,
        }
    }

    /// A group of so many members who all know all.
    pub fn formed(seed: u64, count: usize, settings: D::Settings) -> Self {
        let mut world = Self::empty(seed, count, settings);
        for node in 0..count {
            world.enter();
            world.start(node);
            world.command(node, |detector, _| detector.know(count));
        }
        world
    }

    /// Makes room for one more member.
    fn enter(&mut self) {
        self.nodes.push(Node {
            detector: None,
            frozen_until: None,
            inbox: VecDeque::new(),
            ahead: Duration::ZERO,
            behind: Duration::ZERO,
            wake: None,
            slowness: (0.0, 0.0),
            lives: 0,
        });
    }

    /// The time.
    pub fn now(&self) -> Moment {
        self.now
    }

    /// How many members there are, those that are down among them.
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Whether there is no member.
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// Whether a member runs, frozen or not.
    pub fn is_up(&self, node: usize) -> bool {
        self.nodes.get(node).is_some_and(|node| node.detector.is_some())
    }

    /// Starts a member that is down, in a new life, in which it knows nobody.
    pub fn start(&mut self, node: usize) {
        let seed = self.random.seed();
        let Some(place) = self.nodes.get_mut(node) else { return };
        let start = Start { node, lives: place.lives, seed, now: self.now };
        place.lives += 1;
        place.detector = D::start(&self.settings, start);
        self.figures.up(node);
        self.drain(node);
    }

    /// Ends a member without a word.
    pub fn crash(&mut self, node: usize) {
        if let Some(place) = self.nodes.get_mut(node) {
            place.detector = None;
            place.inbox.clear();
            place.wake = None;
            place.frozen_until = None;
        }
        self.figures.down(node, self.now);
    }

    /// Stops a member for a while; what is sent to it waits in its socket.
    pub fn freeze(&mut self, node: usize, secs: f64, clock: Clock) {
        let pause = Duration::from_secs_f64(secs);
        let until = self.now.after(pause);
        if let Some(place) = self.nodes.get_mut(node) {
            place.frozen_until = Some(until);
            if clock == Clock::Stands {
                place.behind += pause;
            }
            self.agenda.put(until, Due::Thaw { node });
        }
    }

    /// Makes a member slow: what is sent to it, it sees so many seconds later, as one that waits for its turn on a busy machine.
    pub fn slow(&mut self, node: usize, min_s: f64, max_s: f64) {
        self.nodes.get_mut(node).into_iter().for_each(|place| place.slowness = (min_s, max_s));
    }

    /// Sets a member's clock forward.
    pub fn jump(&mut self, node: usize, secs: f64) {
        if let Some(place) = self.nodes.get_mut(node) {
            place.ahead += Duration::from_secs_f64(secs);
        }
        self.command(node, D::handle_timeout);
    }

    /// Asks something of a member that runs.
    pub fn command<T>(&mut self, node: usize, command: impl FnOnce(&mut D, Moment) -> T) -> Option<T> {
        let now = self.now;
        let place = self.nodes.get_mut(node)?;
        let local = Moment(now.after(place.ahead).0.saturating_sub(place.behind));
        let done = command(place.detector.as_mut()?, local);
        self.drain(node);
        Some(done)
    }

    /// Runs for so many seconds.
    pub fn run(&mut self, secs: f64) {
        let end = self.now.after(Duration::from_secs_f64(secs));
        while self.step(end) {}
        self.now = end;
    }

    /// Runs until something is so, looking every tenth of a second, `secs` at most. Returns after how many seconds it was.
    pub fn until(&mut self, secs: f64, mut is_so: impl FnMut(&Self) -> bool) -> Option<f64> {
        let start = self.now;
        while self.now.since(start).as_secs_f64() < secs {
            if is_so(self) {
                return Some(self.now.since(start).as_secs_f64());
            }
            self.run(0.1);
        }
        None
    }

    fn step(&mut self, end: Moment) -> bool {
        let Some((at, due)) = self.agenda.due(end) else { return false };
        self.now = at;
        match due {
            Due::Packet { from, to, packet } => self.arrive(from, to, packet),
            Due::Wake { node } => {
                let is_due = self.nodes.get(node).is_some_and(|place| place.wake == Some(at));
                if is_due {
                    self.wake(node);
                }
            }
            Due::Thaw { node } => self.thaw(node),
        }
        true
    }

    fn arrive(&mut self, from: usize, to: usize, packet: D::Packet) {
        let Some(place) = self.nodes.get_mut(to).filter(|place| place.detector.is_some()) else { return };
        if place.frozen_until.is_some() {
            if place.inbox.len() < INBOX_MAX {
                place.inbox.push_back((from, packet));
            }
            return;
        }
        let refused = self.command(to, |detector, now| detector.handle_packet(now, from, packet));
        self.figures.refused += u64::from(refused == Some(true));
    }

    fn wake(&mut self, node: usize) {
        if let Some(place) = self.nodes.get_mut(node) {
            place.wake = None;
            if place.frozen_until.is_none() {
                self.command(node, D::handle_timeout);
            }
        }
    }

    fn thaw(&mut self, node: usize) {
        let Some(place) = self.nodes.get_mut(node) else { return };
        if place.frozen_until.is_none_or(|until| until > self.now) {
            return;
        }
        place.frozen_until = None;
        self.figures.thawed(node, self.now);
        let waiting = std::mem::take(&mut place.inbox);
        // Some programs look at their clock first, others at their socket.
        let clock_first = self.random.happens(0.5);
        if clock_first {
            self.command(node, D::handle_timeout);
        }
        for (from, packet) in waiting {
            self.arrive(from, node, packet);
        }
        self.command(node, D::handle_timeout);
    }

    /// Takes all that a member has to send and to tell, and sets its alarm.
    fn drain(&mut self, node: usize) {
        while let Some(transmit) = self.nodes.get_mut(node).and_then(|place| place.detector.as_mut()?.poll_transmit()) {
            self.send(node, transmit);
        }
        let Some(place) = self.nodes.get_mut(node) else { return };
        let Some(detector) = &mut place.detector else { return };
        while let Some(sighting) = detector.poll_sighting() {
            self.figures.see(node, &sighting, self.now);
        }
        let told = detector.poll_timeout();
        let wake = told.map(|told| Moment(told.after(place.behind).0.saturating_sub(place.ahead)).max(self.now));
        if wake != place.wake {
            place.wake = wake;
            if let Some(at) = wake {
                self.agenda.put(at, Due::Wake { node });
            }
        }
    }

    fn send(&mut self, from: usize, transmit: Transmit<D::Packet>) {
        let Transmit { to, len, way, packet } = transmit;
        self.figures.sent(len, way);
        let Some(slowness) = self.nodes.get(to).map(|place| place.slowness) else { return };
        if way != Way::Datagram {
            if let Some(after) = self.network.stream(&mut self.random, from, to, way == Way::Connect) {
                self.deliver(from, to, after, slowness, packet);
            }
            return;
        }
        for fate in self.network.carry(&mut self.random, from, to) {
            let copy = packet.clone();
            let copy = if fate.is_damaged { D::damaged(copy, &mut self.random) } else { Some(copy) };
            if let Some(copy) = copy {
                self.deliver(from, to, fate.after, slowness, copy);
            }
        }
    }

    fn deliver(&mut self, from: usize, to: usize, after: Duration, slowness: (f64, f64), packet: D::Packet) {
        let (min, max) = slowness;
        let late = if max > 0.0 { self.random.between(min, max) } else { 0.0 };
        let at = self.now.after(after + Duration::from_secs_f64(late));
        self.agenda.put(at, Due::Packet { from, to, packet });
    }
}

/// What only our own members are asked: to join, and what they know.
impl World<Swim> {
    /// A group of so many members who all know the first.
    pub fn strangers(seed: u64, count: usize, settings: fn(Config) -> Config) -> Self {
        let mut world = Self::empty(seed, count, settings);
        for node in 0..count {
            world.enter();
            world.start(node);
        }
        for node in 1..count {
            world.command(node, |swim, now| swim.probe(now, addr(0)));
        }
        world
    }

    /// Starts a member that was down, which knows one other.
    pub fn restart(&mut self, node: usize) {
        self.start(node);
        let others: Vec<usize> = (0..self.len()).filter(|other| *other != node && self.is_up(*other)).collect();
        if let Some(other) = others.get(self.random.below(others.len())).copied() {
            self.command(node, |swim, now| swim.probe(now, addr(other)));
        }
    }

    /// A member that runs.
    pub fn node(&self, node: usize) -> Option<&Swim> {
        self.nodes.get(node)?.detector.as_ref()
    }

    /// How many pairs of members that run do not take each other for alive.
    pub fn disagreements(&self) -> usize {
        let up: Vec<usize> = (0..self.len()).filter(|node| self.is_up(*node)).collect();
        let believes = |by: usize, of: usize| {
            self.node(by).and_then(|swim| swim.member(&id(of))).is_some_and(|member| member.status == Status::Alive)
        };
        let ghosts: usize =
            up.iter().filter_map(|by| Some(self.node(*by)?.present())).map(|n| n.saturating_sub(up.len())).sum();
        ghosts + up.iter().map(|by| up.iter().filter(|of| !believes(*by, **of)).count()).sum::<usize>()
    }

    /// How many members all that run take for present, together.
    pub fn views(&self) -> usize {
        self.nodes.iter().filter_map(|node| node.detector.as_ref()).map(Swim::present).sum()
    }
}

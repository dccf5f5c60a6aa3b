//! A group and its time.

use crate::figures::Figures;
use crate::network::Network;
use crate::random::Random;
use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;
use swim::{Config, DATAGRAM_LEN_MAX, Incarnation, MemberId, Moment, Status, Swim};

/// How a group begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Setup {
    /// All know all.
    Formed,
    /// All know the first.
    Strangers,
}

/// A group in virtual time.
pub struct World {
    now: Moment,
    /// What happens to packets.
    pub network: Network,
    /// What was seen.
    pub figures: Figures,
    /// The random numbers of this history.
    pub random: Random,
    nodes: Vec<Node>,
    queue: BinaryHeap<Reverse<(Moment, u64, Due)>>,
    sequence: u64,
    configure: fn(Config) -> Config,
}

struct Node {
    swim: Option<Swim>,
    frozen_until: Option<Moment>,
    /// What came while it was frozen, as far as a socket keeps it.
    inbox: VecDeque<Vec<u8>>,
    /// How far its clock is ahead.
    ahead: Duration,
    wake: Option<Moment>,
    /// By how much later it sees what is sent to it, in seconds.
    slowness: (f64, f64),
    lives: u64,
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Due {
    Packet { to: usize, bytes: Vec<u8> },
    Wake { node: usize },
    Thaw { node: usize },
}

/// So many packets wait in a socket.
const INBOX_MAX: usize = 256;

/// The id of the member of this number. In the order of numbers.
pub(crate) fn id(node: usize) -> MemberId {
    let mut bytes = [0x5a; 16];
    bytes.iter_mut().zip(u32::try_from(node).unwrap_or(u32::MAX).to_be_bytes()).for_each(|(to, from)| *to = from);
    MemberId(bytes)
}

/// The number of the member with this id.
pub(crate) fn number(id: &MemberId) -> Option<usize> {
    usize::try_from(u32::from_be_bytes(*id.0.first_chunk()?)).ok()
}

fn addr(node: usize) -> SocketAddr {
    let [_, b, c, d] = u32::try_from(node).unwrap_or(u32::MAX).to_be_bytes();
    ([10, b, c, d], 3301).into()
}

fn node_at(addr: SocketAddr) -> Option<usize> {
    match addr {
        SocketAddr::V4(v4) => usize::try_from(v4.ip().to_bits() & 0x00ff_ffff).ok(),
        SocketAddr::V6(_) => None,
    }
}

impl World {
    /// A group of so many members.
    pub fn new(seed: u64, count: usize, setup: Setup, configure: fn(Config) -> Config) -> Self {
        let mut world = Self {
            now: Moment::default(),
            network: Network::default(),
            figures: Figures::new(count),
            random: Random::new(seed),
            nodes: Vec::new(),
            queue: BinaryHeap::new(),
            sequence: 0,
            configure,
        };
        let all: Vec<_> = (0..count).map(|node| (id(node), addr(node), Incarnation::default())).collect();
        for node in 0..count {
            world.nodes.push(Node {
                swim: None,
                frozen_until: None,
                inbox: VecDeque::new(),
                ahead: Duration::ZERO,
                wake: None,
                slowness: (0.0, 0.0),
                lives: 0,
            });
            world.start(node);
            if setup == Setup::Formed {
                world.command(node, |swim, _| swim.restore(&all));
            }
        }
        if setup == Setup::Strangers {
            for node in 1..count {
                world.command(node, |swim, now| swim.probe(now, addr(0)));
            }
        }
        world
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
        self.nodes.get(node).is_some_and(|node| node.swim.is_some())
    }

    /// Starts a member that is down, in a new life.
    pub fn start(&mut self, node: usize) {
        let seed = self.random.seed();
        let Some(place) = self.nodes.get_mut(node) else { return };
        let config = (self.configure)(Config::new(id(node), addr(node), place.lives));
        place.lives += 1;
        place.swim = Swim::new(config, &seed, self.now).ok();
        self.figures.up(node);
        self.drain(node);
    }

    /// Starts a member that was down, which knows one other.
    pub fn restart(&mut self, node: usize) {
        self.start(node);
        let others: Vec<usize> = (0..self.len()).filter(|other| *other != node && self.is_up(*other)).collect();
        if let Some(other) = others.get(self.random.below(others.len())).copied() {
            self.command(node, |swim, now| swim.probe(now, addr(other)));
        }
    }

    /// Ends a member without a word.
    pub fn crash(&mut self, node: usize) {
        if let Some(place) = self.nodes.get_mut(node) {
            place.swim = None;
            place.inbox.clear();
            place.wake = None;
            place.frozen_until = None;
        }
        self.figures.down(node, self.now);
    }

    /// Stops a member for a while; what is sent to it waits in its socket.
    pub fn freeze(&mut self, node: usize, secs: f64) {
        let until = self.now.after(Duration::from_secs_f64(secs));
        if let Some(place) = self.nodes.get_mut(node) {
            place.frozen_until = Some(until);
            self.push(until, Due::Thaw { node });
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
        self.command(node, Swim::handle_timeout);
    }

    /// Asks something of a member that runs.
    pub fn command<T>(&mut self, node: usize, command: impl FnOnce(&mut Swim, Moment) -> T) -> Option<T> {
        let now = self.now;
        let place = self.nodes.get_mut(node)?;
        let local = now.after(place.ahead);
        let done = command(place.swim.as_mut()?, local);
        self.drain(node);
        Some(done)
    }

    /// A member that runs.
    pub fn node(&self, node: usize) -> Option<&Swim> {
        self.nodes.get(node)?.swim.as_ref()
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
        self.nodes.iter().filter_map(|node| node.swim.as_ref()).map(Swim::present).sum()
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
        if self.queue.peek().is_none_or(|Reverse((at, ..))| *at > end) {
            return false;
        }
        let Some(Reverse((at, _, due))) = self.queue.pop() else { return false };
        self.now = at;
        match due {
            Due::Packet { to, bytes } => self.arrive(to, bytes),
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

    fn arrive(&mut self, to: usize, mut bytes: Vec<u8>) {
        let Some(place) = self.nodes.get_mut(to).filter(|place| place.swim.is_some()) else { return };
        if place.frozen_until.is_some() {
            if place.inbox.len() < INBOX_MAX {
                place.inbox.push_back(bytes);
            }
            return;
        }
        let refused = self.command(to, |swim, now| swim.handle_datagram(now, &mut bytes).is_err());
        self.figures.refused += u64::from(refused == Some(true));
    }

    fn wake(&mut self, node: usize) {
        if let Some(place) = self.nodes.get_mut(node) {
            place.wake = None;
            if place.frozen_until.is_none() {
                self.command(node, Swim::handle_timeout);
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
            self.command(node, Swim::handle_timeout);
        }
        for bytes in waiting {
            self.arrive(node, bytes);
        }
        self.command(node, Swim::handle_timeout);
    }

    fn push(&mut self, at: Moment, due: Due) {
        self.sequence += 1;
        self.queue.push(Reverse((at, self.sequence, due)));
    }

    /// Takes all that a member has to send and to tell, and sets its alarm.
    fn drain(&mut self, node: usize) {
        let mut buf = [0; DATAGRAM_LEN_MAX];
        while let Some(transmit) = self.nodes.get_mut(node).and_then(|p| p.swim.as_mut()?.poll_transmit(&mut buf)) {
            self.send(node, transmit.to, buf.get(..transmit.len).unwrap_or_default());
        }
        let Some(place) = self.nodes.get_mut(node) else { return };
        let Some(swim) = &mut place.swim else { return };
        while let Some(event) = swim.poll_event() {
            self.figures.see(node, &event, self.now);
        }
        let wake = swim.poll_timeout().map(|told| Moment(told.0.saturating_sub(place.ahead)).max(self.now));
        if wake != place.wake {
            place.wake = wake;
            if let Some(at) = wake {
                self.push(at, Due::Wake { node });
            }
        }
    }

    fn send(&mut self, from: usize, to: SocketAddr, bytes: &[u8]) {
        self.figures.sent(bytes.len());
        let Some(to) = node_at(to).filter(|to| *to < self.nodes.len()) else { return };
        for fate in self.network.carry(&mut self.random, from, to) {
            let mut bytes = bytes.to_vec();
            if fate.is_damaged {
                for _ in 0..=self.random.below(3) {
                    let at = self.random.below(bytes.len());
                    let flip = 1 << self.random.below(8);
                    bytes.get_mut(at).into_iter().for_each(|byte| *byte ^= flip);
                }
            }
            let (min, max) = self.nodes.get(to).map_or((0.0, 0.0), |place| place.slowness);
            let late = if max > 0.0 { self.random.between(min, max) } else { 0.0 };
            let at = self.now.after(fate.after + Duration::from_secs_f64(late));
            self.push(at, Due::Packet { to, bytes });
        }
    }
}

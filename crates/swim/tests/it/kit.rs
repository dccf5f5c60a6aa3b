//! A group in virtual time, over a network without faults but for those that a test makes.

use std::cell::RefCell;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::net::SocketAddr;
use std::time::Duration;
use swim::{Config, DATAGRAM_LEN_MAX, Event, MemberId, Moment, Status, Swim};

pub(crate) fn id(n: u8) -> MemberId {
    MemberId([n; 16])
}

pub(crate) fn addr(n: u8) -> SocketAddr {
    ([10, 0, 0, n], 3301).into()
}

/// What a network does to a packet: whether it lets it through.
pub(crate) type Filter = Box<dyn Fn(u8, SocketAddr, &[u8]) -> bool>;

/// When a packet arrives, which it is, and where to.
type OnItsWay = (Moment, u64, SocketAddr, Vec<u8>);

/// Nodes by number; node `n` has `id(n)` and `addr(n)`.
pub(crate) struct Group {
    pub(crate) now: Moment,
    pub(crate) nodes: BTreeMap<u8, Swim>,
    pub(crate) events: Vec<(u8, Event)>,
    /// All that was sent: from whom, to whom, how long.
    pub(crate) sent: RefCell<Vec<(u8, SocketAddr, usize)>>,
    pub(crate) lets_through: Filter,
    /// Why packets between nodes were not applied.
    pub(crate) refused: Vec<swim::PacketError>,
    wire: BinaryHeap<Reverse<OnItsWay>>,
    sequence: u64,
}

const DELAY: Duration = Duration::from_millis(1);

impl Group {
    /// Nodes 1 to `count`, of which all but the first know the address of the first.
    pub(crate) fn new(count: u8) -> Self {
        Self::with(count, |_, config| config)
    }

    pub(crate) fn with(count: u8, configure: impl Fn(u8, Config) -> Config) -> Self {
        let mut group = Self {
            now: Moment::default(),
            nodes: BTreeMap::new(),
            events: Vec::new(),
            sent: RefCell::default(),
            lets_through: Box::new(|_, _, _| true),
            refused: Vec::new(),
            wire: BinaryHeap::new(),
            sequence: 0,
        };
        for n in 1..=count {
            group.start(n, configure(n, Config::new(id(n), addr(n), 1)));
            if n > 1 {
                group.command(n, |node, now| node.probe(now, addr(1)).unwrap());
            }
        }
        group
    }

    pub(crate) fn start(&mut self, n: u8, config: Config) {
        let swim = Swim::new(config, &[n; 32], self.now).unwrap();
        self.nodes.insert(n, swim);
        self.drain(n);
    }

    pub(crate) fn command<T>(&mut self, n: u8, command: impl FnOnce(&mut Swim, Moment) -> T) -> T {
        let now = self.now;
        let done = command(self.nodes.get_mut(&n).unwrap(), now);
        self.drain(n);
        done
    }

    /// Delivers bytes to a node, as from anybody.
    pub(crate) fn deliver(&mut self, n: u8, bytes: &[u8]) -> Result<(), swim::PacketError> {
        self.command(n, |node, now| node.handle_datagram(now, &mut bytes.to_vec()))
    }

    /// Runs until `secs` from now.
    pub(crate) fn run(&mut self, secs: f64) {
        let end = self.now.after(Duration::from_secs_f64(secs));
        while self.step(end) {}
        self.now = end;
    }

    /// Runs until something is so, `secs` at most. Returns how many seconds it took.
    #[track_caller]
    pub(crate) fn until(&mut self, secs: f64, is_so: impl Fn(&Self) -> bool) -> f64 {
        let start = self.now;
        let end = self.now.after(Duration::from_secs_f64(secs));
        while !is_so(self) {
            assert!(self.step(end), "it is not so after {secs} s");
        }
        self.now.since(start).as_secs_f64()
    }

    fn step(&mut self, end: Moment) -> bool {
        let packet = self.wire.peek().map(|Reverse((at, ..))| *at);
        let timers = self.nodes.iter().filter_map(|(n, node)| Some((node.poll_timeout()?, *n))).min();
        let next = packet.into_iter().chain(timers.map(|(at, _)| at)).min();
        let Some(next) = next.filter(|next| *next <= end) else { return false };
        self.now = self.now.max(next);
        let now = self.now;
        if packet == Some(next) {
            let Some(Reverse((_, _, to, mut bytes))) = self.wire.pop() else { return false };
            let node = self.nodes.iter_mut().find(|(_, node)| node.member(&node.id()).unwrap().addr == to);
            if let Some((n, node)) = node {
                let n = *n;
                let refused = node.handle_datagram(now, &mut bytes);
                self.refused.extend(refused.err());
                self.drain(n);
            }
        } else if let Some((_, n)) = timers {
            self.command(n, Swim::handle_timeout);
        }
        true
    }

    fn drain(&mut self, n: u8) {
        let Some(node) = self.nodes.get_mut(&n) else { return };
        let mut buf = [0; DATAGRAM_LEN_MAX];
        while let Some(transmit) = node.poll_transmit(&mut buf) {
            let bytes = &buf[..transmit.len];
            self.sent.borrow_mut().push((n, transmit.to, transmit.len));
            if (self.lets_through)(n, transmit.to, bytes) {
                self.sequence += 1;
                self.wire.push(Reverse((self.now.after(DELAY), self.sequence, transmit.to, bytes.to_vec())));
            }
        }
        while let Some(event) = node.poll_event() {
            self.events.push((n, event));
        }
    }

    /// What a node believes of another.
    pub(crate) fn status(&self, of: u8, by: u8) -> Option<Status> {
        self.nodes[&by].member(&id(of)).map(|member| member.status)
    }

    /// Whether all nodes take all nodes for alive.
    pub(crate) fn is_whole(&self) -> bool {
        let all = || self.nodes.keys().copied();
        self.refused.is_empty() && all().all(|by| all().all(|of| self.status(of, by) == Some(Status::Alive)))
    }

    /// Whether all others believe this of a node.
    pub(crate) fn all_believe(&self, of: u8, status: Status) -> bool {
        self.nodes.keys().filter(|by| **by != of).all(|by| self.status(of, *by) == Some(status))
    }

    /// Events of a node as others had them.
    pub(crate) fn events_of(&self, of: u8) -> impl Iterator<Item = &(u8, Event)> {
        self.events.iter().filter(move |(by, event)| event.id == id(of) && *by != of)
    }
}

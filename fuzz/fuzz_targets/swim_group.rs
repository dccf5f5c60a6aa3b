//! Any datagrams, at any time, into a group of three: no panic, bounded tables and answers, and no incarnation goes back.
#![no_main]

use libfuzzer_sys::fuzz_target;
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;
use swim::{Config, DATAGRAM_LEN_MAX, Limits, MemberId, Moment, PACKET_LEN_MAX, Swim};

const COUNT: u8 = 3;
const MEMBERS_MAX: usize = 12;

fn addr(n: u8) -> SocketAddr {
    ([10, 0, 0, n], 3301).into()
}

struct Group {
    now: Moment,
    nodes: Vec<Swim>,
    wire: VecDeque<(SocketAddr, Vec<u8>)>,
}

impl Group {
    fn new() -> Self {
        let mut group = Self { now: Moment::default(), nodes: Vec::new(), wire: VecDeque::new() };
        for n in 0..COUNT {
            let limits = Limits { members: MEMBERS_MAX, ..Limits::default() };
            let config = Config { limits, ..Config::new(MemberId([n + 1; 16]), addr(n), 1) };
            let mut node = Swim::new(config, &[n; 32], group.now).expect("usable settings");
            node.probe(group.now, addr(0)).expect("an address");
            group.nodes.push(node);
            group.drain(usize::from(n));
        }
        group.settle();
        group
    }

    fn drain(&mut self, n: usize) {
        let mut buf = [0; DATAGRAM_LEN_MAX];
        let mut sent = 0;
        while let Some(transmit) = self.nodes[n].poll_transmit(&mut buf) {
            assert!(transmit.len <= PACKET_LEN_MAX);
            self.wire.push_back((transmit.to, buf[..transmit.len].to_vec()));
            sent += 1;
        }
        assert!(sent <= 300, "one input makes a node send {sent} packets");
        while let Some(event) = self.nodes[n].poll_event() {
            assert!(!event.changes.is_empty());
        }
        assert!(self.nodes[n].len() <= MEMBERS_MAX);
    }

    fn deliver(&mut self, n: usize, bytes: &[u8]) {
        let before: Vec<_> = self.nodes[n].members().map(|member| (member.id, member.incarnation)).collect();
        drop(format!("{:?}", self.nodes[n].handle_datagram(self.now, &mut bytes.to_vec())));
        for (id, incarnation) in before {
            let after = self.nodes[n].member(&id).expect("a datagram removes nobody").incarnation;
            assert!(after >= incarnation);
        }
        self.drain(n);
    }

    /// Delivers what is on its way, as far as that ends soon.
    fn settle(&mut self) {
        for _ in 0..500 {
            let Some((to, bytes)) = self.wire.pop_front() else { return };
            if let Some(n) = (0..COUNT).find(|n| addr(*n) == to) {
                self.deliver(usize::from(n), &bytes);
            }
        }
        self.wire.clear();
    }

    fn pass_time(&mut self, wait: Duration) {
        self.now = self.now.after(wait);
        for n in 0..usize::from(COUNT) {
            self.nodes[n].handle_timeout(self.now);
            self.drain(n);
        }
        self.settle();
    }
}

fuzz_target!(|data: &[u8]| {
    let mut group = Group::new();
    let mut rest = data;
    // Each piece: for whom and after how long, how long it is, its bytes.
    while let Some(([choice, high, low], after)) = rest.split_first_chunk() {
        let len = usize::from(u16::from_be_bytes([*high, *low])).min(after.len());
        let (piece, next) = after.split_at(len);
        rest = next;
        group.deliver(usize::from(choice % COUNT), piece);
        if choice & 0x80 != 0 {
            group.settle();
        }
        group.pass_time(Duration::from_millis(u64::from(choice >> 2 & 0x1f) * 10));
    }
});

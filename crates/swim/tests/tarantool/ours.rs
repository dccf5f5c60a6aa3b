//! Our members on real sockets, all driven by the thread of the test.

use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};
use swim::{Config, DATAGRAM_LEN_MAX, Event, MemberId, Moment, Status, Swim, Timing};

/// The period of the groups in these tests: short, so that they are.
pub(crate) const PERIOD: Duration = Duration::from_millis(200);

/// One of our members.
pub(crate) struct Ours {
    pub(crate) swim: Swim,
    pub(crate) id: MemberId,
    pub(crate) addr: SocketAddr,
    socket: UdpSocket,
    start: Instant,
    pub(crate) events: Vec<Event>,
    /// Packets to and from these addresses are lost.
    pub(crate) cut: Vec<SocketAddr>,
}

impl Ours {
    pub(crate) fn start(n: u8) -> Self {
        Self::with(n, |config| config)
    }

    pub(crate) fn with(n: u8, configure: impl FnOnce(Config) -> Config) -> Self {
        let socket = socket();
        let addr = socket.local_addr().unwrap();
        let id = MemberId::from_text_order([n; 16]);
        let config = configure(Config { timing: Timing::of(PERIOD), ..Config::new(id, addr, 1_700_000_000_000_000) });
        let swim = Swim::new(config, &[n; 32], Moment::default()).unwrap();
        Self { swim, id, addr, socket, start: Instant::now(), events: Vec::new(), cut: Vec::new() }
    }

    pub(crate) fn now(&self) -> Moment {
        Moment(self.start.elapsed())
    }

    pub(crate) fn probe(&mut self, addr: SocketAddr) {
        let now = self.now();
        self.swim.probe(now, addr).unwrap();
    }

    pub(crate) fn status(&self, of: &MemberId) -> Option<Status> {
        self.swim.member(of).map(|member| member.status)
    }

    pub(crate) fn payload(&self, of: &MemberId) -> Option<Vec<u8>> {
        Some(self.swim.member(of)?.payload?.to_vec())
    }

    /// Whether it has ever believed this of a member.
    pub(crate) fn has_believed(&self, of: &MemberId, status: Status) -> bool {
        self.events.iter().any(|event| event.id == *of && event.status == status)
    }

    /// Takes another socket.
    pub(crate) fn move_away(&mut self) {
        self.socket = socket();
        self.addr = self.socket.local_addr().unwrap();
        self.swim.set_addr(self.addr).unwrap();
    }

    /// Does all that there is to do, without waiting.
    pub(crate) fn turn(&mut self) {
        let mut buf = [0; DATAGRAM_LEN_MAX];
        while let Ok((len, from)) = self.socket.recv_from(&mut buf) {
            if !self.cut.contains(&from) {
                let now = self.now();
                self.swim.handle_datagram(now, &mut buf[..len]).expect("members of one group understand each other");
            }
            self.drain();
        }
        let now = self.now();
        if self.swim.poll_timeout().is_some_and(|due| due <= now) {
            self.swim.handle_timeout(now);
        }
        self.drain();
    }

    fn drain(&mut self) {
        let mut buf = [0; DATAGRAM_LEN_MAX];
        while let Some(transmit) = self.swim.poll_transmit(&mut buf) {
            if !self.cut.contains(&transmit.to) {
                self.socket.send_to(&buf[..transmit.len], transmit.to).unwrap();
            }
        }
        self.events.extend(std::iter::from_fn(|| self.swim.poll_event()));
    }
}

fn socket() -> UdpSocket {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_nonblocking(true).unwrap();
    socket
}

/// Lets our members live until something is so.
#[track_caller]
pub(crate) fn until(secs: u64, ours: &mut [&mut Ours], what: &str, mut is_so: impl FnMut(&mut [&mut Ours]) -> bool) {
    let end = Instant::now() + Duration::from_secs(secs);
    let mut next_look = Instant::now();
    loop {
        for node in &mut *ours {
            node.turn();
        }
        if Instant::now() >= next_look {
            if is_so(ours) {
                return;
            }
            assert!(Instant::now() < end, "not so after {secs} s: {what}");
            next_look = Instant::now() + Duration::from_millis(20);
        }
        std::thread::sleep(Duration::from_micros(500));
    }
}

/// Lets our members live for a while.
pub(crate) fn live(wait: Duration, ours: &mut [&mut Ours]) {
    let end = Instant::now() + wait;
    until(wait.as_secs() + 5, ours, "time passes", |_| Instant::now() >= end);
}

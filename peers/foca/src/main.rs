//! One member of a gossip group, on the crate foca with its settings for a LAN, that prints what it learns: for `cargo xtask bench swim`.
//!
//! `foca-member IP:PORT MEMBERS`, the latter how large the group is to be: foca's timers and transmissions follow from it. It prints `ready`, and
//! then for every change of a member `MICROSECONDS IP:PORT up|down`. A line `join IP:PORT` on its standard input is somebody to announce itself
//! to; where the input ends, so does the member.

use foca::{AccumulatingRuntime, BincodeCodec, Config, Foca, Identity, NoCustomBroadcast, OwnedNotification, Timer};
use rand::SeedableRng;
use rand::rngs::StdRng;
use serde::{Deserialize, Serialize};
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::error::Error;
use std::io::Write;
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::time::{Duration, SystemTime};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::net::UdpSocket;
use tokio::time::{Instant, sleep_until};

/// An address, and which life of the member there it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Id {
    addr: SocketAddr,
    life: u64,
}

impl Identity for Id {
    type Addr = SocketAddr;

    fn renew(&self) -> Option<Self> {
        Some(Self { life: self.life + 1, ..*self })
    }

    fn addr(&self) -> SocketAddr {
        self.addr
    }

    fn win_addr_conflict(&self, adversary: &Self) -> bool {
        self.life > adversary.life
    }
}

type Node = Foca<Id, BincodeCodec<bincode::config::Configuration>, StdRng, NoCustomBroadcast>;

/// A timer of foca's. Of those that are due, the order is foca's, too.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Due(Instant, Timer<Id>);

struct Member {
    foca: Node,
    out: AccumulatingRuntime<Id>,
    timers: BinaryHeap<Reverse<Due>>,
    socket: UdpSocket,
}

impl Member {
    /// Does what foca has asked for: sends, sets timers, prints.
    async fn follow(&mut self) -> Result<(), Box<dyn Error>> {
        while let Some((to, datagram)) = self.out.to_send() {
            // What the network does not take is lost, as datagrams are.
            self.socket.send_to(&datagram, to.addr).await.ok();
        }
        while let Some((after, timer)) = self.out.to_schedule() {
            self.timers.push(Reverse(Due(Instant::now() + after, timer)));
        }
        while let Some(notification) = self.out.to_notify() {
            match notification {
                OwnedNotification::MemberUp(id) => say(&format!("{} {} up", wall()?, id.addr))?,
                OwnedNotification::MemberDown(id) => say(&format!("{} {} down", wall()?, id.addr))?,
                _ => {}
            }
        }
        Ok(())
    }

    fn next(&self) -> Instant {
        self.timers.peek().map_or_else(|| Instant::now() + Duration::from_secs(3600), |Reverse(Due(at, _))| *at)
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut words = std::env::args().skip(1);
    let (Some(addr), Some(members)) = (words.next(), words.next()) else {
        return Err("foca-member IP:PORT MEMBERS".into());
    };
    let (addr, members): (SocketAddr, NonZeroU32) = (addr.parse()?, members.parse()?);
    let config = Config::new_lan(members);
    let mut buf = vec![0; config.max_packet_size.get()];
    let codec = BincodeCodec(bincode::config::standard());
    let mut member = Member {
        foca: Foca::new(Id { addr, life: wall()? }, config, StdRng::from_os_rng(), codec),
        out: AccumulatingRuntime::new(),
        timers: BinaryHeap::new(),
        socket: UdpSocket::bind(addr).await?,
    };
    let mut input = BufReader::new(tokio::io::stdin()).lines();
    say("ready")?;
    loop {
        let next = member.next();
        // Errors are about single packets and timers that are out of date: foca goes on.
        tokio::select! {
            biased;
            () = sleep_until(next) => {
                if let Some(Reverse(Due(_, timer))) = member.timers.pop() {
                    member.foca.handle_timer(timer, &mut member.out).ok();
                }
            }
            received = member.socket.recv_from(&mut buf) => {
                if let Ok((len, _)) = received {
                    member.foca.handle_data(&buf[..len], &mut member.out).ok();
                }
            }
            line = input.next_line() => {
                let Some(line) = line? else { return Ok(()) };
                let to = line.strip_prefix("join ").ok_or("not a join")?.parse()?;
                member.foca.announce(Id { addr: to, life: 0 }, &mut member.out).ok();
            }
        }
        member.follow().await?;
    }
}

/// Microseconds since the Unix epoch.
fn wall() -> Result<u64, Box<dyn Error>> {
    Ok(u64::try_from(SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?.as_micros())?)
}

fn say(line: &str) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}")?;
    out.flush()
}

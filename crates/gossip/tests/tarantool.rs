//! The driver beside a real Tarantool, of Debian's package `tarantool`: a farewell arrives although the process ends at once.

#![cfg(test)]
#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "real sockets, processes and clocks; and a skip is said aloud"
)]

#[path = "../../swim/tests/tarantool/peer.rs"]
#[expect(dead_code, reason = "the tests of swim use all of it")]
mod peer;

use gossip::Gossip;
use lifecycle::Scope;
use peer::{Tarantool, is_here};
use rt::net::BoundUdp;
use std::process::Command;
use std::time::{Duration, Instant};
use swim::{Config, MemberId, Status, Timing};

const PERIOD: Duration = Duration::from_millis(200);
const PEER: &str = "GOSSIP_TEST_PEER";

fn id() -> MemberId {
    MemberId::from_text_order([1; 16])
}

/// What the other process does: it becomes a member, quits, and ends in the same moment.
#[test]
#[expect(clippy::exit, reason = "that is what is tested")]
fn a_process_that_quits_and_ends() {
    let Ok(peer) = std::env::var(PEER) else { return };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let scope = Scope::new("test");
        let socket = BoundUdp::bind("127.0.0.1:0").await.unwrap();
        let generation = u64::try_from(rt::time::wall().as_micros()).unwrap();
        let config =
            Config { timing: Timing::of(PERIOD), ..Config::new(id(), socket.local_addr().unwrap(), generation) };
        let gossip = Gossip::start(config, socket, None, &scope).unwrap();
        gossip.probe(peer.parse().unwrap()).await.unwrap();
        let mut news = gossip.watch();
        let is_alone = |gossip: &Gossip| {
            let others = gossip.members().into_iter().filter(|known| known.id != id());
            others.filter(|known| known.status == Status::Alive).count() == 0
        };
        while is_alone(&gossip) {
            news.changed().await.unwrap();
        }
        gossip.quit(Duration::from_secs(5)).await.unwrap();
        std::process::exit(0);
    });
}

#[test]
fn a_farewell_reaches_a_tarantool_although_the_process_ends_at_once() {
    if !is_here() {
        return;
    }
    let mut theirs = Tarantool::start(0xa1, PERIOD, None);
    for life in 0..5 {
        let mut process = Command::new(std::env::current_exe().unwrap());
        process.args(["--exact", "a_process_that_quits_and_ends"]).env(PEER, theirs.addr.to_string());
        assert_eq!(process.status().unwrap().code(), Some(0));
        let until = Instant::now() + Duration::from_secs(10);
        while theirs.status(&id()) != "left" {
            assert!(Instant::now() < until, "life {life}: Tarantool has not heard the farewell");
            std::thread::sleep(Duration::from_millis(5));
        }
        assert!(!theirs.has_believed(&id(), "dead"), "life {life}");
    }
}

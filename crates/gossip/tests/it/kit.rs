//! Members with short periods.

use gossip::{Gossip, OnEvent};
use lifecycle::Scope;
use rt::net::BoundUdp;
use std::net::SocketAddr;
use std::time::Duration;
use swim::{Config, MemberId, Status, Timing};

/// Short, so that tests are.
pub(crate) const PERIOD: Duration = Duration::from_millis(100);
/// Longer than anything here takes.
pub(crate) const SOON: Duration = Duration::from_secs(20);

pub(crate) fn id(n: u8) -> MemberId {
    MemberId::from_text_order([n; 16])
}

/// A member, and where it is.
pub(crate) async fn member(n: u8, on_event: Option<OnEvent>, scope: &Scope) -> (Gossip, SocketAddr) {
    member_with(n, on_event, scope, |config| config).await
}

pub(crate) async fn member_with(
    n: u8,
    on_event: Option<OnEvent>,
    scope: &Scope,
    configure: impl FnOnce(Config) -> Config,
) -> (Gossip, SocketAddr) {
    let socket = BoundUdp::bind("127.0.0.1:0").await.unwrap();
    let addr = socket.local_addr().unwrap();
    let config = configure(Config { timing: Timing::of(PERIOD), ..Config::new(id(n), addr, 1_700_000_000_000_000) });
    (Gossip::start(config, socket, on_event, scope).unwrap(), addr)
}

pub(crate) fn status(of: &Gossip, member: u8) -> Option<Status> {
    of.member(&id(member)).map(|known| known.status)
}

/// Waits until something is so of a member.
pub(crate) async fn until(of: &Gossip, what: &str, mut is_so: impl FnMut(&Gossip) -> bool) {
    let mut news = of.watch();
    let wait = async {
        while !is_so(of) {
            news.changed().await.unwrap();
        }
    };
    assert!(rt::time::timeout(SOON, wait).await.is_ok(), "not so: {what}; {:#?}", of.members());
}

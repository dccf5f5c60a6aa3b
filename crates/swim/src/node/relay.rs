//! Passing packets on for others, and saying when nothing came back.

use super::Swim;
use super::output::Out;
use crate::codec::{Meta, PACKET_LEN_MAX, Packet, Route, VERSION};
use crate::time::Moment;
use crate::timers::Wait;
use std::net::SocketAddr;
use std::time::Duration;

/// A ping that was passed on, and to which nothing has come back through this node.
#[derive(Debug)]
pub(super) struct Passed {
    number: u64,
    source: SocketAddr,
    destination: SocketAddr,
}

/// So many pings that were passed on are remembered.
const PASSED_MAX: usize = 256;

impl Swim {
    /// Passes a packet on: from members to members, never to this node itself, never above what the next one can take, and not more
    /// often than agreed. The original passes anything on to anybody.
    pub(super) fn pass_on(
        &mut self,
        now: Moment,
        bytes: &[u8],
        packet: &Packet<'_>,
        route: &Route,
        number: Option<u64>,
    ) {
        let is_member = |addr: SocketAddr| self.table.iter().any(|(_, member)| member.addr() == addr);
        let head = bytes.len() - packet.body.bytes().len() - packet.trailer.len();
        if bytes.len() > PACKET_LEN_MAX
            || packet.meta.source == self.config.addr
            || !is_member(packet.meta.source)
            || !is_member(route.destination)
            || !self.pass_allowance.take(now)
        {
            return;
        }
        // What comes back needs no nack.
        self.passed.retain(|passed| (passed.source, passed.destination) != (route.destination, route.source));
        let is_ping = packet.body.detection().is_some_and(|detection| detection.kind == crate::Kind::Ping);
        if let (true, Some(number)) = (is_ping, number)
            && self.passed.len() < PASSED_MAX
            && !self.passed.iter().any(|passed| passed.number == number)
        {
            self.passed.push(Passed { number, source: route.source, destination: route.destination });
            self.wait(now.after(self.nack_after()), Wait::Nack { number });
        }
        let meta = Meta { version: VERSION, source: self.config.addr, route: Some(*route) };
        let rest = bytes.get(head..).unwrap_or_default().into();
        self.out.push_back(Out::Passed { meta, to: route.destination, rest });
    }

    /// The one who asked still waits when the nack comes: twice the time between its rounds of pings through others.
    fn nack_after(&self) -> Duration {
        self.config.timing.indirect_retry * 2
    }

    /// Says that nothing came back, if nothing did.
    pub(super) fn send_nack(&mut self, number: u64) {
        if let Some(at) = self.passed.iter().position(|passed| passed.number == number) {
            let passed = self.passed.swap_remove(at);
            self.out.push_back(Out::Nack { addr: passed.source, number });
        }
    }
}

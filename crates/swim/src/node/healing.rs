//! Finding each other: strangers that gossip names, the dead that may not be dead, and addresses to begin with.

use super::Swim;
use super::output::Out;
use crate::codec::Record;
use crate::event::Reason;
use crate::id::{Incarnation, MemberId, Status};
use crate::table::Slot;
use crate::time::Moment;
use crate::timers::Wait;
use std::net::SocketAddr;

/// A ping to an address, outside of any probe.
#[derive(Debug, Clone, Copy)]
pub(super) struct Greeting {
    number: u64,
    at: Moment,
}

/// So many greetings are waited for.
const GREETINGS_MAX: usize = 4096;
/// So many packets of news a newcomer gets at most.
const WELCOMES_MAX: usize = 4;
/// About so many members fit into one.
const RECORDS_A_PACKET: usize = 24;

impl Swim {
    /// Gossip names a member that is not in the table. It is not taken on hearsay: it is asked, and enters when it speaks for itself.
    pub(super) fn hear_of_stranger(&mut self, now: Moment, record: &Record<'_>) {
        let period = self.config.timing.period;
        let is_asked = self.greetings.get(&record.addr).is_some_and(|greeting| now.since(greeting.at) < period);
        if record.status.is_present()
            && record.addr != self.config.addr
            && record.addr.is_ipv4() == self.config.addr.is_ipv4()
            && self.table.len() < self.config.limits.members
            && !is_asked
            && self.greeting_allowance.take(now)
        {
            self.greet(now, record.addr, None);
        }
    }

    /// Sends a ping to an address. `slot` is the member that is believed to be there.
    pub(super) fn greet(&mut self, now: Moment, addr: SocketAddr, slot: Option<Slot>) {
        if self.greetings.len() >= GREETINGS_MAX {
            return;
        }
        let number = self.entropy.number();
        self.greetings.insert(addr, Greeting { number, at: now });
        self.out.push_back(Out::Greeting { addr, slot, number });
    }

    /// Whether an answer from this address, with this number if it has one, was asked for by a greeting.
    pub(super) fn is_greeted(&self, addr: &SocketAddr, number: Option<u64>) -> bool {
        self.greetings.get(addr).is_some_and(|greeting| number.is_none_or(|number| number == greeting.number))
    }

    /// Tells a newcomer whom there is, so that it need not wait until its turn comes.
    pub(super) fn welcome(&mut self, now: Moment, slot: Slot) {
        let packets = (self.table.len() / RECORDS_A_PACKET + 1).min(WELCOMES_MAX);
        for _ in 0..packets {
            if !self.welcome_allowance.take(now) {
                return;
            }
            self.out.push_back(Out::Gossip { slot, is_full: true });
        }
    }

    /// Looks for one of the dead, or one of the seeds, at random: after a cut of any length the group becomes one again by itself.
    pub(super) fn heal(&mut self, now: Moment) {
        let wait = self.config.timing.heal.mul_f64(0.5 + self.chance());
        self.wait(now.after(wait), Wait::Heal);
        self.graves.expire(now);
        self.cleared.retain(|_, at| now.since(*at) < self.config.timing.period * 2);
        let forget = self.config.timing.period * 4;
        self.greetings.retain(|_, greeting| now.since(greeting.at) < forget);
        let missing = |addr: &SocketAddr| {
            *addr != self.config.addr
                && !self.table.iter().any(|(_, member)| member.status.is_present() && member.addr() == *addr)
        };
        let seeds: Vec<SocketAddr> = self.seeds.iter().copied().filter(missing).collect();
        let dead: Vec<(Slot, SocketAddr)> = self
            .table
            .iter()
            .filter(|(_, member)| member.status == Status::Dead)
            .map(|(slot, member)| (slot, member.addr()))
            .collect();
        let at = self.entropy.below(seeds.len() + dead.len() + self.graves.len());
        let (addr, slot) = if let Some(addr) = seeds.get(at) {
            (Some(*addr), None)
        } else if let Some((slot, addr)) = dead.get(at - seeds.len()) {
            (Some(*addr), Some(*slot))
        } else {
            (self.graves.get(at - seeds.len() - dead.len()).map(|grave| grave.addr), None)
        };
        if let Some(addr) = addr {
            self.greet(now, addr, slot);
        }
    }

    /// A member that is dead or has left, and has not changed since, leaves the table. Of the dead the address is kept a while longer.
    pub(super) fn forget(&mut self, now: Moment, id: &MemberId, incarnation: Incarnation, status: Status) {
        let Some(slot) = self.table.find(id) else { return };
        let Some(member) = self.table.get(slot) else { return };
        if (member.incarnation, member.status) != (incarnation, status) {
            return;
        }
        if status == Status::Dead {
            self.graves.add(*id, member.addr(), now);
        }
        self.drop_member(slot, Reason::Forgotten);
    }
}

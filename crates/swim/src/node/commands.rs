//! What the owner of a node can ask of it.

use super::Swim;
use super::output::Out;
use crate::codec::{GroupKey, PAYLOAD_LEN_MAX};
use crate::config::{Config, Trust};
use crate::crypto::Codec;
use crate::error::SwimError;
use crate::event::{Changes, Reason};
use crate::id::{Incarnation, MemberId, Status};
use crate::news::Weight;
use crate::table::Member;
use crate::time::Moment;
use std::net::SocketAddr;

/// Whether a node can be with these settings.
pub(super) fn check(config: &Config) -> Result<(), SwimError> {
    if config.id.is_nil() {
        return Err(SwimError::NilId);
    }
    reachable(config.addr)?;
    if config.generation > Incarnation::TOLD_GENERATION_MAX {
        return Err(SwimError::Generation { generation: config.generation });
    }
    short_enough(&config.payload)?;
    match &config.trust {
        Trust::Signed(keys) if keys.is_empty() => Err(SwimError::NoKey),
        Trust::Signed(_) | Trust::Open => Ok(()),
    }
}

fn reachable(addr: SocketAddr) -> Result<(), SwimError> {
    if addr.ip().is_unspecified() || addr.port() == 0 { Err(SwimError::Address { addr }) } else { Ok(()) }
}

fn short_enough(payload: &[u8]) -> Result<(), SwimError> {
    if payload.len() > PAYLOAD_LEN_MAX { Err(SwimError::PayloadTooLong { len: payload.len() }) } else { Ok(()) }
}

impl Swim {
    /// Takes a member without having heard of it, alive and in incarnation 0.0: if it is not there it will be found dead.
    pub fn add_member(&mut self, id: MemberId, addr: SocketAddr) -> Result<(), SwimError> {
        self.here()?;
        reachable(addr)?;
        if id.is_nil() {
            return Err(SwimError::NilId);
        }
        if self.table.find(&id).is_some() {
            return Err(SwimError::Exists { id });
        }
        let mut member = Member::new(id, addr, Incarnation::default());
        member.is_verified = true;
        let refused = if self.table.len() >= self.config.limits.members {
            SwimError::Full { members: self.table.len() }
        } else {
            SwimError::Address { addr }
        };
        self.admit(member, Reason::Asked).map(|_| ()).ok_or(refused)
    }

    /// Takes members that this node, or another of its group, knew before, without telling anybody: those who are there know of each other. In the
    /// order of their ids it is quick. Returns how many were taken; known ones, this node itself and those above the limit are not.
    pub fn restore(&mut self, members: &[(MemberId, SocketAddr, Incarnation)]) -> usize {
        self.table.reserve(members.len());
        let mut taken = 0;
        for (id, addr, incarnation) in members {
            let is_usable = self.table.len() < self.config.limits.members
                && addr.is_ipv4() == self.config.addr.is_ipv4()
                && *addr != self.config.addr;
            let mut member = Member::new(*id, *addr, *incarnation);
            member.is_verified = true;
            if is_usable && self.table.insert(member, &mut self.entropy).is_some() {
                self.present += 1;
                taken += 1;
            }
        }
        taken
    }

    /// Takes a member out of this node's table, and of no other: if it is alive it will be back. An unknown one is none already.
    pub fn remove_member(&mut self, id: &MemberId) -> Result<(), SwimError> {
        self.here()?;
        if *id == self.config.id {
            return Err(SwimError::Oneself);
        }
        if let Some(slot) = self.table.find(id) {
            self.drop_member(slot, Reason::Asked);
        }
        Ok(())
    }

    /// Sends one ping to an address, and does not wait for an answer: how a group is joined. A broadcast is a probe of a broadcast address.
    pub fn probe(&mut self, now: Moment, addr: SocketAddr) -> Result<(), SwimError> {
        self.here()?;
        reachable(addr)?;
        let now = self.observe(now);
        self.greet(now, addr, None);
        Ok(())
    }

    /// Replaces the addresses that are tried, one now and then, as long as no member is there: where names are resolved anew.
    pub fn set_seeds(&mut self, seeds: Vec<SocketAddr>) {
        self.seeds = seeds;
    }

    /// Replaces the payload. Always a new version, also if the payload is the same.
    pub fn set_payload(&mut self, payload: &[u8]) -> Result<(), SwimError> {
        self.here()?;
        short_enough(payload)?;
        if let Some(oneself) = self.table.get_mut(self.me) {
            oneself.payload = payload.into();
            oneself.incarnation = oneself.incarnation.next();
        }
        self.tell_payload(self.me);
        self.event(self.me, Changes::VERSION | Changes::PAYLOAD, Reason::Asked);
        Ok(())
    }

    /// Has another address from now on. The caller has bound it.
    pub fn set_addr(&mut self, addr: SocketAddr) -> Result<(), SwimError> {
        self.here()?;
        reachable(addr)?;
        if addr.is_ipv4() != self.config.addr.is_ipv4() {
            return Err(SwimError::Address { addr });
        }
        self.config.addr = addr;
        if let Some(oneself) = self.table.get_mut(self.me) {
            oneself.set_addr(addr);
        }
        self.outdo(Incarnation::default(), Changes::ADDR, Reason::Asked);
        Ok(())
    }

    /// Is somebody else from now on: the old id is told to have left, the new one is there with the same incarnation and payload.
    pub fn set_id(&mut self, now: Moment, id: MemberId) -> Result<(), SwimError> {
        self.here()?;
        if id.is_nil() {
            return Err(SwimError::NilId);
        }
        if self.table.find(&id).is_some() {
            return Err(SwimError::Exists { id });
        }
        let now = self.observe(now);
        let Some(old) = self.table.get(self.me) else { return Ok(()) };
        let mut member = Member::new(id, self.config.addr, old.incarnation);
        (member.is_verified, member.is_ours, member.is_payload_known) = (true, true, true);
        member.payload.clone_from(&old.payload);
        let (old_id, incarnation) = (old.id, old.incarnation);
        let Some(slot) = self.table.insert(member, &mut self.entropy) else { return Ok(()) };
        let old_slot = std::mem::replace(&mut self.me, slot);
        self.config.id = id;
        if let Some(old) = self.table.get_mut(old_slot) {
            old.status = Status::Left;
        }
        let forget = crate::timers::Wait::Forget { id: old_id, incarnation, status: Status::Left };
        self.wait(now.after(self.config.timing.keep_dead), forget);
        self.tell(old_slot, Weight::Death);
        self.event(old_slot, Changes::STATUS, Reason::Asked);
        self.tell(slot, Weight::Refutation);
        self.event(slot, Changes::NEW, Reason::Asked);
        Ok(())
    }

    /// Follows the clock on the wall, which may have been set: it says `clock` when the caller's time is zero. What happens when is not moved by it.
    pub fn set_clock(&mut self, clock: std::time::Duration) {
        self.config.clock = clock;
    }

    /// Encrypts with another key or algorithm from now on, or not at all. All members have to do so.
    pub fn set_codec(&mut self, codec: Option<Codec>) {
        self.config.codec = codec;
    }

    /// Replaces the keys of a group that signs; the first signs.
    pub fn set_keys(&mut self, keys: Vec<GroupKey>) -> Result<(), SwimError> {
        if keys.is_empty() {
            return Err(SwimError::NoKey);
        }
        self.config.trust = Trust::Signed(keys);
        Ok(())
    }

    /// Leaves the group: every member that is there is told. Nothing is received any more, and nothing is waited for; the caller sends what
    /// [`Self::poll_transmit`] gives, all of it, before it closes its socket. May be called again, to no effect.
    pub fn quit(&mut self) {
        if std::mem::replace(&mut self.has_left, true) {
            return;
        }
        let Some(oneself) = self.table.get(self.me) else { return };
        let (id, incarnation) = (oneself.id, oneself.incarnation);
        self.out.clear();
        let others = self.table.iter().filter(|(slot, member)| *slot != self.me && member.status.is_present());
        self.out.extend(others.map(|(_, member)| Out::Quit { addr: member.addr(), id, incarnation }));
        self.timers.clear();
        self.probes.clear();
        self.suspicions.clear();
    }

    fn here(&self) -> Result<(), SwimError> {
        if self.has_left { Err(SwimError::Left) } else { Ok(()) }
    }
}

//! How what is known changes: the one place where members change, and all that follows from it.

use super::Swim;
use crate::event::{Changes, Reason};
use crate::id::{Incarnation, MemberId, Status};
use crate::merge::{Change, PayloadChange};
use crate::news::Weight;
use crate::suspicion::Suspicion;
use crate::table::{Member, Slot};
use crate::time::Moment;
use crate::timers::Wait;
use std::net::SocketAddr;

/// What goes with a claim.
#[derive(Debug, Clone, Copy)]
pub(super) struct Said<'a> {
    pub(super) incarnation: Incarnation,
    pub(super) addr: SocketAddr,
    pub(super) payload: Option<&'a [u8]>,
}

impl Swim {
    /// Makes a change of another member, tells of it, and does what the new status asks for.
    pub(super) fn apply(&mut self, now: Moment, slot: Slot, change: Change, said: &Said<'_>, reason: Reason) {
        let Some(member) = self.table.get_mut(slot) else { return };
        let (id, before) = (member.id, member.status);
        let mut changes = Changes::STATUS.when(change.status != before);
        if change.is_newer {
            let is_other_life = said.incarnation.generation != member.incarnation.generation;
            changes = changes | Changes::VERSION | Changes::GENERATION.when(is_other_life);
            member.incarnation = said.incarnation;
            if member.addr() != said.addr {
                member.set_addr(said.addr);
                member.is_verified = false;
                changes = changes | Changes::ADDR;
            }
        }
        let mut has_payload_news = false;
        match (change.payload, said.payload) {
            (PayloadChange::Take, Some(payload)) => {
                if *member.payload != *payload {
                    member.payload = payload.into();
                    changes = changes | Changes::PAYLOAD;
                }
                has_payload_news = change.is_newer || changes.has(Changes::PAYLOAD);
                member.is_payload_known = true;
            }
            (PayloadChange::Doubt, _) => member.is_payload_known = false,
            (PayloadChange::Keep | PayloadChange::Take, _) => {}
        }
        member.status = change.status;
        if changes.is_empty() {
            return;
        }
        let only_payload = has_payload_news && !changes.has(Changes::STATUS) && !changes.has(Changes::ADDR);
        if has_payload_news {
            self.tell_payload(slot);
        }
        if !only_payload {
            self.tell(slot, weight(before, change.status));
        }
        self.enter(now, slot, &id, before, change.status);
        self.event(slot, changes, reason);
    }

    /// What follows from a new status.
    fn enter(&mut self, now: Moment, slot: Slot, id: &MemberId, before: Status, after: Status) {
        if after == before {
            return;
        }
        self.present += usize::from(after.is_present());
        self.present -= usize::from(before.is_present());
        if before == Status::Suspected {
            self.suspicions.remove(id);
        }
        if !after.is_present() {
            self.probes.retain(|probe| probe.slot != slot);
            if let Some(member) = self.table.get(slot) {
                let forget = Wait::Forget { id: *id, incarnation: member.incarnation, status: after };
                self.wait(now.after(self.config.timing.keep_dead), forget);
            }
        }
    }

    /// Begins or strengthens the suspicion of a member that is suspected now.
    pub(super) fn accuse(&mut self, now: Moment, slot: Slot, accusers: &[MemberId]) {
        let Some(member) = self.table.get(slot) else { return };
        let id = member.id;
        let epoch = self.next_epoch();
        let mut is_stronger = false;
        for accuser in accusers {
            if let Some(suspicion) = self.suspicions.get_mut(&id) {
                is_stronger |= suspicion.accuse(*accuser);
                continue;
            }
            let bounds = self.config.timing.suspicion(self.present);
            let suspicion = Suspicion::new(epoch, now, *accuser, self.present, bounds);
            self.wait(suspicion.deadline(), Wait::Suspicion { id, epoch });
            self.suspicions.insert(id, suspicion);
        }
        if is_stronger && let Some(suspicion) = self.suspicions.get_mut(&id) {
            // The earlier deadline has another epoch, and will be let pass.
            suspicion.epoch = epoch;
            let deadline = suspicion.deadline();
            self.wait(deadline, Wait::Suspicion { id, epoch });
            self.tell(slot, Weight::Suspicion);
        }
    }

    /// Takes a member whose id is not in the table, as alive. Others are told of it when it is known that somebody is at its address: who sent
    /// in its name could otherwise have the whole group send there.
    pub(super) fn admit(&mut self, member: Member, reason: Reason) -> Option<Slot> {
        let addr = member.addr();
        if self.table.len() >= self.config.limits.members
            || addr == self.config.addr
            || addr.is_ipv4() != self.config.addr.is_ipv4()
        {
            return None;
        }
        self.graves.remove(&member.id);
        let is_verified = member.is_verified;
        let slot = self.table.insert(member, &mut self.entropy)?;
        self.present += 1;
        if is_verified {
            self.tell(slot, Weight::Presence);
        }
        self.event(slot, Changes::NEW, reason);
        Some(slot)
    }

    /// Takes a member out of the table at once.
    pub(super) fn drop_member(&mut self, slot: Slot, reason: Reason) {
        self.event(slot, Changes::DROP, reason);
        if let Some(member) = self.table.remove(slot) {
            self.present -= usize::from(member.status.is_present());
            self.suspicions.remove(&member.id);
            self.probes.retain(|probe| probe.slot != slot);
        }
    }

    /// This node takes the next incarnation after `than`, so that what it says of itself wins.
    pub(super) fn outdo(&mut self, than: Incarnation, changes: Changes, reason: Reason) {
        let Some(oneself) = self.table.get_mut(self.me) else { return };
        let next = than.max(oneself.incarnation).next();
        let is_other_life = next.generation != oneself.incarnation.generation;
        oneself.incarnation = next;
        self.tell(self.me, Weight::Refutation);
        // Whoever hears of a new version without its payload doubts the one it knows.
        self.tell_payload(self.me);
        self.event(self.me, changes | Changes::VERSION | Changes::GENERATION.when(is_other_life), reason);
    }

    /// Has something to tell about a member.
    pub(super) fn tell(&mut self, slot: Slot, weight: Weight) {
        let number = self.news.add(slot, weight);
        if let Some(member) = self.table.get_mut(slot) {
            member.news = number;
        }
        self.keep_gossiping();
    }

    /// Has a payload to tell.
    pub(super) fn tell_payload(&mut self, slot: Slot) {
        let number = self.news.add_payload(slot);
        if let Some(member) = self.table.get_mut(slot) {
            member.payload_news = number;
        }
        self.keep_gossiping();
    }

    fn keep_gossiping(&mut self) {
        let bound = 4 * self.table.len() + 64;
        let table = &self.table;
        for queue in [&mut self.news.urgent, &mut self.news.presence] {
            if queue.len() > bound {
                queue.purge(|slot, number| table.get(slot).is_some_and(|member| member.news == number));
            }
        }
        if self.news.payloads.len() > bound {
            self.news
                .payloads
                .purge(|slot, number| table.get(slot).is_some_and(|member| member.payload_news == number));
        }
        if !self.is_gossiping {
            self.is_gossiping = true;
            // After a quiet time news goes out at once.
            self.wait(self.time.now(), Wait::Gossip);
        }
    }
}

/// How urgent a change is. A mere new version of somebody nobody was suspicious of is not: in a storm of new payloads there are many.
fn weight(before: Status, after: Status) -> Weight {
    match (before, after) {
        (_, Status::Dead | Status::Left) => Weight::Death,
        (_, Status::Suspected) => Weight::Suspicion,
        (Status::Alive, Status::Alive) => Weight::Presence,
        (_, Status::Alive) => Weight::Refutation,
    }
}

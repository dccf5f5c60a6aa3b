//! What a packet says, applied in the order in which it says it.

use super::Swim;
use super::change::Said;
use super::output::Out;
use crate::codec::{FailureDetection, Kind, Packet, Record, Section, Trailer, origin};
use crate::config::Trust;
use crate::event::{Changes, Reason};
use crate::id::{Incarnation, MemberId, Status};
use crate::merge::{Change, Claim, PayloadChange, merge};
use crate::table::{Member, Slot};
use crate::time::Moment;
use std::net::SocketAddr;

/// From whom a packet is, and how it came.
#[derive(Debug, Clone, Copy)]
pub(super) struct Heard<'a> {
    pub(super) now: Moment,
    pub(super) from: MemberId,
    /// Where its sender says that it is.
    pub(super) origin: SocketAddr,
    /// The proxy through which it came.
    pub(super) via: Option<SocketAddr>,
    pub(super) trailer: Option<Trailer<'a>>,
    /// The length of the datagram.
    pub(super) len: usize,
}

impl Heard<'_> {
    pub(super) fn number(&self) -> Option<u64> {
        self.trailer.and_then(|trailer| trailer.number)
    }
}

/// A packet to an address that has not answered yet is at most so many times as long as the one that it answers.
const AMPLIFICATION_MAX: usize = 3;

impl Swim {
    pub(super) fn receive(&mut self, now: Moment, packet: &Packet<'_>, trailer: Option<Trailer<'_>>, len: usize) {
        let via = packet.meta.route.map(|_| packet.meta.source);
        let heard = Heard { now, from: packet.body.source, origin: origin(&packet.meta), via, trailer, len };
        if heard.origin.is_ipv4() != self.config.addr.is_ipv4() {
            // It could not be answered.
            return;
        }
        if heard.from == self.config.id {
            return self.hear_a_twin(packet);
        }
        if let Some(nack) = trailer.and_then(|trailer| trailer.nack) {
            self.hear_nack(&heard.from, nack);
        }
        for section in packet.body.sections() {
            match section {
                Section::FailureDetection(detection) => self.hear_directly(&heard, detection),
                Section::AntiEntropy(records) | Section::Dissemination(records) => {
                    for record in records {
                        self.hear_record(&heard, &record);
                    }
                }
                Section::Quit(incarnation) => self.hear_quit(&heard, incarnation),
            }
        }
        if let Some(member) = self.table.find(&heard.from).and_then(|slot| self.table.get_mut(slot)) {
            member.is_ours |= heard.trailer.is_some();
        }
    }

    /// A packet in this node's own name: of a former life, or of somebody who has taken its id.
    fn hear_a_twin(&mut self, packet: &Packet<'_>) {
        for section in packet.body.sections() {
            let (incarnation, status) = match section {
                Section::FailureDetection(detection) => (detection.incarnation, Status::Alive),
                Section::Quit(incarnation) => (incarnation, Status::Left),
                Section::AntiEntropy(_) | Section::Dissemination(_) => continue,
            };
            self.hear_of_oneself(incarnation, status);
        }
    }

    /// Others say of this node what it has to contradict, or remember more of it than it does.
    fn hear_of_oneself(&mut self, incarnation: Incarnation, status: Status) {
        let Some(oneself) = self.table.get(self.me) else { return };
        let is_news =
            incarnation > oneself.incarnation || (incarnation == oneself.incarnation && status != Status::Alive);
        if is_news && incarnation.generation <= Incarnation::TOLD_GENERATION_MAX {
            if status != Status::Alive {
                self.health.worse(1);
            }
            self.outdo(incarnation, Changes::default(), Reason::Refuted { rumour: status });
        }
    }

    /// A ping or an ack: a member speaks for itself. That it does is evidence that it is alive, and stronger than what others say.
    fn hear_directly(&mut self, heard: &Heard<'_>, detection: FailureDetection) {
        if detection.incarnation.generation > Incarnation::GENERATION_MAX {
            return;
        }
        let Some(slot) = self.table.find(&heard.from) else { return self.hear_newcomer(heard, detection) };
        let Some(member) = self.table.get(slot) else { return };
        let rumour = member.status;
        let claim = Claim { incarnation: detection.incarnation, status: Status::Alive, has_payload: false };
        let Some(change) = merge(&member.known(), &claim) else {
            // It has forgotten a part of its life. An answer tells it; the original keeps silent.
            if detection.kind == Kind::Ping {
                self.answer(heard, slot, heard.origin, rumour);
            }
            return;
        };
        let said = Said { incarnation: detection.incarnation, addr: heard.origin, payload: None };
        self.apply(heard.now, slot, change, &said, Reason::Direct);
        let is_answer = detection.kind == Kind::Ack && self.hear_ack(heard, slot);
        let Some(member) = self.table.get(slot) else { return };
        if member.status != Status::Alive {
            // Where packets are signed, one that was recorded and is played again has to be no evidence: only the number that was
            // asked for is.
            if is_answer || self.config.trust == Trust::Open {
                let change = Change { is_newer: false, status: Status::Alive, payload: PayloadChange::Keep };
                self.apply(heard.now, slot, change, &said, Reason::Direct);
                self.cleared.insert(heard.from, heard.now);
            } else {
                self.confirm(heard.now, slot);
            }
        }
        if detection.kind == Kind::Ping
            && let Some(member) = self.table.get(slot)
        {
            self.answer(heard, slot, member.addr(), rumour);
        }
    }

    /// Somebody who is not in the table speaks for itself.
    fn hear_newcomer(&mut self, heard: &Heard<'_>, detection: FailureDetection) {
        let mut member = Member::new(heard.from, heard.origin, detection.incarnation);
        let is_answer = detection.kind == Kind::Ack && self.is_greeted(&heard.origin, heard.number());
        member.is_verified = is_answer || matches!(self.config.trust, Trust::Signed(_));
        member.is_ours = heard.trailer.is_some();
        let is_verified = member.is_verified;
        let addr = member.addr();
        let Some(slot) = self.admit(member, Reason::Direct) else { return };
        if detection.kind == Kind::Ping {
            self.answer(heard, slot, addr, Status::Alive);
        }
        if is_verified {
            self.welcome(heard.now, slot);
        } else {
            self.confirm(heard.now, slot);
        }
    }

    /// Answers a ping. `rumour` is what was believed of the member until it came: it is told, so that it can contradict it.
    fn answer(&mut self, heard: &Heard<'_>, slot: Slot, addr: SocketAddr, rumour: Status) {
        let Some(member) = self.table.get(slot) else { return };
        let may_be_long = member.is_verified && addr == member.addr();
        let limit = if may_be_long { usize::MAX } else { heard.len.saturating_mul(AMPLIFICATION_MAX) };
        self.out.push_back(Out::Ack { slot, addr, via: heard.via, number: heard.number(), limit, rumour });
    }

    /// One member says something of another.
    fn hear_record(&mut self, heard: &Heard<'_>, record: &Record<'_>) {
        if record.id == self.config.id {
            return self.hear_of_oneself(record.incarnation, record.status);
        }
        if record.incarnation.generation > Incarnation::GENERATION_MAX {
            return;
        }
        let Some(slot) = self.table.find(&record.id) else { return self.hear_of_stranger(heard.now, record) };
        let Some(member) = self.table.get(slot) else { return };
        let claim =
            Claim { incarnation: record.incarnation, status: record.status, has_payload: record.payload.is_some() };
        let before = member.status;
        if record.addr.is_ipv4() != self.config.addr.is_ipv4() {
            return;
        }
        let Some(change) = merge(&member.known(), &claim) else { return };
        let said = Said { incarnation: record.incarnation, addr: record.addr, payload: record.payload };
        let is_accused = change.status == Status::Suspected && record.status == Status::Suspected;
        let is_old_news =
            is_accused && !change.is_newer && before == Status::Alive && self.was_heard(heard.now, &record.id);
        if is_old_news {
            return;
        }
        let accusers = if is_accused { self.accusers(heard, &record.id) } else { Vec::new() };
        let reason = if is_accused && before != Status::Suspected {
            let accusers = accusers.iter().copied().filter(|accuser| !accuser.is_nil()).collect();
            Reason::Accused { by: heard.from, accusers }
        } else {
            Reason::Told { by: heard.from }
        };
        self.apply(heard.now, slot, change, &said, reason);
        if is_accused {
            self.accuse(heard.now, slot, &accusers);
            // A few of those who hear of it look for themselves, so that it is confirmed or contradicted soon.
            if before == Status::Alive && self.entropy.below(self.present) < LOOKS {
                self.confirm(heard.now, slot);
            }
        }
    }

    /// Whether a member has spoken against a suspicion by itself a short while ago.
    fn was_heard(&self, now: Moment, id: &MemberId) -> bool {
        self.cleared.get(id).is_some_and(|at| now.since(*at) < self.config.timing.period * 2)
    }

    /// Who found a suspected member silent: as the sender says, if it says; nobody in particular otherwise.
    fn accusers(&self, heard: &Heard<'_>, subject: &MemberId) -> Vec<MemberId> {
        let named = heard.trailer.into_iter().flat_map(|trailer| trailer.accusations());
        let known = named
            .filter(|accusation| accusation.subject == *subject && self.table.find(&accusation.accuser).is_some())
            .map(|accusation| accusation.accuser);
        let mut accusers: Vec<MemberId> = known.collect();
        if accusers.is_empty() {
            accusers.push(MemberId::NIL);
        }
        accusers
    }

    /// The sender goes.
    fn hear_quit(&mut self, heard: &Heard<'_>, incarnation: Incarnation) {
        let Some(slot) = self.table.find(&heard.from) else { return };
        let Some(member) = self.table.get(slot) else { return };
        if incarnation.generation > Incarnation::GENERATION_MAX {
            return;
        }
        let claim = Claim { incarnation, status: Status::Left, has_payload: false };
        let Some(change) = merge(&member.known(), &claim) else { return };
        let said = Said { incarnation, addr: member.addr(), payload: None };
        self.apply(heard.now, slot, change, &said, Reason::Direct);
    }
}

/// So many of all who hear of a suspicion look for themselves, on average.
const LOOKS: usize = 6;

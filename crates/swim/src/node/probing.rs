//! Asking members whether they are alive, and what follows when they do not answer.
//!
//! A probe asks directly up to four times, then through a few others up to three times, and ends before the period does. Retries are
//! why loss hardly ever becomes a suspicion; and suspicions, not their time limits, are what makes a lossy group collapse.

use super::Swim;
use super::change::Said;
use super::input::Heard;
use super::output::Out;
use crate::event::Reason;
use crate::id::{MemberId, Status};
use crate::merge::{Change, PayloadChange};
use crate::news::Weight;
use crate::table::Slot;
use crate::time::Moment;
use crate::timers::Wait;
use crate::turns::{self, Turns};
use std::net::SocketAddr;

/// A member is asked and has not answered yet.
#[derive(Debug)]
pub(super) struct Probe {
    /// What an answer repeats.
    pub(super) number: u64,
    pub(super) slot: Slot,
    started: Moment,
    /// How many times as long as usual its waits are.
    patience: u32,
    pings: u32,
    proxies: Vec<Proxy>,
    purpose: Purpose,
}

/// A member through which another one is asked.
#[derive(Debug)]
struct Proxy {
    id: MemberId,
    addr: SocketAddr,
    /// Whether it is one that says when it hears nothing either.
    says_nack: bool,
    has_nacked: bool,
}

/// Why a member is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Purpose {
    /// It is its turn. How it ends says something about this node too.
    Round,
    /// Something about it is uncertain.
    Confirmation,
}

/// The last step of a probe: until now nothing was heard.
const VERDICT: usize = 7;
/// The first step that asks through others.
const INDIRECT: usize = 4;
/// Through so many members at most somebody is asked out of turn: several do so at a time.
const CONFIRMATION_PROXIES: usize = 3;
/// So many numbers of probes are remembered.
const ASKED_MAX: usize = 128;
/// So many probes beside that of the round.
const CONFIRMATIONS_MAX: usize = 64;

impl Swim {
    /// The next member has its turn.
    pub(super) fn next_round(&mut self, now: Moment) {
        self.wait_for_turn(now, self.health.score());
        let round = self.turns().round(self.time.told(now).0);
        let present = self.table.iter().filter(|(_, member)| member.status.is_present());
        let next = turns::behind(round, &self.config.id, present.map(|(slot, member)| (member.id, slot)));
        if let Some(slot) = next {
            self.start_probe(now, slot, Purpose::Round);
        }
    }

    fn turns(&self) -> Turns {
        Turns { clock: self.config.clock, period: self.config.timing.period }
    }

    /// This node has its turn again, after `skipped` rounds.
    pub(super) fn wait_for_turn(&mut self, now: Moment, skipped: u32) {
        let next = self.turns().until_next(self.time.told(now).0, &self.config.id, skipped);
        self.wait(now.after(next), Wait::Round);
    }

    /// Asks a member out of turn, unless it is being asked.
    pub(super) fn confirm(&mut self, now: Moment, slot: Slot) {
        let is_asked = self.probes.iter().any(|probe| probe.slot == slot);
        let others = self.probes.iter().filter(|probe| probe.purpose == Purpose::Confirmation).count();
        if !is_asked && others < CONFIRMATIONS_MAX {
            self.start_probe(now, slot, Purpose::Confirmation);
        }
    }

    fn start_probe(&mut self, now: Moment, slot: Slot, purpose: Purpose) {
        let number = self.entropy.number();
        let patience = self.health.score() + 1;
        let probe = Probe { number, slot, started: now, patience, pings: 0, proxies: Vec::new(), purpose };
        self.probes.push(probe);
        if self.asked.len() >= ASKED_MAX {
            self.asked.pop_front();
        }
        self.asked.push_back((number, slot));
        self.take_step(now, number, 0);
    }

    /// When a step is taken, from the start of its probe.
    fn step_after(&self, step: usize) -> std::time::Duration {
        let timing = &self.config.timing;
        let times = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        match step {
            0..INDIRECT => timing.retry * times(step),
            INDIRECT..VERDICT => timing.indirect + timing.indirect_retry * times(step - INDIRECT),
            _ => timing.verdict,
        }
    }

    /// A probe that is not over yet goes on.
    pub(super) fn take_step(&mut self, now: Moment, number: u64, step: usize) {
        let Some(at) = self.probes.iter().position(|probe| probe.number == number) else { return };
        let Some(probe) = self.probes.get(at) else { return };
        let (slot, started, patience) = (probe.slot, probe.started, probe.patience);
        let Some(addr) = self.table.get(slot).map(crate::table::Member::addr) else {
            self.probes.swap_remove(at);
            return;
        };
        if step >= VERDICT {
            if let Some(later) = self.shared_timer(now) {
                return self.wait(later, Wait::Probe { number, step });
            }
            let probe = self.probes.swap_remove(at);
            return self.judge(now, &probe);
        }
        if step < INDIRECT {
            self.out.push_back(Out::Ping { slot, addr, number, via: None });
        } else {
            if step == INDIRECT {
                self.choose_proxies(at);
            }
            let proxies = self.probes.get(at).map_or(&[][..], |probe| &probe.proxies);
            for proxy in proxies {
                self.out.push_back(Out::Ping { slot, addr, number, via: Some(proxy.addr) });
            }
        }
        if let Some(probe) = self.probes.get_mut(at) {
            probe.pings += u32::from(step < INDIRECT);
        }
        let wait = self.step_after(step + 1) * patience;
        self.wait(started.after(wait), Wait::Probe { number, step: step + 1 });
    }

    fn choose_proxies(&mut self, at: usize) {
        let Some(probe) = self.probes.get_mut(at) else { return };
        let (me, subject) = (self.config.id, self.table.get(probe.slot).map(|member| member.id));
        let fits = |member: &crate::table::Member| {
            member.status == Status::Alive && member.is_verified && member.id != me && Some(member.id) != subject
        };
        let count = match probe.purpose {
            Purpose::Round => self.config.limits.proxies,
            Purpose::Confirmation => self.config.limits.proxies.min(CONFIRMATION_PROXIES),
        };
        self.table.pick(&mut self.entropy, count, &mut self.picked, fits);
        let members = self.picked.iter().filter_map(|slot| self.table.get(*slot));
        probe.proxies = members
            .map(|member| Proxy { id: member.id, addr: member.addr(), says_nack: member.is_ours, has_nacked: false })
            .collect();
    }

    /// A member has answered. Returns whether this is an answer to what it was asked, told by its number.
    pub(super) fn hear_ack(&mut self, heard: &Heard<'_>, slot: Slot) -> bool {
        let is_answer = match heard.number() {
            // Tarantools repeat no number: whatever they were asked, it is answered.
            None => true,
            Some(number) => self.was_asked(number, slot) || self.is_greeted(&heard.origin, Some(number)),
        };
        if !is_answer {
            return false;
        }
        if self.probes.iter().any(|probe| probe.slot == slot && probe.purpose == Purpose::Round) {
            self.health.better();
        }
        self.probes.retain(|probe| probe.slot != slot);
        if let Some(member) = self.table.get_mut(slot)
            && !member.is_verified
            && member.addr() == heard.origin
        {
            member.is_verified = true;
            self.tell(slot, Weight::Presence);
            self.welcome(heard.now, slot);
        }
        true
    }

    /// Whether a probe of a member had this number. Once: who plays an answer again gets nothing for it.
    fn was_asked(&mut self, number: u64, slot: Slot) -> bool {
        let at = self.asked.iter().position(|asked| *asked == (number, slot));
        at.and_then(|at| self.asked.remove(at)).is_some()
    }

    /// A proxy has heard nothing either: so this node is heard, and the fault is not its own.
    pub(super) fn hear_nack(&mut self, from: &MemberId, number: u64) {
        let probe = self.probes.iter_mut().find(|probe| probe.number == number);
        let proxy = probe.and_then(|probe| probe.proxies.iter_mut().find(|proxy| proxy.id == *from));
        if let Some(proxy) = proxy {
            proxy.has_nacked = true;
        }
    }

    /// A probe is over and nothing was heard.
    fn judge(&mut self, now: Moment, probe: &Probe) {
        let asked = probe.proxies.iter().filter(|proxy| proxy.says_nack).count();
        let nacks = probe.proxies.iter().filter(|proxy| proxy.has_nacked).count();
        if probe.purpose == Purpose::Round {
            let missing = if asked > 0 { asked.saturating_sub(nacks) } else { 1 };
            self.health.worse(u32::try_from(missing).unwrap_or(u32::MAX));
        }
        let Some(member) = self.table.get(probe.slot) else { return };
        if !member.is_verified && member.status == Status::Alive {
            // It has never answered: somebody else may have sent in its name.
            return self.drop_member(probe.slot, Reason::Forgotten);
        }
        if !member.status.is_present() {
            return;
        }
        let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        let reason = Reason::Silent {
            pings: probe.pings,
            proxies: count(probe.proxies.len()),
            nacks: count(nacks),
            waited: now.since(probe.started),
        };
        self.believe(now, probe.slot, Status::Suspected, reason);
        self.accuse(now, probe.slot, &[self.config.id]);
        // Until it is settled those whose word counts ask again: an answer is the quickest end of a wrong suspicion. Not everybody, or a
        // slow member would be buried under questions.
        let subject = self.table.get(probe.slot).and_then(|member| self.suspicions.get(&member.id));
        if subject.is_some_and(|suspicion| suspicion.accusers.contains(&self.config.id)) {
            self.confirm(now, probe.slot);
        }
    }

    /// A suspected member's time may be over.
    pub(super) fn end_suspicion(&mut self, now: Moment, id: &MemberId, epoch: u32) {
        let Some(suspicion) = self.suspicions.get(id).filter(|suspicion| suspicion.epoch == epoch) else { return };
        let reason = Reason::Unrefuted { accusers: suspicion.accusers.clone(), suspected: now.since(suspicion.since) };
        if let Some(slot) = self.table.find(id) {
            self.believe(now, slot, Status::Dead, reason);
        }
    }

    /// This node comes to believe something of a member by itself.
    fn believe(&mut self, now: Moment, slot: Slot, status: Status, reason: Reason) {
        let Some(member) = self.table.get(slot) else { return };
        let said = Said { incarnation: member.incarnation, addr: member.addr(), payload: None };
        let change = Change { is_newer: false, status: member.status.max(status), payload: PayloadChange::Keep };
        self.apply(now, slot, change, &said, reason);
    }

    /// With the original's mistake: until when a verdict is put off by the last ping that was sent to anybody.
    #[cfg(feature = "mutants")]
    fn shared_timer(&self, now: Moment) -> Option<Moment> {
        let last = self.probes.iter().map(|probe| probe.started).max()?;
        let rung = last.after(self.config.timing.period);
        (self.config.mutant == Some(crate::Mutant::SharedTimer) && rung > now).then_some(rung)
    }

    #[cfg(not(feature = "mutants"))]
    #[expect(clippy::unused_self, reason = "it has the form of the one with mutants")]
    fn shared_timer(&self, _: Moment) -> Option<Moment> {
        None
    }
}

//! What foca believes of members, and how updates change it.

use super::{Foca, INDIRECT_PROBES, Identity, Message, Probe, UPDATE_LEN, Update, Wait};
use crate::detector::{Belief, Sighting};
use swim::Incarnation;

/// What is believed of a member.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    Alive,
    Suspect,
    /// For good: only another identity comes back.
    Down,
}

/// A member that is known.
#[derive(Debug, Clone, Copy)]
pub(super) struct Member {
    /// That of its identity.
    pub(super) bump: u64,
    pub(super) incarnation: u64,
    pub(super) state: State,
}

impl Member {
    /// Whether an update of the same identity says more than what is known.
    fn yields_to(&self, update: &Update) -> bool {
        match (self.state, update.state) {
            (State::Down, _) => false,
            (_, State::Down) => true,
            (State::Alive, State::Suspect) => update.incarnation >= self.incarnation,
            _ => update.incarnation > self.incarnation,
        }
    }
}

impl Foca {
    pub(super) fn identity(&self, node: usize) -> Option<Identity> {
        let member = self.members.get(node)?.as_ref()?;
        Some(Identity { node, bump: member.bump })
    }

    pub(super) fn update(&self, node: usize) -> Option<Update> {
        let Member { bump, incarnation, state } = *self.members.get(node)?.as_ref()?;
        Some(Update { identity: Identity { node, bump }, incarnation, state })
    }

    pub(super) fn is_active(&self, node: usize) -> bool {
        self.members.get(node).copied().flatten().is_some_and(|member| member.state != State::Down)
    }

    /// Takes an update. Returns whether the identity that it is about is one that is there.
    pub(super) fn apply(&mut self, update: Update) -> bool {
        let Identity { node, bump } = update.identity;
        let Some(place) = self.members.get_mut(node) else { return false };
        let known = *place;
        let is_newer = match known {
            Some(known) if known.bump > bump => return false,
            Some(known) if known.bump == bump => known.yields_to(&update),
            _ => true,
        };
        if is_newer {
            *place = Some(Member { bump, incarnation: update.incarnation, state: update.state });
            self.tell_later(update);
            let was_there = known.is_some_and(|known| known.state != State::Down);
            let is_there = update.state != State::Down;
            if was_there != is_there {
                let belief = if is_there { Belief::Present } else { Belief::Dead };
                self.see(update.identity, belief);
            }
        }
        self.is_active(node)
    }

    /// Death is final for an identity, so that it counts once whatever the incarnation.
    pub(super) fn see(&mut self, subject: Identity, belief: Belief) {
        let incarnation = Incarnation { generation: subject.bump, version: 0 };
        self.sightings.push_back(Sighting { subject: subject.node, incarnation, belief });
    }

    fn tell_later(&mut self, update: Update) {
        self.updates.put(update.identity.node, UPDATE_LEN, update);
    }

    /// A probe has ended without an answer.
    pub(super) fn judge(&mut self, probe: &Probe) {
        let (subject, incarnation) = (probe.target, probe.incarnation);
        let Some(known) = self.update(subject.node).filter(|known| known.identity == subject) else { return };
        if known.state == State::Alive && known.incarnation == incarnation {
            self.see(subject, Belief::Silent);
        }
        // One that others suspect already is given its time by this member too.
        if self.apply(Update { identity: subject, incarnation, state: State::Suspect }) {
            self.wait(self.suspicion, Wait::Suspicion { subject, incarnation });
        }
    }

    pub(super) fn end_suspicion(&mut self, subject: Identity, incarnation: u64) {
        let is_still = |known: &Update| known.identity == subject && known.incarnation == incarnation;
        if !self.update(subject.node).is_some_and(|known| is_still(&known)) {
            return;
        }
        self.apply(Update { identity: subject, incarnation, state: State::Down });
        self.send(subject, Message::TurnUndead);
    }

    /// Others say something of this member.
    pub(super) fn hear_of_itself(&mut self, incarnation: u64, state: State) {
        match state {
            State::Alive => {}
            State::Suspect => {
                if incarnation >= self.incarnation {
                    self.incarnation = incarnation + 1;
                }
                // Whatever it sends refutes it: so it sends.
                self.tell(INDIRECT_PROBES, Message::Gossip);
            }
            State::Down => self.come_back(),
        }
    }

    /// Takes a new identity, since the old one is dead, and lets others know.
    fn come_back(&mut self) {
        let old = self.me;
        self.me = Identity { bump: old.bump + 1, ..old };
        self.is_connected = false;
        self.incarnation = 0;
        self.token += 1;
        self.probe = None;
        self.tell_later(Update { identity: old, incarnation: 0, state: State::Down });
        self.tell(INDIRECT_PROBES, Message::Gossip);
    }
}

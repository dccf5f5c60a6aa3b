//! How one CA takes the place of another without a stop: a plan of record, one row of `sys.rotations`.
//!
//! The leader of `sys` moves the plan on, and each member does what the plan asks of it; both go by rows alone, so that either may fall
//! at any moment and go on where the rows say. Nothing waits for a member but the next step of the plan.

pub(crate) mod controller;
#[cfg(test)]
mod model;
pub(crate) mod rows;

use crate::{CertificateRow, ClusterError};
use base::NodeId;
use rpc::Fingerprint;

/// How far a rotation is.
///
/// ```text
///   Distributing --all members trust both--> Reissuing --all have a certificate by the new one--> Waiting
///   Waiting --no token pins the old one, or it was said that nobody waits for them--> Retiring
///   Retiring --all members trust the new one only--> Done
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum RotationState {
    /// The new CA is made known: its certificate by the row, its key from member to member.
    Distributing,
    /// Every member gets a certificate by the new CA.
    Reissuing,
    /// New tokens pin the new CA. Those that pin the old one still work.
    Waiting,
    /// The old CA is trusted no more.
    Retiring,
    /// There is one CA again.
    Done,
}

impl RotationState {
    pub(crate) const ALL: [Self; 5] = [Self::Distributing, Self::Reissuing, Self::Waiting, Self::Retiring, Self::Done];

    /// The state as it stands in the row.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Distributing => "distributing",
            Self::Reissuing => "reissuing",
            Self::Waiting => "waiting",
            Self::Retiring => "retiring",
            Self::Done => "done",
        }
    }

    pub(crate) fn from_sql(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == text)
    }

    /// The one state that may follow.
    pub(crate) const fn next(self) -> Option<Self> {
        match self {
            Self::Distributing => Some(Self::Reissuing),
            Self::Reissuing => Some(Self::Waiting),
            Self::Waiting => Some(Self::Retiring),
            Self::Retiring => Some(Self::Done),
            Self::Done => None,
        }
    }
}

/// A fingerprint as it stands in a row.
pub(crate) fn fingerprint(hex: &str) -> Result<Fingerprint, ClusterError> {
    let parsed = crate::token::unhex(hex).map(Fingerprint);
    parsed.ok_or_else(|| ClusterError::Row { table: "rotations", why: format!("{hex:?} is no fingerprint") })
}

/// A row of `sys.rotations`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rotation {
    /// Which one it is.
    pub id: i64,
    /// How far it is.
    pub state: RotationState,
    /// The fingerprint of the CA that goes, in hexadecimal.
    pub old: String,
    /// That of the CA that comes.
    pub new: String,
    /// The certificate of the CA that comes, as PEM.
    pub certificate: String,
    /// How the CA that goes vouches for the one that comes, as PEM.
    pub cross: String,
    /// Tokens that pin the old CA are not waited for.
    pub is_finishing: bool,
    /// Members that are not waited for.
    pub without: Vec<NodeId>,
    /// When it began, in seconds since the Unix epoch.
    pub begun: i64,
    /// When it came into its state.
    pub since: i64,
}

/// What the plan asks of a member next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// Trust the new CA, beside those that are trusted.
    Trust,
    /// Have a certificate by the new CA.
    Reissue,
    /// Trust the new CA only.
    Retire,
}

impl Rotation {
    /// The CA that makes certificates now.
    pub fn issuing(&self) -> &str {
        if self.state >= RotationState::Reissuing { &self.new } else { &self.old }
    }

    /// The CA that new tokens pin: one that every member can prove to be of.
    pub fn pinned(&self) -> &str {
        if self.state >= RotationState::Waiting { &self.new } else { &self.old }
    }

    /// What a member has to do that trusts these CAs and has its certificate from `issuer`.
    pub(crate) fn asks(&self, trusted: &[String], issuer: &str) -> Option<Step> {
        if !trusted.contains(&self.new) {
            Some(Step::Trust)
        } else if self.state >= RotationState::Reissuing && issuer != self.new {
            Some(Step::Reissue)
        } else if self.state >= RotationState::Retiring && trusted != std::slice::from_ref(&self.new) {
            Some(Step::Retire)
        } else {
            None
        }
    }

    /// The members that have not yet said that they did what the state is for.
    pub fn waits_for(&self, members: &[NodeId], said: &[CertificateRow]) -> Vec<NodeId> {
        let has_done = |row: &CertificateRow| match self.state {
            RotationState::Distributing => row.trusted.contains(&self.new),
            // A machine that was joining meanwhile may still have to.
            RotationState::Reissuing | RotationState::Waiting => row.issuer == self.new,
            RotationState::Retiring => row.trusted == [self.new.clone()],
            RotationState::Done => true,
        };
        let waited_for = members.iter().filter(|node| !self.without.contains(node));
        waited_for.filter(|node| !said.iter().any(|row| row.node == **node && has_done(row))).copied().collect()
    }

    /// The state that the plan moves on to, if it does: nobody is waited for, and no tokens.
    pub(crate) fn moves_on(&self, waits_for: &[NodeId], tokens_on_old: u64) -> Option<RotationState> {
        let tokens_hold_it = self.state == RotationState::Waiting && !self.is_finishing && tokens_on_old > 0;
        if waits_for.is_empty() && !tokens_hold_it { self.state.next() } else { None }
    }
}

//! What is called, by whom, and what is answered.

use crate::CallError;
use base::{Code, Disposition, ErrorPage, Fault, NodeId};
use bytes::Bytes;
use futures::future::BoxFuture;
use rt::time::Instant;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

/// A group of methods with one handler. The numbers are on the wire and are never reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u16)]
pub enum Service {
    /// Raft messages of all groups.
    Raft = 1,
    /// Statements and reads forwarded between members.
    Store = 2,
    /// Membership, roles, health.
    Cluster = 3,
    /// The only service that a stranger may call: joining.
    Join = 4,
}

impl Service {
    /// The number on the wire.
    pub const fn code(self) -> u16 {
        match self {
            Self::Raft => 1,
            Self::Store => 2,
            Self::Cluster => 3,
            Self::Join => 4,
        }
    }

    /// The service with that number, if this version knows it.
    pub const fn from_code(code: u16) -> Option<Self> {
        match code {
            1 => Some(Self::Raft),
            2 => Some(Self::Store),
            3 => Some(Self::Cluster),
            4 => Some(Self::Join),
            _ => None,
        }
    }
}

/// Which of the two connections to a peer a call travels on, so that large transfers never stand before small ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Class {
    /// Small and urgent: votes, heartbeats, log entries, membership.
    Control,
    /// Large and patient: snapshots, pages, images.
    Bulk,
}

impl Class {
    /// Both, in the order of their numbers.
    pub const ALL: [Self; 2] = [Self::Control, Self::Bulk];

    /// The number on the wire.
    pub const fn code(self) -> u8 {
        match self {
            Self::Control => 0,
            Self::Bulk => 1,
        }
    }

    /// The class with that number.
    pub const fn from_code(code: u8) -> Option<Self> {
        match code {
            0 => Some(Self::Control),
            1 => Some(Self::Bulk),
            _ => None,
        }
    }
}

/// SHA-256 of a public key (its DER `SubjectPublicKeyInfo`): the same for every certificate made for that key.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct Fingerprint(pub [u8; 32]);

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Fingerprint({self})")
    }
}

/// Who calls, as proved by the connection, and until when the caller waits.
#[derive(Debug, Clone)]
pub struct Caller {
    /// The calling node; none for a stranger, who may only call [`Service::Join`].
    pub node: Option<NodeId>,
    /// The key that the caller proved to hold (all zero on the simulator's plain transport between members).
    pub fingerprint: Fingerprint,
    /// Where the connection came from, if it has an address.
    pub address: Option<SocketAddr>,
    /// When the caller stops waiting; nothing is gained by working longer.
    pub deadline: Instant,
}

/// What a handler returns.
pub type Answer = Result<Bytes, Refusal>;

/// Answers the calls of one service.
///
/// `handle` itself runs on the connection's task and must return quickly; the future it returns is polled there too, side by side
/// with the other calls of that connection, so it awaits and never blocks. The future is dropped when the caller gives up
/// or the connection ends: everything in it must be cancel-safe. A panic, in `handle` or in the future, becomes an answer
/// with [`Disposition::Bug`] and hurts no other call.
pub trait Handler: Send + Sync {
    /// Starts to answer one call.
    fn handle(&self, caller: &Caller, method: u16, body: Bytes) -> BoxFuture<'static, Answer>;
}

/// The handlers of a node, by service.
#[derive(Clone, Default)]
pub struct Handlers(BTreeMap<Service, Arc<dyn Handler>>);

impl Handlers {
    /// None yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// These, and `handler` for `service` (in place of the one it had).
    #[must_use]
    pub fn with(mut self, service: Service, handler: Arc<dyn Handler>) -> Self {
        self.0.insert(service, handler);
        self
    }

    /// The handler of `service`.
    pub fn get(&self, service: Service) -> Option<&Arc<dyn Handler>> {
        self.0.get(&service)
    }
}

impl fmt::Debug for Handlers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

/// The other side heard the call and said no. Its error, as far as it travels: code, disposition and message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Refusal {
    /// The stable code of the error there.
    pub code: Cow<'static, str>,
    /// What to do with it.
    pub disposition: Disposition,
    /// What happened, in words.
    pub message: String,
}

impl Refusal {
    /// Carries an error to the caller.
    pub fn of(error: &impl Fault) -> Self {
        Self { code: Cow::Borrowed(error.code().0), disposition: error.disposition(), message: error.to_string() }
    }

    /// The code, if one of these pages tells of it.
    pub fn code_among(&self, pages: &[&[ErrorPage]]) -> Option<Code> {
        pages.iter().copied().flatten().map(|page| page.code).find(|code| code.0 == self.code)
    }

    /// A refusal in the caller's own words.
    pub fn new(code: Code, disposition: Disposition, message: impl Into<String>) -> Self {
        Self { code: Cow::Borrowed(code.0), disposition, message: message.into() }
    }
}

impl From<CallError> for Refusal {
    /// For a handler that calls on: what its own call met is the answer, and a refusal passes through unchanged.
    fn from(error: CallError) -> Self {
        match error {
            CallError::Refused(refusal) => refusal,
            other => Self::of(&other),
        }
    }
}

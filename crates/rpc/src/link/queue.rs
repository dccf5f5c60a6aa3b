//! The calls of one link: those that wait to be sent, and those that wait for their answer.

use super::WRITE_AHEAD_MAX;
use crate::connect::Transport;
use crate::frame::{BODY_LEN_MAX, Frame};
use crate::wire::Wire;
use crate::{CallError, Class, Service};
use base::NodeId;
use bytes::Bytes;
use rt::time::Instant;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use tokio::sync::oneshot;

/// Bodies that may wait to be sent, in bytes.
const WAITING_LEN_MAX: usize = 64 << 20;
/// Cancellations that may wait to be sent. One that does not fit only lets the other side finish in vain.
const CANCELS_MAX: usize = 4_096;

const fn calls_max(class: Class) -> usize {
    match class {
        Class::Control => 4_096,
        Class::Bulk => 256,
    }
}

type Reply = oneshot::Sender<Result<Bytes, CallError>>;

/// See the diagram on [`Link`](super::Link).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Phase {
    /// Nobody needs the peer.
    Parked,
    /// Connecting, and nothing says yet that it will fail: calls wait.
    Trying,
    /// Connected.
    Up,
    /// The last attempt failed: calls fail with this.
    Down(Arc<str>),
    /// For ever.
    Closed,
}

#[derive(Debug)]
struct Waiting {
    id: u64,
    service: Service,
    method: u16,
    body: Bytes,
    deadline: Instant,
    reply: Reply,
}

#[derive(Debug)]
pub(super) struct Queue {
    node: NodeId,
    class: Class,
    pub(super) phase: Phase,
    /// The peer connected to us since the last attempt.
    pub(super) kicked: bool,
    /// Somebody called since the last attempt failed.
    called: bool,
    next_id: u64,
    waiting: VecDeque<Waiting>,
    waiting_len: usize,
    pending: BTreeMap<u64, Reply>,
    cancels: Vec<u64>,
}

impl Queue {
    pub(super) fn new(node: NodeId, class: Class) -> Self {
        Self {
            node,
            class,
            phase: Phase::Parked,
            kicked: false,
            called: false,
            next_id: 1,
            waiting: VecDeque::new(),
            waiting_len: 0,
            pending: BTreeMap::new(),
            cancels: Vec::new(),
        }
    }

    /// Takes a call in, or says at once why not.
    pub(super) fn submit(
        &mut self,
        service: Service,
        method: u16,
        body: Bytes,
        deadline: Instant,
        reply: Reply,
    ) -> Result<u64, CallError> {
        self.called = true;
        match &self.phase {
            Phase::Down(why) => return Err(CallError::Down { node: self.node, why: Arc::clone(why) }),
            Phase::Closed => return Err(CallError::Stopped),
            Phase::Parked | Phase::Trying | Phase::Up => {}
        }
        if body.len() > BODY_LEN_MAX {
            return Err(CallError::TooLarge { len: body.len(), max: BODY_LEN_MAX });
        }
        let calls = self.waiting.len() + self.pending.len();
        if calls >= calls_max(self.class) || self.waiting_len.saturating_add(body.len()) > WAITING_LEN_MAX {
            return Err(CallError::Busy { node: self.node });
        }
        let id = self.next_id;
        self.next_id += 1;
        self.waiting_len += body.len();
        self.waiting.push_back(Waiting { id, service, method, body, deadline, reply });
        Ok(id)
    }

    /// Moves waiting calls and cancellations to the wire, as many as it takes now. Says whether more wait.
    pub(super) fn send_to(&mut self, wire: &mut Wire<Transport>, calls_too: bool) -> bool {
        for id in self.cancels.drain(..) {
            wire.push(id, &Frame::Cancel);
        }
        while calls_too && wire.queued_len() < WRITE_AHEAD_MAX {
            let Some(call) = self.waiting.pop_front() else { return false };
            self.waiting_len = self.waiting_len.saturating_sub(call.body.len());
            let left = call.deadline.saturating_duration_since(Instant::now());
            let frame = Frame::Call {
                service: call.service.code(),
                method: call.method,
                deadline_ms: u32::try_from(left.as_millis()).unwrap_or(u32::MAX),
                body: call.body,
            };
            wire.push(call.id, &frame);
            self.pending.insert(call.id, call.reply);
        }
        calls_too && !self.waiting.is_empty()
    }

    /// Hands an answer to its caller. An answer that nobody waits for any more is dropped.
    pub(super) fn finish(&mut self, id: u64, answer: Result<Bytes, CallError>) {
        if let Some(reply) = self.pending.remove(&id) {
            // The caller may give up at this very moment.
            drop(reply.send(answer));
        }
    }

    /// The caller of `id` no longer waits. Says whether the call had been sent.
    pub(super) fn give_up(&mut self, id: u64) -> bool {
        if self.pending.remove(&id).is_some() {
            if self.cancels.len() < CANCELS_MAX {
                self.cancels.push(id);
            }
            return true;
        }
        if let Ok(at) = self.waiting.binary_search_by_key(&id, |call| call.id)
            && let Some(call) = self.waiting.remove(at)
        {
            self.waiting_len = self.waiting_len.saturating_sub(call.body.len());
        }
        false
    }

    pub(super) fn nothing_pending(&self) -> bool {
        self.pending.is_empty()
    }

    pub(super) fn is_closed(&self) -> bool {
        self.phase == Phase::Closed
    }

    /// Whether to connect now; none when never again. From here on calls wait for the attempt, unless the last one failed.
    pub(super) fn is_wanted(&mut self) -> Option<bool> {
        match self.phase {
            Phase::Closed => return None,
            Phase::Parked if self.waiting.is_empty() => return Some(false),
            Phase::Parked => self.phase = Phase::Trying,
            Phase::Trying | Phase::Up | Phase::Down(_) => {}
        }
        self.called = false;
        self.kicked = false;
        Some(true)
    }

    /// The peer connected to us. Says whether that matters: only while we believe that it is down.
    pub(super) fn kick(&mut self) -> bool {
        self.kicked = matches!(self.phase, Phase::Down(_));
        self.kicked
    }

    /// An attempt failed.
    pub(super) fn down(&mut self, why: &Arc<str>) {
        if self.phase != Phase::Closed {
            self.phase = Phase::Down(Arc::clone(why));
        }
        self.waiting_len = 0;
        self.called |= !self.waiting.is_empty();
        for call in self.waiting.drain(..) {
            drop(call.reply.send(Err(CallError::Down { node: self.node, why: Arc::clone(why) })));
        }
    }

    /// The connection broke: what was sent has an unknown outcome, what was not waits for the next connection.
    pub(super) fn broken(&mut self, why: &Arc<str>) {
        if self.phase == Phase::Up {
            self.phase = Phase::Trying;
        }
        self.cancels.clear();
        for (_, reply) in std::mem::take(&mut self.pending) {
            drop(reply.send(Err(CallError::Lost { node: self.node, why: Arc::clone(why) })));
        }
    }

    /// The back-off is over.
    pub(super) fn rested(&mut self) {
        if matches!(self.phase, Phase::Down(_) | Phase::Trying)
            && !self.called
            && !self.kicked
            && self.waiting.is_empty()
        {
            self.phase = Phase::Parked;
        }
    }

    /// Fails what has not been sent, and refuses what comes.
    pub(super) fn refuse_new(&mut self) {
        self.phase = Phase::Closed;
        self.waiting_len = 0;
        for call in self.waiting.drain(..) {
            drop(call.reply.send(Err(CallError::Stopped)));
        }
    }
}

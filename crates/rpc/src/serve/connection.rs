//! One accepted connection: its calls run side by side on its task, and their answers share its writes.

use super::{answer, finish};
use crate::connect::Transport;
use crate::error;
use crate::frame::{BODY_LEN_MAX, Frame};
use crate::link::{DEAD_AFTER, PING_EVERY, WRITE_AHEAD_MAX};
use crate::service::Answer;
use crate::wire::Wire;
use crate::{CallError, Caller, Handlers, Refusal, Service};
use base::Disposition;
use bytes::Bytes;
use futures::StreamExt;
use futures::future::{AbortHandle, Abortable, Aborted, BoxFuture};
use futures::stream::FuturesUnordered;
use lifecycle::Cancelled;
use rt::time::Instant;
use std::collections::BTreeMap;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

/// What a member may have under way on one connection.
const MEMBER: Limits = Limits { calls: 4_096, bytes: 128 << 20 };
/// The same for a stranger.
const STRANGER: Limits = Limits { calls: 2, bytes: 128 << 10 };

struct Limits {
    calls: usize,
    bytes: usize,
}

/// A call under way.
struct Running {
    abort: AbortHandle,
    body_len: usize,
}

type Ended = (u64, Result<Answer, Aborted>);

pub(super) struct Connection {
    wire: Wire<Transport>,
    caller: Caller,
    handlers: Arc<Handlers>,
    limits: Limits,
    running: FuturesUnordered<BoxFuture<'static, Ended>>,
    calls: BTreeMap<u64, Running>,
    bytes: usize,
    stopping: bool,
}

impl Connection {
    pub(super) fn new(wire: Wire<Transport>, caller: Caller, handlers: Arc<Handlers>) -> Self {
        let limits = if caller.node.is_some() { MEMBER } else { STRANGER };
        Self {
            wire,
            caller,
            handlers,
            limits,
            running: FuturesUnordered::new(),
            calls: BTreeMap::new(),
            bytes: 0,
            stopping: false,
        }
    }

    /// Answers calls until the connection ends, or until the scope is cancelled and all calls under way are answered.
    /// Says why it ended. Dropping the future drops no call; dropping the connection does.
    pub(super) async fn run(&mut self, cancelled: &Cancelled) -> String {
        let end = tokio::select! {
            biased;
            () = cancelled.wait() => None,
            end = self.drive() => Some(end),
        };
        if let Some(end) = end {
            return end;
        }
        self.stopping = true;
        self.wire.push(0, &Frame::Goodbye("the node is stopping".to_owned()));
        self.drive().await
    }

    /// Says goodbye and closes in order.
    pub(super) async fn refuse(&mut self, why: &str) {
        if !self.stopping {
            self.wire.push(0, &Frame::Goodbye(why.to_owned()));
        }
        finish(&mut self.wire).await;
    }

    async fn drive(&mut self) -> String {
        let mut tick = Box::pin(rt::time::sleep(PING_EVERY));
        poll_fn(|cx| {
            while tick.as_mut().poll(cx).is_ready() {
                if self.wire.queued_len() >= WRITE_AHEAD_MAX {
                    // The other side does not read, so neither do we; the writes will show whether it is there.
                    self.wire.excuse_silence();
                }
                if self.wire.heard().elapsed() >= DEAD_AFTER {
                    return Poll::Ready(format!("nothing heard for {} ms", DEAD_AFTER.as_millis()));
                }
                tick = Box::pin(rt::time::sleep(PING_EVERY));
            }
            self.poll_drive(cx)
        })
        .await
    }

    fn poll_drive(&mut self, cx: &mut Context<'_>) -> Poll<String> {
        loop {
            while self.wire.queued_len() < WRITE_AHEAD_MAX
                && let Poll::Ready(next) = self.wire.poll_next(cx)
            {
                match next {
                    Ok((id, frame)) => {
                        if let Err(why) = self.take(id, frame) {
                            return Poll::Ready(why.to_owned());
                        }
                    }
                    Err(error) => return Poll::Ready(error.to_string()),
                }
            }
            while self.wire.queued_len() < WRITE_AHEAD_MAX
                && let Poll::Ready(Some((id, ended))) = self.running.poll_next_unpin(cx)
            {
                self.ended(id, ended);
            }
            let was_full = self.wire.queued_len() >= WRITE_AHEAD_MAX;
            match self.wire.poll_flush(cx) {
                Poll::Ready(Err(error)) => return Poll::Ready(error.to_string()),
                Poll::Ready(Ok(())) if self.stopping && self.calls.is_empty() => {
                    return Poll::Ready("the node is stopping".to_owned());
                }
                Poll::Ready(Ok(())) if was_full => {}
                Poll::Ready(Ok(())) | Poll::Pending => return Poll::Pending,
            }
        }
    }

    fn take(&mut self, id: u64, frame: Frame) -> Result<(), &'static str> {
        match frame {
            Frame::Call { service, method, deadline_ms, body } => {
                if self.calls.contains_key(&id) {
                    return Err("it used the id of a call under way again");
                }
                match self.admit(service, body.len()) {
                    Ok(()) => self.start(id, service, method, deadline_ms, body),
                    Err(refusal) => self.wire.push(id, &Frame::Refused(refusal)),
                }
                Ok(())
            }
            Frame::Cancel => {
                if let Some(call) = self.calls.remove(&id) {
                    self.bytes = self.bytes.saturating_sub(call.body_len);
                    call.abort.abort();
                }
                Ok(())
            }
            Frame::Ping => {
                self.wire.push(id, &Frame::Pong);
                Ok(())
            }
            Frame::Pong => Ok(()),
            Frame::Goodbye(_) | Frame::Hello(_) | Frame::Welcome { .. } | Frame::Answer(_) | Frame::Refused(_) => {
                Err("it sent a frame out of turn")
            }
        }
    }

    fn admit(&self, service: u16, body_len: usize) -> Result<(), Refusal> {
        if self.stopping {
            return Err(Refusal::of(&CallError::Stopped));
        }
        if self.caller.node.is_none() && service != Service::Join.code() {
            return Err(Refusal::new(
                error::STRANGER,
                Disposition::Refuse,
                "only members may call this; a stranger may join",
            ));
        }
        if self.calls.len() >= self.limits.calls || self.bytes.saturating_add(body_len) > self.limits.bytes {
            return Err(Refusal::new(
                error::BUSY,
                Disposition::Retry { after: Duration::from_millis(20) },
                "too many calls of this caller are under way here",
            ));
        }
        Ok(())
    }

    fn start(&mut self, id: u64, service: u16, method: u16, deadline_ms: u32, body: Bytes) {
        let body_len = body.len();
        let deadline = Instant::now() + Duration::from_millis(u64::from(deadline_ms));
        let caller = Caller { deadline, ..self.caller.clone() };
        let (abort, registration) = AbortHandle::new_pair();
        let answering = Abortable::new(answer(&self.handlers, &caller, service, method, body), registration);
        self.calls.insert(id, Running { abort, body_len });
        self.bytes = self.bytes.saturating_add(body_len);
        self.running.push(Box::pin(async move { (id, answering.await) }));
    }

    fn ended(&mut self, id: u64, ended: Result<Answer, Aborted>) {
        // A cancelled call has left the table already, and its id may be in use again.
        let Ok(answer) = ended else { return };
        if let Some(call) = self.calls.remove(&id) {
            self.bytes = self.bytes.saturating_sub(call.body_len);
        }
        let frame = match answer {
            Ok(body) if body.len() > BODY_LEN_MAX => {
                Frame::Refused(Refusal::of(&CallError::TooLarge { len: body.len(), max: BODY_LEN_MAX }))
            }
            Ok(body) => Frame::Answer(body),
            Err(refusal) => Frame::Refused(refusal),
        };
        self.wire.push(id, &frame);
    }
}

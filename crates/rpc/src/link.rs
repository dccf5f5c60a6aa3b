//! Calling one peer on one connection: the queue of calls, and the task that connects, reconnects and carries them.

mod queue;

use crate::connect::{self, ConnectError, Transport};
use crate::frame::Frame;
use crate::mesh::Shared;
use crate::wire::{Wire, WireError};
use crate::{CallError, Class, Service};
use base::NodeId;
use bytes::Bytes;
use lifecycle::Cancelled;
use queue::{Phase, Queue};
use rt::time::Instant;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::sync::{Notify, oneshot};

/// A ping goes out this often, so that the other side hears something.
pub(crate) const PING_EVERY: Duration = Duration::from_secs(1);
/// A connection on which nothing came for this long is dead: the machine or the network between is gone.
pub(crate) const DEAD_AFTER: Duration = Duration::from_millis(3_500);
/// While this much waits to be written nothing more is taken on.
pub(crate) const WRITE_AHEAD_MAX: usize = 1 << 20;
/// Waits between attempts to connect: doubled each time, and each cut by chance to between a half and the whole.
const BACK_OFF_MIN: Duration = Duration::from_millis(20);
const BACK_OFF_MAX: Duration = Duration::from_secs(1);
/// A connection that lived shorter than this does not reset the back-off.
const PROVEN_AFTER: Duration = Duration::from_secs(1);

/// This node's calls to one peer in one class.
///
/// ```text
///   Parked --call--> Trying --connected--> Up --broken--> Trying
///                    Trying --failed--> Down --back-off over, called meanwhile--> (tries; calls still fail at once) Up or Down
///                                       Down --back-off over, not called--> Parked
/// ```
#[derive(Debug)]
pub(crate) struct Link {
    node: NodeId,
    class: Class,
    queue: Mutex<Queue>,
    /// Wakes the task while it is connected: there is something to send.
    work: futures::task::AtomicWaker,
    /// Wakes the task while it is not: a call came, or the peer connected to us.
    wake: Notify,
}

/// How a connection ended.
enum End {
    /// The other side said goodbye and has answered everything.
    Left(String),
    /// It broke.
    Broken(WireError),
    /// Nothing came for too long.
    Silent,
    /// The other side sent a frame that has no place here.
    OutOfTurn,
    /// This side stopped, and everything is answered.
    Drained,
}

impl Link {
    pub(crate) fn new(node: NodeId, class: Class) -> Self {
        Self {
            node,
            class,
            queue: Mutex::new(Queue::new(node, class)),
            work: futures::task::AtomicWaker::new(),
            wake: Notify::new(),
        }
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One call. Cancel-safe, as [`Mesh::call`](crate::Mesh::call) says.
    pub(crate) async fn call(
        &self,
        service: Service,
        method: u16,
        body: Bytes,
        deadline: Duration,
    ) -> Result<Bytes, CallError> {
        let (reply, answer) = oneshot::channel();
        let id = self.queue().submit(service, method, body, Instant::now() + deadline, reply)?;
        self.wake_up();
        let mut ticket = Ticket { link: self, id: Some(id) };
        match rt::time::timeout(deadline, answer).await {
            Ok(answered) => {
                ticket.id = None;
                answered.unwrap_or(Err(CallError::Stopped))
            }
            Err(_) => Err(CallError::Deadline { node: self.node, deadline, sent: ticket.give_up() }),
        }
    }

    fn wake_up(&self) {
        self.work.wake();
        self.wake.notify_one();
    }

    /// The peer has just connected to us: if we wait to try again, now is the time.
    pub(crate) fn kick(&self) {
        if self.queue().kick() {
            self.wake.notify_one();
        }
    }

    /// Fails what waits and refuses what comes; the task ends, and what was sent is lost.
    pub(crate) fn close(&self) {
        self.queue().refuse_new();
        self.wake_up();
    }

    /// Runs until the scope is cancelled or the link is closed.
    pub(crate) async fn run(self: Arc<Self>, shared: Arc<Shared>, cancelled: Cancelled) {
        let _closing = Closing(&self);
        let mut back_off = BACK_OFF_MIN;
        while self.wanted(&cancelled).await {
            let Some(address) = shared.address(self.node) else {
                self.down(&shared, "its address is not known");
                break;
            };
            let material = shared.material();
            let connecting = connect::to_member(&material, self.node, &address, self.class);
            let connected = tokio::select! {
                biased;
                () = cancelled.wait() => break,
                connected = connecting => connected,
            };
            match connected {
                Ok(wire) => {
                    let since = Instant::now();
                    self.queue().phase = Phase::Up;
                    shared.link_is_up(self.node, self.class);
                    let why = self.carry(wire, &cancelled).await;
                    shared.heard_goodbye(&why);
                    let why: Arc<str> = why.into();
                    self.queue().broken(&why);
                    shared.link_is_lost(self.node, self.class, &why);
                    if since.elapsed() >= PROVEN_AFTER {
                        back_off = BACK_OFF_MIN;
                        continue;
                    }
                }
                Err(error) => {
                    if let ConnectError::Goodbye(why) = &error {
                        shared.heard_goodbye(why);
                    }
                    self.down(&shared, &format!("{address}: {error}"));
                }
            }
            self.rest(back_off, &cancelled).await;
            back_off = (back_off * 2).min(BACK_OFF_MAX);
            if std::mem::take(&mut self.queue().kicked) {
                back_off = BACK_OFF_MIN;
            }
        }
    }

    fn down(&self, shared: &Shared, why: &str) {
        let why: Arc<str> = why.into();
        self.queue().down(&why);
        shared.link_is_down(self.node, self.class, &why);
    }

    /// Waits until there is something to call for. False when there never will be.
    async fn wanted(&self, cancelled: &Cancelled) -> bool {
        loop {
            match self.queue().is_wanted() {
                Some(true) => return !cancelled.is_cancelled(),
                Some(false) => {}
                None => return false,
            }
            tokio::select! {
                biased;
                () = cancelled.wait() => return false,
                () = self.wake.notified() => {}
            }
        }
    }

    /// Waits out the back-off, or until the peer shows that it is there.
    async fn rest(&self, back_off: Duration, cancelled: &Cancelled) {
        let until = Instant::now() + jittered(back_off);
        loop {
            if self.queue().kicked {
                break;
            }
            tokio::select! {
                biased;
                () = cancelled.wait() => break,
                () = rt::time::sleep_until(until) => break,
                // Also told of every call that was refused; only a kick counts.
                () = self.wake.notified() => {}
            }
        }
        self.queue().rested();
    }

    /// Carries calls over a connection until it ends, and says how it ended.
    async fn carry(&self, mut wire: Wire<Transport>, cancelled: &Cancelled) -> String {
        let mut leaving = None;
        let end = tokio::select! {
            biased;
            () = cancelled.wait() => None,
            end = self.drive(&mut wire, &mut leaving, false) => Some(end),
        };
        let end = if let Some(end) = end {
            end
        } else {
            // What was not sent never will be; what was sent is still answered, until the scope loses patience.
            self.queue().refuse_new();
            self.drive(&mut wire, &mut leaving, true).await
        };
        match end {
            End::Left(why) => why,
            End::Broken(error) => error.to_string(),
            End::Silent => format!("nothing heard for {} ms", DEAD_AFTER.as_millis()),
            End::OutOfTurn => "it sent a frame out of turn".to_owned(),
            End::Drained => {
                // The stop is orderly either way; the other side learns of it from the end of the stream at the latest.
                let closing = poll_fn(|cx| wire.poll_shutdown(cx));
                if let Ok(Err(error)) = rt::time::timeout(PING_EVERY, closing).await {
                    tracing::debug!(node = %self.node, %error, "a connection did not close in order");
                }
                "this node is stopping".to_owned()
            }
        }
    }

    async fn drive(&self, wire: &mut Wire<Transport>, leaving: &mut Option<String>, draining: bool) -> End {
        let mut tick = Box::pin(rt::time::sleep(PING_EVERY));
        poll_fn(|cx| {
            while tick.as_mut().poll(cx).is_ready() {
                if wire.heard().elapsed() >= DEAD_AFTER {
                    return Poll::Ready(End::Silent);
                }
                wire.push(0, &Frame::Ping);
                tick = Box::pin(rt::time::sleep(PING_EVERY));
            }
            self.poll_drive(wire, leaving, draining, cx)
        })
        .await
    }

    fn poll_drive(
        &self,
        wire: &mut Wire<Transport>,
        leaving: &mut Option<String>,
        draining: bool,
        cx: &mut Context<'_>,
    ) -> Poll<End> {
        loop {
            while let Poll::Ready(next) = wire.poll_next(cx) {
                match next {
                    Ok((id, Frame::Answer(body))) => self.queue().finish(id, Ok(body)),
                    Ok((id, Frame::Refused(refusal))) => self.queue().finish(id, Err(CallError::Refused(refusal))),
                    Ok((_, Frame::Pong)) => {}
                    Ok((_, Frame::Goodbye(why))) => *leaving = Some(why),
                    Ok(_) => return Poll::Ready(End::OutOfTurn),
                    Err(error) => return Poll::Ready(End::Broken(error)),
                }
            }
            self.work.register(cx.waker());
            let more = {
                let mut queue = self.queue();
                if queue.is_closed() && !draining {
                    return Poll::Ready(End::Left("the node was removed".to_owned()));
                }
                let done = (draining || leaving.is_some()) && queue.nothing_pending();
                if done && wire.queued_len() == 0 {
                    return Poll::Ready(leaving.take().map_or(End::Drained, End::Left));
                }
                queue.send_to(wire, leaving.is_none() && !draining)
            };
            match Pin::new(&mut *wire).poll_flush(cx) {
                Poll::Ready(Err(error)) => return Poll::Ready(End::Broken(error.into())),
                Poll::Ready(Ok(())) if more => {}
                Poll::Ready(Ok(())) | Poll::Pending => return Poll::Pending,
            }
        }
    }
}

/// However the task ends, also when it is dropped: nobody waits for it any longer.
struct Closing<'a>(&'a Link);

impl Drop for Closing<'_> {
    fn drop(&mut self) {
        let mut queue = self.0.queue();
        queue.broken(&"this node is stopping".into());
        queue.refuse_new();
    }
}

/// Between a half and the whole of `d`.
fn jittered(d: Duration) -> Duration {
    let chance = rt::entropy::u64() % 1_024;
    let half = d / 2;
    half + half.mul_f64(f64::from(u16::try_from(chance).unwrap_or(0)) / 1_024.0)
}

/// A call under way. Its drop takes the call back.
struct Ticket<'a> {
    link: &'a Link,
    id: Option<u64>,
}

impl Ticket<'_> {
    /// Whether the call had been sent.
    fn give_up(&mut self) -> bool {
        let Some(id) = self.id.take() else { return false };
        let sent = self.link.queue().give_up(id);
        if sent {
            self.link.work.wake();
        }
        sent
    }
}

impl Drop for Ticket<'_> {
    fn drop(&mut self) {
        self.give_up();
    }
}

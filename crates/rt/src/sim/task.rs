//! How a simulated task is polled: on its node, sometimes after a nap, and perhaps not to its end.
//!
//! Without naps, tasks that are ready at the same time run in the order in which they were woken and never overtake each
//! other, so a simulation would see one interleaving of many. The nap is where the seed chooses.
//!
//! The futures of spawned tasks are listed on their node, so that a process that dies lets go of them in the order in which
//! they were started. Tokio's own order depends on task numbers that count through all runtimes of the process (measured:
//! two runs of one seed parted after one crash in twenty).

use super::node::{BeforePoll, Node};
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};

type Body = Pin<Box<dyn Future<Output = ()> + Send>>;

/// A spawned task's future; none when it is done, dropped, or being polled.
#[derive(Clone, Default)]
pub(super) struct Slot(Arc<Mutex<Option<Body>>>);

impl Slot {
    fn take(&self) -> Option<Body> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn put(&self, body: Body) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(body);
    }

    /// Drops the future, on its node: files, sockets and guards are given back there.
    pub(super) fn let_go(&self, node: &Node) {
        let body = self.take();
        node.enter(|| drop(body));
    }
}

/// When a task is polled.
struct Pace {
    node: Node,
    name: &'static str,
    polls: u64,
    nap: Option<Pin<Box<tokio::time::Sleep>>>,
}

impl Pace {
    fn new(node: Node, name: &'static str) -> Self {
        Self { node, name, polls: 0, nap: None }
    }

    /// Whether the task is polled now (true) or dropped (false).
    #[expect(clippy::disallowed_methods, reason = "a nap is in the world's time, not the node's")]
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<bool> {
        let mut rested = false;
        loop {
            if let Some(nap) = &mut self.nap {
                ready!(nap.as_mut().poll(cx));
                self.nap = None;
                rested = true;
            }
            match self.node.before_poll(self.name, self.polls, rested) {
                BeforePoll::Go => break,
                BeforePoll::Nap(duration) => self.nap = Some(Box::pin(tokio::time::sleep(duration))),
                BeforePoll::Never => return Poll::Pending,
                BeforePoll::Drop => return Poll::Ready(false),
            }
        }
        self.node.note_poll(self.name, self.polls);
        self.polls += 1;
        Poll::Ready(true)
    }
}

/// A spawned task of a simulated node. Its output is none if it was dropped half-way.
pub(crate) struct SimTask<T> {
    pace: Pace,
    slot: Slot,
    listed: u64,
    output: Arc<Mutex<Option<T>>>,
}

impl<T: Send + 'static> SimTask<T> {
    pub(crate) fn new(node: Node, name: &'static str, future: impl Future<Output = T> + Send + 'static) -> Self {
        let output = Arc::new(Mutex::new(None));
        let to = Arc::clone(&output);
        let slot = Slot::default();
        slot.put(Box::pin(async move {
            let output = future.await;
            *to.lock().unwrap_or_else(PoisonError::into_inner) = Some(output);
        }));
        let listed = node.list_task(slot.clone());
        Self { pace: Pace::new(node, name), slot, listed, output }
    }
}

impl<T> Future for SimTask<T> {
    type Output = Option<T>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if !ready!(self.pace.poll(cx)) {
            self.slot.let_go(&self.pace.node);
            return Poll::Ready(None);
        }
        let Some(mut body) = self.slot.take() else { return Poll::Ready(None) };
        let node = &self.pace.node;
        if node.enter(|| body.as_mut().poll(cx)).is_pending() {
            self.slot.put(body);
            return Poll::Pending;
        }
        node.enter(|| drop(body));
        Poll::Ready(self.output.lock().unwrap_or_else(PoisonError::into_inner).take())
    }
}

impl<T> Drop for SimTask<T> {
    fn drop(&mut self) {
        // The first task that a dead process's runtime drops takes all of them along, in order.
        self.pace.node.drop_tasks_if_dead();
        self.pace.node.unlist_task(self.listed);
        self.slot.let_go(&self.pace.node);
    }
}

/// A process's main task, which need not be `Send`.
pub(super) struct MainTask<F> {
    pace: Pace,
    future: Option<Pin<Box<F>>>,
}

impl<F> MainTask<F> {
    pub(super) fn new(node: Node, name: &'static str, future: F) -> Self {
        Self { pace: Pace::new(node, name), future: Some(Box::pin(future)) }
    }

    fn let_go(&mut self) {
        let future = self.future.take();
        self.pace.node.enter(|| drop(future));
    }
}

impl<F: Future> Future for MainTask<F> {
    type Output = Option<F::Output>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        if !ready!(this.pace.poll(cx)) {
            this.let_go();
            return Poll::Ready(None);
        }
        let Some(future) = &mut this.future else { return Poll::Ready(None) };
        let output = ready!(this.pace.node.enter(|| future.as_mut().poll(cx)));
        this.let_go();
        Poll::Ready(Some(output))
    }
}

impl<F> Drop for MainTask<F> {
    fn drop(&mut self) {
        self.pace.node.drop_tasks_if_dead();
        self.let_go();
    }
}

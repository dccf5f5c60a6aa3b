//! How a simulated task is polled: on its node, sometimes after a nap, and perhaps not to its end.
//!
//! Without naps, tasks that are ready at the same time run in the order in which they were woken and never overtake each
//! other, so a simulation would see one interleaving of many. The nap is where the seed chooses.

use super::node::{BeforePoll, Node};
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

/// A task of a simulated node. Its output is none if it was dropped half-way.
pub(crate) struct SimTask<F: Future> {
    node: Node,
    name: &'static str,
    future: Option<Pin<Box<F>>>,
    polls: u64,
    nap: Option<Pin<Box<tokio::time::Sleep>>>,
}

impl<F: Future> SimTask<F> {
    pub(crate) fn new(node: Node, name: &'static str, future: F) -> Self {
        Self { node, name, future: Some(Box::pin(future)), polls: 0, nap: None }
    }

    fn let_go(&mut self) {
        let future = self.future.take();
        // What the future holds is given back on its node: files, sockets, guards.
        self.node.clone().enter(|| drop(future));
    }
}

impl<F: Future> Future for SimTask<F> {
    type Output = Option<F::Output>;

    #[expect(clippy::disallowed_methods, reason = "a nap is in the world's time, not the node's")]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        let mut rested = false;
        loop {
            if let Some(nap) = &mut this.nap {
                ready!(nap.as_mut().poll(cx));
                this.nap = None;
                rested = true;
            }
            match this.node.before_poll(this.name, this.polls, rested) {
                BeforePoll::Go => break,
                BeforePoll::Nap(duration) => this.nap = Some(Box::pin(tokio::time::sleep(duration))),
                BeforePoll::Never => return Poll::Pending,
                BeforePoll::Drop => {
                    this.let_go();
                    return Poll::Ready(None);
                }
            }
        }
        this.polls += 1;
        let Some(future) = &mut this.future else { return Poll::Ready(None) };
        let output = ready!(this.node.clone().enter(|| future.as_mut().poll(cx)));
        this.let_go();
        Poll::Ready(Some(output))
    }
}

impl<F: Future> Drop for SimTask<F> {
    fn drop(&mut self) {
        self.let_go();
    }
}

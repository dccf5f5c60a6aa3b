//! The last value of something, and a way to wait for the next: tokio's `watch`, with one difference.
//!
//! Tokio spreads the waiters over eight lists by a thread's random number, so two runs of one seed would wake them in two
//! orders (measured: one run of five differed). Here waiters are woken in the order in which they came.

use std::collections::BTreeMap;
use std::fmt;
use std::future::poll_fn;
use std::ops::Deref;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard};
use std::task::{Context, Poll, Waker};

/// The end that sets the value. Clones set the same value; when the last one is dropped, waiting receivers get an error.
pub struct Sender<T>(Arc<Shared<T>>);

/// The end that sees the value. Each clone remembers on its own what it has seen.
pub struct Receiver<T> {
    shared: Arc<Shared<T>>,
    seen: u64,
}

/// A look at the value. Do not keep it: while it lives nobody can set another.
#[derive(Debug)]
pub struct Ref<'a, T> {
    value: RwLockReadGuard<'a, T>,
    has_changed: bool,
}

/// Nobody looks any more; the value comes back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SendError<T>(pub T);

/// Nobody sets the value any more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecvError(());

struct Shared<T> {
    value: RwLock<T>,
    state: Mutex<State>,
}

struct State {
    version: u64,
    senders: usize,
    receivers: usize,
    next_ticket: u64,
    waiters: BTreeMap<u64, Waker>,
    /// Senders that wait until nobody looks.
    closers: BTreeMap<u64, Waker>,
}

/// A value and its first pair of ends. The first receiver has seen the first value.
pub fn channel<T>(value: T) -> (Sender<T>, Receiver<T>) {
    let state = State {
        version: 0,
        senders: 1,
        receivers: 1,
        next_ticket: 0,
        waiters: BTreeMap::new(),
        closers: BTreeMap::new(),
    };
    let shared = Arc::new(Shared { value: RwLock::new(value), state: Mutex::new(state) });
    (Sender(Arc::clone(&shared)), Receiver { shared, seen: 0 })
}

impl<T> Shared<T> {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn read(&self) -> RwLockReadGuard<'_, T> {
        self.value.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the value; if `change` says so, it counts as a new one and wakes everybody.
    fn change(&self, change: impl FnOnce(&mut T) -> bool) -> bool {
        let mut value = self.value.write().unwrap_or_else(PoisonError::into_inner);
        if !change(&mut value) {
            return false;
        }
        // Under the lock of the value: whoever reads it sees the version that belongs to it.
        let mut state = self.state();
        state.version += 1;
        let waiters = std::mem::take(&mut state.waiters);
        drop(state);
        drop(value);
        wake(waiters);
        true
    }
}

fn wake(waiters: BTreeMap<u64, Waker>) {
    for waker in waiters.into_values() {
        waker.wake();
    }
}

impl<T> Sender<T> {
    /// A value that nobody looks at yet.
    pub fn new(value: T) -> Self {
        channel(value).0
    }

    /// Sets the value, if anybody looks.
    pub fn send(&self, value: T) -> Result<(), SendError<T>> {
        if self.receiver_count() == 0 {
            return Err(SendError(value));
        }
        self.send_replace(value);
        Ok(())
    }

    /// Sets the value, whether anybody looks or not; the old one comes back.
    pub fn send_replace(&self, value: T) -> T {
        let mut value = value;
        self.send_modify(|old| std::mem::swap(old, &mut value));
        value
    }

    /// Changes the value in place.
    pub fn send_modify(&self, change: impl FnOnce(&mut T)) {
        self.0.change(|value| {
            change(value);
            true
        });
    }

    /// Changes the value in place; it counts as new only if `change` returns true, and so does this.
    pub fn send_if_modified(&self, change: impl FnOnce(&mut T) -> bool) -> bool {
        self.0.change(change)
    }

    /// Looks at the value.
    pub fn borrow(&self) -> Ref<'_, T> {
        Ref { value: self.0.read(), has_changed: false }
    }

    /// A receiver that has seen the present value.
    pub fn subscribe(&self) -> Receiver<T> {
        let mut state = self.0.state();
        state.receivers += 1;
        Receiver { shared: Arc::clone(&self.0), seen: state.version }
    }

    /// How many look.
    pub fn receiver_count(&self) -> usize {
        self.0.state().receivers
    }

    /// Whether nobody looks.
    pub fn is_closed(&self) -> bool {
        self.receiver_count() == 0
    }

    /// Waits until nobody looks. Cancel-safe.
    pub async fn closed(&self) {
        let mut ticket = Ticket { shared: &self.0, place: None };
        poll_fn(|cx| ticket.poll(cx)).await;
    }
}

/// A place among those who wait for the last receiver to go.
struct Ticket<'a, T> {
    shared: &'a Shared<T>,
    place: Option<u64>,
}

impl<T> Ticket<'_, T> {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let mut state = self.shared.state();
        if state.receivers == 0 {
            return Poll::Ready(());
        }
        let place = state.place(self.place);
        state.closers.insert(place, cx.waker().clone());
        self.place = Some(place);
        Poll::Pending
    }
}

impl<T> Drop for Ticket<'_, T> {
    fn drop(&mut self) {
        if let Some(place) = self.place {
            self.shared.state().closers.remove(&place);
        }
    }
}

impl State {
    fn place(&mut self, old: Option<u64>) -> u64 {
        old.unwrap_or_else(|| {
            self.next_ticket += 1;
            self.next_ticket
        })
    }
}

impl<T> Receiver<T> {
    /// Looks at the value, which does not count as having seen it.
    pub fn borrow(&self) -> Ref<'_, T> {
        let value = self.shared.read();
        let has_changed = self.shared.state().version != self.seen;
        Ref { value, has_changed }
    }

    /// Looks at the value and has seen it.
    pub fn borrow_and_update(&mut self) -> Ref<'_, T> {
        let value = self.shared.read();
        let version = self.shared.state().version;
        let has_changed = std::mem::replace(&mut self.seen, version) != version;
        Ref { value, has_changed }
    }

    /// Whether there is a value that was not seen; an error if there never will be one.
    pub fn has_changed(&self) -> Result<bool, RecvError> {
        let state = self.shared.state();
        if state.senders == 0 { Err(RecvError(())) } else { Ok(state.version != self.seen) }
    }

    /// The next [`changed`](Self::changed) returns at once.
    pub fn mark_changed(&mut self) {
        self.seen = self.seen.wrapping_sub(1);
    }

    /// The present value counts as seen.
    pub fn mark_unchanged(&mut self) {
        self.seen = self.shared.state().version;
    }

    /// Waits for a value that was not seen, and has seen it then. Cancel-safe.
    pub async fn changed(&mut self) -> Result<(), RecvError> {
        self.wait().changed().await
    }

    /// Waits until the value is as `wanted`, also if it is so already. Cancel-safe.
    pub async fn wait_for(&mut self, mut wanted: impl FnMut(&T) -> bool) -> Result<Ref<'_, T>, RecvError> {
        let mut wait = self.wait();
        let shared = wait.shared;
        loop {
            {
                let value = shared.read();
                *wait.seen = shared.state().version;
                if wanted(&value) {
                    return Ok(Ref { value, has_changed: true });
                }
            }
            wait.changed().await?;
        }
    }

    fn wait(&mut self) -> Wait<'_, T> {
        Wait { shared: &self.shared, seen: &mut self.seen, place: None }
    }

    /// Whether both are ends of one channel.
    pub fn same_channel(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.shared, &other.shared)
    }
}

/// A wait for a value; leaves the waiters when it is over or given up.
struct Wait<'a, T> {
    shared: &'a Shared<T>,
    seen: &'a mut u64,
    place: Option<u64>,
}

impl<T> Wait<'_, T> {
    async fn changed(&mut self) -> Result<(), RecvError> {
        poll_fn(|cx| self.poll(cx)).await
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), RecvError>> {
        let mut state = self.shared.state();
        if state.version != *self.seen {
            *self.seen = state.version;
            return Poll::Ready(Ok(()));
        }
        if state.senders == 0 {
            return Poll::Ready(Err(RecvError(())));
        }
        let place = state.place(self.place);
        state.waiters.insert(place, cx.waker().clone());
        self.place = Some(place);
        Poll::Pending
    }
}

impl<T> Drop for Wait<'_, T> {
    fn drop(&mut self) {
        if let Some(place) = self.place {
            self.shared.state().waiters.remove(&place);
        }
    }
}

impl<T> Ref<'_, T> {
    /// Whether the receiver that looks had not seen this value.
    pub fn has_changed(&self) -> bool {
        self.has_changed
    }
}

impl<T> Deref for Ref<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Self {
        self.0.state().senders += 1;
        Self(Arc::clone(&self.0))
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.senders -= 1;
        let waiters = if state.senders == 0 { std::mem::take(&mut state.waiters) } else { BTreeMap::new() };
        drop(state);
        wake(waiters);
    }
}

impl<T: Default> Default for Sender<T> {
    fn default() -> Self {
        Self::new(T::default())
    }
}

impl<T> Clone for Receiver<T> {
    fn clone(&self) -> Self {
        self.shared.state().receivers += 1;
        Self { shared: Arc::clone(&self.shared), seen: self.seen }
    }
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        let mut state = self.shared.state();
        state.receivers -= 1;
        let closers = if state.receivers == 0 { std::mem::take(&mut state.closers) } else { BTreeMap::new() };
        drop(state);
        wake(closers);
    }
}

impl<T: fmt::Debug> fmt::Debug for Sender<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Sender").field(&*self.borrow()).finish()
    }
}

impl<T: fmt::Debug> fmt::Debug for Receiver<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Receiver").field(&*self.borrow()).finish()
    }
}

impl<T> fmt::Display for SendError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("nobody looks at the value any more")
    }
}

impl fmt::Display for RecvError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("nobody sets the value any more")
    }
}

impl<T: fmt::Debug> std::error::Error for SendError<T> {}

impl std::error::Error for RecvError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_waiter_sees_the_last_value_and_each_value_counts_once() {
        let (sender, mut receiver) = channel(1);
        assert_eq!(*receiver.borrow(), 1);
        assert!(!receiver.has_changed().unwrap());
        sender.send(2).unwrap();
        sender.send_modify(|v| *v += 1);
        receiver.changed().await.unwrap();
        assert_eq!(*receiver.borrow_and_update(), 3);
        assert!(!receiver.has_changed().unwrap());
        assert!(!sender.send_if_modified(|_| false));
        assert!(!receiver.has_changed().unwrap());
        receiver.mark_changed();
        receiver.changed().await.unwrap();
    }

    #[tokio::test]
    async fn waiters_wake_in_the_order_in_which_they_came() {
        let (sender, receiver) = channel(0);
        let order = Arc::new(Mutex::new(Vec::new()));
        #[expect(clippy::disallowed_methods, reason = "the seam's own test")]
        let tasks: Vec<_> = (0..20)
            .map(|n| {
                let (mut receiver, order) = (receiver.clone(), Arc::clone(&order));
                tokio::spawn(async move {
                    receiver.changed().await.unwrap();
                    order.lock().unwrap().push(n);
                })
            })
            .collect();
        tokio::task::yield_now().await;
        sender.send(1).unwrap();
        for task in tasks {
            task.await.unwrap();
        }
        assert_eq!(*order.lock().unwrap(), (0..20).collect::<Vec<_>>());
    }

    #[tokio::test]
    async fn the_end_of_one_side_is_seen_by_the_other() {
        let (sender, mut receiver) = channel(0);
        let second = sender.clone();
        drop(sender);
        second.send(1).unwrap();
        drop(second);
        assert!(receiver.changed().await.is_ok(), "the last value is still to be seen");
        assert!(receiver.changed().await.is_err());
        let (sender, receiver) = channel(0);
        let watch = async {
            sender.closed().await;
            assert_eq!(sender.send(1), Err(SendError(1)));
            assert_eq!(sender.send_replace(2), 0);
            assert_eq!(*sender.subscribe().borrow(), 2);
        };
        let leave = async { drop(receiver) };
        tokio::join!(watch, leave);
    }

    #[tokio::test]
    async fn a_wait_that_is_given_up_leaves_no_waker_behind() {
        let (sender, mut receiver) = channel(0);
        let give_up = tokio::select! {
            biased;
            _ = receiver.changed() => false,
            () = tokio::task::yield_now() => true,
        };
        assert!(give_up);
        assert!(sender.0.state().waiters.is_empty());
        sender.send(5).unwrap();
        assert_eq!(*receiver.wait_for(|v| *v == 5).await.unwrap(), 5);
    }

    #[test]
    fn no_value_is_missed_between_threads() {
        let (sender, receiver) = channel(0_u64);
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap();
        runtime.block_on(async {
            #[expect(clippy::disallowed_methods, reason = "the seam's own test")]
            let waits: Vec<_> = (0..4)
                .map(|_| {
                    let mut receiver = receiver.clone();
                    tokio::spawn(async move { *receiver.wait_for(|v| *v == 10_000).await.unwrap() })
                })
                .collect();
            for n in 1..=10_000 {
                sender.send_replace(n);
                if n % 1000 == 0 {
                    tokio::task::yield_now().await;
                }
            }
            for wait in waits {
                assert_eq!(wait.await.unwrap(), 10_000);
            }
        });
    }
}

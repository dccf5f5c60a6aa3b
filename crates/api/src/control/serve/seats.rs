//! Who is served at the moment, and who goes when somebody new comes and all places are taken: who has been silent for longest.

use axum::body::{Body, Bytes};
use hyper::body::{Frame, SizeHint};
use rt::time::Instant;
use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use tokio::sync::Notify;

/// The connections of a listener.
#[derive(Debug, Clone)]
pub(super) struct Seats(Arc<Hall>);

#[derive(Debug)]
struct Hall {
    max: usize,
    taken: Mutex<Taken>,
    left: Notify,
}

#[derive(Debug, Default)]
struct Taken {
    last: u64,
    by: BTreeMap<u64, Guest>,
}

#[derive(Debug)]
struct Guest {
    /// Requests that are not answered to the end.
    asks: usize,
    silent_since: Instant,
    told_to_go: Arc<Notify>,
}

impl Seats {
    pub(super) fn new(max: usize) -> Self {
        Self(Arc::new(Hall { max, taken: Mutex::default(), left: Notify::new() }))
    }

    /// A place, once there is one: if there is none, who has been silent for longest is told to go. Waits only while all others are
    /// being answered. Cancel-safe.
    pub(super) async fn take(&self) -> Seat {
        loop {
            let left = self.0.left.notified();
            if let Some(seat) = self.sit() {
                return seat;
            }
            left.await;
        }
    }

    /// A place, if there is one; else somebody is told to go.
    fn sit(&self) -> Option<Seat> {
        let mut taken = self.lock();
        if taken.by.len() < self.0.max {
            taken.last += 1;
            let (number, told_to_go) = (taken.last, Arc::new(Notify::new()));
            let guest = Guest { asks: 0, silent_since: Instant::now(), told_to_go: Arc::clone(&told_to_go) };
            taken.by.insert(number, guest);
            return Some(Seat { seats: self.clone(), number, told_to_go });
        }
        let silent = taken.by.values().filter(|guest| guest.asks == 0).min_by_key(|guest| guest.silent_since);
        if let Some(silent) = silent {
            silent.told_to_go.notify_one();
        }
        None
    }

    fn lock(&self) -> MutexGuard<'_, Taken> {
        self.0.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One connection's place, until this is dropped.
#[derive(Debug)]
pub(super) struct Seat {
    seats: Seats,
    number: u64,
    told_to_go: Arc<Notify>,
}

impl Seat {
    /// Completes when the place is wanted for somebody else.
    pub(super) async fn told_to_go(&self) {
        self.told_to_go.notified().await;
    }

    /// Whether no request is being answered.
    pub(super) fn is_silent(&self) -> bool {
        self.seats.lock().by.get(&self.number).is_none_or(|guest| guest.asks == 0)
    }

    /// What counts this connection's requests.
    pub(super) fn counter(&self) -> Counter {
        Counter { seats: self.seats.clone(), number: self.number }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.seats.lock().by.remove(&self.number);
        self.seats.0.left.notify_one();
    }
}

/// Counts the requests of one connection.
#[derive(Debug, Clone)]
pub(super) struct Counter {
    seats: Seats,
    number: u64,
}

impl Counter {
    /// A request has come; it is answered when what is returned is dropped.
    pub(super) fn ask(&self) -> Asking {
        if let Some(guest) = self.seats.lock().by.get_mut(&self.number) {
            guest.asks += 1;
        }
        Asking(self.clone())
    }
}

/// A request that is being answered.
#[derive(Debug)]
pub(super) struct Asking(Counter);

impl Drop for Asking {
    fn drop(&mut self) {
        let Counter { seats, number } = &self.0;
        if let Some(guest) = seats.lock().by.get_mut(number) {
            guest.asks = guest.asks.saturating_sub(1);
            guest.silent_since = Instant::now();
        }
        // Somebody may have found all others being answered.
        seats.0.left.notify_one();
    }
}

impl Asking {
    /// The answer's body, with which the request ends.
    pub(super) fn until_sent(self, body: Body) -> Body {
        Body::new(Answer { body, _asking: self })
    }
}

struct Answer {
    body: Body,
    _asking: Asking,
}

impl hyper::body::Body for Answer {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt;
    use std::pin::pin;
    use std::time::Duration;

    #[tokio::test]
    async fn who_was_silent_for_longest_goes_for_who_comes_and_nobody_who_is_being_answered() {
        let seats = Seats::new(2);
        let (first, second) = (seats.take().await, seats.take().await);
        drop(first.counter().ask());
        assert!(seats.take().now_or_never().is_none());
        assert!(second.told_to_go().now_or_never().is_some(), "the first one asked since");
        assert!(first.told_to_go().now_or_never().is_none());
        drop(second);
        let third = seats.take().await;
        let (asks, other) = (first.counter().ask(), third.counter().ask());
        let come = rt::time::timeout(Duration::from_millis(20), seats.take()).await;
        assert!(come.is_err(), "all are being answered");
        let mut waiting = pin!(seats.take());
        assert!(waiting.as_mut().now_or_never().is_none());
        drop(asks);
        assert!(waiting.as_mut().now_or_never().is_none(), "the first one is told to go");
        first.told_to_go().await;
        drop(first);
        drop(waiting.await);
        drop(other);
    }
}

//! How many queries are answered at once, and whose answer is cut off when others wait: that of the client which has taken nothing of it for
//! longest. Without that, a few clients that read slowly stop all others.
//!
//! ```text
//!   Free --a query takes it--> Working --a piece is made--> Resting --the client takes the piece--> Working ...
//!    ^                            |                            |
//!    +----the answer's end--------+        +--others wait------+
//!    +-------------------------------------+
//! ```

use axum::body::{Body, Bytes};
use futures::StreamExt;
use futures::stream::BoxStream;
use rt::time::Instant;
use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Who has taken nothing for this long gives way.
const REST_MAX: Duration = Duration::from_secs(1);
/// How often one that waits for a place looks who rests.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// The places of one node. Clones are the same.
#[derive(Clone)]
pub(super) struct Places(Arc<Hall>);

struct Hall {
    free: Arc<Semaphore>,
    resting: Mutex<Resting>,
}

#[derive(Default)]
struct Resting {
    last: u64,
    answers: BTreeMap<u64, (Instant, Rest)>,
}

/// The rest of an answer, and its place.
struct Rest {
    pieces: BoxStream<'static, Bytes>,
    _place: Place,
}

/// A place, until this is dropped.
pub(super) struct Place {
    _permit: OwnedSemaphorePermit,
}

/// What a client learns last of an answer that is cut off.
#[derive(Clone)]
pub(super) enum Cut {
    /// It is told so.
    Said(Bytes),
    /// Nothing can be said at that point: the connection breaks.
    Broken,
}

impl Places {
    pub(super) fn new(places: usize) -> Self {
        Self(Arc::new(Hall { free: Arc::new(Semaphore::new(places)), resting: Mutex::default() }))
    }

    /// A place. Waits for others, but not longer than `patience`; none then. Cancel-safe.
    pub(super) async fn take(&self, patience: Duration) -> Option<Place> {
        let deadline = Instant::now() + patience;
        loop {
            let until = deadline.min(Instant::now() + LOOK_EVERY);
            if let Ok(taken) = rt::time::timeout_at(until, Arc::clone(&self.0.free).acquire_owned()).await {
                return Some(Place { _permit: taken.ok()? });
            }
            if until == deadline {
                return None;
            }
            self.cut_one_off();
        }
    }

    /// Takes the place of the answer that has rested for longest.
    fn cut_one_off(&self) {
        let mut resting = self.lock();
        let longest =
            resting.answers.iter().min_by_key(|(_, (since, _))| *since).map(|(&number, (since, _))| (number, *since));
        let rest =
            longest.filter(|(_, since)| since.elapsed() >= REST_MAX).and_then(|(n, _)| resting.answers.remove(&n));
        drop(resting);
        drop(rest);
    }

    /// A body that has its place until it is sent, or cut off.
    pub(super) fn body(&self, place: Place, pieces: BoxStream<'static, Bytes>, cut: Cut) -> Body {
        let answer = Answer { places: self.clone(), number: self.rest(Rest { pieces, _place: place }) };
        let body = futures::stream::unfold(Some((answer, cut)), async |state| {
            let (mut answer, cut) = state?;
            let Some(mut rest) = answer.places.wake(answer.number) else {
                let last = match cut {
                    Cut::Said(last) => Ok(last),
                    Cut::Broken => Err(io::Error::other("it was taken too slowly, and others waited")),
                };
                return Some((last, None));
            };
            let piece = rest.pieces.next().await?;
            answer.number = answer.places.rest(rest);
            Some((Ok(piece), Some((answer, cut))))
        });
        Body::from_stream(body)
    }

    fn rest(&self, rest: Rest) -> u64 {
        let mut resting = self.lock();
        resting.last += 1;
        let number = resting.last;
        resting.answers.insert(number, (Instant::now(), rest));
        number
    }

    fn wake(&self, number: u64) -> Option<Rest> {
        self.lock().answers.remove(&number).map(|(_, rest)| rest)
    }

    fn lock(&self) -> MutexGuard<'_, Resting> {
        self.0.resting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An answer on its way. Its client may hang up at any time.
struct Answer {
    places: Places,
    number: u64,
}

impl Drop for Answer {
    fn drop(&mut self) {
        drop(self.places.wake(self.number));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::BodyExt;

    fn three() -> BoxStream<'static, Bytes> {
        futures::stream::iter(["a", "b", "c"].map(|piece| Bytes::from_static(piece.as_bytes()))).boxed()
    }

    async fn piece(body: &mut Body) -> Option<Result<Bytes, ()>> {
        Some(body.frame().await?.map(|frame| frame.into_data().unwrap()).map_err(drop))
    }

    #[tokio::test]
    async fn who_takes_nothing_gives_way_to_who_waits_and_learns_of_it() {
        let places = Places::new(2);
        let wait = Duration::from_millis(10);
        let place = async || places.take(wait).await.unwrap();
        let mut slow = places.body(place().await, three(), Cut::Said(Bytes::from_static(b"!")));
        let mut document = places.body(place().await, three(), Cut::Broken);
        assert_eq!(piece(&mut slow).await, Some(Ok("a".into())));
        assert!(places.take(wait).await.is_none(), "both have rested for a moment only");
        rt::time::sleep(REST_MAX).await;
        let patience = Duration::from_secs(2);
        let (mut first, _second) = (places.take(patience).await.unwrap(), places.take(patience).await.unwrap());
        assert_eq!(piece(&mut slow).await, Some(Ok("!".into())));
        assert_eq!(piece(&mut slow).await, None);
        assert_eq!(piece(&mut document).await, Some(Err(())));
        for hangs_up in [true, false] {
            let mut body = places.body(first, three(), Cut::Broken);
            assert_eq!(piece(&mut body).await, Some(Ok("a".into())));
            if hangs_up {
                drop(body);
            } else {
                assert_eq!(body.collect().await.unwrap().to_bytes(), "bc");
            }
            first = place().await;
        }
    }
}

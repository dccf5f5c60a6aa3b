//! Requests that are still arriving: how much memory they may hold all together, and how long each may take.

use rt::time::Instant;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// So much of each request counts as nothing: small requests never wait for large ones.
const FREE_BYTES: usize = 64 << 10;
/// How long a request may take that comes slowest: so long at first, and one second more for each so many bytes.
const PATIENCE: Duration = Duration::from_secs(30);
const PACE_BYTES: u32 = 64 << 10;
/// How long a request waits for the memory that others hold.
const ROOM_WAIT_MAX: Duration = Duration::from_secs(5);

/// The memory of all requests that arrive through one way in. Clones are the same.
#[derive(Debug, Clone)]
pub(crate) struct Intake(Arc<Semaphore>);

impl Default for Intake {
    /// Room for twice the longest request that there is, and for thousands of ordinary ones.
    fn default() -> Self {
        Self::new(128 << 20)
    }
}

impl Intake {
    /// Room for so many bytes.
    pub(crate) fn new(bytes: usize) -> Self {
        Self(Arc::new(Semaphore::new(kib(bytes))))
    }

    /// A request begins to arrive.
    pub(crate) fn begin(&self) -> Arriving {
        Arriving { room: Arc::clone(&self.0), held: None, begun: Instant::now(), bytes: 0 }
    }
}

/// One request that arrives, and its memory until this is dropped.
#[derive(Debug)]
pub(crate) struct Arriving {
    room: Arc<Semaphore>,
    held: Option<OwnedSemaphorePermit>,
    begun: Instant,
    bytes: usize,
}

/// There was no room for a request beside the others that arrive.
#[derive(Debug, thiserror::Error)]
#[error("other large requests are arriving, and the memory for them is used up")]
pub(crate) struct Crowded;

impl Arriving {
    /// So many bytes are here by now. Waits for room if it has to. Cancel-safe.
    pub(crate) async fn grow(&mut self, bytes: usize) -> Result<(), Crowded> {
        self.bytes = self.bytes.max(bytes);
        let held = self.held.as_ref().map_or(0, OwnedSemaphorePermit::num_permits);
        let more = kib(self.bytes.saturating_sub(FREE_BYTES)).saturating_sub(held);
        if more == 0 {
            return Ok(());
        }
        let more = u32::try_from(more).map_err(|_| Crowded)?;
        let room = rt::time::timeout(ROOM_WAIT_MAX, Arc::clone(&self.room).acquire_many_owned(more)).await;
        let Ok(Ok(room)) = room else { return Err(Crowded) };
        match &mut self.held {
            Some(held) => held.merge(room),
            None => self.held = Some(room),
        }
        Ok(())
    }

    /// When the request has to be whole, as much of it as there is by now.
    pub(crate) fn deadline(&self) -> Instant {
        self.begun + PATIENCE + Duration::from_secs(1) * u32::try_from(self.bytes).unwrap_or(u32::MAX) / PACE_BYTES
    }
}

fn kib(bytes: usize) -> usize {
    bytes.div_ceil(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn small_requests_wait_for_nobody_and_large_ones_for_each_other() {
        let intake = Intake::new(1 << 20);
        let mut first = intake.begin();
        first.grow(900 << 10).await.unwrap();
        first.grow(1000 << 10).await.unwrap();
        let mut small = intake.begin();
        small.grow(FREE_BYTES).await.unwrap();
        let mut second = intake.begin();
        second.grow(80 << 10).await.unwrap();
        second.grow(300 << 10).await.unwrap_err();
        drop(first);
        second.grow(300 << 10).await.unwrap();
        intake.begin().grow(2 << 20).await.unwrap_err();
    }

    #[tokio::test(start_paused = true)]
    async fn the_deadline_moves_with_what_has_come() {
        let mut arriving = Intake::default().begin();
        let first = arriving.deadline();
        arriving.grow(1 << 20).await.unwrap();
        assert_eq!(arriving.deadline(), first + Duration::from_secs(16));
    }
}

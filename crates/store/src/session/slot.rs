//! The writer's slot of a database, as one session holds it.

use crate::StoreError;
use crate::database::Database;
use std::time::Duration;
use tokio::sync::OwnedSemaphorePermit;

/// Proof that this session may write. The queue behind it is fair; dropping it lets the next one in.
#[derive(Debug)]
pub(super) struct Slot {
    _permit: OwnedSemaphorePermit,
    /// The reign in which it was taken: commits made under it are awaited in this reign, and none can be made in another.
    pub(super) reign: u64,
}

impl Slot {
    /// Waits for the right to the slot, first come first served. Cancel-safe: a dropped wait leaves the queue.
    pub(super) async fn wait(database: &Database, wait_max: Duration) -> Result<OwnedSemaphorePermit, StoreError> {
        database.check_leading()?;
        let queue = database.slot_queue();
        let permit = if let Ok(permit) = std::sync::Arc::clone(&queue).try_acquire_owned() {
            permit
        } else {
            let mut leadership = database.leadership();
            tokio::select! {
                biased;
                permit = rt::time::timeout(wait_max, queue.acquire_owned()) => match permit {
                    Ok(Ok(permit)) => permit,
                    Ok(Err(_closed)) => return Err(StoreError::NotOpen { state: "closing" }),
                    Err(_elapsed) => return Err(StoreError::Busy { waited: wait_max }),
                },
                lost = database.leadership_lost(&mut leadership) => return Err(lost),
            }
        };
        // Leadership may have gone while this waited.
        database.check_leading()?;
        Ok(permit)
    }

    /// The slot, with the right to it and the reign in which the connection was granted to write.
    pub(super) fn new(permit: OwnedSemaphorePermit, reign: u64) -> Self {
        Self { _permit: permit, reign }
    }
}

//! The service manager that started the daemon, if one did (`sd_notify`): it is told where the daemon is in its life, and its
//! watchdog is fed while the daemon makes progress.

use lifecycle::Scope;
use sd_notify::NotifyState;
use std::time::Duration;

/// The way to the service manager.
#[derive(Debug, Clone, Copy)]
pub(super) struct ServiceManager {
    /// False where a node must not speak for the process: several nodes in one, or a simulated one.
    is_told: bool,
}

impl ServiceManager {
    pub(super) const fn new(is_told: bool) -> Self {
        Self { is_told }
    }

    /// Tells it something; nobody listening is fine.
    pub(super) fn tell(self, states: &[NotifyState<'_>]) {
        if self.is_told
            && let Err(error) = sd_notify::notify(states)
        {
            tracing::debug!(%error, "the service manager was not told");
        }
    }

    /// Feeds its watchdog if it has one, twice in the time after which it would end the daemon. Never ends; stops feeding when it
    /// is dropped, or while no task gets a turn.
    pub(super) async fn feed(self) -> std::convert::Infallible {
        let patience = if self.is_told { sd_notify::watchdog_enabled() } else { None };
        match patience {
            Some(patience) => feed_every(patience / 2, || self.tell(&[NotifyState::Watchdog])).await,
            None => std::future::pending().await,
        }
    }
}

/// Each meal is preceded by a task of its own: the caller may run on a thread that still turns while all others are stuck.
async fn feed_every(pause: Duration, feed: impl Fn()) -> std::convert::Infallible {
    let scope = Scope::new("watchdog");
    loop {
        drop(scope.spawn("sign of life", async {}).await);
        feed();
        rt::time::sleep(pause).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::mpsc;

    #[test]
    fn a_daemon_whose_tasks_get_no_turn_is_not_fed() {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let meals = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&meals);
        let scope = Scope::new("test");
        let (stuck, is_stuck) = mpsc::channel();
        let (release, released) = mpsc::channel::<()>();
        runtime.block_on(async {
            let feeding = feed_every(Duration::from_millis(1), move || {
                counted.fetch_add(1, Ordering::SeqCst);
            });
            drop(scope.spawn_droppable("feed", feeding));
            while meals.load(Ordering::SeqCst) < 3 {
                rt::time::sleep(Duration::from_millis(1)).await;
            }
            drop(scope.spawn("stuck", async move {
                stuck.send(()).unwrap();
                released.recv().unwrap();
            }));
        });
        is_stuck.recv().unwrap();
        // Nothing else runs on the only worker now.
        let before = meals.load(Ordering::SeqCst);
        std::thread::park_timeout(Duration::from_millis(50));
        assert_eq!(meals.load(Ordering::SeqCst), before);
        release.send(()).unwrap();
        runtime.block_on(async {
            while meals.load(Ordering::SeqCst) == before {
                rt::time::sleep(Duration::from_millis(1)).await;
            }
            scope.stop(Duration::from_secs(5)).await;
        });
    }
}

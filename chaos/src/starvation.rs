//! Whether the machine let us run: how late a thread wakes that only sleeps. A cluster whose daemons get no processor for longer than an
//! election takes cannot be expected to keep a leader, so what is late then is no verdict on it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Later than a follower waits for its leader: that is a stall.
const STALL: Duration = Duration::from_millis(300);
/// Fewer stalls than this within a wait explain nothing.
const STALLS_MIN: usize = 4;

/// The thread that sleeps; dropping it ends it.
pub(crate) struct Watch {
    stalls: Arc<Mutex<Vec<(Instant, Duration)>>>,
    is_over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Watch {
    pub(crate) fn start() -> Self {
        let stalls: Arc<Mutex<Vec<(Instant, Duration)>>> = Arc::default();
        let is_over = Arc::new(AtomicBool::new(false));
        let (noted, over) = (Arc::clone(&stalls), Arc::clone(&is_over));
        let thread = std::thread::spawn(move || {
            const NAP: Duration = Duration::from_millis(20);
            while !over.load(Ordering::Relaxed) {
                let begun = Instant::now();
                std::thread::sleep(NAP);
                let late = begun.elapsed().saturating_sub(NAP);
                if let Ok(mut stalls) = noted.lock()
                    && late > STALL
                {
                    stalls.push((begun, late));
                }
            }
        });
        Self { stalls, is_over, thread: Some(thread) }
    }

    /// Whether it was starved since then.
    pub(crate) fn is_starved_since(&self, moment: Instant) -> bool {
        self.stalls.lock().is_ok_and(|stalls| stalls.iter().filter(|(at, _)| *at >= moment).count() >= STALLS_MIN)
    }

    /// How many stalls there were, and the longest.
    pub(crate) fn summary(&self) -> (usize, Duration) {
        let stalls = self.stalls.lock().map(|stalls| stalls.clone()).unwrap_or_default();
        (stalls.len(), stalls.iter().map(|(_, late)| *late).max().unwrap_or_default())
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
        // It does nothing that could panic.
        self.thread.take().map(JoinHandle::join).transpose().ok();
    }
}

//! Whether the machine let us run: how long our threads waited for a processor each time that they had something to do, as the kernel
//! counts it. The daemons run beside us with the same priority. A transaction of a few statements is some fifty steps, one after the
//! other, on a thread here and there, and a heartbeat some ten: if each waits for ten milliseconds, the writer serves two transactions a
//! second, and if each waits for more, no leader lasts. What is late then is no verdict on the cluster.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How often is looked.
const EVERY: Duration = Duration::from_millis(250);
/// On a machine that has time for us a step waits for a fraction of a millisecond.
const WAIT_MAX: Duration = Duration::from_millis(6);

/// One look: the nanoseconds waited so far, and the times.
type Look = (Instant, u64, u64);

/// The thread that looks; dropping it ends it.
pub(crate) struct Watch {
    looks: Arc<Mutex<Vec<Look>>>,
    is_over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Watch {
    pub(crate) fn start() -> Self {
        let looks: Arc<Mutex<Vec<Look>>> = Arc::default();
        let is_over = Arc::new(AtomicBool::new(false));
        let (noted, over) = (Arc::clone(&looks), Arc::clone(&is_over));
        let thread = std::thread::spawn(move || {
            while !over.load(Ordering::Relaxed) {
                let (waited, times) = look();
                if let Ok(mut looks) = noted.lock() {
                    looks.push((Instant::now(), waited, times));
                }
                std::thread::sleep(EVERY);
            }
        });
        Self { looks, is_over, thread: Some(thread) }
    }

    /// The mean wait for a processor in each interval since then.
    fn waits_since(&self, moment: Instant) -> Vec<Duration> {
        let looks = self.looks.lock().map(|looks| looks.clone()).unwrap_or_default();
        let later = looks.windows(2).filter(|pair| pair.first().is_some_and(|(at, ..)| *at >= moment));
        later
            .filter_map(|pair| {
                let ((_, waited, times), (_, waited_after, times_after)) = (pair.first()?, pair.last()?);
                // A thread that has ended is in no sum any more.
                let (waited, times) = (waited_after.checked_sub(*waited)?, times_after.checked_sub(*times)?);
                Some(Duration::from_nanos(waited.checked_div(times)?))
            })
            .collect()
    }

    /// Whether there was too little of the machine for us in a quarter of the time since then.
    pub(crate) fn is_starved_since(&self, moment: Instant) -> bool {
        let waits = self.waits_since(moment);
        waits.iter().filter(|wait| **wait > WAIT_MAX).count() * 4 > waits.len()
    }

    /// The median and the longest of the mean waits of a quarter of a second.
    pub(crate) fn summary(&self, since: Instant) -> (Duration, Duration) {
        let mut waits = self.waits_since(since);
        waits.sort_unstable();
        let at = |place: usize| waits.get(place).copied().unwrap_or_default();
        (at(waits.len() / 2), at(waits.len().saturating_sub(1)))
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
        // It does nothing that could panic.
        self.thread.take().map(JoinHandle::join).transpose().ok();
    }
}

/// What all our threads have waited for a processor so far, in nanoseconds, and how often.
fn look() -> (u64, u64) {
    let tasks = std::fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    tasks.fold((0, 0), |(waited, times), task| {
        let text = std::fs::read_to_string(task.path().join("schedstat")).unwrap_or_default();
        let mut words = text.split_whitespace().skip(1).map(|word| word.parse::<u64>().unwrap_or_default());
        (waited + words.next().unwrap_or_default(), times + words.next().unwrap_or_default())
    })
}

//! Clients that wait until the version holding their commit is on a majority's disks.

use base::Version;
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use tokio::sync::oneshot;

/// Leadership ended before the version was confirmed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Lost;

/// Who waits for which version of one database.
#[derive(Debug, Default)]
pub(crate) struct Waiters(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    committed: Version,
    /// Counts losses of leadership: a version number of an earlier reign may be used again for other contents.
    reign: u64,
    waiting: BTreeMap<(Version, u64), oneshot::Sender<Result<(), Lost>>>,
    next: u64,
}

impl Waiters {
    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The number of the present reign; a commit made in it is awaited with this number.
    pub(crate) fn reign(&self) -> u64 {
        self.lock().reign
    }

    /// Waits until `version`, made in `reign`, is committed. Cancel-safe.
    pub(crate) async fn committed(&self, version: Version, reign: u64) -> Result<(), Lost> {
        let answer = {
            let mut state = self.lock();
            if state.reign != reign {
                return Err(Lost);
            }
            if state.committed >= version {
                return Ok(());
            }
            let (sender, answer) = oneshot::channel();
            let key = (version, state.next);
            state.next += 1;
            state.waiting.insert(key, sender);
            answer
        };
        answer.await.unwrap_or(Err(Lost))
    }

    /// The committed version moved: answers everyone who waited for it.
    pub(crate) fn advance(&self, committed: Version) {
        let done = {
            let mut state = self.lock();
            state.committed = committed;
            let later = state.waiting.split_off(&(committed.next(), 0));
            std::mem::replace(&mut state.waiting, later)
        };
        for sender in done.into_values() {
            // The waiter may have gone away, with its client.
            sender.send(Ok(())).ok();
        }
    }

    /// Leadership ended: everyone still waiting learns that the outcome is unknown.
    pub(crate) fn lose(&self) {
        let lost = {
            let mut state = self.lock();
            state.reign += 1;
            std::mem::take(&mut state.waiting)
        };
        for sender in lost.into_values() {
            sender.send(Err(Lost)).ok();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    fn poll<F: Future>(future: std::pin::Pin<&mut F>) -> Poll<F::Output> {
        future.poll(&mut Context::from_waker(Waker::noop()))
    }

    #[test]
    fn each_waiter_is_answered_when_its_version_is_committed_and_not_before() {
        let waiters = Waiters::default();
        let mut third = pin!(waiters.committed(Version(3), 0));
        let mut fourth = pin!(waiters.committed(Version(4), 0));
        assert!(poll(third.as_mut()).is_pending() && poll(fourth.as_mut()).is_pending());
        waiters.advance(Version(3));
        assert_eq!(poll(third), Poll::Ready(Ok(())));
        assert!(poll(fourth.as_mut()).is_pending());
        waiters.lose();
        assert_eq!(poll(fourth), Poll::Ready(Err(Lost)));
    }

    #[test]
    fn a_version_of_an_earlier_reign_is_never_confirmed() {
        let waiters = Waiters::default();
        let reign = waiters.reign();
        waiters.lose();
        waiters.advance(Version(9));
        assert_eq!(poll(pin!(waiters.committed(Version(5), reign))), Poll::Ready(Err(Lost)));
    }
}

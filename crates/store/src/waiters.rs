//! Clients that wait until the version holding their commit is on a majority's disks.

use base::Version;
use std::collections::BTreeMap;
use tokio::sync::oneshot;

/// Leadership ended before the version was confirmed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Lost;

/// What a wait begins with.
#[derive(Debug)]
pub(crate) enum Wait {
    /// It is over.
    Over(Result<(), Lost>),
    /// The answer comes here.
    Pending(oneshot::Receiver<Result<(), Lost>>),
}

/// Those who are to be told how their wait ended; done when the lock is no longer held.
#[must_use]
#[derive(Debug, Default)]
pub(crate) struct ToTell(BTreeMap<(Version, u64), oneshot::Sender<Result<(), Lost>>>);

impl ToTell {
    /// Tells them.
    pub(crate) fn tell(self, end: Result<(), Lost>) {
        for sender in self.0.into_values() {
            // The waiter may have gone away, with its client.
            sender.send(end).ok();
        }
    }
}

/// Who waits for which version of one database. Part of what the lock of [`Core`](crate::core::Core) guards.
#[derive(Debug, Default)]
pub(crate) struct Waiters {
    committed: Version,
    /// Counts the times that this node led: a version number of an earlier one may be used again for other contents.
    reign: u64,
    waiting: BTreeMap<(Version, u64), oneshot::Sender<Result<(), Lost>>>,
    next: u64,
}

impl Waiters {
    /// The number of the present reign; a commit made in it is awaited with this number.
    pub(crate) fn reign(&self) -> u64 {
        self.reign
    }

    /// Begins to wait until `version`, made in `reign`, is committed.
    pub(crate) fn wait(&mut self, version: Version, reign: u64) -> Wait {
        if self.reign != reign {
            return Wait::Over(Err(Lost));
        }
        if self.committed >= version {
            return Wait::Over(Ok(()));
        }
        let (sender, answer) = oneshot::channel();
        self.waiting.insert((version, self.next), sender);
        self.next += 1;
        Wait::Pending(answer)
    }

    /// The committed version moved; gives those who waited for it.
    pub(crate) fn advance(&mut self, committed: Version) -> ToTell {
        self.committed = committed;
        let later = self.waiting.split_off(&(committed.next(), 0));
        ToTell(std::mem::replace(&mut self.waiting, later))
    }

    /// A reign ended; gives everyone who still waits.
    pub(crate) fn lose(&mut self) -> ToTell {
        self.reign += 1;
        ToTell(std::mem::take(&mut self.waiting))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pending(wait: Wait) -> oneshot::Receiver<Result<(), Lost>> {
        match wait {
            Wait::Pending(answer) => answer,
            Wait::Over(end) => panic!("it is over: {end:?}"),
        }
    }

    #[test]
    fn each_waiter_is_answered_when_its_version_is_committed_and_not_before() {
        let mut waiters = Waiters::default();
        let mut third = pending(waiters.wait(Version(3), 0));
        let mut fourth = pending(waiters.wait(Version(4), 0));
        waiters.advance(Version(3)).tell(Ok(()));
        assert_eq!(third.try_recv(), Ok(Ok(())));
        assert!(fourth.try_recv().is_err());
        waiters.lose().tell(Err(Lost));
        assert_eq!(fourth.try_recv(), Ok(Err(Lost)));
    }

    #[test]
    fn a_version_of_an_earlier_reign_is_never_confirmed() {
        let mut waiters = Waiters::default();
        let reign = waiters.reign();
        waiters.lose().tell(Err(Lost));
        waiters.advance(Version(9)).tell(Ok(()));
        assert!(matches!(waiters.wait(Version(5), reign), Wait::Over(Err(Lost))));
    }
}

//! A deadline that its owner may move nearer while others wait for it: the second SIGTERM does that.

use rt::time::Instant;
use std::time::Duration;
use tokio::sync::watch;

/// The moment by which something has to be done. It never moves further away.
#[derive(Debug, Clone)]
pub struct Deadline {
    own: Instant,
    outer: Option<watch::Receiver<Instant>>,
}

impl Deadline {
    /// A deadline that passes after `duration`.
    pub fn after(duration: Duration) -> Self {
        Self { own: Instant::now() + duration, outer: None }
    }

    /// One that passes at the moment the channel holds.
    pub(crate) fn shared(outer: watch::Receiver<Instant>) -> Self {
        let own = *outer.borrow();
        Self { own, outer: Some(outer) }
    }

    /// The same, but not later than `duration` from now.
    #[must_use]
    pub fn within(&self, duration: Duration) -> Self {
        Self { own: self.at().min(Instant::now() + duration), outer: self.outer.clone() }
    }

    /// The moment as things stand now.
    pub fn at(&self) -> Instant {
        match &self.outer {
            Some(outer) => self.own.min(*outer.borrow()),
            None => self.own,
        }
    }

    /// How long is left; zero when it has passed.
    pub fn remaining(&self) -> Duration {
        self.at().saturating_duration_since(Instant::now())
    }

    /// Whether it has passed.
    pub fn has_passed(&self) -> bool {
        self.remaining().is_zero()
    }

    /// Waits until it has passed, also when it is moved nearer meanwhile. Cancel-safe.
    pub async fn passed(&self) {
        let mut outer = self.outer.clone();
        while !self.has_passed() {
            let Some(receiver) = &mut outer else {
                rt::time::sleep_until(self.own).await;
                continue;
            };
            let moved = async {
                if receiver.changed().await.is_err() {
                    std::future::pending::<()>().await;
                }
            };
            tokio::select! {
                biased;
                () = rt::time::sleep_until(self.at()) => {}
                () = moved => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_waiter_notices_that_the_deadline_moved_nearer() {
        let begin = Instant::now();
        let (sender, receiver) = watch::channel(begin + Duration::from_secs(60));
        let deadline = Deadline::shared(receiver).within(Duration::from_secs(30));
        let wait = deadline.passed();
        let shorten = async {
            rt::time::sleep(Duration::from_secs(1)).await;
            sender.send_replace(begin + Duration::from_secs(2));
        };
        tokio::join!(wait, shorten);
        assert_eq!(begin.elapsed().as_secs(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn a_phase_never_outlives_the_whole() {
        let (_sender, receiver) = watch::channel(Instant::now() + Duration::from_secs(3));
        let phase = Deadline::shared(receiver).within(Duration::from_secs(10));
        assert!(phase.remaining() <= Duration::from_secs(3));
    }
}

//! A deadline that its owner may move nearer while others wait for it: the second SIGTERM does that.

use rt::sync::watch;
use rt::time::Instant;
use std::time::Duration;

/// The moment by which something has to be done. It never moves further away.
#[derive(Debug, Clone)]
pub struct Deadline {
    own: Instant,
    outer: Option<Outer>,
}

/// A part of somebody's time that may become shorter.
#[derive(Debug, Clone)]
struct Outer {
    end: watch::Receiver<Instant>,
    /// When this part began, and in how many parts the time from then on is divided.
    begin: Instant,
    parts: u32,
}

impl Outer {
    fn at(&self) -> Instant {
        self.begin + self.end.borrow().saturating_duration_since(self.begin) / self.parts
    }
}

impl Deadline {
    /// A deadline that passes after `duration`.
    pub fn after(duration: Duration) -> Self {
        Self { own: Instant::now() + duration, outer: None }
    }

    /// The first of `parts` equal parts of the time from now to the moment the channel holds. One who takes longer than
    /// its part must not leave the others none.
    pub(crate) fn part_of(end: watch::Receiver<Instant>, parts: usize) -> Self {
        let own = *end.borrow();
        let parts = u32::try_from(parts).unwrap_or(u32::MAX).max(1);
        Self { own, outer: Some(Outer { end, begin: Instant::now(), parts }) }
    }

    /// The same, but not later than `duration` from now.
    #[must_use]
    pub fn within(&self, duration: Duration) -> Self {
        Self { own: self.at().min(Instant::now() + duration), outer: self.outer.clone() }
    }

    /// The moment as things stand now.
    pub fn at(&self) -> Instant {
        match &self.outer {
            Some(outer) => self.own.min(outer.at()),
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
            let Some(Outer { end, .. }) = &mut outer else {
                rt::time::sleep_until(self.own).await;
                continue;
            };
            let moved = async {
                if end.changed().await.is_err() {
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
        let (sender, receiver) = watch::channel(begin + Duration::from_mins(1));
        let deadline = Deadline::part_of(receiver, 1).within(Duration::from_secs(30));
        let wait = deadline.passed();
        let shorten = async {
            rt::time::sleep(Duration::from_secs(1)).await;
            sender.send_replace(begin + Duration::from_secs(2));
        };
        tokio::join!(wait, shorten);
        assert_eq!(begin.elapsed().as_secs(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn a_part_shrinks_with_the_whole() {
        let begin = Instant::now();
        let (sender, receiver) = watch::channel(begin + Duration::from_secs(30));
        let part = Deadline::part_of(receiver, 3);
        assert_eq!(part.remaining().as_secs(), 10);
        sender.send_replace(begin + Duration::from_secs(3));
        assert_eq!(part.remaining().as_secs(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_phase_never_outlives_the_whole() {
        let (_sender, receiver) = watch::channel(Instant::now() + Duration::from_secs(3));
        let phase = Deadline::part_of(receiver, 1).within(Duration::from_secs(10));
        assert!(phase.remaining() <= Duration::from_secs(3));
    }
}

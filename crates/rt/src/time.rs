//! Time as this node's clocks tell it. In simulation each node's clocks drift and jump.

use std::fmt;
use std::future::Future;
use std::ops::{Add, Sub};
use std::sync::LazyLock;
use std::time::Duration;

/// A moment of this node's monotonic clock, counted from an arbitrary start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Instant(Duration);

static START: LazyLock<tokio::time::Instant> = LazyLock::new(tokio::time::Instant::now);

impl Instant {
    /// The start that the clock counts from.
    pub const ZERO: Self = Self(Duration::ZERO);

    /// Now, by this node's clock.
    pub fn now() -> Self {
        #[cfg(feature = "sim")]
        if let Some(node) = crate::sim::current() {
            return Self(node.monotonic());
        }
        Self(tokio::time::Instant::now().saturating_duration_since(*START))
    }

    /// How long ago this was; zero if it is in the future.
    pub fn elapsed(self) -> Duration {
        Self::now().saturating_duration_since(self)
    }

    /// From `earlier` to this; zero if it is the other way round.
    pub fn saturating_duration_since(self, earlier: Self) -> Duration {
        self.0.saturating_sub(earlier.0)
    }
}

impl Add<Duration> for Instant {
    type Output = Self;
    fn add(self, d: Duration) -> Self {
        Self(self.0.saturating_add(d))
    }
}

impl Sub<Duration> for Instant {
    type Output = Self;
    fn sub(self, d: Duration) -> Self {
        Self(self.0.saturating_sub(d))
    }
}

impl Sub for Instant {
    type Output = Duration;
    fn sub(self, earlier: Self) -> Duration {
        self.saturating_duration_since(earlier)
    }
}

/// The deadline passed before the future was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Elapsed;

impl fmt::Display for Elapsed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the deadline passed")
    }
}

impl std::error::Error for Elapsed {}

/// How long the runtime has to wait for `d` to pass on this node's clock.
fn in_world(d: Duration) -> Duration {
    #[cfg(feature = "sim")]
    if let Some(node) = crate::sim::current() {
        return node.in_world(d);
    }
    d
}

/// Waits for a while. Cancel-safe.
#[expect(clippy::disallowed_methods, reason = "this is the seam")]
pub async fn sleep(d: Duration) {
    tokio::time::sleep(in_world(d)).await;
}

/// Waits until a moment. Cancel-safe.
pub async fn sleep_until(deadline: Instant) {
    sleep(deadline.saturating_duration_since(Instant::now())).await;
}

/// Runs `future` for `d` at most; at the deadline the future is dropped.
#[expect(clippy::disallowed_methods, reason = "this is the seam")]
pub async fn timeout<F: Future>(d: Duration, future: F) -> Result<F::Output, Elapsed> {
    tokio::time::timeout(in_world(d), future).await.map_err(|_| Elapsed)
}

/// Runs `future` until `deadline` at most; at the deadline the future is dropped.
pub async fn timeout_at<F: Future>(deadline: Instant, future: F) -> Result<F::Output, Elapsed> {
    timeout(deadline.saturating_duration_since(Instant::now()), future).await
}

/// Time since the Unix epoch, by this node's wall clock, which may be wrong or jump.
#[expect(clippy::disallowed_methods, clippy::disallowed_types, reason = "this is the seam")]
pub fn wall() -> Duration {
    #[cfg(feature = "sim")]
    if let Some(node) = crate::sim::current() {
        return node.wall();
    }
    std::time::SystemTime::now().duration_since(std::time::SystemTime::UNIX_EPOCH).unwrap_or_default()
}

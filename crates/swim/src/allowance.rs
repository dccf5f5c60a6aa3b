//! How often something may be done for others: a bucket of tokens.

use crate::time::Moment;

/// So many at once, and so many a second in the long run.
#[derive(Debug)]
pub(crate) struct Allowance {
    burst: u32,
    per_second: u32,
    /// In thousandths.
    tokens: u64,
    filled: Moment,
}

impl Allowance {
    pub(crate) fn new(burst: u32, per_second: u32) -> Self {
        Self { burst, per_second, tokens: u64::from(burst) * 1000, filled: Moment::default() }
    }

    /// Takes one, if there is one.
    pub(crate) fn take(&mut self, now: Moment) -> bool {
        let elapsed_ms = u64::try_from(now.since(self.filled).as_millis()).unwrap_or(u64::MAX);
        if elapsed_ms > 0 {
            let gained = elapsed_ms.saturating_mul(u64::from(self.per_second));
            self.tokens = self.tokens.saturating_add(gained).min(u64::from(self.burst) * 1000);
            self.filled = now;
        }
        let Some(left) = self.tokens.checked_sub(1000) else { return false };
        self.tokens = left;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_burst_and_then_the_rate() {
        let mut allowance = Allowance::new(3, 10);
        let at = |ms| Moment(Duration::from_millis(ms));
        assert_eq!((0..5).filter(|_| allowance.take(at(1))).count(), 3);
        assert!(!allowance.take(at(50)) && allowance.take(at(101)) && !allowance.take(at(102)));
        assert_eq!((0..5).filter(|_| allowance.take(at(9_000))).count(), 3);
    }
}

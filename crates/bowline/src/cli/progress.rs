//! A line that says how far a long transfer is, for people who watch a terminal.

use super::output::talk;
use crate::human;
use rt::time::Instant;
use std::io::IsTerminal;
use std::time::Duration;

/// How often the line is drawn, and how long a transfer may take before it is.
const DRAW_EVERY: Duration = Duration::from_millis(250);

/// The progress of one transfer. The line is wiped when this is dropped.
pub(super) struct Progress {
    what: &'static str,
    started: Instant,
    drawn: Instant,
    visible: bool,
    line_used: bool,
}

impl Progress {
    pub(super) fn new(what: &'static str) -> Self {
        let now = Instant::now();
        Self { what, started: now, drawn: now, visible: std::io::stderr().is_terminal(), line_used: false }
    }

    /// Tells how much of how much is done.
    pub(super) fn at(&mut self, done: u64, total: u64) {
        if self.visible && self.drawn.elapsed() >= DRAW_EVERY {
            self.drawn = Instant::now();
            self.line_used = true;
            talk(&format!("\r\x1b[K{}", line(self.what, done, total, self.started.elapsed())));
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.line_used {
            talk("\r\x1b[K");
        }
    }
}

/// `exporting 120 MiB of 1.0 GiB (11 %), 240 MiB/s, 3.7 s left`.
fn line(what: &str, done: u64, total: u64, elapsed: Duration) -> String {
    let percent = u128::from(done) * 100 / u128::from(total.max(1));
    let per_s = u128::from(done) * 1000 / elapsed.as_millis().max(1);
    let left_ms = u128::from(total.saturating_sub(done)) * 1000 / per_s.max(1);
    let left = Duration::from_millis(u64::try_from(left_ms).unwrap_or(u64::MAX));
    let per_s = human::bytes(u64::try_from(per_s).unwrap_or(u64::MAX));
    format!(
        "{what} {} of {} ({percent} %), {per_s}/s, {} left",
        human::bytes(done),
        human::bytes(total),
        human::duration(left)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_has_rate_and_time_left() {
        let text = line("exporting", 256 << 20, 1 << 30, Duration::from_secs(2));
        assert_eq!(text, "exporting 256 MiB of 1.0 GiB (25 %), 128 MiB/s, 6.0 s left");
        assert_eq!(line("importing", 0, 0, Duration::ZERO), "importing 0 B of 0 B (0 %), 0 B/s, 0.0 s left");
    }
}

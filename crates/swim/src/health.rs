//! How far this node may trust its own judgement: Lifeguard's local health (arXiv 1707.00788).
//!
//! ```text
//!            probe failed, nack missing, refuted, stalled: +1
//!   0 well <---------------------------------------------> 7 trust nobody's silence
//!            probe answered: -1
//! ```

/// Whether a node looks at its own health.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LocalHealth {
    /// It does: it is patient while it has reason to think that the fault is its own.
    On,
    /// It does not, as the original. For comparison.
    Off,
}

/// The score of a node's health.
#[derive(Debug)]
pub(crate) struct Health {
    mode: LocalHealth,
    score: u32,
}

/// The worst score.
const SCORE_MAX: u32 = 7;

impl Health {
    pub(crate) fn new(mode: LocalHealth) -> Self {
        Self { mode, score: 0 }
    }

    pub(crate) fn score(&self) -> u32 {
        self.score
    }

    pub(crate) fn better(&mut self) {
        self.score = self.score.saturating_sub(1);
    }

    pub(crate) fn worse(&mut self, by: u32) {
        if self.mode == LocalHealth::On {
            self.score = self.score.saturating_add(by).min(SCORE_MAX);
        }
    }
}

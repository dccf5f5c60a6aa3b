//! Running scenarios: one seed, a range of seeds in child processes, the corpus, and what a sweep has reached.

mod corpus;
mod logs;
mod one;
mod points;
mod sweep;

pub use corpus::{add_to_corpus, corpus};
pub use one::{Outcome, Run, run, run_twice};
pub use points::{all_points, unreached};
pub use sweep::{SweepOptions, SweepReport, child, sweep};

/// A promise that a run has broken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{oracle}: {what}")]
pub struct Broken {
    /// Which oracle says so.
    pub oracle: &'static str,
    /// What it saw.
    pub what: String,
}

impl Broken {
    /// Says what is broken.
    pub fn new(oracle: &'static str, what: impl Into<String>) -> Self {
        Self { oracle, what: what.into() }
    }
}

impl From<crate::check::Anomaly> for Broken {
    fn from(anomaly: crate::check::Anomaly) -> Self {
        Self::new("history", anomaly.to_string())
    }
}

/// A story that is played in worlds from seeds.
#[derive(Debug, Clone, Copy)]
pub struct Scenario {
    /// Its name, as given on the command line.
    pub name: &'static str,
    /// The story, in a sentence or two.
    pub story: &'static str,
    /// Plays it once.
    pub play: fn(&Run) -> Result<(), Broken>,
    /// Parts of WARN and ERROR lines that this story makes ordinary. Any other such line fails the run.
    pub expected_logs: &'static [&'static [&'static str]],
    /// Old mistakes that it must catch, each within 1,000 seeds.
    pub mutants: &'static [&'static str],
}

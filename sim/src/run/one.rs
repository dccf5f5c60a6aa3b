//! One seed, played once or twice.

use super::{Scenario, logs};
use crate::world::Fault;
use rt::sim::{Dice, Points, Trace};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// One play of a scenario: its seed, and what is recorded on the way.
#[derive(Debug, Clone)]
pub struct Run {
    /// The seed that everything comes from.
    pub seed: u64,
    /// The old mistake that is switched on, if any.
    pub mutant: Option<String>,
    /// Everything observable, as a hash.
    pub trace: Trace,
    /// Points that were hit, and states that were reached.
    pub points: Points,
    notes: Arc<Mutex<Notes>>,
}

#[derive(Debug, Default)]
struct Notes {
    faults: Vec<String>,
    figures: BTreeMap<String, u64>,
}

/// How a play went.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Outcome {
    /// The scenario.
    pub scenario: String,
    /// The seed.
    pub seed: u64,
    /// Equal for equal histories.
    pub hash: u64,
    /// How many events are in the hash.
    pub events: u64,
    /// The promise that was broken, if one was.
    pub broken: Option<String>,
    /// The faults that happened.
    pub faults: Vec<String>,
    /// States that were reached, and how often.
    pub reached: BTreeMap<String, u64>,
    /// What the scenario counted.
    pub figures: BTreeMap<String, u64>,
    /// The last log lines, if a promise was broken.
    pub logs: Vec<String>,
}

impl Run {
    fn new(seed: u64, mutant: Option<&str>, trace: Trace) -> Self {
        let points = Points::default();
        if let Some(mutant) = mutant {
            points.switch_on(mutant);
        }
        Self { seed, mutant: mutant.map(str::to_owned), trace, points, notes: Arc::default() }
    }

    /// Chance for a purpose: the same for the same seed and purpose, whatever else asks for chance.
    pub fn dice(&self, purpose: &str) -> Dice {
        Dice::new(self.seed).split(purpose)
    }

    /// Notes a fault for the report.
    pub(crate) fn note_fault(&self, at: Duration, fault: &Fault) {
        let mut notes = self.notes.lock().unwrap_or_else(PoisonError::into_inner);
        self.trace.event("fault", &[u64::try_from(at.as_micros()).unwrap_or(0), notes.faults.len() as u64]);
        notes.faults.push(format!("{:>9.3} s  {fault:?}", at.as_secs_f64()));
    }

    /// Adds to a figure of the report.
    pub fn count(&self, figure: &str, by: u64) {
        let mut notes = self.notes.lock().unwrap_or_else(PoisonError::into_inner);
        *notes.figures.entry(figure.to_owned()).or_default() += by;
    }
}

/// Plays `scenario` with `seed`.
pub fn run(scenario: &Scenario, seed: u64, mutant: Option<&str>) -> Outcome {
    play(scenario, seed, mutant, Trace::default())
}

/// Plays it twice and compares the histories; a difference is a broken promise, and says where the two part.
pub fn run_twice(scenario: &Scenario, seed: u64, mutant: Option<&str>) -> Outcome {
    // Kept as text from the start: what the first run leaves in the process may be just what makes the second one differ.
    let (a, b) = (Trace::verbose(), Trace::verbose());
    let mut first = play(scenario, seed, mutant, a.clone());
    let second = play(scenario, seed, mutant, b.clone());
    if (first.hash, first.events) != (second.hash, second.events) && first.broken.is_none() {
        let (a, b) = (a.lines(), b.lines());
        let part = a.iter().zip(&b).position(|(a, b)| a != b).unwrap_or(a.len().min(b.len()));
        let around = |lines: &[String]| {
            lines.get(part.saturating_sub(3)..(part + 3).min(lines.len())).unwrap_or_default().join(" | ")
        };
        first.broken = Some(format!("determinism: two runs part at event {part}: {} <> {}", around(&a), around(&b)));
    }
    first
}

fn play(scenario: &Scenario, seed: u64, mutant: Option<&str>, trace: Trace) -> Outcome {
    let run = Run::new(seed, mutant, trace);
    let (result, logs) = logs::capture(|| catch_unwind(AssertUnwindSafe(|| (scenario.play)(&run))));
    let broken = match result {
        Ok(Ok(())) => {
            logs.unexpected(&scenario.expected_logs.concat()).map(|line| format!("logs: an unlisted line: {line}"))
        }
        Ok(Err(broken)) => Some(broken.to_string()),
        Err(panic) => Some(format!("panic: {}", rt::task::panic_message(panic.as_ref()))),
    };
    let notes = std::mem::take(&mut *run.notes.lock().unwrap_or_else(PoisonError::into_inner));
    Outcome {
        scenario: scenario.name.to_owned(),
        seed,
        hash: run.trace.hash(),
        events: run.trace.events(),
        logs: if broken.is_some() { logs.last_lines() } else { Vec::new() },
        broken,
        faults: notes.faults,
        reached: run.points.reached().into_iter().map(|(name, n)| (name.to_owned(), n)).collect(),
        figures: notes.figures,
    }
}

impl Outcome {
    /// The one line that repeats this run.
    pub fn repeat_line(&self) -> String {
        format!("cargo xtask sim {} --seed {}", self.scenario, self.seed)
    }
}

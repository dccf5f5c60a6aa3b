//! What a supervisor tells of its units: live, and when it has stopped.

use crate::state::Lane;
use crate::{StopReport, UnitError};
use rt::sync::watch;
use rt::time::Instant;
use std::time::Duration;

/// One unit, as `bowline status --units` shows it.
#[derive(Debug, Clone)]
pub struct UnitStatus {
    /// Its name.
    pub name: &'static str,
    /// Where it is.
    pub lane: Lane,
    /// Since when.
    pub since: Instant,
    /// What it needs.
    pub needs: Vec<&'static str>,
    /// Those of them that are not ready: what it waits for.
    pub waits_for: Vec<&'static str>,
    /// How often it was started.
    pub starts: u32,
    /// Why it failed last.
    pub last_error: Option<UnitError>,
    /// When it is started again, while it backs off.
    pub retry_at: Option<Instant>,
    /// Tasks that run in its scope.
    pub tasks: usize,
}

/// A live view of all units. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Lanes(pub(crate) watch::Receiver<Vec<UnitStatus>>);

impl Lanes {
    /// How it stands now.
    pub fn now(&self) -> Vec<UnitStatus> {
        self.0.borrow().clone()
    }

    /// Whether every unit is ready.
    pub fn all_ready(&self) -> bool {
        self.0.borrow().iter().all(|u| u.lane == Lane::Ready)
    }

    /// Waits for a change; false when the supervisor is gone and nothing will change any more. Cancel-safe.
    pub async fn changed(&mut self) -> bool {
        self.0.changed().await.is_ok()
    }

    /// Waits until every unit is ready; false when the supervisor ended before. Cancel-safe. After it the binary tells
    /// systemd READY=1.
    pub async fn wait_ready(&mut self) -> bool {
        self.0.wait_for(|units| units.iter().all(|u| u.lane == Lane::Ready)).await.is_ok()
    }
}

/// How a phase of a unit's end went.
#[derive(Debug, Clone)]
pub enum PhaseOutcome {
    /// It was not needed: the unit was not up, or had failed.
    NotRun,
    /// It ended in time.
    Done {
        /// How long it took.
        took: Duration,
    },
    /// The deadline passed and its future was dropped.
    TimedOut {
        /// How long it was given.
        after: Duration,
    },
    /// It reported an error or panicked.
    Failed(UnitError),
}

impl PhaseOutcome {
    /// Whether nothing went wrong.
    pub fn is_clean(&self) -> bool {
        matches!(self, Self::NotRun | Self::Done { .. })
    }
}

/// How a unit fared.
#[derive(Debug, Clone)]
pub struct UnitReport {
    /// Its name.
    pub name: &'static str,
    /// How often it was started.
    pub starts: u32,
    /// Why it failed last.
    pub last_error: Option<UnitError>,
    /// Its last drain.
    pub drain: PhaseOutcome,
    /// Its last stop.
    pub stop: PhaseOutcome,
    /// The end of its tasks.
    pub tasks: StopReport,
}

impl UnitReport {
    /// Whether the last stop left nothing behind.
    pub fn is_clean(&self) -> bool {
        self.drain.is_clean() && self.stop.is_clean() && self.tasks.stragglers.is_empty()
    }
}

/// How the whole run ended.
#[derive(Debug, Clone)]
pub struct RunReport {
    /// All units, in the order they were added.
    pub units: Vec<UnitReport>,
    /// The refusal of an essential unit that ended the run; none after an ordinary shutdown.
    pub cause: Option<(&'static str, UnitError)>,
    /// From the wish to stop until everything was down.
    pub stop_took: Duration,
}

impl RunReport {
    /// Whether the run ended because it was asked to, and left nothing behind.
    pub fn is_clean(&self) -> bool {
        self.cause.is_none() && self.units.iter().all(UnitReport::is_clean)
    }
}

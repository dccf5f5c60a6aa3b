//! Supervisor: starts units in the order of their needs, restarts what fails, and stops everything in the reverse order.

mod erased;
mod ops;
mod plan;
mod report;

pub use report::{Lanes, PhaseOutcome, RunReport, UnitReport, UnitStatus};

use crate::state::{Event, Lane};
use crate::{Context, Deadline, Importance, Needs, Scope, Shutdown, Slot, StopReport, Unit, UnitError, UnitOptions};
use erased::Held;
use ops::{EndBy, Report, StartOutcome, UnitBox};
use plan::{Action, View};
use rt::sync::watch;
use rt::time::Instant;
use std::collections::BTreeSet;
use std::time::Duration;
use tokio::sync::mpsc;

/// The deadlines of a stop, and the pauses between restarts.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// All drains together may take this long from the wish to stop on.
    pub drain_max: Duration,
    /// Everything must be down this long after the wish to stop.
    pub stop_max: Duration,
    /// After a second wish drains end at once and everything must be down within this.
    pub hurry_max: Duration,
    /// The pause before the first restart; it doubles with each failure.
    pub pause_min: Duration,
    /// The longest pause.
    pub pause_max: Duration,
    /// A unit that was up this long starts over with the shortest pause.
    pub settled_after: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            drain_max: Duration::from_secs(20),
            stop_max: Duration::from_secs(30),
            hurry_max: Duration::from_secs(3),
            pause_min: Duration::from_millis(200),
            pause_max: Duration::from_secs(30),
            settled_after: Duration::from_mins(1),
        }
    }
}

/// Keeps units up, in order. See [`state`](crate::state) for the life of a unit.
///
/// Units are added needs first; the slots that [`add`](Self::add) returns are the only way to need a unit, so the order
/// of adding is an order of starting, and there are no circles. [`run`](Self::run) then keeps the units up until the
/// shutdown is requested, and returns when all of them are down:
///
/// - a unit starts when all its needs are ready; units that do not need each other start side by side;
/// - a unit that fails is stopped, after everything that needs it, and started again after a growing pause;
/// - a refusal (an error that no restart helps), or a stop that did not end cleanly before a restart, quarantines an
///   optional unit and ends the run for an essential one;
/// - a shutdown, at any moment, drops the starts that are under way and then drains and stops units one after another, the
///   last added first. A second request shortens the deadlines.
pub struct Supervisor {
    settings: Settings,
    units: Vec<Entry>,
    /// Where the units' starts and stops run.
    work: Scope,
    reports: mpsc::Receiver<Report>,
    out: mpsc::Sender<Report>,
    status: watch::Sender<Vec<UnitStatus>>,
    /// When drains and stops must be over; moved nearer by a shutdown.
    drains_end: watch::Sender<Instant>,
    stops_end: watch::Sender<Instant>,
    /// Set by the first wish to stop.
    stopping_since: Option<Instant>,
    cause: Option<(&'static str, UnitError)>,
}

struct Entry {
    name: &'static str,
    options: UnitOptions,
    needs: Vec<usize>,
    /// There unless a task has it.
    unit: Option<UnitBox>,
    lane: Lane,
    since: Instant,
    starts: u32,
    /// Failures in a row.
    strikes: u32,
    /// What is wrong with this incarnation.
    failed: Option<UnitError>,
    last_error: Option<UnitError>,
    pause_until: Option<Instant>,
    /// When this incarnation came up.
    ready_at: Option<Instant>,
    context: Option<Context>,
    drain: PhaseOutcome,
    stop: PhaseOutcome,
    tasks: StopReport,
}

/// Far enough to mean never, near enough to add to.
const NEVER: Duration = Duration::from_hours(100 * 365 * 24);

impl Supervisor {
    /// A supervisor without units.
    pub fn new(name: &str, settings: Settings) -> Self {
        let (out, reports) = mpsc::channel(64);
        let never = Instant::now() + NEVER;
        Self {
            settings,
            units: Vec::new(),
            work: Scope::new(name),
            reports,
            out,
            status: watch::channel(Vec::new()).0,
            drains_end: watch::channel(never).0,
            stops_end: watch::channel(never).0,
            stopping_since: None,
            cause: None,
        }
    }

    /// Adds a unit whose needs come from the slots of units added before. Returns the slot of what it provides.
    pub fn add<U: Unit>(
        &mut self,
        name: &'static str,
        unit: U,
        needs: impl Needs<U::Needs> + Sync,
        options: UnitOptions,
    ) -> Slot<U::Provides> {
        let index = self.units.len();
        let (sender, slot) = Slot::new(name, index);
        self.units.push(Entry {
            name,
            options,
            needs: needs.units(),
            unit: Some(Box::new(Held { name, unit, needs, slot: sender })),
            lane: Lane::Waiting,
            since: Instant::now(),
            starts: 0,
            strikes: 0,
            failed: None,
            last_error: None,
            pause_until: None,
            ready_at: None,
            context: None,
            drain: PhaseOutcome::NotRun,
            stop: PhaseOutcome::NotRun,
            tasks: StopReport::default(),
        });
        self.publish();
        slot
    }

    /// A live view of the units.
    pub fn lanes(&self) -> Lanes {
        Lanes(self.status.subscribe())
    }

    /// Keeps the units up until `shutdown` is requested or an essential unit refuses; returns when all are down. Not
    /// cancel-safe: dropping the future aborts the units' tasks without stopping the units.
    pub async fn run(mut self, shutdown: &Shutdown) -> RunReport {
        let mut hurried = false;
        loop {
            self.act();
            self.publish();
            if self.units.iter().all(|u| u.lane == Lane::Stopped) {
                break;
            }
            let next_pause = self.units.iter().filter_map(|u| u.pause_until).min();
            let pause = async {
                match next_pause {
                    Some(at) => rt::time::sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            // Wishes first: a flood of failures must not delay a stop.
            tokio::select! {
                biased;
                () = shutdown.hurried(), if !hurried => {
                    hurried = true;
                    self.begin_stop();
                    self.hurry();
                }
                () = shutdown.requested(), if self.stopping_since.is_none() => self.begin_stop(),
                Some(report) = self.reports.recv() => self.take(report),
                () = pause => self.end_pauses(),
            }
        }
        let stop_took = self.stopping_since.map(Instant::elapsed).unwrap_or_default();
        self.work.stop(Duration::from_secs(1)).await;
        tracing::info!(?stop_took, "all units are down");
        let units = self.units.into_iter().map(Entry::into_report).collect();
        RunReport { units, cause: self.cause, stop_took }
    }

    fn begin_stop(&mut self) {
        if self.stopping_since.is_some() {
            return;
        }
        let now = Instant::now();
        tracing::info!("stopping");
        self.stopping_since = Some(now);
        self.drains_end.send_replace(now + self.settings.drain_max);
        self.stops_end.send_replace(now + self.settings.stop_max);
    }

    fn hurry(&mut self) {
        let now = Instant::now();
        tracing::warn!(within = ?self.settings.hurry_max, "stopping in a hurry");
        self.drains_end.send_modify(|at| *at = now.min(*at));
        self.stops_end.send_modify(|at| *at = (now + self.settings.hurry_max).min(*at));
    }

    /// Does what is due until nothing is.
    fn act(&mut self) {
        loop {
            let now = Instant::now();
            let views: Vec<View> = self.units.iter().map(|u| u.view(now)).collect();
            let mut changed = false;
            for action in plan::decide(&views, self.stopping_since.is_some()) {
                changed |= match action {
                    Action::Start(i) => self.start(i),
                    Action::Drain(i) => self.drain(i),
                    Action::EndPause(i) => self.step(i, Event::PauseOver),
                    Action::LetGo(i) => self.step(i, Event::LetGo),
                    Action::CancelStart(i) => self.cancel_start(i),
                };
            }
            if !changed {
                return;
            }
        }
    }

    /// Moves a unit along its table. Returns whether it moved.
    fn step(&mut self, index: usize, event: Event) -> bool {
        let Some(entry) = self.units.get_mut(index) else { return false };
        let Some(to) = entry.lane.on(event) else {
            debug_assert!(false, "{} {:?} {event:?}", entry.name, entry.lane);
            tracing::error!(unit = entry.name, lane = %entry.lane, ?event, "a unit's table forbids this event");
            return false;
        };
        tracing::info!(unit = entry.name, from = %entry.lane, %to);
        entry.lane = to;
        entry.since = Instant::now();
        if to != Lane::BackingOff {
            entry.pause_until = None;
        }
        true
    }

    fn start(&mut self, index: usize) -> bool {
        let Some(entry) = self.units.get_mut(index) else { return false };
        let Some(unit) = entry.unit.take() else { return false };
        entry.starts += 1;
        entry.failed = None;
        entry.drain = PhaseOutcome::NotRun;
        entry.stop = PhaseOutcome::NotRun;
        let (failure, failures) = mpsc::channel(1);
        let context = Context { name: entry.name, scope: self.work.child(entry.name), failure };
        entry.context = Some(context.clone());
        let watch = ops::watch(index, entry.starts, context.clone(), failures, self.out.clone());
        self.work.spawn("watch unit", watch);
        self.work.spawn("start unit", ops::start(index, unit, context, entry.options.start_max, self.out.clone()));
        self.step(index, Event::NeedsReady)
    }

    fn cancel_start(&mut self, index: usize) -> bool {
        if let Some(context) = self.units.get(index).and_then(|e| e.context.as_ref()) {
            context.scope.cancel();
        }
        // The unit moves when its start has ended.
        false
    }

    fn drain(&mut self, index: usize) -> bool {
        let drains_end = Deadline::part_of(self.drains_end.subscribe(), 1);
        let Some(entry) = self.units.get_mut(index) else { return false };
        // A unit that failed has nothing to drain: its work is lost already.
        let healthy = entry.failed.is_none();
        let drain = drains_end.within(if healthy { entry.options.drain_max } else { Duration::ZERO });
        self.end(index, Some(drain)) && self.step(index, Event::Drain)
    }

    fn end(&mut self, index: usize, drain: Option<Deadline>) -> bool {
        // The time is shared with those that stop after it: one that hangs must not leave the others none.
        let still_up = self.units.iter().filter(|u| !u.lane.is_down()).count();
        let stops_end = self.stops_end.subscribe();
        let Some(entry) = self.units.get_mut(index) else { return false };
        let (Some(mut unit), Some(context)) = (entry.unit.take(), entry.context.clone()) else { return false };
        unit.withdraw();
        let by = EndBy { drain, stop_max: entry.options.stop_max, stops_end, still_up };
        self.work.spawn("stop unit", ops::end(index, unit, context, by, self.out.clone()));
        true
    }

    fn take(&mut self, report: Report) {
        match report {
            Report::Start { index, unit, outcome } => self.start_ended(index, unit, outcome),
            Report::Drained { index, outcome } => {
                if let Some(entry) = self.units.get_mut(index) {
                    entry.drain = outcome;
                }
                self.step(index, Event::Drained);
            }
            Report::Stopped { index, unit, outcome, tasks } => self.stop_ended(index, unit, outcome, tasks),
            Report::Failed { index, start, error } => {
                if let Some(entry) = self.units.get_mut(index).filter(|e| e.starts == start) {
                    tracing::error!(unit = entry.name, %error, "a unit failed");
                    entry.fail(error);
                    // A start that is under way ends now; a unit that is up is drained when its users are down.
                    if entry.lane == Lane::Starting {
                        self.cancel_start(index);
                    }
                }
            }
        }
    }

    fn start_ended(&mut self, index: usize, unit: UnitBox, outcome: StartOutcome) {
        let Some(entry) = self.units.get_mut(index) else { return };
        entry.unit = Some(unit);
        if let StartOutcome::Started = outcome {
            entry.ready_at = Some(Instant::now());
            self.step(index, Event::Started);
            return;
        }
        if let StartOutcome::Failed(error) = outcome {
            tracing::error!(unit = entry.name, %error, "a unit did not start");
            entry.fail(error);
        }
        self.end(index, None);
        self.step(index, Event::StartEnded);
    }

    fn stop_ended(&mut self, index: usize, unit: UnitBox, outcome: PhaseOutcome, tasks: StopReport) {
        let (settings, stopping) = (self.settings, self.stopping_since.is_some());
        let Some(entry) = self.units.get_mut(index) else { return };
        entry.unit = Some(unit);
        let clean = outcome.is_clean() && tasks.stuck.is_empty();
        entry.stop = outcome;
        entry.tasks = tasks;
        entry.context = None;
        if stopping {
            self.step(index, Event::StoppedForGood);
            return;
        }
        let event = match entry.failed.take() {
            // What did not let go of its files and sockets cannot have them a second time.
            _ if !clean => Event::StoppedToQuarantine,
            None => Event::StoppedToWait,
            Some(error) if error.is_worth_a_restart() => Event::StoppedToBackOff,
            Some(_) => Event::StoppedToQuarantine,
        };
        match event {
            Event::StoppedToBackOff => entry.pause(&settings),
            Event::StoppedToQuarantine if entry.options.importance == Importance::Essential => {
                let timed_out = || UnitError::TimedOut { phase: "stop", after: entry.options.stop_max };
                self.cause = Some((entry.name, entry.last_error.clone().unwrap_or_else(timed_out)));
            }
            _ => {}
        }
        self.step(index, event);
        if self.cause.is_some() {
            self.begin_stop();
        }
    }

    fn end_pauses(&mut self) {
        let now = Instant::now();
        for entry in &mut self.units {
            if entry.pause_until.is_some_and(|at| at <= now) {
                entry.pause_until = None;
            }
        }
    }

    fn publish(&self) {
        let ready: BTreeSet<usize> =
            self.units.iter().enumerate().filter(|(_, u)| u.lane == Lane::Ready).map(|(i, _)| i).collect();
        let name = |i: &usize| self.units.get(*i).map(|u| u.name);
        let statuses = self.units.iter().map(|u| UnitStatus {
            name: u.name,
            lane: u.lane,
            since: u.since,
            needs: u.needs.iter().filter_map(name).collect(),
            waits_for: u.needs.iter().filter(|n| !ready.contains(n)).filter_map(name).collect(),
            starts: u.starts,
            last_error: u.last_error.clone(),
            retry_at: u.pause_until,
            tasks: u.context.as_ref().map_or(0, |c| c.scope.running().len()),
        });
        self.status.send_replace(statuses.collect());
    }
}

impl Entry {
    fn view(&self, now: Instant) -> View {
        View {
            lane: self.lane,
            needs: self.needs.clone(),
            failed: self.failed.is_some(),
            pause_over: self.pause_until.is_none_or(|at| at <= now),
        }
    }

    fn fail(&mut self, error: UnitError) {
        self.last_error = Some(error.clone());
        self.failed.get_or_insert(error);
    }

    /// Sets the pause before the next start: doubling, a quarter of it by chance, so that nodes do not march in step.
    fn pause(&mut self, settings: &Settings) {
        if self.ready_at.take().is_some_and(|at| at.elapsed() >= settings.settled_after) {
            self.strikes = 0;
        }
        let pause = settings.pause_min.saturating_mul(1 << self.strikes.min(16)).min(settings.pause_max);
        self.strikes += 1;
        let chance = u32::from(rt::entropy::u64().to_le_bytes()[0]);
        self.pause_until = Some(Instant::now() + pause + pause / 4 * chance / 255);
    }

    fn into_report(self) -> UnitReport {
        UnitReport {
            name: self.name,
            starts: self.starts,
            last_error: self.last_error,
            drain: self.drain,
            stop: self.stop,
            tasks: self.tasks,
        }
    }
}

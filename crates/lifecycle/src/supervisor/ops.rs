//! What a supervisor runs for a unit, each as a task of its own: a start, an end, and a watch for failures. A task owns
//! the unit while it runs and sends it back with the outcome; a panic of the unit is caught and is an outcome.

use super::erased::Erased;
use super::report::PhaseOutcome;
use crate::{Context, Deadline, Failure, StopReport, UnitError};
use futures::FutureExt;
use rt::sync::watch;
use rt::task::panic_message;
use rt::time::Instant;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::time::Duration;
use tokio::sync::mpsc;

/// A unit on its way through a task.
pub(crate) type UnitBox = Box<dyn Erased>;

/// What the tasks report.
pub(crate) enum Report {
    /// A start ended.
    Start { index: usize, unit: UnitBox, outcome: StartOutcome },
    /// A drain ended; the stop has begun.
    Drained { index: usize, outcome: PhaseOutcome },
    /// A stop ended.
    Stopped { index: usize, unit: UnitBox, outcome: PhaseOutcome, tasks: StopReport },
    /// A unit that was up failed.
    Failed { index: usize, start: u32, error: UnitError },
}

pub(crate) enum StartOutcome {
    Started,
    /// A shutdown, or a need that was lost.
    Dropped,
    Failed(UnitError),
}

/// Starts the unit until it is up, its scope is cancelled, or `limit` has passed.
pub(crate) async fn start(
    index: usize,
    mut unit: UnitBox,
    context: Context,
    limit: Duration,
    out: mpsc::Sender<Report>,
) {
    let cancelled = context.scope.cancelled();
    let attempt = async {
        tokio::select! {
            biased;
            () = cancelled.wait() => StartOutcome::Dropped,
            started = rt::time::timeout(limit, unit.start(&context)) => match started {
                Ok(Some(Ok(()))) => StartOutcome::Started,
                Ok(Some(Err(error))) => StartOutcome::Failed(error),
                Ok(None) => StartOutcome::Dropped,
                Err(_) => StartOutcome::Failed(UnitError::TimedOut { phase: "start", after: limit }),
            },
        }
    };
    let outcome = match AssertUnwindSafe(attempt).catch_unwind().await {
        Ok(outcome) => outcome,
        Err(panic) => StartOutcome::Failed(panicked(context.name, "start", panic.as_ref())),
    };
    // The receiver is gone only if the supervisor itself was dropped.
    drop(out.send(Report::Start { index, unit, outcome }).await);
}

/// The deadlines of an end.
pub(crate) struct EndBy {
    /// None: the unit never came up, or failed; there is nothing to drain.
    pub(crate) drain: Option<Deadline>,
    pub(crate) stop_max: Duration,
    /// The end of all stops, and how many units share the time until then.
    pub(crate) stops_end: watch::Receiver<Instant>,
    pub(crate) still_up: usize,
}

/// Drains, stops, and joins the unit's tasks.
pub(crate) async fn end(index: usize, mut unit: UnitBox, context: Context, by: EndBy, out: mpsc::Sender<Report>) {
    if let Some(deadline) = &by.drain {
        let drain = async {
            unit.drain(deadline).await;
            Ok(())
        };
        let outcome = phase(&context, "drain", deadline, drain).await;
        drop(out.send(Report::Drained { index, outcome }).await);
    }
    let deadline = Deadline::part_of(by.stops_end, by.still_up).within(by.stop_max);
    let outcome = phase(&context, "stop", &deadline, unit.stop(&deadline)).await;
    let tasks = context.scope.stop_by(&deadline).await;
    drop(out.send(Report::Stopped { index, unit, outcome, tasks }).await);
}

/// Waits for the first sign that a unit that is up has failed.
pub(crate) async fn watch(
    index: usize,
    start: u32,
    context: Context,
    mut failures: mpsc::Receiver<UnitError>,
    out: mpsc::Sender<Report>,
) {
    let cancelled = context.scope.cancelled();
    let error = tokio::select! {
        biased;
        () = cancelled.wait() => return,
        Failure { task, message } = context.scope.failed() => UnitError::Panicked { task, message },
        Some(error) = failures.recv() => error,
    };
    drop(out.send(Report::Failed { index, start, error }).await);
}

async fn phase(
    context: &Context,
    name: &'static str,
    deadline: &Deadline,
    work: impl Future<Output = Result<(), UnitError>>,
) -> PhaseOutcome {
    let begin = Instant::now();
    let work = AssertUnwindSafe(work).catch_unwind();
    tokio::select! {
        biased;
        done = work => match done {
            Ok(Ok(())) => PhaseOutcome::Done { took: begin.elapsed() },
            Ok(Err(error)) => PhaseOutcome::Failed(error),
            Err(panic) => PhaseOutcome::Failed(panicked(context.name, name, panic.as_ref())),
        },
        () = deadline.passed() => {
            let after = begin.elapsed();
            tracing::warn!(unit = context.name, phase = name, ?after, "deadline passed");
            PhaseOutcome::TimedOut { after }
        }
    }
}

fn panicked(unit: &str, phase: &str, panic: &(dyn std::any::Any + Send)) -> UnitError {
    let message = panic_message(panic);
    tracing::error!(unit, phase, message, "a unit panicked");
    UnitError::Panicked { task: format!("{unit}/{phase}"), message }
}

//! The product's own log lines during a run, with the node and the time of the world; unlisted WARN and ERROR lines fail it.

use std::collections::VecDeque;
use std::fmt::{self, Write};
use std::sync::{Arc, Mutex, PoisonError};
use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};

/// Lines kept for a report, and how many when more than usual was asked for.
const LINES_MAX: usize = 400;
const LINES_MAX_WIDE: usize = 1_000_000;
/// WARN and ERROR lines kept for the judgement.
const ALARMS_MAX: usize = 10_000;

#[derive(Debug, Default)]
struct Lines {
    last: VecDeque<String>,
    alarms: Vec<String>,
}

/// What was logged.
#[derive(Debug, Clone, Default)]
pub(super) struct Logs(Arc<Mutex<Lines>>);

impl Logs {
    /// The first WARN or ERROR line that holds none of the expected parts.
    pub(super) fn unexpected(&self, expected: &[&str]) -> Option<String> {
        let lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        lines.alarms.iter().find(|line| !expected.iter().any(|part| line.contains(part))).cloned()
    }

    pub(super) fn last_lines(&self) -> Vec<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).last.iter().cloned().collect()
    }
}

/// Runs `work` with its log lines captured. `SIM_LOG=trace` (or debug, info) widens what a report shows.
pub(super) fn capture<R>(work: impl FnOnce() -> R) -> (R, Logs) {
    let logs = Logs::default();
    let level = std::env::var("SIM_LOG").ok().and_then(|l| l.parse().ok()).unwrap_or(LevelFilter::INFO);
    let subscriber = tracing_subscriber::registry().with(Capture { logs: logs.clone(), level });
    let result = tracing::subscriber::with_default(subscriber, work);
    (result, logs)
}

struct Capture {
    logs: Logs,
    level: LevelFilter,
}

impl<S: Subscriber> Layer<S> for Capture {
    fn enabled(&self, metadata: &tracing::Metadata<'_>, _: Context<'_, S>) -> bool {
        // Turmoil's own lines are about every segment; openraft warns in ordinary operation, and its groups say what matters.
        let is_chatty = metadata.target() == "turmoil"
            || (metadata.target().starts_with("openraft") && self.level < LevelFilter::TRACE);
        metadata.is_event() && *metadata.level() <= self.level && !is_chatty
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(self.level)
    }

    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut text = Text(String::new());
        event.record(&mut text);
        let node = rt::sim::current();
        let (name, at) =
            node.map_or_else(|| ("world".to_owned(), 0.0), |n| (n.name().to_owned(), n.world_now().as_secs_f64()));
        let level = *event.metadata().level();
        let line = format!("{at:>9.3} {name:<5} {level:<5} {}:{}", event.metadata().target(), text.0);
        let mut lines = self.logs.0.lock().unwrap_or_else(PoisonError::into_inner);
        if level <= Level::WARN && lines.alarms.len() < ALARMS_MAX {
            lines.alarms.push(line.clone());
        }
        let most = if self.level > LevelFilter::INFO { LINES_MAX_WIDE } else { LINES_MAX };
        if lines.last.len() == most {
            lines.last.pop_front();
        }
        lines.last.push_back(line);
    }
}

struct Text(String);

impl Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        // Writing to a String cannot fail.
        let written = if field.name() == "message" {
            write!(self.0, " {value:?}")
        } else {
            write!(self.0, " {}={value:?}", field.name())
        };
        debug_assert!(written.is_ok());
    }
}

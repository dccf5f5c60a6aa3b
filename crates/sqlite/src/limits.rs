//! What a statement may do, and for how long.

use crate::error::SqlError;
use libsqlite3_sys as sys;
use rt::time::Instant;
use std::ffi::c_int;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

/// Why a statement was stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stop {
    Interrupted = 1,
    Deadline,
    Budget,
    Poisoned,
}

/// The limits of what a connection is running now. Shared with those who may interrupt it.
#[derive(Debug, Default)]
pub(crate) struct Limits {
    /// Whether a statement is in the middle of its run: only then can it be interrupted.
    running: AtomicBool,
    interrupted: AtomicBool,
    /// Whether nobody waits for anything any more.
    abandoned: AtomicBool,
    /// Why the run was stopped; 0 if it was not.
    stopped: AtomicU8,
    /// Steps of the run so far.
    steps: AtomicU64,
    /// The most steps of a run; 0 for no limit.
    budget: AtomicU64,
    deadline: Mutex<Option<Instant>>,
}

impl Limits {
    pub(crate) fn set_budget(&self, steps: Option<u64>) {
        self.budget.store(steps.map_or(0, |steps| steps.max(1)), Ordering::Relaxed);
    }

    pub(crate) fn set_deadline(&self, deadline: Option<Instant>) {
        *self.deadline.lock().unwrap_or_else(PoisonError::into_inner) = deadline;
    }

    fn passed(&self) -> bool {
        let deadline = *self.deadline.lock().unwrap_or_else(PoisonError::into_inner);
        deadline.is_some_and(|deadline| Instant::now() >= deadline)
    }

    /// A statement begins its run; false if it must not, for the deadline has passed or nobody waits for it.
    pub(crate) fn begin(&self) -> bool {
        if !self.running.swap(true, Ordering::AcqRel) {
            self.interrupted.store(false, Ordering::Release);
            self.steps.store(0, Ordering::Relaxed);
        }
        self.stopped.store(0, Ordering::Release);
        if self.abandoned.load(Ordering::Acquire) {
            self.stop(Stop::Interrupted);
            return false;
        }
        if self.passed() {
            self.stop(Stop::Deadline);
            return false;
        }
        true
    }

    /// No statement is in the middle of its run any more.
    pub(crate) fn end(&self) {
        self.running.store(false, Ordering::Release);
    }

    pub(crate) fn interrupt(&self) {
        if self.running.load(Ordering::Acquire) {
            self.interrupted.store(true, Ordering::Release);
        }
    }

    /// Stops what runs, and whatever would be begun.
    pub(crate) fn abandon(&self) {
        self.abandoned.store(true, Ordering::Release);
        self.interrupted.store(true, Ordering::Release);
    }

    pub(crate) fn stop(&self, why: Stop) {
        // The first reason stays.
        let _was = self.stopped.compare_exchange(0, why as u8, Ordering::AcqRel, Ordering::Acquire);
    }

    /// Counts steps, and says whether to stop.
    pub(crate) fn advance(&self, steps: u64) -> bool {
        let used = self.steps.fetch_add(steps, Ordering::Relaxed) + steps;
        let budget = self.budget.load(Ordering::Relaxed);
        if self.interrupted.load(Ordering::Acquire) || self.abandoned.load(Ordering::Acquire) {
            self.stop(Stop::Interrupted);
        } else if budget != 0 && used > budget {
            self.stop(Stop::Budget);
        } else if self.passed() {
            self.stop(Stop::Deadline);
        }
        self.stopped.load(Ordering::Acquire) != 0
    }

    /// The error of a run that SQLite says was interrupted.
    pub(crate) fn error(&self) -> SqlError {
        match self.stopped.load(Ordering::Acquire) {
            2 => SqlError::DeadlineExceeded,
            3 => SqlError::BudgetExceeded { steps: self.budget.load(Ordering::Relaxed) },
            4 => SqlError::LeadershipLost,
            _ => SqlError::Interrupted,
        }
    }
}

/// Pragmas that would change how the file is stored, locked or synced, or the whole process. Asking for a value is fine.
const MANAGED: &[&str] = &[
    "busy_timeout",
    "checkpoint_fullfsync",
    "data_store_directory",
    "default_cache_size",
    "fullfsync",
    "hard_heap_limit",
    "journal_mode",
    "journal_size_limit",
    "locking_mode",
    "mmap_size",
    "page_size",
    "read_uncommitted",
    "schema_version",
    "soft_heap_limit",
    "synchronous",
    "temp_store",
    "temp_store_directory",
    "threads",
    "wal_autocheckpoint",
    "writable_schema",
];

/// Why an action of a statement is not allowed, if it is not. The arguments are those of SQLite's authorizer.
pub(crate) fn refuse(action: c_int, first: Option<&str>, second: Option<&str>) -> Option<(String, &'static str)> {
    match action {
        sys::SQLITE_ATTACH if !matches!(first, Some("" | ":memory:")) => Some((
            format!("ATTACH {}", first.unwrap_or("of a computed name")),
            "another file would not be replicated; only ':memory:' can be attached",
        )),
        sys::SQLITE_FUNCTION if second.is_some_and(|name| name.eq_ignore_ascii_case("load_extension")) => {
            Some(("load_extension()".to_owned(), "extensions are not loaded from SQL"))
        }
        sys::SQLITE_PRAGMA => {
            let name = first.unwrap_or_default().to_ascii_lowercase();
            let managed = MANAGED.contains(&name.as_str()) && second.is_some();
            (managed || name == "wal_checkpoint").then(|| {
                (format!("PRAGMA {name}"), "how the database is stored, locked and synced is managed by Bowline")
            })
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn an_interrupt_stops_only_what_is_running() {
        let limits = Limits::default();
        limits.interrupt();
        assert!(limits.begin() && !limits.advance(1));
        limits.interrupt();
        assert!(limits.advance(1));
        assert_eq!(limits.error(), SqlError::Interrupted);
        limits.end();
        limits.interrupt();
        assert!(limits.begin() && !limits.advance(1), "an interrupt between two runs is forgotten");
    }

    #[test]
    fn what_nobody_waits_for_is_not_begun() {
        let limits = Limits::default();
        assert!(limits.begin());
        limits.abandon();
        assert!(limits.advance(1));
        limits.end();
        assert!(!limits.begin());
        assert_eq!(limits.error(), SqlError::Interrupted);
    }

    #[test]
    fn a_budget_and_a_deadline_name_themselves() {
        let limits = Limits::default();
        limits.set_budget(Some(10));
        assert!(limits.begin() && !limits.advance(10) && limits.advance(1));
        assert_eq!(limits.error(), SqlError::BudgetExceeded { steps: 10 });
        limits.end();
        limits.set_budget(None);
        limits.set_deadline(Some(Instant::now()));
        assert!(!limits.begin());
        assert_eq!(limits.error(), SqlError::DeadlineExceeded);
        limits.set_deadline(Some(Instant::now() + Duration::from_hours(1)));
        limits.end();
        assert!(limits.begin() && !limits.advance(1));
    }

    #[test]
    fn asking_for_a_managed_setting_is_fine_and_changing_it_is_not() {
        assert_eq!(refuse(sys::SQLITE_PRAGMA, Some("journal_mode"), None), None);
        for name in ["journal_mode", "Synchronous", "wal_autocheckpoint", "page_size"] {
            assert!(refuse(sys::SQLITE_PRAGMA, Some(name), Some("1")).is_some(), "{name}");
        }
        assert!(refuse(sys::SQLITE_PRAGMA, Some("wal_checkpoint"), None).is_some());
        assert_eq!(refuse(sys::SQLITE_PRAGMA, Some("foreign_keys"), Some("off")), None);
    }
}

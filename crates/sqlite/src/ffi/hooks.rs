//! What SQLite asks while it works: whether a statement is allowed, and whether to go on.

use crate::connection::Access;
use crate::error::SqlError;
use crate::limits::{Limits, Stop};
use crate::page_store::Attachment;
use libsqlite3_sys as sys;
use std::ffi::{CStr, c_char, c_int, c_void};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError};

/// How many virtual machine instructions SQLite runs between two questions.
pub(crate) const STEPS_BETWEEN: u32 = 1000;

/// A connection's answers to SQLite.
#[derive(Debug)]
pub(crate) struct Hooks {
    pub(crate) access: Access,
    pub(crate) limits: Arc<Limits>,
    pub(crate) attachment: Arc<Attachment>,
    refusal: Mutex<Option<SqlError>>,
}

impl Hooks {
    pub(crate) fn new(access: Access, limits: Arc<Limits>, attachment: Arc<Attachment>) -> Self {
        Self { access, limits, attachment, refusal: Mutex::new(None) }
    }

    /// Why the last statement was not allowed.
    pub(crate) fn take_refusal(&self) -> Option<SqlError> {
        self.refusal.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    pub(super) fn install(self: &Arc<Self>, raw: *mut sys::sqlite3) {
        let context = Arc::as_ptr(self).cast_mut().cast::<c_void>();
        if self.access != Access::Internal {
            // SAFETY: the connection is open; the `Database` keeps the hooks alive for as long as it lives.
            unsafe { sys::sqlite3_set_authorizer(raw, Some(authorize), context) };
        }
        let steps = c_int::try_from(STEPS_BETWEEN).unwrap_or(c_int::MAX);
        // SAFETY: as above.
        unsafe { sys::sqlite3_progress_handler(raw, steps, Some(progress), context) };
    }
}

/// SQLite's question every so many steps: 0 to go on.
unsafe extern "C" fn progress(context: *mut c_void) -> c_int {
    // SAFETY: `install` gave a pointer to hooks, which live as long as the connection.
    let hooks = unsafe { &*context.cast_const().cast::<Hooks>() };
    let stop = catch_unwind(AssertUnwindSafe(|| {
        if hooks.attachment.poisoned().is_some() {
            hooks.limits.stop(Stop::Poisoned);
        }
        hooks.limits.advance(STEPS_BETWEEN.into())
    }));
    c_int::from(stop.unwrap_or(true))
}

/// SQLite's question for each thing that a statement does, while it is prepared.
unsafe extern "C" fn authorize(
    context: *mut c_void,
    action: c_int,
    first: *const c_char,
    second: *const c_char,
    _database: *const c_char,
    _trigger: *const c_char,
) -> c_int {
    // SAFETY: `install` gave a pointer to hooks, which live as long as the connection.
    let hooks = unsafe { &*context.cast_const().cast::<Hooks>() };
    // SAFETY: SQLite gives strings that end with 0 and live during the call, or null.
    let first = (!first.is_null()).then(|| unsafe { CStr::from_ptr(first) }.to_string_lossy());
    // SAFETY: as above.
    let second = (!second.is_null()).then(|| unsafe { CStr::from_ptr(second) }.to_string_lossy());
    let refusal = catch_unwind(AssertUnwindSafe(|| crate::limits::refuse(action, first.as_deref(), second.as_deref())));
    match refusal {
        Ok(None) => sys::SQLITE_OK,
        Ok(Some((what, why))) => {
            let refusal = SqlError::Refused { what, why };
            *hooks.refusal.lock().unwrap_or_else(PoisonError::into_inner) = Some(refusal);
            sys::SQLITE_DENY
        }
        Err(_) => sys::SQLITE_DENY,
    }
}

//! A prepared statement.

use super::text_of;
use crate::connection::{Column, ValueRef};
use libsqlite3_sys as sys;
use std::ffi::{c_int, c_void};
use std::ptr::NonNull;

/// A prepared statement. Finalized when dropped.
#[derive(Debug)]
pub(crate) struct Statement {
    raw: NonNull<sys::sqlite3_stmt>,
    params: usize,
}

// SAFETY: as for `Database`: used by one thread at a time, together with its connection.
unsafe impl Send for Statement {}

impl Statement {
    pub(super) fn new(raw: *mut sys::sqlite3_stmt) -> Option<Self> {
        let raw = NonNull::new(raw)?;
        // SAFETY: a statement that was just prepared.
        let params = unsafe { sys::sqlite3_bind_parameter_count(raw.as_ptr()) };
        Some(Self { raw, params: usize::try_from(params).unwrap_or(0) })
    }

    pub(crate) fn params(&self) -> usize {
        self.params
    }

    /// Binds a parameter, counted from 1. Gives SQLite's code.
    pub(crate) fn bind(&mut self, index: usize, value: ValueRef<'_>) -> c_int {
        let raw = self.raw.as_ptr();
        let Ok(index) = c_int::try_from(index) else { return sys::SQLITE_RANGE };
        let (pointer, length) = match value {
            // SAFETY: the statement is valid; a wrong index gives a code.
            ValueRef::Null => return unsafe { sys::sqlite3_bind_null(raw, index) },
            // SAFETY: as above.
            ValueRef::Integer(value) => return unsafe { sys::sqlite3_bind_int64(raw, index, value) },
            // SAFETY: as above.
            ValueRef::Real(value) => return unsafe { sys::sqlite3_bind_double(raw, index, value) },
            // SAFETY: as above. An empty blob has no address that SQLite would not take for NULL.
            ValueRef::Blob([]) => return unsafe { sys::sqlite3_bind_zeroblob(raw, index, 0) },
            ValueRef::Blob(bytes) | ValueRef::Text(bytes) => (bytes.as_ptr(), bytes.len()),
        };
        let length = u64::try_from(length).unwrap_or(u64::MAX);
        let copy = sys::SQLITE_TRANSIENT();
        if matches!(value, ValueRef::Blob(_)) {
            // SAFETY: the bytes are valid for that length, and SQLite copies them before it returns.
            unsafe { sys::sqlite3_bind_blob64(raw, index, pointer.cast::<c_void>(), length, copy) }
        } else {
            let utf8 = u8::try_from(sys::SQLITE_UTF8).unwrap_or(1);
            // SAFETY: as above; an empty text has an address that is not null.
            unsafe { sys::sqlite3_bind_text64(raw, index, pointer.cast(), length, copy, utf8) }
        }
    }

    pub(crate) fn clear_bindings(&mut self) {
        // SAFETY: the statement is valid.
        unsafe { sys::sqlite3_clear_bindings(self.raw.as_ptr()) };
    }

    /// SQLITE_ROW, SQLITE_DONE, or what went wrong.
    pub(crate) fn step(&mut self) -> c_int {
        // SAFETY: the statement is valid, and nobody holds a value of its row: they borrow the connection.
        unsafe { sys::sqlite3_step(self.raw.as_ptr()) }
    }

    /// Ends the run. The code is that of the last step and says nothing new.
    pub(crate) fn reset(&mut self) {
        // SAFETY: as for `step`.
        unsafe { sys::sqlite3_reset(self.raw.as_ptr()) };
    }

    /// Whether a run has begun and not ended.
    pub(crate) fn is_busy(&self) -> bool {
        // SAFETY: the statement is valid.
        unsafe { sys::sqlite3_stmt_busy(self.raw.as_ptr()) != 0 }
    }

    pub(crate) fn column_count(&self) -> usize {
        // SAFETY: the statement is valid.
        usize::try_from(unsafe { sys::sqlite3_column_count(self.raw.as_ptr()) }).unwrap_or(0)
    }

    pub(crate) fn column(&self, at: usize) -> Column {
        let at = c_int::try_from(at).unwrap_or(c_int::MAX);
        // SAFETY: the statement is valid; a wrong index gives null.
        let name = text_of(unsafe { sys::sqlite3_column_name(self.raw.as_ptr(), at) });
        // SAFETY: as above.
        let decltype = unsafe { sys::sqlite3_column_decltype(self.raw.as_ptr(), at) };
        Column { name, decltype: (!decltype.is_null()).then(|| text_of(decltype)) }
    }

    /// How many columns the current row has; 0 if there is no row.
    pub(crate) fn data_count(&self) -> usize {
        // SAFETY: the statement is valid.
        usize::try_from(unsafe { sys::sqlite3_data_count(self.raw.as_ptr()) }).unwrap_or(0)
    }

    /// A value of the current row. NULL if there is no such column or no row.
    pub(crate) fn value(&self, at: usize) -> ValueRef<'_> {
        let raw = self.raw.as_ptr();
        if at >= self.data_count() {
            return ValueRef::Null;
        }
        let at = c_int::try_from(at).unwrap_or(c_int::MAX);
        // SAFETY: the statement is valid and has a row with that column.
        match unsafe { sys::sqlite3_column_type(raw, at) } {
            // SAFETY: as above.
            sys::SQLITE_INTEGER => ValueRef::Integer(unsafe { sys::sqlite3_column_int64(raw, at) }),
            // SAFETY: as above.
            sys::SQLITE_FLOAT => ValueRef::Real(unsafe { sys::sqlite3_column_double(raw, at) }),
            sys::SQLITE_TEXT => {
                // SAFETY: as above. The text stays valid until the next step or reset: neither happens while `self` is
                // borrowed, and asking again for the same text moves nothing.
                let text = unsafe { sys::sqlite3_column_text(raw, at) };
                ValueRef::Text(self.bytes(text.cast(), at))
            }
            sys::SQLITE_BLOB => {
                // SAFETY: as for text.
                let blob = unsafe { sys::sqlite3_column_blob(raw, at) };
                ValueRef::Blob(self.bytes(blob.cast(), at))
            }
            _ => ValueRef::Null,
        }
    }

    /// The bytes of the value that SQLite has just given the address of.
    fn bytes(&self, address: *const u8, at: c_int) -> &[u8] {
        // SAFETY: the statement has a row with that column.
        let length = usize::try_from(unsafe { sys::sqlite3_column_bytes(self.raw.as_ptr(), at) }).unwrap_or(0);
        if address.is_null() || length == 0 {
            return &[];
        }
        // SAFETY: SQLite gave address and length of one value, valid as said in `value`.
        unsafe { std::slice::from_raw_parts(address, length) }
    }

    pub(crate) fn is_readonly(&self) -> bool {
        // SAFETY: the statement is valid.
        unsafe { sys::sqlite3_stmt_readonly(self.raw.as_ptr()) != 0 }
    }

    pub(crate) fn is_explain(&self) -> bool {
        // SAFETY: the statement is valid.
        unsafe { sys::sqlite3_stmt_isexplain(self.raw.as_ptr()) != 0 }
    }

    pub(crate) fn vm_steps(&self) -> u64 {
        // SAFETY: the statement is valid.
        let steps = unsafe { sys::sqlite3_stmt_status(self.raw.as_ptr(), sys::SQLITE_STMTSTATUS_VM_STEP, 0) };
        u64::from(steps.cast_unsigned())
    }
}

impl Drop for Statement {
    fn drop(&mut self) {
        // SAFETY: the statement is valid and not used again.
        unsafe { sys::sqlite3_finalize(self.raw.as_ptr()) };
    }
}

//! SQLite's C interface, as far as this crate uses it, behind two owning types. `unsafe`: we call C here.
//!
//! A [`Statement`] must be dropped before its [`Database`]: the connection, which holds both, sees to that. Were it not so,
//! SQLite would refuse to close, and memory would leak; nothing would be freed twice.
#![expect(unsafe_code, reason = "calls SQLite's C interface")]

mod hooks;
mod statement;

pub(crate) use hooks::{Hooks, STEPS_BETWEEN};
pub(crate) use statement::Statement;

use crate::vfs;
use libsqlite3_sys as sys;
use std::ffi::{CStr, c_int};
use std::sync::{Arc, OnceLock};

/// SQLite's own account of a failure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) extended: c_int,
    pub(crate) message: String,
    pub(crate) offset: Option<u32>,
}

impl Failure {
    fn of_code(code: c_int) -> Self {
        // SAFETY: gives a static string for any code.
        let text = unsafe { sys::sqlite3_errstr(code) };
        Self { extended: code, message: text_of(text), offset: None }
    }
}

/// Copies a C string; null gives an empty one.
fn text_of(text: *const std::ffi::c_char) -> String {
    if text.is_null() {
        return String::new();
    }
    // SAFETY: SQLite's strings end with 0 and live until the next call on their object; it is copied here.
    unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned()
}

/// Sets SQLite up, once in a process: no mutexes inside connections, our VFS for everything.
fn initialize() -> Result<(), Failure> {
    static OUTCOME: OnceLock<c_int> = OnceLock::new();
    let code = *OUTCOME.get_or_init(|| {
        // SAFETY: nothing has called SQLite before; the option takes no arguments. If somebody else has set SQLite up
        // already this fails and changes nothing: connections then have mutexes, which cost a little and harm nobody.
        let configured = unsafe { sys::sqlite3_config(sys::SQLITE_CONFIG_MULTITHREAD) };
        if configured != sys::SQLITE_OK {
            tracing::warn!(code = configured, "SQLite was set up before; its connections keep their mutexes");
        }
        // SAFETY: may be called at any time, also repeatedly.
        match unsafe { sys::sqlite3_initialize() } {
            sys::SQLITE_OK => vfs::register(),
            failed => failed,
        }
    });
    if code == sys::SQLITE_OK { Ok(()) } else { Err(Failure::of_code(code)) }
}

/// Makes SQLite's random numbers start anew from `rt::entropy`, which they otherwise do once in a process. For a simulator
/// that runs several histories in one process.
pub fn reseed_random() {
    if initialize().is_ok() {
        // SAFETY: a request for no bytes resets the generator, under SQLite's own lock.
        unsafe { sys::sqlite3_randomness(0, std::ptr::null_mut()) };
    }
}

/// Whether SQLite itself refuses to write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OpenAs {
    ReadWrite,
    ReadOnly,
}

/// An open SQLite connection.
#[derive(Debug)]
pub(crate) struct Database {
    raw: *mut sys::sqlite3,
    /// What the callbacks registered with SQLite point to.
    hooks: Option<Arc<Hooks>>,
}

// SAFETY: SQLite is built thread-safe; a connection without mutexes may move between threads as long as one at a time uses
// it, which `&mut` and the lack of `Sync` ensure.
unsafe impl Send for Database {}

/// The longest value, and row, of a statement, in bytes: SQLite's own limit would let one statement take a machine's memory. More than a transaction
/// holds, so that what is there can be read.
const VALUE_BYTES_MAX: c_int = 64 << 20;

impl Database {
    /// Sets SQLite up, once in a process.
    pub(crate) fn init() -> Result<(), Failure> {
        initialize()
    }

    /// Opens by file name.
    pub(crate) fn open(name: &CStr, open_as: OpenAs) -> Result<Self, Failure> {
        Self::init()?;
        let mut raw = std::ptr::null_mut();
        let flags = match open_as {
            OpenAs::ReadWrite => sys::SQLITE_OPEN_READWRITE | sys::SQLITE_OPEN_CREATE,
            OpenAs::ReadOnly => sys::SQLITE_OPEN_READONLY,
        } | sys::SQLITE_OPEN_NOMUTEX
            | sys::SQLITE_OPEN_PRIVATECACHE
            | sys::SQLITE_OPEN_EXRESCODE;
        // SAFETY: the strings end with 0, and there is a place for the result.
        let code = unsafe { sys::sqlite3_open_v2(name.as_ptr(), &raw mut raw, flags, vfs::NAME.as_ptr()) };
        // Even a failed open gives an object, which says more and must be closed.
        let database = Self { raw, hooks: None };
        if code == sys::SQLITE_OK { Ok(database) } else { Err(database.failure(code)) }
    }

    /// Installs the authorizer and the progress handler, and bounds the size of values. Once.
    pub(crate) fn hook(&mut self, hooks: Arc<Hooks>) {
        hooks.install(self.raw);
        self.hooks = Some(hooks);
        // SAFETY: the connection is open.
        unsafe { sys::sqlite3_limit(self.raw, sys::SQLITE_LIMIT_LENGTH, VALUE_BYTES_MAX) };
    }

    /// What SQLite says of the call that has just failed with `code`.
    pub(crate) fn failure(&self, code: c_int) -> Failure {
        if self.raw.is_null() {
            return Failure::of_code(code);
        }
        // SAFETY: the connection is open.
        let extended = unsafe { sys::sqlite3_extended_errcode(self.raw) };
        if extended & 0xFF != code & 0xFF {
            return Failure::of_code(code);
        }
        // SAFETY: the connection is open; the text is copied before the next call.
        let message = text_of(unsafe { sys::sqlite3_errmsg(self.raw) });
        // SAFETY: the connection is open.
        let offset = unsafe { sys::sqlite3_error_offset(self.raw) };
        Failure { extended, message, offset: u32::try_from(offset).ok() }
    }

    /// Prepares the first statement of `sql`, and says how many bytes it took. `None`: only white space and comments.
    pub(crate) fn prepare(&mut self, sql: &str) -> Result<(Option<Statement>, usize), Failure> {
        let mut statement = std::ptr::null_mut();
        let mut tail = std::ptr::null();
        let Ok(length) = c_int::try_from(sql.len()) else { return Err(Failure::of_code(sys::SQLITE_TOOBIG)) };
        // SAFETY: the connection is open, `sql` has that length, and there are places for both results.
        let code = unsafe {
            sys::sqlite3_prepare_v3(
                self.raw,
                sql.as_ptr().cast(),
                length,
                sys::SQLITE_PREPARE_PERSISTENT,
                &raw mut statement,
                &raw mut tail,
            )
        };
        if code != sys::SQLITE_OK {
            return Err(self.failure(code));
        }
        let used = if tail.is_null() { sql.len() } else { tail.addr().saturating_sub(sql.as_ptr().addr()) };
        Ok((Statement::new(statement), used.min(sql.len())))
    }

    /// Whether no transaction was begun with BEGIN.
    pub(crate) fn is_autocommit(&self) -> bool {
        // SAFETY: the connection is open.
        unsafe { sys::sqlite3_get_autocommit(self.raw) != 0 }
    }

    /// Whether a write transaction is open.
    pub(crate) fn is_writing(&self) -> bool {
        // SAFETY: the connection is open, and it has a database of that name.
        unsafe { sys::sqlite3_txn_state(self.raw, c"main".as_ptr()) == sys::SQLITE_TXN_WRITE }
    }

    /// Whether a transaction of any kind is open.
    pub(crate) fn is_reading(&self) -> bool {
        // SAFETY: the connection is open, and it has a database of that name.
        unsafe { sys::sqlite3_txn_state(self.raw, c"main".as_ptr()) != sys::SQLITE_TXN_NONE }
    }

    pub(crate) fn last_insert_rowid(&self) -> i64 {
        // SAFETY: the connection is open.
        unsafe { sys::sqlite3_last_insert_rowid(self.raw) }
    }

    pub(crate) fn changes(&self) -> i64 {
        // SAFETY: the connection is open.
        unsafe { sys::sqlite3_changes64(self.raw) }
    }

    pub(crate) fn total_changes(&self) -> i64 {
        // SAFETY: the connection is open.
        unsafe { sys::sqlite3_total_changes64(self.raw) }
    }

    /// Forbids SQL that could damage the database's own tables.
    pub(crate) fn set_defensive(&mut self) -> Result<(), Failure> {
        // SAFETY: the connection is open; this option takes an int and a pointer that may be null.
        let code = unsafe {
            sys::sqlite3_db_config(self.raw, sys::SQLITE_DBCONFIG_DEFENSIVE, 1 as c_int, std::ptr::null_mut::<c_int>())
        };
        if code == sys::SQLITE_OK { Ok(()) } else { Err(self.failure(code)) }
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        // SAFETY: the connection was opened, or is null. If a statement were left, SQLite would refuse and leak.
        let code = unsafe { sys::sqlite3_close(self.raw) };
        if code != sys::SQLITE_OK {
            tracing::error!(code, "a connection was closed before its statements");
        }
    }
}

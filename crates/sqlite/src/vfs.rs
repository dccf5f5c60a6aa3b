//! The VFS: what SQLite calls instead of the operating system. `unsafe`: C calls us here, with pointers.
//!
//! It is the process's default VFS, so that SQLite's clock and random numbers come from `rt` as well. A main database can
//! only be opened by a name that [`expect_open`] has just made; everything else SQLite may want to open is temporary and
//! lives in memory. No journal ever exists as a file, and there is no shared memory.
#![expect(unsafe_code, reason = "implements SQLite's C interface for file systems")]

mod main_file;

use crate::page_store::{Attachment, Shared};
use libsqlite3_sys as sys;
use main_file::{MainFile, MemoryFile, Read};
use std::collections::BTreeMap;
use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

/// The name under which the VFS is registered.
pub(crate) const NAME: &CStr = c"bowline";
/// Milliseconds from the start of the Julian calendar to the Unix epoch.
const UNIX_EPOCH_MS: i64 = 210_866_760_000_000;

/// Main databases that are about to be opened, by their made-up file names.
static EXPECTED: Mutex<BTreeMap<Vec<u8>, MainFile>> = Mutex::new(BTreeMap::new());
static NEXT: AtomicU64 = AtomicU64::new(1);

/// Makes the name by which SQLite can open a connection's main database, once.
pub(crate) fn expect_open(shared: &Arc<Shared>, attachment: &Arc<Attachment>) -> CString {
    let name = format!("/page-store/{}", NEXT.fetch_add(1, Ordering::Relaxed));
    let file = MainFile::new(Arc::clone(shared), Arc::clone(attachment));
    EXPECTED.lock().unwrap_or_else(PoisonError::into_inner).insert(name.clone().into_bytes(), file);
    CString::new(name).unwrap_or_default()
}

/// Takes back a name that SQLite did not open.
pub(crate) fn forget(name: &CStr) {
    let file = EXPECTED.lock().unwrap_or_else(PoisonError::into_inner).remove(name.to_bytes());
    drop(file);
}

/// Registers the VFS, once in a process. Gives SQLite's result code.
pub(crate) fn register() -> c_int {
    struct Registered(sys::sqlite3_vfs);
    // SAFETY: the table is never changed by Rust code; SQLite links it under its own lock.
    unsafe impl Send for Registered {}
    // SAFETY: as above.
    unsafe impl Sync for Registered {}
    static VFS: OnceLock<Registered> = OnceLock::new();
    let vfs = VFS.get_or_init(|| {
        Registered(sys::sqlite3_vfs {
            iVersion: 2,
            szOsFile: c_int::try_from(size_of::<VfsFile>()).unwrap_or(c_int::MAX),
            mxPathname: 512,
            pNext: std::ptr::null_mut(),
            zName: NAME.as_ptr(),
            pAppData: std::ptr::null_mut(),
            xOpen: Some(open),
            xDelete: Some(delete),
            xAccess: Some(access),
            xFullPathname: Some(full_pathname),
            xDlOpen: None,
            xDlError: None,
            xDlSym: None,
            xDlClose: None,
            xRandomness: Some(randomness),
            xSleep: Some(sleep),
            xCurrentTime: Some(current_time),
            xGetLastError: Some(last_error),
            xCurrentTimeInt64: Some(current_time_ms),
            xSetSystemCall: None,
            xGetSystemCall: None,
            xNextSystemCall: None,
        })
    });
    // SAFETY: the table is static and complete; SQLite only changes its `pNext`, under its own lock, and nobody else reads it.
    unsafe { sys::sqlite3_vfs_register(std::ptr::from_ref(&vfs.0).cast_mut(), 1) }
}

/// What SQLite allocates for an open file: its own part, and a pointer to ours.
#[repr(C)]
struct VfsFile {
    base: sys::sqlite3_file,
    state: *mut State,
}

enum State {
    Main(MainFile),
    Memory(MemoryFile),
}

static METHODS: sys::sqlite3_io_methods = sys::sqlite3_io_methods {
    iVersion: 1,
    xClose: Some(close),
    xRead: Some(read),
    xWrite: Some(write),
    xTruncate: Some(truncate),
    xSync: Some(sync),
    xFileSize: Some(file_size),
    xLock: Some(lock),
    xUnlock: Some(unlock),
    xCheckReservedLock: Some(check_reserved),
    xFileControl: Some(file_control),
    xSectorSize: Some(sector_size),
    xDeviceCharacteristics: Some(device_characteristics),
    xShmMap: None,
    xShmLock: None,
    xShmBarrier: None,
    xShmUnmap: None,
    xFetch: None,
    xUnfetch: None,
};

/// Runs the body of a call by SQLite. A panic must not unwind into C: it becomes an error, and the panic hook has told it.
fn guarded(body: impl FnOnce() -> c_int) -> c_int {
    catch_unwind(AssertUnwindSafe(body)).unwrap_or_else(|_| {
        tracing::error!("a panic was caught in the VFS");
        sys::SQLITE_IOERR
    })
}

/// Runs the body of a method of an open file.
///
/// # Safety
/// `file` is an open file of this VFS, and SQLite makes no other call on it meanwhile: it is used by one connection, and a
/// connection by one thread at a time.
unsafe fn with_state(file: *mut sys::sqlite3_file, body: impl FnOnce(&mut State) -> c_int) -> c_int {
    // SAFETY: by contract `file` is the start of a `VfsFile` that `open` has filled in.
    let state = unsafe { (*file.cast::<VfsFile>()).state };
    // SAFETY: `open` has made the state with `Box::into_raw`, only `close` frees it, and no other call is under way.
    match unsafe { state.as_mut() } {
        Some(state) => guarded(|| body(state)),
        None => sys::SQLITE_MISUSE,
    }
}

fn read_code(read: &Read) -> c_int {
    if *read == Read::Whole { sys::SQLITE_OK } else { sys::SQLITE_IOERR_SHORT_READ }
}

unsafe extern "C" fn open(
    _vfs: *mut sys::sqlite3_vfs,
    name: sys::sqlite3_filename,
    file: *mut sys::sqlite3_file,
    flags: c_int,
    out_flags: *mut c_int,
) -> c_int {
    let file = file.cast::<VfsFile>();
    // SAFETY: SQLite gives room for a `VfsFile`; without methods it does not call `close` after a failed open.
    unsafe { (*file).base.pMethods = std::ptr::null() };
    guarded(|| {
        let state = if flags & sys::SQLITE_OPEN_MAIN_DB == 0 {
            State::Memory(MemoryFile::default())
        } else {
            if name.is_null() {
                return sys::SQLITE_CANTOPEN;
            }
            // SAFETY: SQLite gives a string that ends with 0 and outlives the call.
            let name = unsafe { CStr::from_ptr(name) };
            match EXPECTED.lock().unwrap_or_else(PoisonError::into_inner).remove(name.to_bytes()) {
                Some(main) => State::Main(main),
                None => return sys::SQLITE_CANTOPEN,
            }
        };
        let state = Box::into_raw(Box::new(state));
        // SAFETY: `file` is valid, see above.
        unsafe { (*file).state = state };
        // SAFETY: as above.
        unsafe { (*file).base.pMethods = &raw const METHODS };
        if !out_flags.is_null() {
            // SAFETY: SQLite gives a place for the flags, or null.
            unsafe { *out_flags = flags };
        }
        sys::SQLITE_OK
    })
}

unsafe extern "C" fn close(file: *mut sys::sqlite3_file) -> c_int {
    let file = file.cast::<VfsFile>();
    guarded(|| {
        // SAFETY: `open` has filled the file in.
        let state = unsafe { std::mem::replace(&mut (*file).state, std::ptr::null_mut()) };
        if !state.is_null() {
            // SAFETY: `open` has made it with `Box::into_raw`, and it was taken out of the file just now.
            drop(unsafe { Box::from_raw(state) });
        }
        sys::SQLITE_OK
    })
}

unsafe extern "C" fn read(file: *mut sys::sqlite3_file, to: *mut c_void, amount: c_int, offset: i64) -> c_int {
    let (Ok(length), Ok(offset)) = (usize::try_from(amount), u64::try_from(offset)) else {
        return sys::SQLITE_IOERR_READ;
    };
    // SAFETY: SQLite gives room for `amount` bytes, which nobody else uses during the call.
    let buffer = unsafe { std::slice::from_raw_parts_mut(to.cast::<u8>(), length) };
    let body = |state: &mut State| match state {
        State::Main(main) => match main.read(buffer, offset) {
            Ok(read) => read_code(&read),
            Err(error) => main.fail(error),
        },
        State::Memory(memory) => read_code(&memory.read(buffer, offset)),
    };
    // SAFETY: SQLite calls this on an open file.
    unsafe { with_state(file, body) }
}

unsafe extern "C" fn write(file: *mut sys::sqlite3_file, from: *const c_void, amount: c_int, offset: i64) -> c_int {
    let (Ok(length), Ok(offset)) = (usize::try_from(amount), u64::try_from(offset)) else {
        return sys::SQLITE_IOERR_WRITE;
    };
    // SAFETY: SQLite gives `amount` bytes, which do not change during the call.
    let bytes = unsafe { std::slice::from_raw_parts(from.cast::<u8>(), length) };
    let body = |state: &mut State| match state {
        State::Main(main) => result(main.write(bytes, offset), main),
        State::Memory(memory) => {
            if memory.write(bytes, offset) {
                sys::SQLITE_OK
            } else {
                sys::SQLITE_IOERR_NOMEM
            }
        }
    };
    // SAFETY: SQLite calls this on an open file.
    unsafe { with_state(file, body) }
}

fn result(outcome: Result<(), crate::SqlError>, main: &MainFile) -> c_int {
    match outcome {
        Ok(()) => sys::SQLITE_OK,
        Err(error) => main.fail(error),
    }
}

unsafe extern "C" fn truncate(file: *mut sys::sqlite3_file, size: i64) -> c_int {
    let Ok(size) = u64::try_from(size) else { return sys::SQLITE_IOERR_TRUNCATE };
    let body = |state: &mut State| match state {
        State::Main(main) => result(main.truncate(size), main),
        State::Memory(memory) => {
            memory.truncate(size);
            sys::SQLITE_OK
        }
    };
    // SAFETY: SQLite calls this on an open file.
    unsafe { with_state(file, body) }
}

unsafe extern "C" fn sync(_file: *mut sys::sqlite3_file, _flags: c_int) -> c_int {
    sys::SQLITE_OK
}

unsafe extern "C" fn file_size(file: *mut sys::sqlite3_file, size: *mut i64) -> c_int {
    let body = |state: &mut State| {
        let bytes = match state {
            State::Main(main) => match main.file_size() {
                Ok(bytes) => bytes,
                Err(error) => return main.fail(error),
            },
            State::Memory(memory) => memory.size(),
        };
        // SAFETY: SQLite gives a place for the size.
        unsafe { *size = i64::try_from(bytes).unwrap_or(i64::MAX) };
        sys::SQLITE_OK
    };
    // SAFETY: SQLite calls this on an open file.
    unsafe { with_state(file, body) }
}

unsafe extern "C" fn lock(file: *mut sys::sqlite3_file, level: c_int) -> c_int {
    let body = |state: &mut State| match state {
        State::Main(main) => result(main.lock(level), main),
        State::Memory(_) => sys::SQLITE_OK,
    };
    // SAFETY: SQLite calls this on an open file.
    unsafe { with_state(file, body) }
}

unsafe extern "C" fn unlock(file: *mut sys::sqlite3_file, level: c_int) -> c_int {
    let body = |state: &mut State| {
        if let State::Main(main) = state {
            main.unlock(level);
        }
        sys::SQLITE_OK
    };
    // SAFETY: SQLite calls this on an open file.
    unsafe { with_state(file, body) }
}

unsafe extern "C" fn check_reserved(file: *mut sys::sqlite3_file, reserved: *mut c_int) -> c_int {
    let body = |state: &mut State| {
        let held = matches!(state, State::Main(main) if main.is_reserved());
        // SAFETY: SQLite gives a place for the answer.
        unsafe { *reserved = c_int::from(held) };
        sys::SQLITE_OK
    };
    // SAFETY: SQLite calls this on an open file.
    unsafe { with_state(file, body) }
}

unsafe extern "C" fn file_control(file: *mut sys::sqlite3_file, operation: c_int, _argument: *mut c_void) -> c_int {
    let body = |state: &mut State| match (state, operation) {
        (State::Main(main), sys::SQLITE_FCNTL_COMMIT_PHASETWO) => result(main.publish(), main),
        _ => sys::SQLITE_NOTFOUND,
    };
    // SAFETY: SQLite calls this on an open file.
    unsafe { with_state(file, body) }
}

unsafe extern "C" fn sector_size(_file: *mut sys::sqlite3_file) -> c_int {
    4096
}

unsafe extern "C" fn device_characteristics(_file: *mut sys::sqlite3_file) -> c_int {
    sys::SQLITE_IOCAP_SAFE_APPEND
        | sys::SQLITE_IOCAP_SEQUENTIAL
        | sys::SQLITE_IOCAP_POWERSAFE_OVERWRITE
        | sys::SQLITE_IOCAP_SUBPAGE_READ
}

unsafe extern "C" fn delete(_vfs: *mut sys::sqlite3_vfs, _name: *const c_char, _sync_dir: c_int) -> c_int {
    sys::SQLITE_OK
}

unsafe extern "C" fn access(
    _vfs: *mut sys::sqlite3_vfs,
    _name: *const c_char,
    _flags: c_int,
    exists: *mut c_int,
) -> c_int {
    // SAFETY: SQLite gives a place for the answer. No journal, and no other file, ever exists.
    unsafe { *exists = 0 };
    sys::SQLITE_OK
}

unsafe extern "C" fn full_pathname(
    _vfs: *mut sys::sqlite3_vfs,
    name: *const c_char,
    room: c_int,
    to: *mut c_char,
) -> c_int {
    // SAFETY: SQLite gives a string that ends with 0.
    let bytes = unsafe { CStr::from_ptr(name) }.to_bytes_with_nul();
    if usize::try_from(room).is_ok_and(|room| bytes.len() <= room) {
        // SAFETY: there is room for all of it, and a name does not overlap the place for its full form.
        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr().cast(), to, bytes.len()) };
        sys::SQLITE_OK
    } else {
        sys::SQLITE_CANTOPEN
    }
}

unsafe extern "C" fn randomness(_vfs: *mut sys::sqlite3_vfs, length: c_int, to: *mut c_char) -> c_int {
    guarded(|| {
        let Ok(bytes) = usize::try_from(length) else { return 0 };
        // SAFETY: SQLite gives room for that many bytes.
        rt::entropy::fill(unsafe { std::slice::from_raw_parts_mut(to.cast::<u8>(), bytes) });
        length
    })
}

/// SQLite sleeps only while it waits for a lock, and nobody waits here.
unsafe extern "C" fn sleep(_vfs: *mut sys::sqlite3_vfs, _microseconds: c_int) -> c_int {
    0
}

fn now_ms() -> i64 {
    catch_unwind(|| i64::try_from(rt::time::wall().as_millis()).unwrap_or(i64::MAX - UNIX_EPOCH_MS))
        .unwrap_or(0)
        .saturating_add(UNIX_EPOCH_MS)
}

unsafe extern "C" fn current_time_ms(_vfs: *mut sys::sqlite3_vfs, now: *mut i64) -> c_int {
    // SAFETY: SQLite gives a place for the time.
    unsafe { *now = now_ms() };
    sys::SQLITE_OK
}

#[expect(clippy::cast_precision_loss, reason = "the interface is a double; SQLite prefers the other function")]
unsafe extern "C" fn current_time(_vfs: *mut sys::sqlite3_vfs, now: *mut f64) -> c_int {
    // SAFETY: SQLite gives a place for the time.
    unsafe { *now = now_ms() as f64 / 86_400_000.0 };
    sys::SQLITE_OK
}

unsafe extern "C" fn last_error(_vfs: *mut sys::sqlite3_vfs, _room: c_int, _to: *mut c_char) -> c_int {
    0
}

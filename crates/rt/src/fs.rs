//! Files. Calls block the thread they run on: they belong inside [`blocking`](crate::blocking) or in start-up code.
//!
//! On a real machine these are system calls. In simulation they act on the node's simulated disk: unsynced writes may be
//! lost or torn at a power cut, and calls may fail with EIO or ENOSPC. Nothing is durable before `sync_data` (contents),
//! and no created, renamed or removed name before [`sync_dir`] of its directory.

use std::io;
use std::path::{Path, PathBuf};

/// An open file, positioned reads and writes only.
#[expect(clippy::disallowed_types, reason = "this is the seam")]
#[derive(Debug)]
pub enum File {
    /// A file of the operating system.
    Real(std::fs::File),
    /// A file of a simulated disk.
    #[cfg(feature = "sim")]
    Sim(crate::sim::SimFile),
}

/// Does it on the node's simulated disk, if the running code is on a simulated node.
macro_rules! on_simulated_disk {
    (|$disk:ident| $work:expr) => {
        #[cfg(feature = "sim")]
        if let Some(node) = crate::sim::current() {
            let $disk = node.disk();
            return $work;
        }
    };
}

#[expect(clippy::disallowed_types, reason = "this is the seam")]
impl File {
    /// Opens an existing file for reading and writing.
    pub fn open(path: &Path) -> io::Result<Self> {
        on_simulated_disk!(|disk| disk.open(path, false).map(Self::Sim));
        std::fs::OpenOptions::new().read(true).write(true).open(path).map(Self::Real)
    }

    /// Creates a file for reading and writing, mode 0600; an existing one is opened as it is.
    pub fn create(path: &Path) -> io::Result<Self> {
        use std::os::unix::fs::OpenOptionsExt;
        on_simulated_disk!(|disk| disk.open(path, true).map(Self::Sim));
        std::fs::OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(path)
            .map(Self::Real)
    }

    /// Reads exactly `buf.len()` bytes at `offset`; an end of file before that is `UnexpectedEof`.
    pub fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        match self {
            Self::Real(file) => std::os::unix::fs::FileExt::read_exact_at(file, buf, offset),
            #[cfg(feature = "sim")]
            Self::Sim(file) => file.read_exact_at(buf, offset),
        }
    }

    /// Writes all of `buf` at `offset`, growing the file if needed. Not durable before [`sync_data`](Self::sync_data).
    pub fn write_all_at(&self, buf: &[u8], offset: u64) -> io::Result<()> {
        match self {
            Self::Real(file) => std::os::unix::fs::FileExt::write_all_at(file, buf, offset),
            #[cfg(feature = "sim")]
            Self::Sim(file) => file.write_all_at(buf, offset),
        }
    }

    /// Makes contents and length durable.
    pub fn sync_data(&self) -> io::Result<()> {
        match self {
            Self::Real(file) => file.sync_data(),
            #[cfg(feature = "sim")]
            Self::Sim(file) => file.sync_data(),
        }
    }

    /// The length in bytes.
    pub fn len(&self) -> io::Result<u64> {
        match self {
            Self::Real(file) => file.metadata().map(|m| m.len()),
            #[cfg(feature = "sim")]
            Self::Sim(file) => file.len(),
        }
    }

    /// Whether the file holds nothing.
    pub fn is_empty(&self) -> io::Result<bool> {
        self.len().map(|n| n == 0)
    }

    /// Cuts or extends (with zeros) to `len`.
    pub fn set_len(&self, len: u64) -> io::Result<()> {
        match self {
            Self::Real(file) => file.set_len(len),
            #[cfg(feature = "sim")]
            Self::Sim(file) => file.set_len(len),
        }
    }

    /// Takes an exclusive lock that lasts until the file is closed; `WouldBlock` if another process holds it.
    pub fn try_lock(&self) -> io::Result<()> {
        match self {
            Self::Real(file) => file.try_lock().map_err(io::Error::from),
            #[cfg(feature = "sim")]
            Self::Sim(file) => file.try_lock(),
        }
    }
}

/// Reads a whole file.
#[expect(clippy::disallowed_methods, reason = "this is the seam")]
pub fn read(path: &Path) -> io::Result<Vec<u8>> {
    #[cfg(feature = "sim")]
    if crate::sim::current().is_some() {
        let file = File::open(path)?;
        let mut contents = vec![0; usize::try_from(file.len()?).map_err(io::Error::other)?];
        file.read_exact_at(&mut contents, 0)?;
        return Ok(contents);
    }
    std::fs::read(path)
}

/// Replaces a file durably and at once: after a crash it holds either the old or the new contents. Mode 0600.
pub fn write_atomic(path: &Path, contents: &[u8]) -> io::Result<()> {
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(".new");
    let temporary = PathBuf::from(temporary);
    let file = File::create(&temporary)?;
    file.set_len(0)?;
    file.write_all_at(contents, 0)?;
    file.sync_data()?;
    rename(&temporary, path)?;
    sync_dir(path.parent().unwrap_or(Path::new(".")))
}

/// Renames, replacing `to`. Durable after [`sync_dir`].
#[expect(clippy::disallowed_methods, reason = "this is the seam")]
pub fn rename(from: &Path, to: &Path) -> io::Result<()> {
    on_simulated_disk!(|disk| disk.rename(from, to));
    std::fs::rename(from, to)
}

/// Removes a file. Durable after [`sync_dir`].
#[expect(clippy::disallowed_methods, reason = "this is the seam")]
pub fn remove_file(path: &Path) -> io::Result<()> {
    on_simulated_disk!(|disk| disk.remove_file(path));
    std::fs::remove_file(path)
}

/// Removes a directory and all in it.
#[expect(clippy::disallowed_methods, reason = "this is the seam")]
pub fn remove_dir_all(path: &Path) -> io::Result<()> {
    on_simulated_disk!(|disk| disk.remove_dir_all(path));
    std::fs::remove_dir_all(path)
}

/// Creates a directory and its parents, mode 0700; one that exists is fine. Those it created are durable when it returns.
pub fn create_dir_all(path: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    on_simulated_disk!(|disk| disk.create_dir_all(path));
    let missing: Vec<_> = path.ancestors().take_while(|p| !p.as_os_str().is_empty() && !p.exists()).collect();
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path)?;
    for created in missing.iter().rev() {
        let parent = created.parent().filter(|p| !p.as_os_str().is_empty());
        sync_dir(parent.unwrap_or(Path::new(".")))?;
    }
    Ok(())
}

/// Makes the names in a directory durable.
#[expect(clippy::disallowed_types, reason = "this is the seam")]
pub fn sync_dir(path: &Path) -> io::Result<()> {
    on_simulated_disk!(|disk| disk.sync_dir(path));
    std::fs::File::open(path)?.sync_all()
}

/// The names in a directory, sorted.
#[expect(clippy::disallowed_methods, reason = "this is the seam")]
pub fn list(path: &Path) -> io::Result<Vec<String>> {
    on_simulated_disk!(|disk| disk.list(path));
    let mut names = std::fs::read_dir(path)?
        .map(|entry| entry.map(|e| e.file_name().to_string_lossy().into_owned()))
        .collect::<io::Result<Vec<_>>>()?;
    names.sort();
    Ok(names)
}

/// Whether a file or directory of that name exists.
pub fn exists(path: &Path) -> bool {
    on_simulated_disk!(|disk| disk.exists(path));
    path.exists()
}

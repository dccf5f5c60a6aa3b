//! Names: directories and the entries in them, as a process sees them and as the platter has them.

use super::Disk;
use super::state::{DiskState, Inode, InodeId, Verdict};
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Entry {
    Directory,
    File(InodeId),
}

impl Entry {
    pub(super) fn inode(&self) -> Option<InodeId> {
        match self {
            Self::Directory => None,
            Self::File(id) => Some(*id),
        }
    }
}

/// A change of names that reaches the platter whole or not at all.
#[derive(Debug, Clone)]
pub(super) struct NameOp {
    /// The directory whose sync makes it durable.
    directory: PathBuf,
    /// What each name leads to afterwards.
    effects: Vec<(PathBuf, Option<Entry>)>,
}

impl NameOp {
    pub(super) fn inodes(&self) -> impl Iterator<Item = InodeId> {
        self.effects.iter().filter_map(|(_, entry)| entry.as_ref().and_then(Entry::inode))
    }

    fn apply(&self, names: &mut BTreeMap<PathBuf, Entry>) {
        for (path, entry) in &self.effects {
            match entry {
                Some(entry) => drop(names.insert(path.clone(), *entry)),
                None => drop(names.remove(path)),
            }
        }
    }
}

/// Simulated paths are absolute; a relative one starts at the root.
fn full(path: &Path) -> PathBuf {
    Path::new("/")
        .components()
        .chain(path.components().filter(|c| !matches!(c, std::path::Component::CurDir)))
        .collect()
}

fn parent(path: &Path) -> PathBuf {
    path.parent().unwrap_or(Path::new("/")).to_owned()
}

fn not_found() -> io::Error {
    io::Error::from(io::ErrorKind::NotFound)
}

impl DiskState {
    fn change_names(&mut self, kind: &'static str, op: NameOp) -> io::Result<()> {
        let fingerprint = crate::sim::trace::fingerprint(op.directory.as_os_str().as_encoded_bytes());
        let shown = || op.effects.iter().map(|(p, _)| p.display().to_string()).collect::<Vec<_>>().join(" ");
        let verdict = self.begin(kind, shown, &[fingerprint, op.effects.len() as u64])?;
        if let Verdict::Fail(fault) = verdict {
            return Err(Self::refusal(fault));
        }
        op.apply(&mut self.live);
        self.pending_names.push(op);
        self.finish(verdict)
    }

    /// Which unsynced changes of names survive a power cut: a prefix, as on a journaling file system, or any of them.
    pub(super) fn cut_names(&mut self) {
        let pending = std::mem::take(&mut self.pending_names);
        let journaled = self.dice.chance(2, 3);
        let keep = self.dice.below(pending.len() as u64 + 1);
        for (i, op) in pending.iter().enumerate() {
            let survives = if journaled { (i as u64) < keep } else { self.dice.chance(1, 2) };
            if survives {
                op.apply(&mut self.durable);
            }
        }
        // What lay in a directory that did not survive is gone with it.
        let names = self.durable.clone();
        self.durable.retain(|path, _| path.ancestors().skip(1).all(|a| names.get(a) == Some(&Entry::Directory)));
        self.live.clone_from(&self.durable);
    }

    fn lookup(&self, path: &Path) -> io::Result<Entry> {
        self.live.get(path).copied().ok_or_else(not_found)
    }

    fn require_parent(&self, path: &Path) -> io::Result<()> {
        match self.live.get(&parent(path)) {
            Some(Entry::Directory) => Ok(()),
            Some(Entry::File(_)) => Err(io::Error::from(io::ErrorKind::NotADirectory)),
            None => Err(not_found()),
        }
    }

    /// The name and everything below it.
    fn subtree(&self, path: &Path) -> Vec<(PathBuf, Entry)> {
        self.live.iter().filter(|(p, _)| p.starts_with(path)).map(|(p, e)| (p.clone(), *e)).collect()
    }
}

impl Disk {
    pub(crate) fn open(&self, path: &Path, create: bool) -> io::Result<super::SimFile> {
        let path = full(path);
        let mut state = self.state();
        state.check_power()?;
        let inode = match state.lookup(&path) {
            Ok(Entry::File(inode)) => inode,
            Ok(Entry::Directory) => return Err(io::Error::from(io::ErrorKind::IsADirectory)),
            Err(error) if !create => return Err(error),
            Err(_) => {
                state.require_parent(&path)?;
                let inode = state.next_inode;
                state.next_inode += 1;
                state.inodes.insert(inode, Inode::default());
                let effects = vec![(path.clone(), Some(Entry::File(inode)))];
                state.change_names("create", NameOp { directory: parent(&path), effects })?;
                inode
            }
        };
        let handle = state.next_handle;
        state.next_handle += 1;
        Ok(super::SimFile::new(self.clone(), inode, handle, state.generation))
    }

    pub(crate) fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let (from, to) = (full(from), full(to));
        let mut state = self.state();
        state.check_power()?;
        state.lookup(&from)?;
        state.require_parent(&to)?;
        let moved = state.subtree(&from);
        let mut effects: Vec<_> = moved.iter().map(|(path, _)| (path.clone(), None)).collect();
        for (path, entry) in moved {
            // The subtree's paths all begin with `from`.
            let below = path.strip_prefix(&from).unwrap_or(Path::new(""));
            let target = if below.as_os_str().is_empty() { to.clone() } else { to.join(below) };
            effects.push((target, Some(entry)));
        }
        state.change_names("rename", NameOp { directory: parent(&to), effects })
    }

    pub(crate) fn remove_file(&self, path: &Path) -> io::Result<()> {
        let path = full(path);
        let mut state = self.state();
        state.check_power()?;
        if state.lookup(&path)? == Entry::Directory {
            return Err(io::Error::from(io::ErrorKind::IsADirectory));
        }
        state.change_names("remove", NameOp { directory: parent(&path), effects: vec![(path, None)] })
    }

    pub(crate) fn remove_dir_all(&self, path: &Path) -> io::Result<()> {
        let path = full(path);
        let mut state = self.state();
        state.check_power()?;
        state.lookup(&path)?;
        // Not atomic on a real file system: each name goes by itself, leaves first.
        for (name, _) in state.subtree(&path).into_iter().rev() {
            state.change_names("remove", NameOp { directory: parent(&name), effects: vec![(name, None)] })?;
        }
        Ok(())
    }

    pub(crate) fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        let path = full(path);
        let mut above: Vec<_> = path.ancestors().map(Path::to_owned).collect();
        above.reverse();
        for directory in above {
            let mut state = self.state();
            state.check_power()?;
            match state.lookup(&directory) {
                Ok(Entry::Directory) => {}
                Ok(Entry::File(_)) => return Err(io::Error::from(io::ErrorKind::AlreadyExists)),
                Err(_) => {
                    let effects = vec![(directory.clone(), Some(Entry::Directory))];
                    state.change_names("mkdir", NameOp { directory: parent(&directory), effects })?;
                    drop(state);
                    self.sync_dir(&parent(&directory))?;
                }
            }
        }
        Ok(())
    }

    pub(crate) fn sync_dir(&self, path: &Path) -> io::Result<()> {
        let path = full(path);
        let mut state = self.state();
        state.check_power()?;
        if state.lookup(&path)? != Entry::Directory {
            return Err(io::Error::from(io::ErrorKind::NotADirectory));
        }
        let verdict = state.begin("sync_dir", || path.display().to_string(), &[])?;
        match verdict {
            Verdict::Fail(super::Fault::Lie) => return Ok(()),
            Verdict::Fail(fault) => return Err(DiskState::refusal(fault)),
            Verdict::Go | Verdict::GoThenCut => {}
        }
        // In order, and with everything before the last change of this directory: a journal commits in sequence.
        let last = state.pending_names.iter().rposition(|op| op.directory == path);
        let ready = last.map_or(0, |i| i + 1);
        let committed: Vec<_> = state.pending_names.drain(..ready).collect();
        for op in committed {
            op.apply(&mut state.durable);
        }
        state.finish(verdict)
    }

    pub(crate) fn list(&self, path: &Path) -> io::Result<Vec<String>> {
        let path = full(path);
        let mut state = self.state();
        state.begin_read()?;
        if state.lookup(&path)? != Entry::Directory {
            return Err(io::Error::from(io::ErrorKind::NotADirectory));
        }
        let inside = state.live.keys().filter(|p| p.parent() == Some(path.as_path()));
        // The map is in order of paths, and so are the names in one directory.
        Ok(inside.filter_map(|p| p.file_name()).map(|n| n.to_string_lossy().into_owned()).collect())
    }

    pub(crate) fn exists(&self, path: &Path) -> bool {
        self.state().lookup(&full(path)).is_ok()
    }
}

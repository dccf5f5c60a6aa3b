//! Where a node keeps its state: a directory, a small file system in memory that can be full, or one on a loop device that can be slow.

use crate::error::ChaosError;
use crate::process::{call, quietly};
use std::path::{Path, PathBuf};
use std::process::Command;

/// What kind of disk a run needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A directory where all runs are.
    Directory,
    /// A tmpfs of 192 MiB.
    Small,
    /// An ext4 of 512 MiB on a loop device, whose writes can be held back.
    Throttled,
}

/// The disk of a node; dropping it unmounts it.
pub(crate) struct Volume {
    kind: Kind,
    place: PathBuf,
    /// The loop device, as `MAJOR:MINOR`, and the control group that is held back on it.
    device: Option<(String, PathBuf)>,
}

/// Where control groups of version 1 hold writes back.
pub(crate) const GROUPS: &str = "/sys/fs/cgroup/blkio";
const BALLAST: &str = "ballast";

impl Volume {
    pub(crate) fn new(kind: Kind, place: &Path, name: &str) -> Result<Self, ChaosError> {
        std::fs::create_dir_all(place).map_err(ChaosError::io(place))?;
        let mut volume = Self { kind, place: place.to_path_buf(), device: None };
        match kind {
            Kind::Directory => {}
            Kind::Small => {
                call(Command::new("mount").args(["-t", "tmpfs", "-o", "size=192m", name]).arg(place))?;
            }
            Kind::Throttled => {
                let image = place.with_extension("img");
                let file = std::fs::File::create(&image).map_err(ChaosError::io(&image))?;
                file.set_len(512 << 20).map_err(ChaosError::io(&image))?;
                call(Command::new("mkfs.ext4").args(["-q", "-F"]).arg(&image))?;
                call(Command::new("mount").args(["-o", "loop"]).arg(&image).arg(place))?;
                let number = call(Command::new("mountpoint").arg("-d").arg(place))?.trim().to_owned();
                let group = Path::new(GROUPS).join(name);
                // Of a run that was killed there may be one.
                drop(std::fs::create_dir(&group));
                volume.device = Some((number, group));
            }
        }
        Ok(volume)
    }

    /// Takes a daemon's process under the control of the volume.
    pub(crate) fn take(&self, pid: u32) -> Result<(), ChaosError> {
        let Some((_, group)) = &self.device else { return Ok(()) };
        let procs = group.join("cgroup.procs");
        std::fs::write(&procs, pid.to_string()).map_err(ChaosError::io(&procs))
    }

    /// From now on so many writes a second at most; zero is without limit.
    pub(crate) fn throttle(&self, writes_per_second: u32) -> Result<(), ChaosError> {
        let Some((number, group)) = &self.device else { return Ok(()) };
        let limit = group.join("blkio.throttle.write_iops_device");
        std::fs::write(&limit, format!("{number} {writes_per_second}")).map_err(ChaosError::io(&limit))
    }

    /// Fills what is free.
    pub(crate) fn fill(&self) -> Result<(), ChaosError> {
        if self.kind == Kind::Small {
            let path = self.place.join(BALLAST);
            let mut file = std::fs::File::create(&path).map_err(ChaosError::io(&path))?;
            let block = vec![0_u8; 1 << 16];
            while std::io::Write::write_all(&mut file, &block).is_ok() {}
        }
        Ok(())
    }

    /// Gives back what [`fill`](Self::fill) took.
    pub(crate) fn free(&self) {
        drop(std::fs::remove_file(self.place.join(BALLAST)));
    }
}

impl Drop for Volume {
    fn drop(&mut self) {
        if self.kind != Kind::Directory {
            unmount(&self.place);
        }
        if let Some((_, group)) = &self.device {
            drop(std::fs::remove_dir(group));
        }
    }
}

/// Whether writes can be held back here: what is missing if not.
pub(crate) fn can_throttle() -> Result<(), String> {
    if !Path::new(GROUPS).join("blkio.throttle.write_iops_device").exists() {
        return Err(format!("there is no blkio controller at {GROUPS} (version 1 of control groups)"));
    }
    if Path::new("/dev/loop-control").exists() { Ok(()) } else { Err("there are no loop devices".to_owned()) }
}

fn unmount(place: &Path) {
    if !quietly(Command::new("umount").arg(place)) {
        quietly(Command::new("umount").arg("--lazy").arg(place));
    }
}

/// Unmounts whatever a run that was killed left below a directory.
pub(crate) fn unmount_below(dir: &Path) {
    let mounts = std::fs::read_to_string("/proc/mounts").unwrap_or_default();
    let places = mounts.lines().filter_map(|line| line.split(' ').nth(1)).map(Path::new);
    places.filter(|place| place.starts_with(dir)).for_each(unmount);
}

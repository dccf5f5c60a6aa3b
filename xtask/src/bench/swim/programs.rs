//! The programs that are members, one process each: how they are built, started and spoken to.

use super::System;
use super::serf;
use super::view::Belief;
use super::{PERIOD, member::Place};
use crate::bench::build::{root, target_dir};
use crate::bench::error::BenchError;
use crate::bench::process::{call, command};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// Time for one build on a slow machine.
const BUILD_PATIENCE: Duration = Duration::from_mins(30);

/// Builds what the wanted systems need. A peer that cannot be built is done without.
pub(super) fn build(systems: &[System]) -> Result<(), BenchError> {
    let programs = Programs::default();
    if systems.contains(&System::Bowline) {
        let words = ["--release", "--package", "gossip", "--example", "member"];
        cargo_build("the member of Bowline", &words)?;
    }
    if systems.contains(&System::Foca) {
        let manifest = root().join("peers/foca/Cargo.toml").display().to_string();
        let target = target_dir().join("peers/foca").display().to_string();
        let words = ["--release", "--locked", "--manifest-path", &manifest, "--target-dir", &target];
        if let Err(error) = cargo_build("peers/foca", &words) {
            eprintln!("  ! {error}");
            // An older one would be measured as if it were this one. Perhaps there is none.
            drop(std::fs::remove_file(&programs.foca));
        }
    }
    Ok(())
}

fn cargo_build(what: &str, words: &[&str]) -> Result<(), BenchError> {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root()).args(["build", "--quiet"]).args(words);
    call(&format!("building {what}"), command, BUILD_PATIENCE).map(drop)
}

/// Where the programs are.
pub(super) struct Programs {
    bowline: PathBuf,
    foca: PathBuf,
    tarantool: PathBuf,
    serf: PathBuf,
}

impl Default for Programs {
    fn default() -> Self {
        Self {
            bowline: target_dir().join("release/examples/member"),
            foca: target_dir().join("peers/foca/release/foca-member"),
            tarantool: PathBuf::from("/usr/bin/tarantool"),
            serf: PathBuf::from("/usr/bin/serf"),
        }
    }
}

impl Programs {
    fn of(&self, system: System) -> &Path {
        match system {
            System::Bowline => &self.bowline,
            System::Tarantool | System::TarantoolDefaults => &self.tarantool,
            System::Serf => &self.serf,
            System::Foca => &self.foca,
        }
    }

    /// Fails if the program of this system is not there.
    pub(super) fn require(&self, system: System) -> Result<(), BenchError> {
        if self.of(system).exists() {
            return Ok(());
        }
        match system {
            System::Tarantool | System::TarantoolDefaults => {
                Err(BenchError::MissingPeer { what: "tarantool", package: "tarantool" })
            }
            System::Serf => Err(BenchError::MissingPeer { what: "serf", package: "serf" }),
            System::Bowline | System::Foca => Err(BenchError::failed(system.name(), "it could not be built")),
        }
    }

    /// What starts a member at a place, in a group that is to have so many. It joins nobody yet.
    pub(super) fn start(&self, system: System, place: &Place, members: usize) -> Command {
        let mut command = command(self.of(system));
        let addr = place.addr.to_string();
        let heartbeat = PERIOD.as_secs_f64();
        match system {
            System::Bowline => {
                command.args(["--bind", &addr, "--id", &(place.number + 1).to_string()]);
                command.args(["--period", &heartbeat.to_string()]);
            }
            System::Tarantool | System::TarantoolDefaults => {
                command.arg(root().join("peers/lua/swim_member.lua"));
                command.args([&addr, &name(system, place), &heartbeat.to_string()]);
                if system == System::Tarantool {
                    command.arg((heartbeat / 2.0).to_string());
                }
            }
            System::Serf => {
                command.args(["agent", "-profile=lan", "-log-level=info"]);
                command.arg(format!("-node={}", name(system, place)));
                command.arg(format!("-bind={addr}")).arg(format!("-rpc-addr={}", place.calls));
            }
            System::Foca => {
                command.args([&addr, &members.to_string()]);
            }
        }
        command
    }
}

/// What members of a system call the one at this place.
pub(super) fn name(system: System, place: &Place) -> String {
    match system {
        System::Bowline | System::Tarantool | System::TarantoolDefaults => {
            format!("00000000-0000-4000-8000-{:012}", place.number + 1)
        }
        System::Serf => format!("m{}", place.number + 1),
        System::Foca => place.addr.to_string(),
    }
}

/// A line that a member prints.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Line<'a> {
    /// It has its socket, and can be told to join.
    Ready,
    /// What it believes of the one with this name from now on, and since when if it says so.
    Belief(&'a str, Belief, Option<u64>),
    /// Something that does not matter here.
    Other,
}

/// Reads a line of a member's output.
pub(super) fn read(system: System, line: &str) -> Line<'_> {
    if system == System::Serf {
        return match serf::event(line) {
            Some((name, belief)) => Line::Belief(name, belief, None),
            None if line.contains(serf::READY) => Line::Ready,
            None => Line::Other,
        };
    }
    let words: Vec<&str> = line.split_whitespace().collect();
    match words.as_slice() {
        ["ready"] => Line::Ready,
        [at, name, status] => match (at.parse(), *status) {
            (Ok(at), "alive" | "up") => Line::Belief(name, Belief::There, Some(at)),
            (Ok(at), "dead" | "left" | "dropped" | "down") => Line::Belief(name, Belief::Gone, Some(at)),
            // A suspicion is no verdict.
            _ => Line::Other,
        },
        _ => Line::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_say_who_is_there_and_a_suspicion_is_no_verdict() {
        assert_eq!(read(System::Bowline, "ready"), Line::Ready);
        assert_eq!(read(System::Tarantool, "17 a alive"), Line::Belief("a", Belief::There, Some(17)));
        assert_eq!(read(System::Foca, "17 127.0.0.1:1 down"), Line::Belief("127.0.0.1:1", Belief::Gone, Some(17)));
        assert_eq!(read(System::Bowline, "17 a suspected"), Line::Other);
        assert_eq!(read(System::Serf, "==> Serf agent running!"), Line::Ready);
        assert_eq!(read(System::Serf, "x serf: EventMemberFailed: m1 ::"), Line::Belief("m1", Belief::Gone, None));
    }
}

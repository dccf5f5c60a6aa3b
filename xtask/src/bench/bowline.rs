//! Bowline itself: three processes of the release build. Everything the bench knows of its command line is in this file.

use super::Kind;
use super::build::Tools;
use super::cluster::System;
use super::error::BenchError;
use super::process::{self, Process};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// Suffix of a database name that reads whatever the member has.
pub(super) const LOCAL: &str = "bench?read=local";
/// Suffix of a database name that reads what is true now, on any member.
pub(super) const LINEARIZABLE: &str = "bench?read=linearizable";

/// Time for a command of the CLI.
const CALL_PATIENCE: Duration = Duration::from_secs(30);

/// Three members of Bowline.
pub(super) struct Bowline {
    program: PathBuf,
    base: PathBuf,
    /// Addresses of the dqlite door.
    addresses: Vec<String>,
    /// Addresses of members among themselves.
    nodes: Vec<String>,
    token: String,
}

impl Bowline {
    /// Nothing is started yet.
    pub(super) fn new(tools: &Tools, base: &Path) -> Result<Self, BenchError> {
        let ports: Vec<String> = process::free_ports(6)?.iter().map(|p| format!("127.0.0.1:{p}")).collect();
        let (addresses, nodes) = ports.split_at(3);
        Ok(Self {
            program: tools.bowline.clone(),
            base: base.to_path_buf(),
            addresses: addresses.to_vec(),
            nodes: nodes.to_vec(),
            token: String::new(),
        })
    }

    fn command(&self, words: &[&str], member: usize) -> Command {
        let mut command = process::command(&self.program);
        command.args(words).arg("--state-dir").arg(self.dir(member));
        command
    }

    fn addressed(&self, words: &[&str], member: usize) -> Command {
        let mut command = self.command(words, member);
        command.arg("--listen").args(self.nodes.get(member)).arg("--dqlite").args(self.addresses.get(member));
        command
    }

    fn launch(&self, command: Command, member: usize) -> Result<Process, BenchError> {
        Process::start(
            &format!("bowline member {}", member + 1),
            command,
            &self.base.join(format!("{}.log", member + 1)),
        )
    }
}

impl System for Bowline {
    fn kind(&self) -> Kind {
        Kind::Bowline
    }

    fn protocol(&self) -> &'static str {
        "dqlite"
    }

    fn addresses(&self) -> &[String] {
        &self.addresses
    }

    fn before_join(&mut self, _member: usize) -> Result<(), BenchError> {
        let printed = process::call("bowline token add", self.command(&["token", "add"], 0), CALL_PATIENCE)?;
        let token = printed.split_whitespace().find(|word| word.starts_with("bl1."));
        let missing = || BenchError::failed("bowline token add", format!("no token in: {printed}"));
        token.ok_or_else(missing)?.clone_into(&mut self.token);
        Ok(())
    }

    fn start(&mut self, member: usize) -> Result<Process, BenchError> {
        if member == 0 {
            process::call("bowline init", self.addressed(&["init"], 0), CALL_PATIENCE)?;
        } else {
            process::call("bowline join", self.addressed(&["join", &self.token], member), CALL_PATIENCE)?;
        }
        self.restart(member)
    }

    fn restart(&mut self, member: usize) -> Result<Process, BenchError> {
        self.launch(self.addressed(&["start"], member), member)
    }

    fn dir(&self, member: usize) -> PathBuf {
        self.base.join((member + 1).to_string())
    }

    fn settle(&self) -> Duration {
        Duration::from_secs(1)
    }
}

/// Is this the file that a checkpoint replaces when it is done, of a database of at least so many bytes?
pub(super) fn is_checkpoint_meta(path: &Path, database_bytes_min: u64) -> bool {
    path.file_name().is_some_and(|name| name == "checkpoint.meta")
        && std::fs::metadata(path.with_file_name("data.db")).is_ok_and(|data| data.len() >= database_bytes_min)
}

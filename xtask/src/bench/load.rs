//! Calls of the load program, `peers/go/bowload`.

use super::error::BenchError;
use super::process::{self, Call};
use super::results::Loop;
use serde::Deserialize;
use std::path::PathBuf;
use std::time::Duration;

/// Where a load goes.
#[derive(Clone)]
pub(super) struct Bowload {
    pub(super) program: PathBuf,
    /// `dqlite` or `etcd`.
    pub(super) protocol: &'static str,
    pub(super) servers: Vec<String>,
}

/// How long a closed loop runs.
#[derive(Clone, Copy)]
pub(super) enum Length {
    Seconds(f64),
    Operations(u64),
}

/// A closed loop.
#[derive(Clone)]
pub(super) struct LoopSpec {
    /// `insert`, `update` or `read`.
    pub(super) command: &'static str,
    pub(super) database: &'static str,
    pub(super) conns: u32,
    pub(super) length: Length,
    /// Inserts: the first key. Reads and updates: the last key.
    pub(super) key: u64,
    pub(super) size: u32,
    /// Where the bytes really go, if not to the leader.
    pub(super) via: Vec<String>,
}

#[derive(Deserialize)]
struct Leader {
    leader: String,
}

#[derive(Deserialize)]
struct Moment {
    unix_ns: u64,
}

#[derive(Deserialize)]
struct Took {
    ms: f64,
}

#[derive(Deserialize)]
struct Filled {
    rows: u64,
    seconds: f64,
}

/// When a probe was answered, in nanoseconds of Unix time.
#[derive(Deserialize)]
pub(super) struct Probed {
    pub(super) write_unix_ns: u64,
    pub(super) read_unix_ns: u64,
}

/// Something that the load program waits for while other things happen.
pub(super) struct Waiting(Call);

impl Bowload {
    fn start(&self, command: &str, arguments: &[(&str, String)], deadline: Duration) -> Result<Call, BenchError> {
        let mut program = process::command(&self.program);
        program
            .arg(command)
            .arg(format!("-system={}", self.protocol))
            .arg(format!("-servers={}", self.servers.join(",")));
        program.arg(format!("-deadline={}ms", deadline.as_millis()));
        program.args(arguments.iter().map(|(name, value)| format!("-{name}={value}")));
        Call::start(&format!("bowload {command}"), program, deadline + Duration::from_secs(10))
    }

    fn ask<T: for<'a> Deserialize<'a>>(
        &self,
        command: &str,
        arguments: &[(&str, String)],
        deadline: Duration,
    ) -> Result<T, BenchError> {
        answer(command, &self.start(command, arguments, deadline)?.finish()?)
    }

    /// Runs a closed loop.
    pub(super) fn run(&self, spec: &LoopSpec) -> Result<Loop, BenchError> {
        self.start_loop(spec)?.finish_loop(spec.command)
    }

    /// Starts a closed loop beside something else.
    pub(super) fn start_loop(&self, spec: &LoopSpec) -> Result<Waiting, BenchError> {
        let key = if spec.command == "insert" { "key-from" } else { "keys" };
        let mut arguments = vec![
            ("db", spec.database.to_owned()),
            ("conns", spec.conns.to_string()),
            (key, spec.key.to_string()),
            ("size", spec.size.to_string()),
            ("via", spec.via.join(",")),
        ];
        let deadline = match spec.length {
            Length::Seconds(secs) => {
                arguments.push(("secs", secs.to_string()));
                Duration::from_secs_f64(secs) + Duration::from_secs(30)
            }
            Length::Operations(total) => {
                arguments.push(("total", total.to_string()));
                Duration::from_mins(5)
            }
        };
        self.start(spec.command, &arguments, deadline).map(Waiting)
    }

    /// The leader's address, as soon as there is one.
    pub(super) fn leader(&self, deadline: Duration) -> Result<String, BenchError> {
        self.ask::<Leader>("leader", &[], deadline).map(|l| l.leader)
    }

    /// Begins to wait for a number of members and voters. It is already asking when this returns.
    pub(super) fn await_members(
        &self,
        members: usize,
        voters: usize,
        deadline: Duration,
    ) -> Result<Waiting, BenchError> {
        let arguments = [("members", members.to_string()), ("voters", voters.to_string())];
        let mut call = self.start("members", &arguments, deadline)?;
        call.await_first_line()?;
        Ok(Waiting(call))
    }

    /// Begins to try a write and then a read. It is already trying when this returns.
    pub(super) fn probe(&self, database: &str, deadline: Duration) -> Result<Waiting, BenchError> {
        let mut call = self.start("probe", &[("db", database.to_owned())], deadline)?;
        call.await_first_line()?;
        Ok(Waiting(call))
    }

    /// Kills a process and gives the milliseconds until the next acknowledged write.
    pub(super) fn failover(&self, database: &str, pid: u32, deadline: Duration) -> Result<f64, BenchError> {
        let arguments = [("db", database.to_owned()), ("kill-pid", pid.to_string())];
        self.ask::<Took>("failover", &arguments, deadline).map(|t| t.ms)
    }

    /// Makes a table whose values hold `bytes`; gives its rows and the seconds that it took.
    pub(super) fn fill(
        &self,
        database: &str,
        bytes: u64,
        size: u32,
        deadline: Duration,
    ) -> Result<(u64, f64), BenchError> {
        let arguments = [("db", database.to_owned()), ("total", bytes.to_string()), ("size", size.to_string())];
        self.ask::<Filled>("fill", &arguments, deadline).map(|f| (f.rows, f.seconds))
    }
}

impl Waiting {
    /// The nanosecond of Unix time at which it happened.
    pub(super) fn moment(self) -> Result<u64, BenchError> {
        answer::<Moment>("members", &self.0.finish()?).map(|m| m.unix_ns)
    }

    /// When the write and the read were answered.
    pub(super) fn probed(self) -> Result<Probed, BenchError> {
        answer("probe", &self.0.finish()?)
    }

    /// What a loop measured.
    pub(super) fn finish_loop(self, command: &str) -> Result<Loop, BenchError> {
        answer(command, &self.0.finish()?)
    }
}

/// The last line of what it printed is the answer.
pub(super) fn answer<T: for<'a> Deserialize<'a>>(what: &str, text: &str) -> Result<T, BenchError> {
    let line = text.lines().next_back().unwrap_or_default();
    serde_json::from_str(line).map_err(|e| BenchError::failed(what, format!("{e} in its answer: {line}")))
}

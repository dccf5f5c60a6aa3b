//! Bowline itself: three processes of the release build. Everything the bench knows of its command line is in this file.

use super::Kind;
use super::build::Tools;
use super::cluster::System;
use super::error::BenchError;
use super::process::{self, Process};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Suffix of a database name that reads whatever the member has.
pub(super) const LOCAL: &str = "bench?read=local";
/// Suffix of a database name that reads what is true now, on any member.
pub(super) const LINEARIZABLE: &str = "bench?read=linearizable";

/// Time for a command of the CLI.
const CALL_PATIENCE: Duration = Duration::from_secs(30);
/// What the kernel allows for the path of a socket, less its end.
const SOCKET_PATH_MAX: usize = 107;

/// Three members of Bowline.
pub(super) struct Bowline {
    program: PathBuf,
    base: PathBuf,
    /// Addresses for dqlite clients.
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

    /// A command of the CLI that speaks to a member's daemon.
    fn ask(&self, words: &[&str], member: usize) -> Result<String, BenchError> {
        let mut command = process::command(&self.program);
        command.args(words).arg("--state-dir").arg(self.dir(member));
        process::call(&format!("bowline {}", words.first().copied().unwrap_or_default()), command, CALL_PATIENCE)
    }

    /// The daemon; it answers on its control socket when this returns.
    fn daemon(&self, member: usize) -> Result<Process, BenchError> {
        let dir = self.dir(member);
        let socket = dir.join("control.sock");
        if socket.as_os_str().len() > SOCKET_PATH_MAX {
            let path = socket.display();
            return Err(BenchError::failed(
                "starting bowline",
                format!("{path} is too long for a socket: give a shorter --dir"),
            ));
        }
        let mut command = process::command(&self.program);
        command.arg("start").arg("--state-dir").arg(&dir);
        if std::env::var_os("BOWLINE_LOG").is_none() {
            command.args(["--log", "warn"]);
        }
        command.arg("--listen").args(self.nodes.get(member));
        command.arg("--dqlite-listen").args(self.addresses.get(member));
        command.args(["--https-listen", "127.0.0.1:0"]);
        let log = self.base.join(format!("{}.log", member + 1));
        let mut process = Process::start(&format!("bowline member {}", member + 1), command, &log)?;
        let begin = Instant::now();
        while UnixStream::connect(&socket).is_err() {
            process.check_alive()?;
            if begin.elapsed() > CALL_PATIENCE {
                return Err(BenchError::Late { what: "bowline's control socket".to_owned(), after: CALL_PATIENCE });
            }
            process::pause(Duration::from_millis(2))?;
        }
        Ok(process)
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
        let printed = self.ask(&["token", "add"], 0)?;
        let token = printed.split_whitespace().find(|word| word.starts_with("bl1."));
        let missing = || BenchError::failed("bowline token add", format!("no token in: {printed}"));
        token.ok_or_else(missing)?.clone_into(&mut self.token);
        Ok(())
    }

    fn start(&mut self, member: usize) -> Result<Process, BenchError> {
        let daemon = self.daemon(member)?;
        let name = format!("node{}", member + 1);
        let words: &[&str] = if member == 0 { &["init"] } else { &["join", &self.token] };
        self.ask(&[words, &["--name", &name]].concat(), member)?;
        Ok(daemon)
    }

    fn restart(&mut self, member: usize) -> Result<Process, BenchError> {
        self.daemon(member)
    }

    fn rejoin(&mut self, member: usize) -> Result<Option<f64>, BenchError> {
        self.ask(&["leave", "--yes"], member)?;
        self.before_join(member)?;
        let begin = Instant::now();
        self.ask(&["join", &self.token, "--name", &format!("node{}", member + 1)], member)?;
        Ok(Some(begin.elapsed().as_secs_f64() * 1e3))
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

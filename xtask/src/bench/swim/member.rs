//! One member: a process of its own, told by its standard input and heard by its standard output.

use super::programs::{self, Line, Programs};
use super::view::Belief;
use super::{System, serf};
use crate::bench::error::BenchError;
use crate::bench::process::tail;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Stdio};
use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::thread::JoinHandle;
use std::time::SystemTime;

/// Where a member is.
#[derive(Debug, Clone)]
pub(super) struct Place {
    /// Which of the group it is, from 0 on.
    pub(super) number: usize,
    /// Where it gossips.
    pub(super) addr: SocketAddr,
    /// Where it answers calls, if it is one of serf's.
    pub(super) calls: SocketAddr,
}

/// What a member said, or that it says no more.
#[derive(Debug)]
pub(super) enum Said {
    /// It can be told to join.
    Ready,
    /// What it believes of a member since a moment, in microseconds since the Unix epoch.
    Belief(usize, Belief, u64),
    /// Its output ended.
    Ended,
}

/// Who said it, and in which of its lives.
#[derive(Debug)]
pub(super) struct Word {
    pub(super) member: usize,
    pub(super) life: u32,
    pub(super) said: Said,
}

/// A running member. Killed when it is dropped.
pub(super) struct Member {
    child: Child,
    system: System,
    place: Place,
    input: Option<ChildStdin>,
    listener: Option<JoinHandle<()>>,
    /// A call to serf's agent that may still be under way.
    call: Option<TcpStream>,
    log: PathBuf,
    /// Which of this member's lives it is.
    pub(super) life: u32,
}

impl Member {
    /// Starts it. What it says goes into `words`; `names` are those of all members.
    pub(super) fn start(
        system: System,
        place: &Place,
        life: u32,
        programs: &Programs,
        names: &Arc<BTreeMap<String, usize>>,
        words: &Sender<Word>,
        dir: &Path,
    ) -> Result<Self, BenchError> {
        let log = dir.join(format!("{}.log", place.number + 1));
        let file = File::options().create(true).append(true).open(&log).map_err(BenchError::io(&log))?;
        let mut twin = file.try_clone().map_err(BenchError::io(&log))?;
        let failed = |e: std::io::Error| BenchError::failed(format!("starting {}", system.name()), e.to_string());
        let mut child = programs
            .start(system, place, names.len())
            .current_dir(dir)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(file)
            .spawn()
            .map_err(failed)?;
        let input = child.stdin.take();
        let listener = child.stdout.take().map(|output| {
            let (names, words, number) = (Arc::clone(names), words.clone(), place.number);
            std::thread::spawn(move || {
                // Nobody listens any more at the end of a group.
                listen(system, output, &mut twin, &names, |said| drop(words.send(Word { member: number, life, said })));
            })
        });
        Ok(Self { child, system, place: place.clone(), input, listener, call: None, log, life })
    }

    /// Its process id.
    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Tells it to join through another. Does not wait for that.
    pub(super) fn join(&mut self, through: SocketAddr) -> Result<(), BenchError> {
        if self.system == System::Serf {
            self.call = Some(serf::join(self.place.calls, through)?);
            return Ok(());
        }
        let told = self.input.as_mut().map(|input| writeln!(input, "join {through}"));
        told.transpose()
            .map(drop)
            .map_err(|e| BenchError::failed(format!("telling {} to join", self.what()), e.to_string()))
    }

    /// Ends a call that may still be open: it has done what it was for.
    pub(super) fn hang_up(&mut self) {
        self.call = None;
    }

    /// That it ended by itself, with the end of its log.
    pub(super) fn ended(&self) -> BenchError {
        BenchError::failed(format!("{} ended", self.what()), tail(&self.log))
    }

    fn what(&self) -> String {
        format!("member {} of {}", self.place.number + 1, self.system.name())
    }

    /// Kill -9, without waiting for the end.
    pub(super) fn kill(&mut self) {
        // It may have ended already, and then there is nothing to kill.
        drop(self.child.kill());
    }

    /// Kill -9, and reap.
    pub(super) fn end(&mut self) {
        self.kill();
        drop(self.child.wait());
        if let Some(listener) = self.listener.take() {
            drop(listener.join());
        }
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        self.end();
    }
}

/// Passes on what counts of an output, and what else there is in it to a log.
fn listen(system: System, output: ChildStdout, log: &mut File, names: &BTreeMap<String, usize>, say: impl Fn(Said)) {
    for line in BufReader::new(output).lines().map_while(Result::ok) {
        match programs::read(system, &line) {
            Line::Ready => say(Said::Ready),
            Line::Belief(name, belief, at) => {
                if let Some(about) = names.get(name) {
                    say(Said::Belief(*about, belief, at.unwrap_or_else(wall_us)));
                }
            }
            // Without it there is less to read, and that is all.
            Line::Other => drop(writeln!(log, "{line}")),
        }
    }
    say(Said::Ended);
}

/// Microseconds since the Unix epoch, by the clock that members have, too.
pub(super) fn wall_us() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}

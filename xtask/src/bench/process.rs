//! Processes that do not outlive the bench: killed when dropped, bounded in time, and killed by the kernel if the bench
//! itself is killed.

use super::error::BenchError;
use std::fs::File;
use std::io::Read;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

static INTERRUPTED: LazyLock<Arc<AtomicBool>> = LazyLock::new(Arc::default);

/// From now on Ctrl-C and SIGTERM make every wait end with [`BenchError::Interrupted`]. A second one ends the process.
pub(super) fn listen_for_interrupts() -> Result<(), BenchError> {
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        signal_hook::flag::register_conditional_default(signal, Arc::clone(&INTERRUPTED))
            .and_then(|_| signal_hook::flag::register(signal, Arc::clone(&INTERRUPTED)))
            .map_err(|e| BenchError::failed("listening for Ctrl-C", e.to_string()))?;
    }
    Ok(())
}

/// Fails once Ctrl-C was pressed.
pub(super) fn check_interrupted() -> Result<(), BenchError> {
    if INTERRUPTED.load(Ordering::Relaxed) { Err(BenchError::Interrupted) } else { Ok(()) }
}

/// Waits, but not beyond Ctrl-C.
pub(super) fn pause(length: Duration) -> Result<(), BenchError> {
    let until = Instant::now() + length;
    loop {
        check_interrupted()?;
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(());
        }
        std::thread::sleep(left.min(Duration::from_millis(50)));
    }
}

/// `count` different ports of 127.0.0.1 that nobody listened on a moment ago.
pub(super) fn free_ports(count: usize) -> Result<Vec<u16>, BenchError> {
    let held: Vec<TcpListener> = (0..count)
        .map(|_| TcpListener::bind("127.0.0.1:0"))
        .collect::<Result<_, _>>()
        .map_err(|e| BenchError::failed("finding free ports", e.to_string()))?;
    held.iter()
        .map(|l| l.local_addr().map(|a| a.port()))
        .collect::<Result<_, _>>()
        .map_err(|e| BenchError::failed("finding free ports", e.to_string()))
}

/// A command that the kernel kills when the bench dies without a chance to.
pub(super) fn command(program: &Path) -> Command {
    static SETPRIV: LazyLock<bool> = LazyLock::new(|| Path::new("/usr/bin/setpriv").exists());
    if *SETPRIV {
        let mut command = Command::new("/usr/bin/setpriv");
        command.args(["--pdeathsig", "KILL", "--"]).arg(program);
        command
    } else {
        Command::new(program)
    }
}

/// A running process; dropping it kills it.
pub(super) struct Process {
    child: Child,
    what: String,
    log: PathBuf,
}

impl Process {
    /// Starts a server. Both of its outputs go to `log`, which is appended to.
    pub(super) fn start(what: &str, mut command: Command, log: &Path) -> Result<Self, BenchError> {
        let file = File::options().create(true).append(true).open(log).map_err(BenchError::io(log))?;
        let twin = file.try_clone().map_err(BenchError::io(log))?;
        let child = command
            .stdin(Stdio::null())
            .stdout(file)
            .stderr(twin)
            .spawn()
            .map_err(|e| BenchError::failed(format!("starting {what}"), e.to_string()))?;
        Ok(Self { child, what: what.to_owned(), log: log.to_path_buf() })
    }

    /// Its process id.
    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Fails, with the end of its log, if it has ended.
    pub(super) fn check_alive(&mut self) -> Result<(), BenchError> {
        match self.child.try_wait() {
            Ok(None) => Ok(()),
            Ok(Some(status)) => Err(BenchError::failed(format!("{} ended with {status}", self.what), tail(&self.log))),
            Err(e) => Err(BenchError::failed(format!("waiting for {}", self.what), e.to_string())),
        }
    }

    /// Asks it to end, as Ctrl-C does, and waits for that, but no longer than `patience`.
    pub(super) fn interrupt(&mut self, patience: Duration) {
        let until = Instant::now() + patience;
        let asked = Command::new("kill").args(["-INT", &self.pid().to_string()]).status().is_ok_and(|s| s.success());
        while asked && Instant::now() < until && matches!(self.child.try_wait(), Ok(None)) {
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Sends SIGTERM and waits until it has ended well; says how long that took.
    pub(super) fn terminate(&mut self, patience: Duration) -> Result<Duration, BenchError> {
        let begin = Instant::now();
        let asked = Command::new("kill").args(["-TERM", &self.pid().to_string()]).status().is_ok_and(|s| s.success());
        if !asked {
            self.check_alive()?;
        }
        loop {
            match self.child.try_wait() {
                Ok(None) if begin.elapsed() < patience => std::thread::sleep(Duration::from_millis(2)),
                Ok(None) => {
                    return Err(BenchError::Late { what: format!("the stop of {}", self.what), after: patience });
                }
                Ok(Some(status)) if status.success() => return Ok(begin.elapsed()),
                Ok(Some(status)) => {
                    return Err(BenchError::failed(format!("{} ended with {status}", self.what), tail(&self.log)));
                }
                Err(e) => return Err(BenchError::failed(format!("waiting for {}", self.what), e.to_string())),
            }
        }
    }

    /// Kill -9, and reap.
    pub(super) fn kill(&mut self) {
        // It may have ended already, and then there is nothing to kill.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The last lines of a log, for an error message.
pub(super) fn tail(log: &Path) -> String {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    let from = lines.len().saturating_sub(8);
    lines.get(from..).unwrap_or_default().join("\n    ")
}

/// A command that is expected to end by itself and to print an answer.
pub(super) struct Call {
    child: Child,
    what: String,
    deadline: Instant,
    patience: Duration,
}

impl Call {
    /// Starts it.
    pub(super) fn start(what: &str, mut command: Command, patience: Duration) -> Result<Self, BenchError> {
        check_interrupted()?;
        let child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|e| BenchError::failed(format!("starting {what}"), e.to_string()))?;
        Ok(Self { child, what: what.to_owned(), deadline: Instant::now() + patience, patience })
    }

    /// Waits for the first line that it prints: the sign that it has begun.
    pub(super) fn await_first_line(&mut self) -> Result<(), BenchError> {
        let mut byte = [0_u8];
        while let Some(out) = self.child.stdout.as_mut() {
            match out.read(&mut byte) {
                Ok(1) if byte == *b"\n" => return Ok(()),
                Ok(1) => {}
                _ => break,
            }
        }
        Err(BenchError::failed(&self.what, "ended before it began"))
    }

    /// Waits for its end and gives what it printed. The answers are a few lines, so they fit in the pipes.
    pub(super) fn finish(mut self) -> Result<String, BenchError> {
        loop {
            match self.child.try_wait() {
                Ok(None) => {}
                Ok(Some(status)) => {
                    let mut out = String::new();
                    let mut err = String::new();
                    read_all(self.child.stdout.take(), &mut out);
                    read_all(self.child.stderr.take(), &mut err);
                    return if status.success() {
                        Ok(out)
                    } else {
                        Err(BenchError::failed(&self.what, format!("{status}: {}", err.trim())))
                    };
                }
                Err(e) => return Err(BenchError::failed(&self.what, e.to_string())),
            }
            check_interrupted()?;
            if Instant::now() > self.deadline {
                return Err(BenchError::Late { what: self.what.clone(), after: self.patience });
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        // Ended already in the ordinary case.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn read_all(pipe: Option<impl Read>, into: &mut String) {
    if let Some(mut pipe) = pipe {
        let mut bytes = Vec::new();
        // What was read before an error is still worth showing.
        drop(pipe.read_to_end(&mut bytes));
        into.push_str(&String::from_utf8_lossy(&bytes));
    }
}

/// Runs a command to its end within `patience` and gives its standard output.
pub(super) fn call(what: &str, command: Command, patience: Duration) -> Result<String, BenchError> {
    Call::start(what, command, patience)?.finish()
}

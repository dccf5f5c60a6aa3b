//! Real processes: started, watched, and gone when the test is over.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

/// How long anything may take to come up.
const PATIENCE: Duration = Duration::from_mins(1);

/// A process that is killed when it is dropped.
pub(crate) struct Running(Child);

impl Running {
    /// Starts a process and waits until it prints a line that `ready` likes.
    #[track_caller]
    pub(crate) fn start(command: &mut Command, ready: impl Fn(&str) -> bool) -> Self {
        Self::start_until(command, |line, _| ready(line))
    }

    /// Starts a process and collects its lines until `enough` says so of one.
    #[track_caller]
    pub(crate) fn start_until(command: &mut Command, mut enough: impl FnMut(&str, &[String]) -> bool) -> Self {
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let (sender, lines) = mpsc::channel();
        // Reads on to the end, so that the process never waits for its reader.
        std::thread::spawn(move || {
            for line in stdout.lines().map_while(Result::ok) {
                drop(sender.send(line));
            }
        });
        let running = Self(child);
        let deadline = Instant::now() + PATIENCE;
        let mut seen = Vec::new();
        loop {
            match lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(line) => {
                    let done = enough(&line, &seen);
                    seen.push(line);
                    if done {
                        return running;
                    }
                }
                Err(end) => panic!("{command:?} is not ready: {end}; it said {seen:#?}"),
            }
        }
    }

    /// Starts a process whose output is the test's.
    #[track_caller]
    pub(crate) fn spawn(command: &mut Command) -> Self {
        Self(command.stdin(Stdio::null()).spawn().unwrap())
    }

    pub(crate) fn pid(&self) -> u32 {
        self.0.id()
    }

    /// Asks it to stop, and expects exit code 0.
    #[track_caller]
    pub(crate) fn terminate(mut self) {
        let (asked, text) = output(Command::new("kill").arg(self.pid().to_string()));
        assert!(asked, "{text}");
        until("the process stops", || self.0.try_wait().unwrap().is_some());
        let status = self.0.wait().unwrap();
        assert!(status.success(), "{status}");
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// Runs a command to its end: whether it succeeded, and all it said.
pub(crate) fn output(command: &mut Command) -> (bool, String) {
    let done = command.stdin(Stdio::null()).output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let text = String::from_utf8_lossy(&done.stdout).into_owned() + &String::from_utf8_lossy(&done.stderr);
    (done.status.success(), text)
}

/// Looks until something is so.
#[track_caller]
pub(crate) fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < deadline, "{what}: not within {PATIENCE:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A port that was free a moment ago, for programs that cannot choose one themselves.
pub(crate) fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

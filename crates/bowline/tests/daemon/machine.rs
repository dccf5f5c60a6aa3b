//! A machine: a state directory, the commands that people type on it, and the processes that keep their state there.

use rustix::process::{Pid, Signal, kill_process};
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// How long anything may take on a machine that has much else to do.
pub(crate) const PATIENCE: Duration = Duration::from_secs(50);

/// No two daemons on this machine get in each other's way.
const FREE_PORTS: &[&str] =
    &["--listen", "127.0.0.1:0", "--dqlite-listen", "127.0.0.1:0", "--https-listen", "127.0.0.1:0"];

/// Looks until something is so.
#[track_caller]
pub(crate) fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "{what}: not within {PATIENCE:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// What a command printed, and how it ended.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Said {
    /// It did what was asked.
    #[track_caller]
    pub(crate) fn done(self) -> String {
        assert_eq!(self.code, Some(0), "{self:?}");
        self.out
    }

    /// It refused with this exit code and error code, and these words; it said what to do next and printed no data.
    #[track_caller]
    pub(crate) fn refused(self, exit: i32, code: &str, words: &str) {
        assert_eq!(self.code, Some(exit), "{self:?}");
        let first = self.err.lines().find(|line| line.starts_with("error ")).unwrap_or_default();
        assert!(first.starts_with(&format!("error {code}: ")) && first.contains(words), "{self:?}");
        assert!(self.err.contains("\n   next  ") && self.out.is_empty(), "{self:?}");
    }
}

/// The answer to a request.
#[derive(Debug)]
pub(crate) struct Answered {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

/// Runs a command to its end; kills it, and fails, if that takes too long.
#[track_caller]
pub(crate) fn say(command: &mut Command) -> Said {
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let out = read(child.stdout.take().unwrap());
    let err = read(child.stderr.take().unwrap());
    let ended = wait(&mut child, PATIENCE);
    if ended.is_none() {
        child.kill().unwrap();
        child.wait().unwrap();
    }
    let (out, err) = (out.join().unwrap(), err.join().unwrap());
    let Some(status) = ended else { panic!("{command:?} did not end; it said {out} {err}") };
    Said { code: status.code(), out, err }
}

fn read(mut from: impl Read + Send + 'static) -> std::thread::JoinHandle<String> {
    std::thread::spawn(move || {
        let mut text = Vec::new();
        from.read_to_end(&mut text).unwrap();
        String::from_utf8_lossy(&text).into_owned()
    })
}

fn wait(child: &mut Child, patience: Duration) -> Option<ExitStatus> {
    let deadline = Instant::now() + patience;
    loop {
        match child.try_wait().unwrap() {
            None if Instant::now() < deadline => std::thread::sleep(Duration::from_millis(5)),
            ended => return ended,
        }
    }
}

/// A machine. What runs on it ends with it, whoever started it.
pub(crate) struct Machine {
    dir: TempDir,
    environment: Vec<(&'static str, String)>,
}

impl Machine {
    pub(crate) fn new() -> Self {
        Self { dir: tempfile::Builder::new().prefix("bl-").tempdir().unwrap(), environment: Vec::new() }
    }

    /// Its commands, and the daemons that they start, find this in their environment.
    pub(crate) fn with(mut self, variable: &'static str, value: &str) -> Self {
        self.environment.push((variable, value.to_owned()));
        self
    }

    /// Three machines that are one cluster: box1, which founded it, box2 and box3.
    #[track_caller]
    pub(crate) fn three() -> [Self; 3] {
        let machines = [Self::new(), Self::new(), Self::new()];
        let [one, two, three] = &machines;
        one.form(&["init", "--name", "box1"]).done();
        for (machine, name) in [(two, "box2"), (three, "box3")] {
            let token = one.say(&["token", "add"]).done();
            machine.form(&["join", token.trim(), "--name", name]).done();
        }
        machines
    }

    /// A path on it.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Where its daemon keeps its state.
    pub(crate) fn state_dir(&self) -> PathBuf {
        self.path("state")
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.state_dir().join("control.sock")
    }

    /// `bowline WORDS` on this machine.
    pub(crate) fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_bowline"));
        command.args(words).arg("--state-dir").arg(self.state_dir()).env("NO_COLOR", "1");
        for variable in ["BOWLINE_SOCKET", "BOWLINE_LOG", "BOWLINE_LOG_FORMAT", "NOTIFY_SOCKET", "WATCHDOG_USEC"] {
            command.env_remove(variable);
        }
        command.envs(self.environment.iter().map(|(variable, value)| (variable, value)));
        command
    }

    /// Runs `bowline WORDS` to its end.
    #[track_caller]
    pub(crate) fn say(&self, words: &[&str]) -> Said {
        say(&mut self.command(words))
    }

    /// The answer as JSON.
    #[track_caller]
    pub(crate) fn json(&self, words: &[&str]) -> serde_json::Value {
        let printed = self.say(&[words, &["-o", "json"]].concat()).done();
        serde_json::from_str(&printed).unwrap_or_else(|error| panic!("{words:?}: {error}: {printed}"))
    }

    /// `bowline VERB WORDS`, where the daemon that it starts takes free ports.
    #[track_caller]
    pub(crate) fn form(&self, words: &[&str]) -> Said {
        self.say(&[words, FREE_PORTS].concat())
    }

    /// `bowline start`, to be spawned.
    pub(crate) fn start_command(&self) -> Command {
        self.command(&[&["start", "--log", "warn"], FREE_PORTS].concat())
    }

    /// Starts the daemon in the foreground of this test, and waits until something listens on its control socket.
    #[track_caller]
    pub(crate) fn start(&self) -> Daemon {
        let daemon = Daemon(self.start_command().stdin(Stdio::null()).spawn().unwrap());
        until("the control socket", || UnixStream::connect(self.socket()).ok());
        daemon
    }

    /// A request to its control socket: the status and the body of the answer.
    #[track_caller]
    pub(crate) fn http(&self, request: &str, headers: &str, body: &str) -> (u16, String) {
        let answer = self.try_http(request, headers, body).unwrap();
        (answer.status, answer.body)
    }

    /// Like [`http`](Self::http), of a daemon that may not be there.
    pub(crate) fn try_http(&self, request: &str, headers: &str, body: &str) -> std::io::Result<Answered> {
        let mut stream = UnixStream::connect(self.socket())?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let length = body.len();
        // Of this version an answer ends where the connection does.
        write!(stream, "{request} HTTP/1.0\r\ncontent-length: {length}\r\n{headers}\r\n{body}")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        let (head, body) = answer.split_once("\r\n\r\n").ok_or(std::io::ErrorKind::UnexpectedEof)?;
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        Ok(Answered { status, head: head.to_owned(), body: body.to_owned() })
    }

    /// Waits until the daemon says that everything serves.
    #[track_caller]
    pub(crate) fn ready(&self) {
        until("ready", || (self.say(&["status"]).code == Some(0)).then_some(()));
    }

    /// Whether its daemon runs and is in no cluster.
    #[track_caller]
    pub(crate) fn belongs_to_nothing(&self) -> bool {
        let status = self.say(&["status", "-o", "json"]);
        status.code == Some(3) && status.out.contains("\"state\": \"unformed\"")
    }

    /// Its daemons: the processes that name this machine's directory on their command line, and `start`.
    pub(crate) fn daemons(&self) -> Vec<Pid> {
        let dir = self.dir.path().to_str().unwrap().as_bytes();
        let has = |line: &[u8], part: &[u8]| line.windows(part.len()).any(|window| window == part);
        let processes = std::fs::read_dir("/proc").unwrap().filter_map(|entry| {
            let pid = entry.ok()?.file_name().to_str()?.parse().ok()?;
            // Empty for one that has ended and was not waited for.
            let line = std::fs::read(format!("/proc/{pid}/cmdline")).ok()?;
            (has(&line, dir) && has(&line, b"\0start\0")).then(|| Pid::from_raw(pid))?
        });
        processes.collect()
    }

    /// Kills the daemon as the power does, and waits until it is gone.
    #[track_caller]
    pub(crate) fn kill(&self) {
        let [daemon] = self.daemons()[..] else { panic!("one daemon runs: {:?}", self.daemons()) };
        kill_process(daemon, Signal::KILL).unwrap();
        until("it is gone", || self.daemons().is_empty().then_some(()));
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        let deadline = Instant::now() + Duration::from_secs(10);
        while let daemons @ [_, ..] = &self.daemons()[..] {
            for daemon in daemons {
                // It may have ended meanwhile; then the next look does not find it.
                kill_process(*daemon, Signal::KILL).ok();
            }
            if Instant::now() > deadline {
                return;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

/// A daemon that this test started itself; killed when it is dropped.
pub(crate) struct Daemon(pub(crate) Child);

impl Daemon {
    /// Sends SIGTERM.
    pub(crate) fn terminate(&self) {
        kill_process(Pid::from_child(&self.0), Signal::TERM).unwrap();
    }

    /// Sends SIGTERM again and again, as somebody does who has no time, until it has ended; so long at most. Signals that come
    /// while one waits to be noticed are lost: two that follow each other at once may be one.
    #[track_caller]
    pub(crate) fn terminated_within(mut self, patience: Duration) -> ExitStatus {
        let deadline = Instant::now() + patience;
        loop {
            self.terminate();
            // Until it was waited for, its number is nobody else's.
            if let Some(status) = wait(&mut self.0, Duration::from_millis(20)) {
                return status;
            }
            assert!(Instant::now() < deadline, "it still runs after {patience:?}");
        }
    }

    /// Waits until it has ended, so long at most.
    #[track_caller]
    pub(crate) fn ended_within(mut self, patience: Duration) -> ExitStatus {
        wait(&mut self.0, patience).unwrap_or_else(|| panic!("it still runs after {patience:?}"))
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

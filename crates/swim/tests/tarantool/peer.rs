//! A real Tarantool: one process, one member.

use std::io::{Read, Write};
use std::net::SocketAddr;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use swim::MemberId;

/// Whether there is a Tarantool; that there is none is said aloud.
pub(crate) fn is_here() -> bool {
    let is_here = Command::new("tarantool").arg("--version").output().is_ok_and(|output| output.status.success());
    if !is_here {
        let text = "SKIPPED: tarantool cannot be run; apt-get install --no-install-recommends tarantool";
        assert!(std::env::var_os("BOWLINE_REQUIRE_PEERS").is_none(), "{text}");
        eprintln!("{text}");
    }
    is_here
}

/// How a group is encrypted, in Tarantool's words.
pub(crate) struct Cipher {
    pub(crate) algo: &'static str,
    pub(crate) mode: &'static str,
    pub(crate) key: Vec<u8>,
}

/// A running Tarantool. Killed when it is dropped.
pub(crate) struct Tarantool {
    child: Child,
    console: UnixStream,
    pub(crate) id: MemberId,
    pub(crate) addr: SocketAddr,
    _dir: tempfile::TempDir,
}

impl Tarantool {
    pub(crate) fn start(n: u8, heartbeat: Duration, cipher: Option<&Cipher>) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let control = dir.path().join("control");
        let id = MemberId::from_text_order([n; 16]);
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../swim/tests/tarantool/node.lua");
        let mut command = Command::new("tarantool");
        command
            .arg(script)
            .current_dir(dir.path())
            .env("SWIM_CONTROL", &control)
            .env("SWIM_UUID", id.to_string())
            .env("SWIM_HEARTBEAT", heartbeat.as_secs_f64().to_string())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        if let Some(cipher) = cipher {
            let key = cipher.key.iter().fold(String::new(), |key, byte| format!("{key}{byte:02x}"));
            command.env("SWIM_ALGO", cipher.algo).env("SWIM_MODE", cipher.mode).env("SWIM_KEY", key);
        }
        let child = command.spawn().unwrap();
        let console = (0..2000)
            .find_map(|_| {
                std::thread::sleep(Duration::from_millis(5));
                UnixStream::connect(&control).ok()
            })
            .expect("Tarantool listens on its console");
        console.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        let mut peer = Self { child, console, id, addr: ([127, 0, 0, 1], 1).into(), _dir: dir };
        peer.read_until("interactive help");
        peer.addr = peer.ask("s:self():uri()").parse().unwrap();
        peer
    }

    fn read_until(&mut self, end: &str) -> String {
        let mut text = String::new();
        let mut buf = [0; 1024];
        while !text.trim_end().ends_with(end) {
            let len = self.console.read(&mut buf).unwrap();
            assert!(len > 0, "the console ended after {text:?}");
            text.push_str(std::str::from_utf8(&buf[..len]).unwrap());
        }
        text
    }

    /// Runs a statement.
    pub(crate) fn run(&mut self, lua: &str) {
        let answer = self.eval(lua);
        assert!(!answer.contains("error"), "{lua}: {answer}");
    }

    /// The value of an expression, as text.
    pub(crate) fn ask(&mut self, lua: &str) -> String {
        let answer = self.eval(&format!("return {lua}"));
        let value = answer.trim_start_matches("---\n").trim_start_matches("- ").trim_end_matches("...\n").trim();
        value.trim_matches(|c| c == '\'' || c == '"').to_owned()
    }

    fn eval(&mut self, lua: &str) -> String {
        writeln!(self.console, "{lua}").unwrap();
        self.read_until("...")
    }

    /// What it believes of a member.
    pub(crate) fn status(&mut self, of: &MemberId) -> String {
        self.ask(&format!("status('{of}')"))
    }

    /// Whether it has ever believed this of a member.
    pub(crate) fn has_believed(&mut self, of: &MemberId, status: &str) -> bool {
        self.ask(&format!("happened('{of}', '{status}')")) == "true"
    }

    /// `kill -9`.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Tarantool {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

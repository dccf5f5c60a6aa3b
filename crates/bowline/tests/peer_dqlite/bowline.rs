//! Bowline as its users start it.

use super::process::{Running, output, until};
use std::path::PathBuf;
use std::process::Command;
use tempfile::TempDir;

fn program() -> Command {
    Command::new(env!("CARGO_BIN_EXE_bowline"))
}

/// Three members, each a process of its own.
pub(crate) struct Members {
    dir: TempDir,
    daemons: Vec<Running>,
    /// Of each member, where dqlite clients connect.
    addresses: Vec<String>,
}

impl Members {
    /// Starts and joins three members, and waits until all vote.
    #[track_caller]
    pub(crate) fn three() -> Self {
        let dir = tempfile::Builder::new().prefix("bl-").tempdir().unwrap();
        let mut members = Self { dir, daemons: Vec::new(), addresses: Vec::new() };
        for i in 0..3 {
            members.start(i);
            let name = format!("node{}", i + 1);
            if i == 0 {
                members.ask(i, &["init", "--name", &name]);
            } else {
                let printed = members.ask(0, &["token", "add"]);
                let token = printed.split_whitespace().find(|word| word.starts_with("bl1.")).expect("a token");
                members.ask(i, &["join", token, "--name", &name]);
            }
        }
        until("three voters", || {
            let nodes = members.ask(0, &["node", "list", "-o", "json"]);
            let addresses = fields(&nodes, "dqlite_address");
            members.addresses.clone_from(&addresses);
            addresses.len() == 3 && fields(&nodes, "role").iter().all(|role| role == "voter")
        });
        members
    }

    fn state_dir(&self, member: usize) -> PathBuf {
        self.dir.path().join((member + 1).to_string())
    }

    fn start(&mut self, member: usize) {
        let state_dir = self.state_dir(member);
        let mut command = program();
        command.args(["start", "--log", "warn", "--listen", "127.0.0.1:0", "--dqlite-listen", "127.0.0.1:0"]);
        command.args(["--https-listen", "127.0.0.1:0"]);
        command.arg("--state-dir").arg(&state_dir);
        self.daemons.push(Running::spawn(&mut command));
        until("the control socket", || std::os::unix::net::UnixStream::connect(state_dir.join("control.sock")).is_ok());
    }

    #[track_caller]
    fn ask(&self, member: usize, words: &[&str]) -> String {
        let (success, text) = output(program().args(words).arg("--state-dir").arg(self.state_dir(member)));
        assert!(success, "bowline {words:?}: {text}");
        text
    }

    /// Where dqlite clients connect.
    pub(crate) fn addresses(&self) -> &[String] {
        &self.addresses
    }

    /// The process behind each address. The list is by name, as the members were started.
    pub(crate) fn pids(&self) -> Vec<(&str, u32)> {
        self.addresses.iter().map(String::as_str).zip(self.daemons.iter().map(Running::pid)).collect()
    }
}

/// The values of a text field in a JSON list of flat objects.
fn fields(json: &str, name: &str) -> Vec<String> {
    let list: Vec<serde_json::Value> = serde_json::from_str(json).unwrap_or_default();
    list.iter().filter_map(|node| node.get(name)?.as_str().map(str::to_owned)).collect()
}

/// `bowline dev`: all nodes in one process.
pub(crate) struct Dev {
    running: Running,
    /// Where dqlite clients connect.
    pub(crate) addresses: Vec<String>,
}

impl Dev {
    /// Starts so many nodes, and waits until the table of them is printed.
    #[track_caller]
    pub(crate) fn start(nodes: usize) -> Self {
        let mut addresses = Vec::new();
        let running = Running::start_until(program().args(["dev", "--nodes", &nodes.to_string()]), |line, _| {
            let words: Vec<&str> = line.split_whitespace().collect();
            let at = words.iter().position(|word| *word == "dqlite");
            addresses.extend(at.and_then(|at| words.get(at + 1)).map(|word| (*word).to_owned()));
            line.starts_with("Stop")
        });
        assert_eq!(addresses.len(), nodes, "each node's dqlite address is on a line that names dqlite");
        Self { running, addresses }
    }

    /// Stops it as Ctrl-C or systemd does.
    #[track_caller]
    pub(crate) fn stop(self) {
        self.running.terminate();
    }
}

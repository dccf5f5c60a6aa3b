//! The nodes of a run: real daemons, each in a network namespace and on a volume of its own.

use crate::client::DATABASE;
use crate::error::ChaosError;
use crate::http::{Trouble, ask};
use crate::network::{Network, address};
use crate::process::{Process, call, check_interrupted, mortal, pause};
use crate::volume::{self, Volume};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

/// Time for a cluster to do something that it does at all.
const PATIENCE: Duration = Duration::from_mins(1);
/// Time for a look at a node.
const GLANCE: Duration = Duration::from_secs(2);
/// Time for a stop in order.
const STOP: Duration = Duration::from_secs(30);

const FAKETIME: &str = "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1";

/// By which clocks the nodes go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Clocks {
    /// By the machine's.
    Machine,
    /// Each by a wall clock of its own, which can be set.
    Own,
    /// Each by clocks of its own, wall and monotonic, that run too fast or too slow: up to 9 % apart. A lease is a tenth shorter than the time
    /// in which nobody else campaigns, so reads must stay linearizable.
    Drifting,
}

/// How fast clocks run that drift, by node.
const RATES: [&str; 5] = ["1.045", "0.955", "1.0", "1.03", "0.97"];

/// What a run needs of its nodes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Needs {
    pub(crate) nodes: usize,
    pub(crate) disk: volume::Kind,
    pub(crate) clocks: Clocks,
}

/// One node.
struct Node {
    process: Option<Process>,
    is_paused: bool,
    dir: PathBuf,
    volume: Volume,
}

/// The nodes; dropping it kills them and removes what was made for them.
pub(crate) struct Cluster {
    bowline: PathBuf,
    base: PathBuf,
    needs: Needs,
    // Before the network and the volumes, which it uses.
    nodes: Vec<Node>,
    pub(crate) network: Network,
    /// What the product did that it must not, beside what histories show.
    pub(crate) findings: Vec<String>,
}

impl Cluster {
    /// Makes the network and the volumes, and forms a cluster.
    pub(crate) fn form(bowline: &Path, base: &Path, needs: Needs) -> Result<Self, ChaosError> {
        std::fs::create_dir_all(base).map_err(ChaosError::io(base))?;
        let network = Network::new(needs.nodes)?;
        let nodes = (0..needs.nodes).map(|node| {
            let dir = base.join(format!("n{}", node + 1));
            let volume = Volume::new(needs.disk, &dir, &format!("{}-disk", network.name(node)))?;
            Ok(Node { process: None, is_paused: false, dir: dir.join("state"), volume })
        });
        let nodes = nodes.collect::<Result<Vec<_>, ChaosError>>()?;
        let (bowline, base) = (bowline.to_path_buf(), base.to_path_buf());
        let mut cluster = Self { bowline, base, needs, nodes, network, findings: Vec::new() };
        for node in 0..needs.nodes {
            cluster.start(node)?;
        }
        cluster.await_state(0, "unformed", PATIENCE)?;
        cluster.command(0, &["init", "--name", &name(0)], PATIENCE)?;
        for node in 1..needs.nodes {
            cluster.await_state(node, "unformed", PATIENCE)?;
            cluster.join(node, 0, PATIENCE)?;
        }
        if needs.nodes > 3 {
            cluster.command(0, &["node", "roles", "--voters", &needs.nodes.to_string()], PATIENCE)?;
        }
        cluster.command(0, &["db", "create", DATABASE], PATIENCE)?;
        cluster.until("all nodes to vote", PATIENCE, |cluster| cluster.voters() == needs.nodes)?;
        Ok(cluster)
    }

    pub(crate) fn len(&self) -> usize {
        self.nodes.len()
    }

    /// The state directories, by node.
    pub(crate) fn dirs(&self) -> Vec<PathBuf> {
        self.nodes.iter().map(|node| node.dir.clone()).collect()
    }

    /// Where a node's daemons log.
    pub(crate) fn log(&self, node: usize) -> PathBuf {
        self.base.join(format!("n{}.log", node + 1))
    }

    /// What a node's wall clock is off by.
    fn clock(&self, node: usize) -> PathBuf {
        self.base.join(format!("n{}.clock", node + 1))
    }

    /// Starts a node's daemon, if none runs.
    pub(crate) fn start(&mut self, node: usize) -> Result<(), ChaosError> {
        if self.is_running(node) {
            return Ok(());
        }
        if self.needs.clocks == Clocks::Own {
            self.set_clock(node, 0)?;
        }
        let (log, clock, namespace) = (self.log(node), self.clock(node), self.network.name(node));
        let Some(place) = self.nodes.get_mut(node) else { return Ok(()) };
        let mut command = mortal("nsenter");
        command.arg(format!("--net=/run/netns/{namespace}")).arg("--");
        if self.needs.clocks != Clocks::Machine {
            command.arg("env").arg(format!("LD_PRELOAD={FAKETIME}"));
        }
        match self.needs.clocks {
            Clocks::Machine => {}
            Clocks::Own => {
                command.arg(format!("FAKETIME_TIMESTAMP_FILE={}", clock.display()));
                command.args(["FAKETIME_NO_CACHE=1", "FAKETIME_DONT_FAKE_MONOTONIC=1"]);
            }
            Clocks::Drifting => {
                command.arg(format!("FAKETIME=+0 x{}", RATES.get(node).unwrap_or(&"1.0")));
            }
        }
        let host = address(node);
        command.arg(&self.bowline).arg("start").arg("--state-dir").arg(&place.dir);
        command.args(["--listen", &format!("{host}:7440"), "--https-listen", &format!("{host}:7443")]);
        command.args(["--dqlite-listen", "127.0.0.1:9000"]);
        let filter = std::env::var("BOWLINE_LOG").unwrap_or_else(|_| "warn".to_owned());
        command.args(["--log", &filter]).env("NO_COLOR", "1").env("RUST_BACKTRACE", "1");
        let process = Process::start(command, &log)?;
        place.volume.take(process.pid())?;
        place.process = Some(process);
        Ok(())
    }

    /// Whether a node's daemon runs. One that ended without being asked is a finding.
    pub(crate) fn is_running(&mut self, node: usize) -> bool {
        let log = self.log(node);
        let Some(place) = self.nodes.get_mut(node) else { return false };
        let Some(process) = place.process.as_mut() else { return false };
        let Some(status) = process.ended() else { return true };
        place.process = None;
        self.findings.push(format!("{} ended by itself with {status}; see {}", name(node), log.display()));
        false
    }

    /// Kill -9.
    pub(crate) fn kill(&mut self, node: usize) {
        // Whether it had ended before is worth knowing.
        if self.is_running(node)
            && let Some(place) = self.nodes.get_mut(node)
        {
            place.process = None;
            place.is_paused = false;
        }
    }

    /// SIGSTOP, or SIGCONT.
    pub(crate) fn set_paused(&mut self, node: usize, is_paused: bool) {
        let Some(place) = self.nodes.get_mut(node) else { return };
        if place.is_paused != is_paused {
            place.process.iter().for_each(|process| process.signal(if is_paused { "STOP" } else { "CONT" }));
            place.is_paused = is_paused;
        }
    }

    /// SIGTERM, and waits for the end.
    pub(crate) fn stop(&mut self, node: usize) {
        if !self.is_running(node) {
            return;
        }
        let Some(mut process) = self.nodes.get_mut(node).and_then(|place| place.process.take()) else { return };
        process.signal("TERM");
        match process.wait(STOP) {
            Some(status) if status.success() => {}
            Some(status) => self.findings.push(format!("{} was stopped in order and ended with {status}", name(node))),
            None => self.findings.push(format!("{} did not stop in order within {STOP:?}", name(node))),
        }
    }

    /// Takes everything from a node, as a new machine of the old name has it.
    pub(crate) fn wipe(&mut self, node: usize) -> Result<(), ChaosError> {
        self.kill(node);
        let Some(place) = self.nodes.get(node) else { return Ok(()) };
        match std::fs::remove_dir_all(&place.dir) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(ChaosError::io(&place.dir)(error)),
            _ => Ok(()),
        }
    }

    /// Sets a node's wall clock off by so many seconds.
    pub(crate) fn set_clock(&self, node: usize, seconds: i64) -> Result<(), ChaosError> {
        let path = self.clock(node);
        let next = path.with_extension("next");
        std::fs::write(&next, format!("{seconds:+}\n")).map_err(ChaosError::io(&next))?;
        std::fs::rename(&next, &path).map_err(ChaosError::io(&path))
    }

    /// So many writes a second at most, on the disk of a node; zero is without limit.
    pub(crate) fn throttle(&self, node: usize, writes_per_second: u32) -> Result<(), ChaosError> {
        self.nodes.get(node).map_or(Ok(()), |place| place.volume.throttle(writes_per_second))
    }

    /// Fills the disk of a node, or gives it back.
    pub(crate) fn fill(&self, node: usize, is_full: bool) -> Result<(), ChaosError> {
        let Some(place) = self.nodes.get(node) else { return Ok(()) };
        if is_full {
            return place.volume.fill();
        }
        place.volume.free();
        Ok(())
    }

    /// `bowline WORDS` on a node; what it printed.
    pub(crate) fn command(&self, node: usize, words: &[&str], patience: Duration) -> Result<String, ChaosError> {
        check_interrupted()?;
        call(&mut self.command_line(node, words, patience))
    }

    /// `bowline WORDS` on a node, to be run.
    pub(crate) fn command_line(&self, node: usize, words: &[&str], patience: Duration) -> Command {
        let mut command = Command::new("timeout");
        // The command's own deadline comes first, and says more.
        command.arg((patience.as_secs() + 5).to_string()).arg(&self.bowline).args(words);
        command.args(["--timeout", &patience.as_secs().to_string(), "--state-dir"]);
        command.args(self.nodes.get(node).map(|place| &place.dir));
        command
    }

    /// A word for one machine to join with, from a member.
    pub(crate) fn token(&self, member: usize, patience: Duration) -> Result<String, ChaosError> {
        let printed = self.command(member, &["token", "add"], patience)?;
        let token = printed.split_whitespace().find(|word| word.starts_with("bl1.")).map(str::to_owned);
        token.ok_or_else(|| ChaosError::failed("bowline token add", format!("no token in: {printed}")))
    }

    /// Lets a node join with the help of a member.
    pub(crate) fn join(&self, node: usize, member: usize, patience: Duration) -> Result<(), ChaosError> {
        let token = self.token(member, patience)?;
        self.command(node, &["join", &token, "--name", &name(node)], patience).map(drop)
    }

    /// What a node says to a request on its control socket.
    pub(crate) fn ask(&self, node: usize, request: &str, body: &Value) -> Result<Value, Trouble> {
        self.ask_patiently(node, request, body, GLANCE)
    }

    fn ask_patiently(&self, node: usize, request: &str, body: &Value, patience: Duration) -> Result<Value, Trouble> {
        let dir = self.nodes.get(node).map(|place| place.dir.clone()).unwrap_or_default();
        let body = if body.is_null() { String::new() } else { body.to_string() };
        ask(&dir.join("control.sock"), request, &body, patience)
    }

    /// What a node says of itself and of the cluster.
    pub(crate) fn status(&self, node: usize) -> Option<Value> {
        self.ask(node, "GET /v1/status", &Value::Null).ok()
    }

    /// Where a node is in its life, as it says.
    pub(crate) fn state(&self, node: usize) -> String {
        let status = self.status(node).unwrap_or_default();
        status.get("state").and_then(Value::as_str).unwrap_or_default().to_owned()
    }

    /// The node that leads, as far as a node that runs knows.
    pub(crate) fn leader(&self) -> Option<usize> {
        (0..self.len()).filter(|node| self.is_reachable(*node)).find_map(|node| {
            let status = self.status(node)?;
            let leads = |member: &&Value| member.get("leader").and_then(Value::as_bool) == Some(true);
            let leader = status.get("nodes")?.as_array()?.iter().find(leads)?.get("name")?.as_str()?.to_owned();
            (0..self.len()).find(|node| name(*node) == leader)
        })
    }

    fn is_reachable(&self, node: usize) -> bool {
        self.nodes.get(node).is_some_and(|place| place.process.is_some() && !place.is_paused)
    }

    /// The least number of voters that any node knows of.
    pub(crate) fn voters(&self) -> usize {
        let of = |node| {
            let status = self.status(node)?;
            let is_voter = |member: &&Value| member.get("role").and_then(Value::as_str) == Some("voter");
            Some(status.get("nodes")?.as_array()?.iter().filter(is_voter).count())
        };
        (0..self.len()).map(|node| of(node).unwrap_or_default()).min().unwrap_or_default()
    }

    /// Whether a node is ready and carries out a write.
    pub(crate) fn serves(&self, node: usize) -> bool {
        let write = json!({"statements": [{"sql": "UPDATE probes SET count = count + 1"}]});
        self.state(node) == "ready" && self.ask(node, &format!("POST /v1/databases/{DATABASE}/execute"), &write).is_ok()
    }

    /// Replaces a row of 400 KiB, so that logs and databases need room; whether that was answered.
    pub(crate) fn write_large(&self, node: usize, id: u64) -> bool {
        let sql = "INSERT OR REPLACE INTO ballast VALUES (?, randomblob(400000))";
        let write = json!({"statements": [{"sql": sql, "params": [id]}]});
        self.ask(node, &format!("POST /v1/databases/{DATABASE}/execute"), &write).is_ok()
    }

    /// The version and the hash of each node's copy, and what is wrong with it.
    pub(crate) fn copies(&self) -> Vec<Value> {
        let request = format!("GET /v1/databases/{DATABASE}/check");
        (0..self.len()).map(|node| self.ask(node, &request, &Value::Null).unwrap_or_default()).collect()
    }

    fn await_state(&mut self, node: usize, state: &str, patience: Duration) -> Result<(), ChaosError> {
        let what = format!("{} to be {state}", name(node));
        self.until(&what, patience, |cluster| cluster.state(node) == state)
    }

    /// Looks until something is so.
    pub(crate) fn until(
        &mut self,
        what: &str,
        patience: Duration,
        mut is_so: impl FnMut(&mut Self) -> bool,
    ) -> Result<(), ChaosError> {
        let until = Instant::now() + patience;
        while !is_so(self) {
            if Instant::now() > until {
                return Err(ChaosError::Late { what: what.to_owned(), after: patience });
            }
            pause(Duration::from_millis(50))?;
        }
        Ok(())
    }
}

/// A node's name.
pub(crate) fn name(node: usize) -> String {
    format!("n{}", node + 1)
}

/// Whether a node's wall clock can be set here: what is missing if not.
pub(crate) fn can_set_clocks() -> Result<(), String> {
    if Path::new(FAKETIME).exists() {
        Ok(())
    } else {
        Err("libfaketime is not there: apt-get install faketime".to_owned())
    }
}

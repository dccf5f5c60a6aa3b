//! Three processes of one system.

use super::Kind;
use super::build::Tools;
use super::error::BenchError;
use super::life::Idle;
use super::load::{Bowload, Length, LoopSpec};
use super::machine;
use super::process::{self, Process};
use super::results::Loop;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Time for a cluster to do something that it does at all.
pub(super) const PATIENCE: Duration = Duration::from_mins(1);

/// Name of the database of all loads.
pub(super) const DATABASE: &str = "bench";

/// How to run one member of a system. Everything that differs between systems is behind this.
pub(super) trait System {
    fn kind(&self) -> Kind;
    /// What `bowload -system` is told.
    fn protocol(&self) -> &'static str;
    /// Addresses of clients, by member.
    fn addresses(&self) -> &[String];
    /// Members can only be founded together, so that there is no join to measure.
    fn founds_together(&self) -> bool {
        false
    }
    /// What has to be done before a member's process is started for the first time and does not count as joining.
    fn before_join(&mut self, _member: usize) -> Result<(), BenchError> {
        Ok(())
    }
    /// Starts a member for the first time: member 0 founds, the others join.
    fn start(&mut self, member: usize) -> Result<Process, BenchError>;
    /// Starts it again with its state.
    fn restart(&mut self, member: usize) -> Result<Process, BenchError>;
    /// Directory of a member's state.
    fn dir(&self, member: usize) -> PathBuf;
    /// Takes a running member out and lets it join again; milliseconds of the joining. None if the system has no such thing.
    fn rejoin(&mut self, _member: usize) -> Result<Option<f64>, BenchError> {
        Ok(None)
    }
    /// Time that a restarted member needs until the next kill is a fair one.
    fn settle(&self) -> Duration;
}

/// A running cluster; dropping it kills its processes.
pub(super) struct Cluster {
    system: Box<dyn System>,
    members: Vec<Process>,
    bowload: PathBuf,
    profiles: Option<PathBuf>,
}

/// Milliseconds to join, of the second and of the third member.
pub(super) struct Joins(pub(super) Vec<f64>);

fn unix_ns() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

/// Milliseconds between two moments of Unix time.
#[expect(clippy::cast_precision_loss, reason = "a difference of minutes at most")]
pub(super) fn ms_between(from_ns: u64, to_ns: u64) -> f64 {
    to_ns.saturating_sub(from_ns) as f64 / 1e6
}

impl Cluster {
    /// Starts three members, one after the other, and says how long the joins took.
    pub(super) fn start(system: Box<dyn System>, tools: &Tools) -> Result<(Self, Joins), BenchError> {
        let mut cluster =
            Self { system, members: Vec::new(), bowload: tools.bowload.clone(), profiles: tools.profiles.clone() };
        let mut joins = Vec::new();
        for member in 0..3 {
            if member == 0 || cluster.system.founds_together() {
                let process = cluster.system.start(member)?;
                cluster.members.push(process);
                if !cluster.system.founds_together() {
                    cluster.await_leader(PATIENCE)?;
                }
                continue;
            }
            cluster.system.before_join(member)?;
            let voters = if member == 2 { 3 } else { 0 };
            let founder = Bowload { servers: cluster.load().servers.into_iter().take(1).collect(), ..cluster.load() };
            let waiting = founder.await_members(member + 1, voters, PATIENCE)?;
            let begin = unix_ns();
            let process = cluster.system.start(member)?;
            cluster.members.push(process);
            let moment = waiting.moment().map_err(|e| cluster.explain(e))?;
            joins.push(ms_between(begin, moment));
        }
        cluster.await_leader(PATIENCE)?;
        process::pause(Duration::from_secs(1))?;
        Ok((cluster, Joins(joins)))
    }

    /// If a member has died, its log says more than the error does.
    fn explain(&mut self, error: BenchError) -> BenchError {
        if matches!(error, BenchError::Interrupted) {
            return error;
        }
        self.members.iter_mut().find_map(|m| m.check_alive().err()).unwrap_or(error)
    }

    pub(super) fn kind(&self) -> Kind {
        self.system.kind()
    }

    /// The load program, pointed at all members.
    pub(super) fn load(&self) -> Bowload {
        Bowload {
            program: self.bowload.clone(),
            protocol: self.system.protocol(),
            servers: self.system.addresses().to_vec(),
        }
    }

    /// The load program, pointed at the leader first.
    pub(super) fn load_on_leader(&self) -> Result<Bowload, BenchError> {
        let leader = self.leader()?;
        let mut load = self.load();
        if self.system.protocol() == "etcd" {
            // etcd's client spreads calls over its endpoints; on one it is faster.
            load.servers = vec![leader];
        }
        Ok(load)
    }

    pub(super) fn leader(&self) -> Result<String, BenchError> {
        self.load().leader(PATIENCE)
    }

    /// Waits for a leader.
    pub(super) fn await_leader(&mut self, patience: Duration) -> Result<(), BenchError> {
        let outcome = self.load().leader(patience);
        outcome.map(drop).map_err(|e| self.explain(e))
    }

    /// Addresses of the members that do not lead.
    pub(super) fn followers(&self) -> Result<Vec<String>, BenchError> {
        let leader = self.leader()?;
        Ok(self.system.addresses().iter().filter(|a| **a != leader).cloned().collect())
    }

    fn leader_member(&self) -> Result<usize, BenchError> {
        let leader = self.leader()?;
        self.system.addresses().iter().position(|a| *a == leader).ok_or_else(|| {
            BenchError::failed("finding the leader", format!("{leader} is none of the members' addresses"))
        })
    }

    /// Runs a loop and adds up the processor time of the members, in microseconds for each operation.
    pub(super) fn run(&mut self, spec: &LoopSpec) -> Result<(Loop, f64), BenchError> {
        let before = self.cpu_seconds();
        let load = self.load_on_leader()?;
        let profile = self.profile(spec)?;
        let result = load.run(spec).map_err(|e| self.explain(e))?;
        if let Some(mut perf) = profile {
            perf.interrupt(PATIENCE);
        }
        let used = self.cpu_seconds() - before;
        #[expect(clippy::cast_precision_loss, reason = "a count of operations")]
        let per_op = used * 1e6 / (result.n.max(1) as f64);
        Ok((result, per_op))
    }

    /// Records where the leader spends its time, if that was asked for. One file for each load: look with `perf report`.
    fn profile(&self, spec: &LoopSpec) -> Result<Option<Process>, BenchError> {
        let Some(dir) = &self.profiles else { return Ok(None) };
        let leader = self.leader_member()?;
        let pid = self.members.get(leader).map(Process::pid).unwrap_or_default();
        let name = format!("{}-{}-{}", self.kind().name(), spec.command, spec.conns);
        let mut perf = process::command(Path::new("perf"));
        perf.args(["record", "--quiet", "-F", "199", "--call-graph", "dwarf,16384", "-o"]);
        perf.arg(dir.join(format!("{name}.perf"))).args(["-p", &pid.to_string()]);
        Process::start("perf record", perf, &dir.join(format!("{name}.log"))).map(Some)
    }

    fn cpu_seconds(&self) -> f64 {
        self.members.iter().map(|m| machine::cpu_seconds(m.pid())).sum()
    }

    /// Kills the leader with -9, says how long the next acknowledged write took, and starts the member again.
    pub(super) fn failover(&mut self) -> Result<f64, BenchError> {
        let victim = self.leader_member()?;
        let mut load = self.load();
        if self.system.protocol() == "etcd" {
            load.servers.remove(victim);
        }
        let pid = self.members.get(victim).map(Process::pid).unwrap_or_default();
        let ms = load.failover(DATABASE, pid, PATIENCE)?;
        self.restart(victim)?;
        let returned =
            Bowload { servers: self.system.addresses().get(victim).cloned().into_iter().collect(), ..self.load() };
        if self.system.protocol() == "dqlite" {
            returned.leader(PATIENCE).map_err(|e| self.explain(e))?;
        }
        process::pause(self.system.settle())?;
        Ok(ms)
    }

    /// Makes the table that loads write to.
    pub(super) fn prepare(&mut self) -> Result<(), BenchError> {
        let spec = LoopSpec { length: Length::Operations(10), ..Self::inserts() };
        self.run(&spec).map(drop)
    }

    /// Inserts by a few connections, with keys of their own.
    fn inserts() -> LoopSpec {
        let (key, length) = (unix_ns(), Length::Seconds(4.0));
        LoopSpec { command: "insert", database: DATABASE, conns: 4, length, key, size: 100, via: Vec::new() }
    }

    /// Stops the leader in order under load and starts it again: milliseconds in which no write was acknowledged, and until it was down.
    pub(super) fn planned_move(&mut self) -> Result<(f64, f64), BenchError> {
        let victim = self.leader_member()?;
        let load = self.load().start_loop(&Self::inserts())?;
        process::pause(Duration::from_millis(1500))?;
        let place = self.members.get_mut(victim);
        let stopped =
            place.ok_or_else(|| BenchError::failed("stopping the leader", "it is no member"))?.terminate(PATIENCE)?;
        self.restart(victim)?;
        let measured = load.finish_loop("insert").map_err(|e| self.explain(e))?;
        process::pause(self.system.settle())?;
        Ok((measured.gap_max_ms, stopped.as_secs_f64() * 1e3))
    }

    /// Lets the last member leave and join again: milliseconds of the joining.
    pub(super) fn rejoin(&mut self) -> Result<f64, BenchError> {
        let last = self.members.len().saturating_sub(1);
        let took = self.system.rejoin(last).map_err(|e| self.explain(e))?;
        took.ok_or_else(|| BenchError::failed("joining again", "this system has no such thing"))
    }

    /// What the members do while nobody asks for anything.
    pub(super) fn idle(&mut self, length: Duration) -> Result<Idle, BenchError> {
        let written = |members: &[Process]| members.iter().map(|m| machine::written_bytes(m.pid())).sum::<u64>();
        let cpu = |members: &[Process]| members.iter().map(|m| machine::cpu_seconds(m.pid())).collect::<Vec<f64>>();
        let (written_before, cpu_before) = (written(&self.members), cpu(&self.members));
        process::pause(length)?;
        let used = cpu(&self.members).into_iter().zip(cpu_before).map(|(after, before)| after - before);
        Ok(Idle {
            rss_bytes: self.rss_bytes().into_iter().max().unwrap_or_default(),
            cpu_percent: used.fold(0.0, f64::max) / length.as_secs_f64() * 100.0,
            written_bytes: written(&self.members).saturating_sub(written_before),
            length,
        })
    }

    fn restart(&mut self, member: usize) -> Result<(), BenchError> {
        let Some(place) = self.members.get_mut(member) else { return Ok(()) };
        place.kill();
        *place = self.system.restart(member)?;
        Ok(())
    }

    /// Kills all members with -9 and starts them again: milliseconds to the first acknowledged write, and to the first read
    /// after that.
    pub(super) fn restart_all(&mut self) -> Result<(f64, f64), BenchError> {
        self.members.iter_mut().for_each(Process::kill);
        let waiting = self.load().probe(DATABASE, PATIENCE * 2)?;
        let begin = unix_ns();
        for member in 0..self.members.len() {
            self.restart(member)?;
        }
        let probed = waiting.probed().map_err(|e| self.explain(e))?;
        Ok((ms_between(begin, probed.write_unix_ns), ms_between(begin, probed.read_unix_ns)))
    }

    /// Bytes on disk, by member.
    pub(super) fn disk_bytes(&self) -> Vec<u64> {
        (0..self.members.len()).map(|m| machine::disk_bytes(&self.system.dir(m))).collect()
    }

    /// Resident memory, by member.
    pub(super) fn rss_bytes(&self) -> Vec<u64> {
        self.members.iter().map(|m| machine::rss_bytes(m.pid())).collect()
    }

    /// Directory of the leader's state.
    pub(super) fn leader_dir(&self) -> Result<PathBuf, BenchError> {
        self.leader_member().map(|m| self.system.dir(m))
    }
}

/// A fresh directory for a cluster.
pub(super) fn fresh(base: &Path, name: &str) -> Result<PathBuf, BenchError> {
    let dir = base.join(name);
    if dir.exists() {
        std::fs::remove_dir_all(&dir).map_err(BenchError::io(&dir))?;
    }
    std::fs::create_dir_all(&dir).map_err(BenchError::io(&dir))?;
    Ok(dir)
}

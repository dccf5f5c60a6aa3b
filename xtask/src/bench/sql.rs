//! `cargo xtask bench sql`: the order of things.

use super::bowline::Bowline;
use super::build::{Tools, target_dir};
use super::cluster::{Cluster, Joins, System, fresh};
use super::dqlite::Dqlite;
use super::error::BenchError;
use super::etcd::Etcd;
use super::machine::{Machine, require_disk};
use super::parts::{self, Effort};
use super::process;
use super::results::Results;
use super::{Kind, Part, SqlArgs, disk, report};
use std::path::Path;

const KINDS: [Kind; 4] = [Kind::Dqlite, Kind::Bowline, Kind::Etcd, Kind::Sqlite];

/// Runs the bench and prints its table and its JSON line. Fails after that if something could not be measured.
pub(super) fn run(args: &SqlArgs) -> Result<(), BenchError> {
    process::listen_for_interrupts()?;
    let kinds: Vec<Kind> = KINDS.into_iter().filter(|k| args.system.is_empty() || args.system.contains(k)).collect();
    let parent = args.dir.clone().unwrap_or_else(target_dir);
    let base = fresh(&parent, &format!("bench-{}", std::process::id()))?;
    require_disk(&base)?;
    eprintln!("building ...");
    let tools = Tools::build(args, &kinds)?;
    let mut run =
        Run { args, kinds, tools, effort: effort(args), results: Results::new(Machine::look(&base), args.quick) };
    let outcome = run.all(&base);
    if args.keep {
        eprintln!("state and logs are in {}", base.display());
    } else {
        std::fs::remove_dir_all(&base).map_err(BenchError::io(&base))?;
    }
    outcome?;
    report::print(&run.results);
    match run.results.problems.len() {
        0 => Ok(()),
        n => Err(BenchError::failed("the bench", format!("{n} parts could not be measured; see \"problems\""))),
    }
}

fn effort(args: &SqlArgs) -> Effort {
    let choose = |full, quick| if args.quick { quick } else { full };
    Effort {
        rounds: args.rounds.unwrap_or(choose(3, 1)),
        secs: args.secs.unwrap_or(if args.quick { 2.0 } else { 4.0 }),
        kills: args.kills.unwrap_or(choose(20, 4)),
        peer_kills: args.peer_kills.unwrap_or(choose(6, 2)),
        footprint_rows: 20_000,
        large_bytes: args.large_bytes.unwrap_or(1 << 30),
        large_secs: if args.quick { 8.0 } else { 20.0 },
    }
}

struct Run<'a> {
    args: &'a SqlArgs,
    kinds: Vec<Kind>,
    tools: Tools,
    effort: Effort,
    results: Results,
}

impl Run<'_> {
    fn wants(&self, part: Part) -> bool {
        self.args.only.is_empty() || self.args.only.contains(&part)
    }

    fn all(&mut self, base: &Path) -> Result<(), BenchError> {
        if self.wants(Part::Disk) {
            self.results.disk = disk::measure(&fresh(base, "disk")?, self.effort.secs.min(3.0))?;
            report::disk_table(&self.results.disk);
        }
        let cluster_rounds = self.wants(Part::Insert) || self.wants(Part::Read) || self.wants(Part::Join);
        for round in 1..=if cluster_rounds { self.effort.rounds } else { 0 } {
            eprintln!("round {round} of {}", self.effort.rounds);
            for kind in self.kinds.clone() {
                let outcome = self.round(kind, round, &fresh(base, &format!("{}-{round}", kind.name()))?);
                self.note(kind, Part::Insert, outcome)?;
            }
        }
        for (part, name) in [(Part::Failover, "failover"), (Part::Footprint, "footprint"), (Part::Large, "large")] {
            if !self.wants(part) {
                continue;
            }
            eprintln!("{name}");
            for kind in self.kinds.clone() {
                if kind == Kind::Sqlite || part == Part::Large && kind != Kind::Bowline {
                    continue;
                }
                let outcome = self.alone(kind, part, &fresh(base, &format!("{}-{name}", kind.name()))?);
                self.note(kind, part, outcome)?;
            }
        }
        Ok(())
    }

    /// Ctrl-C ends the bench; anything else ends only the part.
    fn note(&mut self, kind: Kind, part: Part, outcome: Result<(), BenchError>) -> Result<(), BenchError> {
        match outcome {
            Ok(()) => Ok(()),
            Err(BenchError::Interrupted) => Err(BenchError::Interrupted),
            Err(error) => {
                self.results.problem(kind, part, &error);
                Ok(())
            }
        }
    }

    fn cluster(&self, kind: Kind, dir: &Path) -> Result<(Cluster, Joins), BenchError> {
        let system: Box<dyn System> = match kind {
            Kind::Bowline => Box::new(Bowline::new(&self.tools, dir)?),
            Kind::Dqlite => Box::new(Dqlite::new(&self.tools, dir)?),
            Kind::Etcd => Box::new(Etcd::new(&self.tools, dir)?),
            Kind::Sqlite => return Err(BenchError::failed("starting a cluster", "a local SQLite has no members")),
        };
        Cluster::start(system, &self.tools)
    }

    /// One system's turn in one round: a new cluster, its joins, inserts and reads.
    fn round(&mut self, kind: Kind, round: u32, dir: &Path) -> Result<(), BenchError> {
        if kind == Kind::Sqlite {
            return parts::sqlite(&self.tools, dir, self.effort, round, &mut self.results);
        }
        let (mut cluster, Joins(joins)) = self.cluster(kind, dir)?;
        for (member, ms) in ["second", "third"].into_iter().zip(joins) {
            eprintln!("  {:<8} {member} member joined in {ms:.0} ms", kind.name());
            self.results.join_ms.entry(format!("{} {member}", kind.name())).or_default().push(ms);
        }
        if self.wants(Part::Insert) {
            parts::insert(&mut cluster, self.effort, round, &mut self.results)?;
        } else if self.wants(Part::Read) {
            parts::seed(&mut cluster)?;
        }
        if self.wants(Part::Read) {
            parts::read(&mut cluster, self.effort, round, &mut self.results)?;
        }
        Ok(())
    }

    /// A part that has a cluster of its own.
    fn alone(&mut self, kind: Kind, part: Part, dir: &Path) -> Result<(), BenchError> {
        let (mut cluster, _) = self.cluster(kind, dir)?;
        let (effort, results) = (self.effort, &mut self.results);
        match part {
            Part::Failover => {
                let kills = if kind == Kind::Bowline { effort.kills } else { effort.peer_kills };
                parts::failover(&mut cluster, kills, results)
            }
            Part::Footprint => parts::footprint(&mut cluster, effort.footprint_rows, results),
            Part::Large => parts::large(&mut cluster, effort, results),
            Part::Disk | Part::Join | Part::Insert | Part::Read => Ok(()),
        }
    }
}

//! `cargo xtask bench swim`: gossip groups of real processes, Bowline's beside Tarantool's, serf's and foca's, one process per member. How long until
//! all see that one was killed, how long until all who join at once know all, and what an idle member sends and takes.
//!
//! All members live on the loopback interface of a network of their own, if one can be made: then the kernel's counters of that network are those
//! of the group. See `apart`.

mod apart;
mod group;
mod member;
mod programs;
mod report;
mod results;
mod serf;
mod traffic;
mod view;

use super::build::target_dir;
use super::cluster::fresh;
use super::error::BenchError;
use super::machine::Machine;
use super::process;
use clap::{Args, ValueEnum};
use group::Group;
use programs::Programs;
use results::{Results, Row};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

/// From one probe to the next, of every system: what serf and foca have for a LAN, what Tarantool and Bowline's daemon have by default.
const PERIOD: Duration = Duration::from_secs(1);
/// How long a group that has just formed rests before it counts as idle: what was news has then been told.
const REST: Duration = Duration::from_secs(10);
/// How long all members may take to know all: foca asks for what it has missed every 30 s.
const VIEW_PATIENCE: Duration = Duration::from_secs(100);

/// Arguments of `cargo xtask bench swim`.
#[derive(Args)]
pub(super) struct SwimArgs {
    /// Groups of 3 and 10, little of each: a look, not a measurement.
    #[arg(long)]
    quick: bool,
    /// Only these parts (may be repeated).
    #[arg(long, value_enum)]
    only: Vec<Part>,
    /// Only these systems (may be repeated).
    #[arg(long, value_enum)]
    system: Vec<System>,
    /// Groups of so many members (may be repeated) [default: 3, 10 and 50, quick: 3 and 10].
    #[arg(long, value_parser = clap::value_parser!(u8).range(2..=200))]
    members: Vec<u8>,
    /// Members to kill, one after the other [default: 5, in groups of more than 20: 3, quick: 2].
    #[arg(long)]
    kills: Option<u32>,
    /// How often each group is started and formed [default: 3, quick: 1].
    #[arg(long)]
    starts: Option<u32>,
    /// Directory for the members' logs [default: the target directory].
    #[arg(long)]
    dir: Option<PathBuf>,
    /// Leave the logs behind.
    #[arg(long)]
    keep: bool,
}

/// A part of `bench swim` that can run alone.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, ValueEnum)]
enum Part {
    /// From the joins of all at once until all know all.
    View,
    /// What idle members send, and the processor time that they take.
    Idle,
    /// From kill -9 of one until all others see it.
    Death,
}

/// A system under measurement.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, ValueEnum)]
enum System {
    /// This project.
    Bowline,
    /// Tarantool's SWIM module with ack_timeout at half of heartbeat_rate.
    Tarantool,
    /// Tarantool's SWIM module with its defaults: ack_timeout 30 s.
    TarantoolDefaults,
    /// serf, that is memberlist, with its profile for a LAN.
    Serf,
    /// The crate foca with its settings for a LAN.
    Foca,
}

impl System {
    const ALL: [Self; 5] = [Self::Bowline, Self::Tarantool, Self::TarantoolDefaults, Self::Serf, Self::Foca];

    /// Its name in tables and in the JSON line.
    const fn name(self) -> &'static str {
        match self {
            Self::Bowline => "bowline",
            Self::Tarantool => "tarantool",
            Self::TarantoolDefaults => "tarantool_defaults",
            Self::Serf => "serf",
            Self::Foca => "foca",
        }
    }

    /// The settings that it runs with.
    const fn settings(self) -> &'static str {
        match self {
            Self::Bowline => "period 1 s as in the daemon, packets signed",
            Self::Tarantool => "heartbeat_rate 1 s, ack_timeout 0.5 s, not encrypted",
            Self::TarantoolDefaults => "heartbeat_rate 1 s, ack_timeout 30 s (its defaults), not encrypted",
            Self::Serf => {
                "profile lan, not encrypted; its log's events count, not its handlers, which run 3 to 4 s later"
            }
            Self::Foca => "Config::new_lan for the size of the group, not encrypted",
        }
    }
}

/// How much is done.
#[derive(Clone, Copy)]
struct Effort {
    starts: u32,
    kills: Option<u32>,
    quick: bool,
    rest: Duration,
    idle: Duration,
}

impl Effort {
    fn of(args: &SwimArgs) -> Self {
        let choose = |full, quick| if args.quick { quick } else { full };
        Self {
            starts: args.starts.unwrap_or(choose(3, 1)).max(1),
            kills: args.kills,
            quick: args.quick,
            rest: if args.quick { REST / 2 } else { REST },
            // As long as serf's exchanges over TCP are apart.
            idle: Duration::from_secs(choose(30, 10).into()),
        }
    }

    fn kills(&self, members: usize, system: System) -> u32 {
        match system {
            // It sees none: one is enough to show it.
            System::TarantoolDefaults => 1,
            _ => self.kills.unwrap_or(if self.quick {
                2
            } else if members > 20 {
                3
            } else {
                5
            }),
        }
    }

    /// How long all others may take to see a death.
    fn patience(&self, system: System) -> Duration {
        match system {
            System::TarantoolDefaults if self.quick => Duration::from_secs(15),
            _ => Duration::from_mins(1),
        }
    }
}

/// Runs the bench and prints its table and its JSON line. Fails after that if something could not be measured.
pub(super) fn run(args: &SwimArgs) -> Result<ExitCode, BenchError> {
    process::listen_for_interrupts()?;
    let systems: Vec<System> =
        System::ALL.into_iter().filter(|s| args.system.is_empty() || args.system.contains(s)).collect();
    if !apart::is_inside() {
        eprintln!("building ...");
        programs::build(&systems)?;
        if let Some(code) = apart::run_again_inside()? {
            return Ok(code);
        }
        eprintln!("no network of its own could be made: other traffic on this machine is counted, too");
    }
    let parent = args.dir.clone().unwrap_or_else(target_dir);
    let base = fresh(&parent, &format!("bench-{}", std::process::id()))?;
    let mut results = Results::new(Machine::look(&base), args.quick, apart::is_inside());
    let outcome = all(args, &systems, &base, &mut results);
    if args.keep {
        eprintln!("logs are in {}", base.display());
    } else {
        std::fs::remove_dir_all(&base).map_err(BenchError::io(&base))?;
    }
    outcome?;
    results.close();
    report::print(&results);
    match results.problems.len() {
        0 => Ok(ExitCode::SUCCESS),
        n => Err(BenchError::failed("the bench", format!("{n} parts could not be measured; see \"problems\""))),
    }
}

fn all(args: &SwimArgs, systems: &[System], base: &Path, results: &mut Results) -> Result<(), BenchError> {
    let programs = Programs::default();
    let effort = Effort::of(args);
    let mut present = Vec::new();
    for system in systems {
        match programs.require(*system) {
            Ok(()) => present.push(*system),
            Err(error) => results.problem(*system, &error),
        }
    }
    let sizes = match args.members.as_slice() {
        [] if args.quick => &[3, 10],
        [] => [3, 10, 50].as_slice(),
        chosen => chosen,
    };
    for members in sizes.iter().copied().map(usize::from) {
        for system in &present {
            eprintln!("{} members of {}", members, system.name());
            let mut row = Row::new(*system, members);
            let outcome = measure(args, effort, &programs, base, &mut row);
            results.rows.push(row);
            match outcome {
                Ok(()) => {}
                // Ctrl-C ends the bench; anything else ends only this group.
                Err(BenchError::Interrupted) => return Err(BenchError::Interrupted),
                Err(error) => results.problem(*system, &error),
            }
        }
    }
    Ok(())
}

/// One system at one size: its starts, and then what the last group does.
fn measure(args: &SwimArgs, effort: Effort, programs: &Programs, base: &Path, row: &mut Row) -> Result<(), BenchError> {
    let wants = |part| args.only.is_empty() || args.only.contains(&part);
    let starts = if wants(Part::View) { effort.starts } else { 1 };
    for start in 1..=starts {
        let name = format!("{}-{}-{start}", row.system.name(), row.members);
        let mut group = Group::start(row.system, row.members, programs, &fresh(base, &name)?)?;
        let seconds = group.join_all(VIEW_PATIENCE)?;
        eprintln!("  all know all after {seconds:.3} s");
        row.full_view_s.push(seconds);
        if start == starts {
            if wants(Part::Idle) {
                process::pause(effort.rest)?;
                row.idle = Some(group.idle(effort.idle)?);
            }
            if wants(Part::Death) {
                deaths(&mut group, effort, row)?;
            }
        }
        row.false_deaths += group.false_deaths();
    }
    Ok(())
}

/// Kills one after the other, and lets each come back.
fn deaths(group: &mut Group, effort: Effort, row: &mut Row) -> Result<(), BenchError> {
    let kills = effort.kills(row.members, row.system);
    for kill in 1..=kills {
        // At another moment of the period each time.
        group.watch(PERIOD * 3 + PERIOD.mul_f64(f64::from(kill) * 0.37 % 1.0))?;
        // Each member in turn, but the first, through which they come back.
        let victim = row.members - 1 - usize::try_from(kill - 1).unwrap_or(0) % (row.members - 1);
        let death = group.kill(victim, effort.patience(row.system))?;
        eprintln!("  kill {kill}: {death}");
        let is_seen = death.all_s.is_some();
        row.deaths.push(death);
        if !is_seen || kill == kills {
            break;
        }
        row.rejoin_s.push(group.rejoin(victim, VIEW_PATIENCE)?);
    }
    Ok(())
}

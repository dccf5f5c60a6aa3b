//! Chaos on real processes: daemons of three or five nodes, each in a network namespace of its own, under load and under faults, and
//! checkers that judge what the clients saw. `cargo xtask chaos` starts it.
//!
//! Each run forms a fresh cluster. Faults go on for a while, then everything is healed: each node must be ready and writes must work on
//! each within 30 s. Then every node is asked for everything once more, the copies must be equal, the daemons stop in order, their logs
//! are searched, and the history is judged. Progress goes to standard error; standard output gets one line of JSON, the last.
//!
//! Clients ask over the nodes' Unix sockets, as programs on the same machines do: a cut of the network does not keep them from asking
//! the side that must not answer.
#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a developer's command on the real machine: nothing here runs in the simulator, and its output is its product"
)]

mod client;
mod cluster;
mod dice;
mod error;
mod http;
mod logs;
mod nemesis;
mod network;
mod plant;
mod plot;
mod process;
mod report;
mod run;
#[cfg(test)]
mod smoke;
mod starvation;
mod volume;
mod wire;
mod workload;

use clap::{Parser, ValueEnum};
use error::ChaosError;
use nemesis::Nemesis;
use plant::Plant;
use report::Book;
use run::{Plan, Report};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Duration;

/// Where runs have their directories.
const RUNS: &str = "/tmp";

/// Faults on real processes, and checkers for what the clients saw.
#[derive(Parser)]
#[command(name = "cargo xtask chaos")]
struct Args {
    /// What clients do (may be repeated) [default: all]
    #[arg(long, value_name = "W")]
    workload: Vec<String>,
    /// What goes wrong (may be repeated) [default: all]
    #[arg(long, value_name = "N")]
    nemesis: Vec<String>,
    /// How many nodes
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u8).range(3..=5))]
    nodes: u8,
    /// Seconds of faults in each run
    #[arg(long, default_value_t = 300)]
    secs: u64,
    /// How long a fault is on at most; two seconds at least
    #[arg(long, value_name = "SECONDS", default_value_t = 7)]
    hold: u64,
    /// From which chance follows; each run after the first takes the next [default: from the clock]
    #[arg(long)]
    seed: Option<u64>,
    /// Repeat everything so many times
    #[arg(long, default_value_t = 1)]
    times: u64,
    /// The binary [default: of the dev profile, which must be built]
    #[arg(long, value_name = "FILE")]
    bowline: Option<PathBuf>,
    /// Where reports go [default: chaos/TIME in the target directory]
    #[arg(long, value_name = "DIR")]
    report: Option<PathBuf>,
    /// State directories in memory: kill -9 leaves them, and a disk that others use says nothing
    #[arg(long)]
    in_memory: bool,
    /// Let the clients make an anomaly on purpose: the run must find it
    #[arg(long, value_enum, value_name = "P")]
    plant: Option<Plant>,
    /// Name the workloads, the nemeses and the plants, and what cannot be had here
    #[arg(long)]
    list: bool,
}

fn main() -> ExitCode {
    let args = Args::parse();
    match work(&args) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("chaos: {error}");
            ExitCode::FAILURE
        }
    }
}

fn work(args: &Args) -> Result<bool, ChaosError> {
    let workloads = chosen::<workload::Name>("workload", &args.workload)?;
    let mut nemeses = chosen::<Nemesis>("nemesis", &args.nemesis)?;
    let nodes = usize::from(args.nodes);
    let mut missing = Vec::new();
    nemeses.retain(|nemesis| match nemesis.is_possible(nodes) {
        Ok(()) => true,
        Err(why) => {
            missing.push(format!("{}: {why}", nemesis.word()));
            false
        }
    });
    if args.list {
        list(nodes);
        return Ok(true);
    }
    require()?;
    process::listen_for_interrupts()?;
    remove_leftovers();
    let bowline = bowline(args.bowline.as_deref())?;
    let now = process::call(Command::new("date").args(["+%Y-%m-%dT%H-%M-%S %s%N"]))?;
    let (time, nanos) = now.trim().split_once(' ').unwrap_or(("now", "1"));
    let seed = args.seed.unwrap_or_else(|| nanos.parse::<u64>().unwrap_or(1) % 1_000_000);
    let dir = args.report.clone().unwrap_or_else(|| target_dir().join("chaos").join(time));
    if nemeses.contains(&Nemesis::SlowNet) && !has_netem()? {
        missing.push(
            "netem: this kernel has none; slow-net makes links of 512 kbit/s instead of delaying packets".to_owned(),
        );
    }
    for why in &missing {
        eprintln!("not available here: {why}");
    }
    let machine = process::call(Command::new("uname").args(["-srm"]))?;
    let mut book = Book::open(&dir, &head(time, machine.trim(), &bowline, &missing))?;
    let all = workloads.iter().flat_map(|workload| nemeses.iter().map(move |nemesis| (*workload, *nemesis)));
    let all: Vec<_> = (0..args.times).flat_map(|_| all.clone()).collect();
    for (number, (workload, nemesis)) in (0_u64..).zip(&all) {
        let seed = seed + number;
        let plan = Plan {
            workload: *workload,
            nemesis: *nemesis,
            nodes,
            length: Duration::from_secs(args.secs),
            hold_ms_max: args.hold * 1000,
            seed,
            plant: args.plant,
            bowline: bowline.clone(),
            base: base(""),
            in_memory: args.in_memory,
        };
        let repeat = repeat(&plan, args);
        eprintln!("[{} of {}] {repeat}", number + 1, all.len());
        let played = play(&plan, &dir);
        let report = match played {
            Err(ChaosError::Interrupted) => break,
            other => other?,
        };
        book.add(&report, &repeat)?;
        tell(&report, &repeat);
    }
    println!("{}", book.line(&missing));
    process::check_interrupted()?;
    Ok(book.is_well())
}

/// Where state directories are during a run: a short path, since sockets are in there.
fn base(name: &str) -> PathBuf {
    Path::new(RUNS).join(format!("{}{}{name}", network::PREFIX, std::process::id()))
}

/// A run, whose directory is gone afterwards; the logs of one that was not well are kept beside the report.
fn play(plan: &Plan, dir: &Path) -> Result<Report, ChaosError> {
    clear(&plan.base);
    let played = run::play(plan);
    if !played.as_ref().is_ok_and(|report| report.is_well() && report.no_verdict.is_empty()) {
        let kept = dir.join(format!("logs-{}-{}-{}", plan.seed, plan.workload.word(), plan.nemesis.word()));
        drop(std::fs::create_dir_all(&kept));
        for node in 0..plan.nodes {
            let log = format!("{}.log", cluster::name(node));
            drop(std::fs::copy(plan.base.join(&log), kept.join(&log)));
        }
    }
    if std::env::var_os("CHAOS_KEEP").is_none() {
        clear(&plan.base);
    }
    played
}

/// Removes the namespaces, mounts, control groups and directories of runs that were killed.
fn remove_leftovers() {
    let mut left = network::remove_leftovers();
    for dir in [RUNS, volume::GROUPS] {
        let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
        for entry in entries.filter(|entry| network::is_leftover(&entry.file_name().to_string_lossy())) {
            clear(&entry.path());
            // A control group is no directory that can be emptied.
            drop(std::fs::remove_dir(entry.path()));
            left += 1;
        }
    }
    if left > 0 {
        eprintln!("removed {left} namespaces and directories of runs that were killed");
    }
}

fn clear(base: &Path) {
    volume::unmount_below(base);
    // The first time there is none.
    drop(std::fs::remove_dir_all(base));
}

fn tell(report: &Report, repeat: &str) {
    let heal = report.heals_ms.iter().max().copied().unwrap_or_default();
    let verdict = if report.is_well() { "well" } else { "NOT WELL" };
    eprintln!(
        "  {verdict}: {} calls, {} answered, {} unknown, {} faults, {} anomalies, slowest heal {heal} ms, longest without a write {} ms, \
         {:.1?} for a processor",
        report.samples.len(),
        report.count(client::Outcome::Answered),
        report.count(client::Outcome::Unknown),
        report.faults.len(),
        report.anomalies.len(),
        report.write_gap_ms(),
        report.waits.0
    );
    for anomaly in report.anomalies.iter().take(3) {
        let text: String = anomaly.0.chars().take(2000).collect();
        eprintln!("  anomaly: {text}");
    }
    for finding in &report.findings {
        eprintln!("  finding: {finding}");
    }
    for text in &report.no_verdict {
        eprintln!("  no verdict, the machine was starved: {text}");
    }
    for (text, times) in &report.seen.errors {
        eprintln!("  logged {times} times: {text}");
    }
    if !report.is_well() {
        eprintln!("  to repeat: {repeat}");
    }
}

/// The line that repeats one run.
fn repeat(plan: &Plan, args: &Args) -> String {
    let planted = args.plant.and_then(|plant| plant.to_possible_value());
    let planted = planted.map(|plant| format!(" --plant {}", plant.get_name())).unwrap_or_default();
    let binary = args.bowline.as_ref().map(|path| format!(" --bowline {}", path.display())).unwrap_or_default();
    let hold = if args.hold == 7 { String::new() } else { format!(" --hold {}", args.hold) };
    let memory = if args.in_memory { " --in-memory" } else { "" };
    let (workload, nemesis, nodes, secs, seed) =
        (plan.workload.word(), plan.nemesis.word(), plan.nodes, args.secs, plan.seed);
    format!(
        "cargo xtask chaos --workload {workload} --nemesis {nemesis} --nodes {nodes} --secs {secs} --seed {seed}{hold}{memory}{planted}{binary}"
    )
}

fn head(time: &str, machine: &str, bowline: &Path, missing: &[String]) -> String {
    let missing = if missing.is_empty() { "nothing".to_owned() } else { missing.join("; ") };
    format!("{time}, {machine}, {}. Not available here: {missing}.", bowline.display())
}

/// The values with these names; all if none or `all` is given.
fn chosen<T: ValueEnum>(what: &str, names: &[String]) -> Result<Vec<T>, ChaosError> {
    if names.is_empty() || names.iter().any(|name| name == "all") {
        return Ok(T::value_variants().to_vec());
    }
    let find = |name: &String| {
        T::from_str(name, true).map_err(|_| ChaosError::failed(what, format!("there is no {name}: --list")))
    };
    names.iter().map(find).collect()
}

fn list(nodes: usize) {
    let names = |values: Vec<clap::builder::PossibleValue>| {
        for value in values {
            let help = value.get_help().map(ToString::to_string).unwrap_or_default();
            println!("  {:<18} {help}", value.get_name());
        }
    };
    println!("workloads");
    names(workload::Name::value_variants().iter().filter_map(ValueEnum::to_possible_value).collect());
    println!("nemeses");
    names(Nemesis::value_variants().iter().filter_map(ValueEnum::to_possible_value).collect());
    println!("plants");
    names(Plant::value_variants().iter().filter_map(ValueEnum::to_possible_value).collect());
    for nemesis in Nemesis::value_variants() {
        if let Err(why) = nemesis.is_possible(nodes) {
            println!("not available here: {}: {why}", nemesis.word());
        }
    }
}

/// Everything without which there is no run.
fn require() -> Result<(), ChaosError> {
    let user = process::call(Command::new("id").arg("-u"))?;
    if user.trim() != "0" {
        return Err(ChaosError::NotRoot);
    }
    let programs = [
        ("ip", "iproute2"),
        ("tc", "iproute2"),
        ("nft", "nftables"),
        ("nsenter", "util-linux"),
        ("setpriv", "util-linux"),
        ("mount", "mount"),
    ];
    for (program, package) in programs {
        let mut look = Command::new("sh");
        if !process::quietly(look.args(["-c", &format!("command -v {program}")])) {
            return Err(ChaosError::Missing { program, package });
        }
    }
    Ok(())
}

fn has_netem() -> Result<bool, ChaosError> {
    Ok(network::Network::new(1)?.has_netem())
}

fn target_dir() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().map_or_else(|| PathBuf::from("."), Path::to_path_buf);
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from)
}

fn bowline(given: Option<&Path>) -> Result<PathBuf, ChaosError> {
    let path = given.map_or_else(|| target_dir().join("debug/bowline"), Path::to_path_buf);
    path.canonicalize().map_err(|_| ChaosError::NoBowline(path))
}

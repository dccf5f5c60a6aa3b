//! The simulator's command: `cargo xtask sim`, or `cargo run -p sim --`.
#![expect(clippy::print_stdout, reason = "a developer's command: its output is its product")]

use clap::{Parser, Subcommand};
use sim::Scenario;
use sim::run::{self, Outcome, SweepOptions};
use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::process::ExitCode;

/// A sweep of so many runs of every scenario must come to every `sometimes!`.
const RUNS_THAT_REACH_ALL: u64 = 1000;

/// Plays Bowline's scenarios in simulated worlds.
#[derive(Parser)]
#[command(name = "cargo xtask sim")]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    /// The scenario; all if left out.
    scenario: Option<String>,
    /// Plays that seed, twice, and tells all about it.
    #[arg(long)]
    seed: Option<u64>,
    /// How many seeds to play.
    #[arg(long, default_value_t = 200)]
    runs: u64,
    /// The first seed.
    #[arg(long, default_value_t = 0)]
    first: u64,
    /// Processes at a time.
    #[arg(long, default_value_t = 2)]
    jobs: usize,
    /// Every so many seeds one is played twice.
    #[arg(long, default_value_t = 10)]
    twice_every: u64,
    /// Switches an old mistake on; the sweep then has to fail.
    #[arg(long)]
    mutant: Option<String>,
    /// Stops at the first failure.
    #[arg(long)]
    fail_fast: bool,
}

#[derive(Subcommand)]
enum Command {
    /// Lists the scenarios.
    List,
    /// Plays a part of a sweep; for the simulator itself.
    #[command(hide = true)]
    Child {
        scenario: String,
        #[arg(long)]
        first: u64,
        #[arg(long)]
        count: u64,
        #[arg(long)]
        twice_every: u64,
        #[arg(long)]
        mutant: Option<String>,
    },
}

fn main() -> io::Result<ExitCode> {
    let cli = Cli::parse();
    match &cli.command {
        Some(Command::List) => {
            for scenario in sim::scenarios::ALL {
                println!("{:<16} {}", scenario.name, scenario.story);
            }
            return Ok(ExitCode::SUCCESS);
        }
        Some(Command::Child { scenario, first, count, twice_every, mutant }) => {
            let options = SweepOptions {
                seeds: *first..first + count,
                jobs: 1,
                twice_every: *twice_every,
                mutant: mutant.clone(),
                fail_fast: false,
            };
            run::child(find(scenario)?, &options, &mut io::stdout().lock())?;
            return Ok(ExitCode::SUCCESS);
        }
        None => {}
    }
    let chosen = match &cli.scenario {
        Some(name) => vec![find(name)?],
        None => sim::scenarios::ALL.iter().collect(),
    };
    let mut good = true;
    let mut reached = BTreeMap::new();
    for scenario in &chosen {
        good &= match cli.seed {
            Some(seed) => one(&run::run_twice(scenario, seed, cli.mutant.as_deref())),
            None => many(scenario, &cli, &mut reached)?,
        };
    }
    if cli.seed.is_none() && chosen.len() == sim::scenarios::ALL.len() {
        good &= all_were_reached(&reached, cli.runs);
    }
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn find(name: &str) -> io::Result<&'static Scenario> {
    let known = || sim::scenarios::ALL.iter().map(|s| s.name).collect::<Vec<_>>().join(", ");
    sim::scenarios::find(name).ok_or_else(|| io::Error::other(format!("no scenario {name}; there are: {}", known())))
}

fn one(outcome: &Outcome) -> bool {
    for line in &outcome.faults {
        println!("{line}");
    }
    for line in &outcome.logs {
        println!("{line}");
    }
    println!("{} seed {}: {} events, hash {:016x}", outcome.scenario, outcome.seed, outcome.events, outcome.hash);
    println!("figures {:?}", outcome.figures);
    println!("reached {:?}", outcome.reached);
    match &outcome.broken {
        Some(broken) => println!("BROKEN {broken}\nrepeat with: {}", outcome.repeat_line()),
        None => println!("ok, twice the same"),
    }
    outcome.broken.is_none()
}

/// Says which `sometimes!` no run has reached. Among many runs that is a failure: the scenarios do not go there any more.
fn all_were_reached(reached: &BTreeMap<String, u64>, runs: u64) -> bool {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new("."));
    let never = run::unreached(&run::all_points(workspace), reached);
    for name in &never {
        println!("never reached: {name}");
    }
    never.is_empty() || runs < RUNS_THAT_REACH_ALL
}

fn many(scenario: &Scenario, cli: &Cli, reached: &mut BTreeMap<String, u64>) -> io::Result<bool> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus");
    let options = SweepOptions {
        seeds: cli.first..cli.first + cli.runs,
        jobs: cli.jobs,
        twice_every: cli.twice_every,
        mutant: cli.mutant.clone(),
        fail_fast: cli.fail_fast,
    };
    let mut report = run::sweep(scenario, &options)?;
    for seed in run::corpus(&folder, scenario.name) {
        let alone = SweepOptions { seeds: seed..seed + 1, jobs: 1, ..options.clone() };
        let again = run::sweep(scenario, &alone)?;
        report.runs += again.runs;
        report.failures.extend(again.failures);
    }
    println!(
        "{}: {} runs, {} of them twice, {} faults, {} failures",
        scenario.name,
        report.runs,
        report.twice,
        report.faults,
        report.failures.len()
    );
    println!("  figures {:?}", report.figures);
    println!("  reached {:?}", report.reached);
    for (name, count) in &report.reached {
        *reached.entry(name.clone()).or_default() += count;
    }
    for outcome in &report.failures {
        println!(
            "  BROKEN {}\n  repeat with: {}",
            outcome.broken.as_deref().and_then(|b| b.lines().next()).unwrap_or_default(),
            outcome.repeat_line()
        );
        if cli.mutant.is_none() {
            run::add_to_corpus(&folder, scenario.name, outcome.seed, outcome.broken.as_deref().unwrap_or_default())?;
        }
    }
    Ok(report.failures.is_empty())
}

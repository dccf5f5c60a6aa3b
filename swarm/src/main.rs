//! `cargo run --profile sweep -p swarm -- detect --nodes 1000 --loss 5`: one scenario, as a line of JSON.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a developer's command: its output is its product")]

use clap::{Parser, Subcommand, ValueEnum};
use serde_json::Value;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use swarm::{Chaos, Clock, Compare, Detect, Freeze, Join, Outcome, Rules, Slow, Split, Storm, Streams};
use swim::LocalHealth;

/// Gossip groups of up to ten thousand members in virtual time
#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    scenario: Scenario,
    /// The history
    #[arg(long, global = true, default_value_t = 1)]
    seed: u64,
    /// How many members
    #[arg(long, global = true, default_value_t = 1000)]
    nodes: usize,
    /// For how many seconds of virtual time
    #[arg(long, global = true, default_value_t = 600.0)]
    secs: f64,
}

#[derive(Subcommand)]
enum Scenario {
    /// Members crash on a lossy network
    Detect {
        /// How many packets of a hundred are lost
        #[arg(long, default_value_t = 0.0)]
        loss: f64,
        /// How many members crash
        #[arg(long, default_value_t = 20)]
        crashes: usize,
        /// With the original's shared timer
        #[arg(long)]
        shared_timer: bool,
        /// By whose rules
        #[arg(long, value_enum, default_value_t)]
        rules: RulesName,
        /// What is sent over TCP is never lost
        #[arg(long)]
        spare_tcp: bool,
    },
    /// Members freeze again and again
    Freeze {
        /// Without local health
        #[arg(long)]
        blind: bool,
        /// How many members of a hundred freeze
        #[arg(long, default_value_t = 5.0)]
        share: f64,
        /// Their clocks stand still meanwhile
        #[arg(long)]
        clock_stands: bool,
        /// For how many seconds at least
        #[arg(long, default_value_t = 1.0)]
        min: f64,
        /// For how many seconds at most
        #[arg(long, default_value_t = 10.0)]
        max: f64,
        /// By whose rules
        #[arg(long, value_enum, default_value_t)]
        rules: RulesName,
        /// For how many seconds at most they run between two times
        #[arg(long, default_value_t = 10.0)]
        rest: f64,
    },
    /// Members see everything late
    Slow {
        /// How many members of a hundred
        #[arg(long, default_value_t = 5.0)]
        share: f64,
        /// By how many seconds at least
        #[arg(long, default_value_t = 1.0)]
        min: f64,
        /// By how many seconds at most
        #[arg(long, default_value_t = 5.0)]
        max: f64,
        /// By whose rules
        #[arg(long, value_enum, default_value_t)]
        rules: RulesName,
        /// Without local health
        #[arg(long)]
        blind: bool,
    },
    /// All join at once through one
    Join,
    /// The group is cut in two, and becomes one again
    Split,
    /// All change their payloads all the time while one dies
    Storm,
    /// All that can go wrong
    Chaos,
    /// Crashes and freezing by our rules, memberlist's and foca's side by side, as tables and plots for the guide
    Compare {
        /// The directory of gossip.md, in which the tables are replaced, and of the plots
        #[arg(long, default_value = "docs/guide/explanation")]
        into: PathBuf,
    },
}

/// Whose rules the members follow
#[derive(Clone, Copy, Default, ValueEnum)]
enum RulesName {
    #[default]
    Ours,
    Memberlist,
    Foca,
}

impl RulesName {
    fn rules(self) -> Rules {
        match self {
            Self::Ours => Rules::Ours,
            Self::Memberlist => Rules::Memberlist,
            Self::Foca => Rules::Foca,
        }
    }
}

/// Between these lines of gossip.md are the tables.
const TABLES: (&str, &str) = ("<!-- compare: begin -->\n", "<!-- compare: end -->\n");

/// Runs the comparison and writes what came of it.
#[expect(clippy::disallowed_methods, reason = "a developer's command on the real machine")]
fn compare(into: &Path, seed: u64, secs: f64) -> io::Result<Value> {
    let losses = vec![0.0, 0.05, 0.1, 0.3];
    let comparison =
        Compare { sizes: vec![100, 1000], losses, secs, crashes: 20, slow_shares: vec![0.05, 0.2, 0.4] }.run(seed);
    let page = into.join("gossip.md");
    let text = std::fs::read_to_string(&page)?;
    let parts = text.split_once(TABLES.0).and_then(|(before, rest)| Some((before, rest.split_once(TABLES.1)?.1)));
    let Some((before, after)) = parts else {
        return Err(io::Error::other(format!("{} has no place for the tables", page.display())));
    };
    let tables = comparison.tables();
    std::fs::write(&page, [before, TABLES.0, "\n", &tables, "\n", TABLES.1, after].concat())?;
    std::fs::write(into.join("gossip-detection.svg"), comparison.detection())?;
    std::fs::write(into.join("gossip-false.svg"), comparison.false_deaths())?;
    Ok(comparison.json())
}

fn local_health(blind: bool) -> LocalHealth {
    if blind { LocalHealth::Off } else { LocalHealth::On }
}

fn main() -> ExitCode {
    let Arguments { scenario, seed, nodes, secs } = Arguments::parse();
    let outcome: Outcome = match scenario {
        Scenario::Detect { loss, crashes, shared_timer, rules, spare_tcp } => {
            let streams = if spare_tcp { Streams::Spared } else { Streams::SentAgain };
            rules.rules().detect(&Detect { nodes, loss: loss / 100.0, secs, crashes, shared_timer, streams }, seed)
        }
        Scenario::Freeze { blind, share, clock_stands, min, max, rules, rest } => {
            let (share, freeze_secs, local_health) = (share / 100.0, (min, max), local_health(blind));
            let clock = if clock_stands { Clock::Stands } else { Clock::Runs };
            rules
                .rules()
                .freeze(&Freeze { nodes, share, secs, freeze_secs, clock, rest_secs: rest, local_health }, seed)
        }
        Scenario::Slow { blind, share, min, max, rules } => {
            let (share, late_secs) = (share / 100.0, (min, max));
            rules.rules().slow(&Slow { nodes, share, late_secs, secs, local_health: local_health(blind) }, seed)
        }
        Scenario::Join => Join { nodes }.run(seed),
        Scenario::Split => Split { nodes, secs }.run(seed),
        Scenario::Storm => Storm { nodes }.run(seed),
        Scenario::Chaos => Chaos { nodes, secs }.run(seed),
        Scenario::Compare { into } => {
            return match compare(&into, seed, secs) {
                Ok(figures) => {
                    println!("{figures}");
                    ExitCode::SUCCESS
                }
                Err(error) => {
                    eprintln!("{error}");
                    ExitCode::FAILURE
                }
            };
        }
    };
    println!("{}", outcome.json());
    ExitCode::SUCCESS
}

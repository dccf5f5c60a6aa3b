//! `cargo run --profile sweep -p swarm -- detect --nodes 1000 --loss 5`: one scenario, as a line of JSON.
#![expect(clippy::print_stdout, reason = "a developer's command: its output is its product")]

use clap::{Parser, Subcommand};
use swarm::{Chaos, Clock, Detect, Freeze, Join, Outcome, Slow, Split, Storm, Streams};
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
}

fn local_health(blind: bool) -> LocalHealth {
    if blind { LocalHealth::Off } else { LocalHealth::On }
}

fn main() {
    let Arguments { scenario, seed, nodes, secs } = Arguments::parse();
    let outcome: Outcome = match scenario {
        Scenario::Detect { loss, crashes, shared_timer, spare_tcp } => {
            let streams = if spare_tcp { Streams::Spared } else { Streams::SentAgain };
            Detect { nodes, loss: loss / 100.0, secs, crashes, shared_timer, streams }.run(seed)
        }
        Scenario::Freeze { blind, share, clock_stands, min, max, rest } => {
            let (share, freeze_secs, local_health) = (share / 100.0, (min, max), local_health(blind));
            let clock = if clock_stands { Clock::Stands } else { Clock::Runs };
            Freeze { nodes, share, secs, freeze_secs, clock, rest_secs: rest, local_health }.run(seed)
        }
        Scenario::Slow { blind, share, min, max } => {
            let (share, late_secs) = (share / 100.0, (min, max));
            Slow { nodes, share, late_secs, secs, local_health: local_health(blind) }.run(seed)
        }
        Scenario::Join => Join { nodes }.run(seed),
        Scenario::Split => Split { nodes, secs }.run(seed),
        Scenario::Storm => Storm { nodes }.run(seed),
        Scenario::Chaos => Chaos { nodes, secs }.run(seed),
    };
    println!("{}", outcome.json());
}

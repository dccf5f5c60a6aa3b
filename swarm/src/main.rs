//! `cargo run --profile sweep -p swarm -- detect --nodes 1000 --loss 5`: one scenario, as a line of JSON.
#![expect(clippy::print_stdout, reason = "a developer's command: its output is its product")]

use clap::{Parser, Subcommand};
use swarm::{Chaos, Detect, Freeze, Join, Outcome, Slow, Split, Storm};
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
    },
    /// One member in twenty freezes again and again
    Freeze {
        /// Without local health
        #[arg(long)]
        blind: bool,
        /// For how many seconds at most they run between two times
        #[arg(long, default_value_t = 10.0)]
        rest: f64,
    },
    /// One member in twenty sees everything one to five seconds late
    Slow {
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

fn main() {
    let Arguments { scenario, seed, nodes, secs } = Arguments::parse();
    let outcome: Outcome = match scenario {
        Scenario::Detect { loss, crashes, shared_timer } => {
            Detect { nodes, loss: loss / 100.0, secs, crashes, shared_timer }.run(seed)
        }
        Scenario::Freeze { blind, rest } => {
            let local_health = if blind { LocalHealth::Off } else { LocalHealth::On };
            Freeze { nodes, share: 0.05, secs, rest_secs: rest, local_health }.run(seed)
        }
        Scenario::Slow { blind } => {
            let local_health = if blind { LocalHealth::Off } else { LocalHealth::On };
            Slow { nodes, share: 0.05, secs, local_health }.run(seed)
        }
        Scenario::Join => Join { nodes }.run(seed),
        Scenario::Split => Split { nodes, secs }.run(seed),
        Scenario::Storm => Storm { nodes }.run(seed),
        Scenario::Chaos => Chaos { nodes, secs }.run(seed),
    };
    println!("{}", outcome.json());
}

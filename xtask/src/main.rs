//! Developer commands of Bowline: `cargo xtask COMMAND`.

use clap::{Parser, Subcommand};
use std::process::ExitCode;

mod bench;
mod chaos;
mod check;
mod fuzz;
mod generate;
mod peers;
mod process;
mod sim;
mod tidy;

/// Developer commands of Bowline.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", disable_help_subcommand = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Everything that a change must pass: format, lints, house rules, tests, doctests, golden files
    Check(check::CheckArgs),
    /// The house rules that no compiler checks
    Tidy,
    /// Run simulation scenarios by seed
    Sim(sim::SimArgs),
    /// Run a fuzz target for a while
    Fuzz(fuzz::FuzzArgs),
    /// Measure, side by side with the real peers
    Bench(bench::BenchArgs),
    /// Faults on real processes in network namespaces, and checkers for what the clients saw (as root)
    Chaos(chaos::ChaosArgs),
    /// Install the real peers that tests and benches run against (Debian)
    Peers(peers::PeersArgs),
    /// Write the generated pages: command reference, error reference, manual pages, completions
    Gen(generate::GenerateArgs),
}

fn main() -> ExitCode {
    match Cli::parse().command {
        Command::Check(args) => check::main(&args),
        Command::Tidy => tidy::main(),
        Command::Sim(args) => sim::main(&args),
        Command::Fuzz(args) => fuzz::main(&args),
        Command::Bench(args) => bench::main(&args),
        Command::Chaos(args) => chaos::main(&args),
        Command::Peers(args) => peers::main(&args),
        Command::Gen(args) => generate::main(&args),
    }
}

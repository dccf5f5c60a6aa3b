//! Developer commands of Bowline: `cargo xtask COMMAND`.

use clap::{Parser, Subcommand};
use std::process::ExitCode;

mod bench;

/// Developer commands of Bowline.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Measure, side by side with the real peers.
    Bench(bench::BenchArgs),
}

fn main() -> ExitCode {
    match Cli::parse().command {
        Command::Bench(args) => bench::main(&args),
    }
}

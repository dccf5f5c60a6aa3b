//! `cargo xtask chaos`: faults on real processes, a command of its own, with its arguments as they are.

use crate::process::{cargo, exit, run};
use clap::Args;
use std::process::ExitCode;

/// Arguments of `cargo xtask chaos`.
#[derive(Args)]
#[command(disable_help_flag = true)]
pub(crate) struct ChaosArgs {
    /// What it is told: --workload W, --nemesis N, --nodes 3|5, --secs S, --seed N, --bowline FILE, --plant P; `--list` lists all
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<String>,
}

pub(crate) fn main(args: &ChaosArgs) -> ExitCode {
    let has = |word: &str| args.arguments.iter().any(|argument| argument.split('=').next() == Some(word));
    // With the whole workspace's features, so that nothing is built twice.
    if !["--bowline", "--list", "--help", "-h"].into_iter().any(has)
        && !run(cargo().args(["build", "--quiet", "--bin", "bowline"]))
    {
        return ExitCode::FAILURE;
    }
    exit(run(cargo().args(["run", "--quiet", "--bin", "chaos", "--"]).args(&args.arguments)))
}

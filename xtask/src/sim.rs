//! `cargo xtask sim`: the simulator's own command, with its arguments as they are.

use crate::process::{cargo, exit, run};
use clap::Args;
use std::process::ExitCode;

/// Arguments of `cargo xtask sim`.
#[derive(Args)]
#[command(disable_help_flag = true)]
pub(crate) struct SimArgs {
    /// What the simulator is told: a scenario, --seed N, --runs N, --first N, --mutant NAME; `list` lists the scenarios
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<String>,
}

pub(crate) fn main(args: &SimArgs) -> ExitCode {
    let mut command = cargo();
    // Not -p sim: with the whole workspace's features, so that nothing is built twice.
    command.args(["run", "--quiet", "--bin", "sim", "--"]).args(&args.arguments);
    exit(run(&mut command))
}

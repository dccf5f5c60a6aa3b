//! `cargo xtask sim`: simulation scenarios by seed. The scenarios are tests of the `sim` package, named `scenario_NAME`;
//! the seeds reach them through the environment.

use crate::process::{cargo, exit, run};
use clap::Args;
use std::process::ExitCode;

/// Arguments of `cargo xtask sim`.
#[derive(Args)]
pub(crate) struct SimArgs {
    /// The scenario, or a part of its name; all of them if not given
    scenario: Option<String>,
    /// Run exactly this seed, and say what happens on the way
    #[arg(long, conflicts_with = "runs")]
    seed: Option<u64>,
    /// Run that many seeds, counted from `--from`
    #[arg(long)]
    runs: Option<u64>,
    /// The first seed of `--runs`
    #[arg(long, default_value_t = 0)]
    from: u64,
}

pub(crate) fn main(args: &SimArgs) -> ExitCode {
    let mut command = cargo();
    command.args(["test", "--package", "sim", "--release", "--"]).args(&args.scenario);
    if let Some(seed) = args.seed {
        command.arg("--nocapture").env("BOWLINE_SIM_SEED", seed.to_string());
    }
    if let Some(runs) = args.runs {
        command.env("BOWLINE_SIM_RUNS", runs.to_string()).env("BOWLINE_SIM_FROM", args.from.to_string());
    }
    exit(run(&mut command))
}

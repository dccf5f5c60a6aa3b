//! The `bowline` program: the command line over the daemon.

use std::process::ExitCode;

fn main() -> ExitCode {
    bowline::cli::main(|config, requests| Box::pin(bowline::daemon::run(config, requests)))
}

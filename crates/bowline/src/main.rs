//! The `bowline` program: the command line over the daemon.

use std::process::ExitCode;

fn main() -> ExitCode {
    bowline::cli::main(|_, _| Box::pin(async { Ok(()) }))
}

//! `cargo xtask fuzz TARGET`: one fuzz target for a while, with its corpus kept in `fuzz/corpus`.
#![expect(clippy::print_stderr, clippy::disallowed_methods, reason = "a developer's command on the real machine")]

use crate::process::{exit, has_cargo, root, run};
use clap::Args;
use std::process::{Command, ExitCode};

/// Arguments of `cargo xtask fuzz`.
#[derive(Args)]
pub(crate) struct FuzzArgs {
    /// The target; `list` names them, `all` runs each in turn
    target: String,
    /// How long, in seconds, for each target
    #[arg(long, default_value_t = 60)]
    secs: u64,
}

pub(crate) fn main(args: &FuzzArgs) -> ExitCode {
    let targets = match targets() {
        Ok(targets) => targets,
        Err(error) => {
            eprintln!("fuzz/fuzz_targets: {error}");
            return ExitCode::FAILURE;
        }
    };
    let wanted: Vec<&String> =
        targets.iter().filter(|target| args.target == "all" || **target == args.target).collect();
    if wanted.is_empty() {
        eprintln!("targets: {}", targets.join(", "));
        return exit(args.target == "list");
    }
    if !has_cargo("fuzz") {
        eprintln!("to fuzz: cargo install cargo-fuzz --locked");
        return ExitCode::FAILURE;
    }
    exit(wanted.into_iter().all(|target| {
        let (corpus, seeds) = (format!("fuzz/corpus/{target}"), format!("fuzz/seeds/{target}"));
        if let Err(error) = std::fs::create_dir_all(root().join(&corpus)) {
            eprintln!("{corpus}: {error}");
            return false;
        }
        // Without a sanitizer, which has nothing to find in safe Rust, the stable toolchain will do.
        let mut command = Command::new("cargo");
        command.current_dir(root()).args(["fuzz", "run", "-s", "none", "--fuzz-dir", "fuzz", target]);
        // What is found goes into the first directory.
        command.args([corpus.as_str(), &seeds, "--"]);
        command.arg(format!("-max_total_time={}", args.secs)).arg("-timeout=10");
        let well = run(&mut command);
        if !well {
            eprintln!("to see it again: cargo fuzz run -s none --fuzz-dir fuzz {target} fuzz/artifacts/{target}/FILE");
        }
        well
    }))
}

fn targets() -> std::io::Result<Vec<String>> {
    let mut names: Vec<String> = std::fs::read_dir(root().join("fuzz/fuzz_targets"))?
        .filter_map(Result::ok)
        .filter_map(|entry| Some(entry.file_name().to_str()?.strip_suffix(".rs")?.to_owned()))
        .collect();
    names.sort();
    Ok(names)
}

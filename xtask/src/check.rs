//! `cargo xtask check`: everything that a change must pass, in one command, with one line of counts at the end.
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::disallowed_types,
    reason = "a developer's command on the real machine: its output is its product"
)]

use crate::generate::Built;
use crate::process::{cargo, exit, has_cargo, run, run_watched};
use crate::{generate, tidy};
use clap::Args;
use std::process::ExitCode;
use std::time::Instant;

/// Arguments of `cargo xtask check`.
#[derive(Args)]
pub(crate) struct CheckArgs {
    /// Only the tests: no format, lints or house rules
    #[arg(long)]
    tests_only: bool,
}

/// How many tests did what.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct Counts {
    passed: u64,
    failed: u64,
    skipped: u64,
}

/// Seeds of each scenario of the simulator.
const SEEDS: &str = "200";

/// How a step ended.
enum Outcome {
    Passed,
    Failed,
    /// The tool for it is not installed; the text says how to install it.
    Skipped(&'static str),
}

/// Runs all steps, also after one has failed, so that one run shows everything that is wrong.
#[expect(clippy::disallowed_methods, reason = "a developer's command on the real machine")]
pub(crate) fn main(args: &CheckArgs) -> ExitCode {
    let mut counts = Counts::default();
    let mut steps: Vec<(&str, Outcome, u64)> = Vec::new();
    let mut step = |name: &'static str, work: &mut dyn FnMut() -> Outcome| {
        eprintln!("== {name}");
        let started = Instant::now();
        let outcome = work();
        steps.push((name, outcome, started.elapsed().as_secs()));
    };
    if !args.tests_only {
        step("format", &mut || {
            if !has_cargo("fmt") {
                return Outcome::Skipped("rustup component add rustfmt");
            }
            outcome(run(cargo().args(["fmt", "--all", "--check"])))
        });
        step("house rules", &mut || outcome(tidy::check()));
        step("lints", &mut || {
            if !has_cargo("clippy") {
                return Outcome::Skipped("rustup component add clippy");
            }
            outcome(run(cargo().args(["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"])))
        });
    }
    step("tests", &mut || outcome(tests(&mut counts)));
    // Built again, and optimised: that takes a fraction of what the seeds would take longer otherwise.
    let simulate = ["run", "--quiet", "--profile", "sweep", "--bin", "sim", "--", "--runs", SEEDS];
    step("simulation", &mut || outcome(run(cargo().args(simulate))));
    step("doctests", &mut || outcome(doctests(&mut counts)));
    step("golden files", &mut || outcome(generate::is_current(Built::WithTests)));

    eprintln!();
    for (name, outcome, seconds) in &steps {
        match outcome {
            Outcome::Passed => println!("{name:<14} passed   {seconds:>5} s"),
            Outcome::Failed => println!("{name:<14} FAILED   {seconds:>5} s"),
            Outcome::Skipped(how) => println!("{name:<14} skipped           to have it: {how}"),
        }
    }
    println!("{} passed, {} failed, {} skipped", counts.passed, counts.failed, counts.skipped);
    exit(steps.iter().all(|(_, outcome, _)| !matches!(outcome, Outcome::Failed)))
}

fn outcome(well: bool) -> Outcome {
    if well { Outcome::Passed } else { Outcome::Failed }
}

/// All tests but the doctests, with cargo-nextest if it is there and with cargo's own runner if not.
fn tests(counts: &mut Counts) -> bool {
    let nextest = has_cargo("nextest");
    let mut command = cargo();
    if nextest {
        command.args(["nextest", "run", "--workspace", "--no-fail-fast", "--status-level", "fail"]);
    } else {
        command.args(["test", "--workspace", "--all-targets", "--no-fail-fast"]);
    }
    run_watched(&mut command, |line| {
        add(counts, if nextest { of_nextest(line) } else { of_cargo(line) });
    })
}

fn doctests(counts: &mut Counts) -> bool {
    run_watched(cargo().args(["test", "--workspace", "--doc", "--no-fail-fast"]), |line| add(counts, of_cargo(line)))
}

fn add(counts: &mut Counts, more: Option<Counts>) {
    let more = more.unwrap_or_default();
    counts.passed += more.passed;
    counts.failed += more.failed;
    counts.skipped += more.skipped;
}

/// `     Summary [   0.652s] 24 tests run: 22 passed (1 slow), 1 failed, 1 timed out, 3 skipped`.
fn of_nextest(line: &str) -> Option<Counts> {
    let line = line.trim_start().strip_prefix("Summary")?;
    let (_, parts) = line.split_once(" run: ")?;
    Some(parts.split(',').fold(Counts::default(), |mut counts, part| {
        let mut words = part.split_whitespace();
        let number = words.next().and_then(|word| word.parse::<u64>().ok()).unwrap_or_default();
        match words.next() {
            Some("passed") => counts.passed += number,
            Some("skipped") => counts.skipped += number,
            // failed, timed out, exec failed
            Some(_) => counts.failed += number,
            None => {}
        }
        counts
    }))
}

/// `test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.00s`.
fn of_cargo(line: &str) -> Option<Counts> {
    let (_, parts) = line.strip_prefix("test result: ")?.split_once(". ")?;
    let number = |what: &str| {
        parts
            .split(';')
            .find_map(|part| part.trim().strip_suffix(what))
            .and_then(|number| number.trim().parse().ok())
            .unwrap_or_default()
    };
    Some(Counts { passed: number("passed"), failed: number("failed"), skipped: number("ignored") })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_runners_are_understood() {
        let counts = |passed, failed, skipped| Some(Counts { passed, failed, skipped });
        let line = "     Summary [   0.652s] 24 tests run: 20 passed (1 slow), 1 failed, 1 timed out, 3 skipped";
        assert_eq!(of_nextest(line), counts(20, 2, 3));
        assert_eq!(of_nextest("Summary [ 1.0s] 2/24 tests run: 1 passed, 1 failed, 0 skipped"), counts(1, 1, 0));
        assert_eq!(of_nextest("PASS [ 0.1s] x"), None);
        let line = "test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.00s";
        assert_eq!(of_cargo(line), counts(3, 0, 1));
        assert_eq!(of_cargo("test result: FAILED. 2 passed; 1 failed; 0 ignored; 0 measured"), counts(2, 1, 0));
        assert_eq!(of_cargo("test x ... ok"), None);
    }
}

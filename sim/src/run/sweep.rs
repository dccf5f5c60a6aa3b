//! Many seeds, in child processes: a run that aborts or hangs takes its child with it and nothing else.

use super::{Outcome, Scenario, run, run_twice};
use std::collections::BTreeMap;
use std::io::{self, BufRead, BufReader, Write};
use std::ops::Range;
use std::process::{Child, Command, Stdio};

/// Seeds that a child plays before another takes over.
const CHUNK: u64 = 25;

/// What to sweep.
#[derive(Debug, Clone)]
pub struct SweepOptions {
    /// The seeds.
    pub seeds: Range<u64>,
    /// Children at a time.
    pub jobs: usize,
    /// Every so many seeds one is played twice and the histories compared; zero for none.
    pub twice_every: u64,
    /// The old mistake to switch on.
    pub mutant: Option<String>,
    /// Stop at the first failure.
    pub fail_fast: bool,
}

/// What a sweep found.
#[derive(Debug, Clone, Default)]
pub struct SweepReport {
    /// Runs that ended.
    pub runs: u64,
    /// Runs that were played twice.
    pub twice: u64,
    /// Those that broke a promise, or their child.
    pub failures: Vec<Outcome>,
    /// States reached, over all runs.
    pub reached: BTreeMap<String, u64>,
    /// What scenarios counted, over all runs.
    pub figures: BTreeMap<String, u64>,
    /// Faults that happened.
    pub faults: u64,
}

impl SweepReport {
    fn take(&mut self, outcome: Outcome, twice: bool) {
        self.runs += 1;
        self.faults += outcome.faults.len() as u64;
        for (name, n) in &outcome.reached {
            *self.reached.entry(name.clone()).or_default() += n;
        }
        for (name, n) in &outcome.figures {
            *self.figures.entry(name.clone()).or_default() += n;
        }
        self.twice += u64::from(twice);
        if outcome.broken.is_some() {
            self.failures.push(outcome);
        }
    }
}

/// What a child does: plays its seeds and writes one line of JSON for each, and before it the seed alone.
pub fn child(scenario: &Scenario, options: &SweepOptions, out: &mut impl Write) -> io::Result<()> {
    for seed in options.seeds.clone() {
        writeln!(out, "{seed}")?;
        out.flush()?;
        let twice = options.twice_every > 0 && seed % options.twice_every == 0;
        let mutant = options.mutant.as_deref();
        let outcome = if twice { run_twice(scenario, seed, mutant) } else { run(scenario, seed, mutant) };
        writeln!(out, "{}", serde_json::to_string(&outcome)?)?;
    }
    out.flush()
}

/// Plays all seeds in children of this very program, which must understand `child` (see the binary).
pub fn sweep(scenario: &Scenario, options: &SweepOptions) -> io::Result<SweepReport> {
    let mut report = SweepReport::default();
    let mut next = options.seeds.start;
    let mut children: Vec<(Child, Range<u64>)> = Vec::new();
    loop {
        while children.len() < options.jobs.max(1) && next < options.seeds.end {
            let chunk = next..(next + CHUNK).min(options.seeds.end);
            next = chunk.end;
            children.push((start(scenario, &chunk, options)?, chunk));
        }
        if children.is_empty() {
            break;
        }
        let (child, chunk) = children.remove(0);
        // A child that died is started again behind the seed that killed it.
        if let Some(rest) = listen(scenario, options.twice_every, child, chunk, &mut report)? {
            children.push((start(scenario, &rest, options)?, rest));
        }
        if options.fail_fast && !report.failures.is_empty() {
            for (child, _) in &mut children {
                child.kill()?;
                child.wait()?;
            }
            break;
        }
    }
    Ok(report)
}

fn start(scenario: &Scenario, seeds: &Range<u64>, options: &SweepOptions) -> io::Result<Child> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["child", scenario.name, "--first", &seeds.start.to_string(), "--count"]);
    command.arg((seeds.end - seeds.start).to_string()).args(["--twice-every", &options.twice_every.to_string()]);
    if let Some(mutant) = &options.mutant {
        command.args(["--mutant", mutant]);
    }
    // Panics that are part of a story go to stderr; the outcome has what matters.
    command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn()
}

/// Takes a child's outcomes; the seeds that are left, if it died over one.
fn listen(
    scenario: &Scenario,
    twice_every: u64,
    mut child: Child,
    seeds: Range<u64>,
    report: &mut SweepReport,
) -> io::Result<Option<Range<u64>>> {
    let mut playing = None;
    if let Some(out) = child.stdout.take() {
        for line in BufReader::new(out).lines() {
            let line = line?;
            if let Ok(seed) = line.parse::<u64>() {
                playing = Some(seed);
            } else {
                let outcome: Outcome = serde_json::from_str(&line)?;
                let twice = twice_every > 0 && outcome.seed.is_multiple_of(twice_every);
                report.take(outcome, twice);
                playing = None;
            }
        }
    }
    let status = child.wait()?;
    let Some(seed) = playing else {
        return if status.success() { Ok(None) } else { Err(io::Error::other(format!("a child ended with {status}"))) };
    };
    report.take(
        Outcome {
            scenario: scenario.name.to_owned(),
            seed,
            hash: 0,
            events: 0,
            broken: Some(format!("process: the run ended with {status}")),
            faults: Vec::new(),
            reached: BTreeMap::new(),
            figures: BTreeMap::new(),
            logs: Vec::new(),
        },
        false,
    );
    Ok((seed + 1 < seeds.end).then_some(seed + 1..seeds.end))
}

//! Many seeds, in child processes: a run that aborts or hangs takes its child with it and nothing else.

use super::{Outcome, Scenario, run, run_twice};
use std::collections::BTreeMap;
use std::io::{self, BufRead, BufReader, Write};
use std::ops::Range;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

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
    let work =
        Work { left: Mutex::new(options.seeds.clone()), report: Mutex::default(), is_over: AtomicBool::new(false) };
    std::thread::scope(|scope| {
        let jobs: Vec<_> = (0..options.jobs.max(1)).map(|_| scope.spawn(|| work.play(scenario, options))).collect();
        let ended = jobs.into_iter().map(|job| job.join().unwrap_or_else(|_| Err(io::Error::other("a job panicked"))));
        ended.collect::<io::Result<Vec<()>>>()
    })?;
    let mut report = work.report.into_inner().unwrap_or_else(PoisonError::into_inner);
    report.failures.sort_by_key(|outcome| outcome.seed);
    Ok(report)
}

/// What the jobs of a sweep share.
struct Work {
    left: Mutex<Range<u64>>,
    report: Mutex<SweepReport>,
    is_over: AtomicBool,
}

impl Work {
    /// One child after the other, until no seeds are left.
    fn play(&self, scenario: &Scenario, options: &SweepOptions) -> io::Result<()> {
        while let Some(chunk) = self.next() {
            let mut rest = Some(chunk);
            // A child that died is started again behind the seed that killed it.
            while let Some(seeds) = rest.filter(|_| !self.is_over.load(Ordering::Relaxed)) {
                let child = start(scenario, &seeds, options)?;
                rest = self.listen(scenario, options, child, seeds).inspect_err(|_| self.end())?;
            }
        }
        Ok(())
    }

    fn next(&self) -> Option<Range<u64>> {
        let mut left = self.left.lock().unwrap_or_else(PoisonError::into_inner);
        let chunk = left.start..(left.start + CHUNK).min(left.end);
        left.start = chunk.end;
        (!chunk.is_empty()).then_some(chunk)
    }

    fn take(&self, outcome: Outcome, options: &SweepOptions) {
        let is_failure = outcome.broken.is_some();
        let is_twice = options.twice_every > 0 && outcome.seed.is_multiple_of(options.twice_every);
        self.report.lock().unwrap_or_else(PoisonError::into_inner).take(outcome, is_twice);
        if is_failure && options.fail_fast {
            self.end();
        }
    }

    fn end(&self) {
        self.is_over.store(true, Ordering::Relaxed);
    }

    /// Takes a child's outcomes; the seeds that are left, if it died over one.
    fn listen(
        &self,
        scenario: &Scenario,
        options: &SweepOptions,
        mut child: Child,
        seeds: Range<u64>,
    ) -> io::Result<Option<Range<u64>>> {
        let mut playing = None;
        if let Some(out) = child.stdout.take() {
            for line in BufReader::new(out).lines() {
                let line = line?;
                if let Ok(seed) = line.parse::<u64>() {
                    playing = Some(seed);
                } else {
                    self.take(serde_json::from_str(&line)?, options);
                    playing = None;
                }
                if self.is_over.load(Ordering::Relaxed) {
                    child.kill()?;
                    child.wait()?;
                    return Ok(None);
                }
            }
        }
        let status = child.wait()?;
        let Some(seed) = playing else {
            return if status.success() {
                Ok(None)
            } else {
                Err(io::Error::other(format!("a child ended with {status}")))
            };
        };
        let died = Outcome {
            scenario: scenario.name.to_owned(),
            seed,
            hash: 0,
            events: 0,
            broken: Some(format!("process: the run ended with {status}")),
            faults: Vec::new(),
            reached: BTreeMap::new(),
            figures: BTreeMap::new(),
            logs: Vec::new(),
        };
        self.take(died, options);
        Ok((seed + 1 < seeds.end).then_some(seed + 1..seeds.end))
    }
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

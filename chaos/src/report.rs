//! The report of some runs: a directory with report.md, a picture for each run, histories and faults as lines of JSON.

use crate::client::Outcome;
use crate::error::ChaosError;
use crate::plot;
use crate::run::Report;
use serde::Serialize;
use serde_json::{Value, json};
use std::fmt::Write;
use std::path::{Path, PathBuf};

/// Where reports are written, one after the other.
pub(crate) struct Book {
    dir: PathBuf,
    head: String,
    rows: String,
    details: String,
    totals: Totals,
}

/// The line at the end.
#[derive(Debug, Default, Clone, Serialize)]
pub(crate) struct Totals {
    runs: usize,
    failed_runs: usize,
    ops: usize,
    ok: usize,
    unknown: usize,
    refused: usize,
    faults: usize,
    anomalies: usize,
    findings: usize,
    no_verdict: usize,
    panics: u64,
    unexpected_errors: u64,
    heal_max_ms: u64,
}

impl Book {
    /// Opens a directory for it.
    pub(crate) fn open(dir: &Path, head: &str) -> Result<Self, ChaosError> {
        std::fs::create_dir_all(dir).map_err(ChaosError::io(dir))?;
        let (dir, head) = (dir.to_path_buf(), head.to_owned());
        Ok(Self { dir, head, rows: String::new(), details: String::new(), totals: Totals::default() })
    }

    /// Takes a run in, and writes all anew: what was found until now is there if the next run ends badly.
    pub(crate) fn add(&mut self, report: &Report, repeat: &str) -> Result<(), ChaosError> {
        let plan = &report.plan;
        let number = self.totals.runs + 1;
        let title = format!("{number:03}-{}-{}", plan.workload.word(), plan.nemesis.word());
        let [ok, unknown, refused] =
            [Outcome::Answered, Outcome::Unknown, Outcome::Refused].map(|outcome| report.count(outcome));
        let heal_max = report.heals_ms.iter().max().copied().unwrap_or_default();
        let errors: u64 = report.seen.errors.values().sum();
        let totals = &mut self.totals;
        totals.runs += 1;
        totals.failed_runs += usize::from(!report.is_well());
        totals.ops += report.samples.len();
        totals.ok += ok;
        totals.unknown += unknown;
        totals.refused += refused;
        totals.faults += report.faults.len();
        totals.anomalies += report.anomalies.len();
        totals.findings += report.findings.len();
        totals.no_verdict += report.no_verdict.len();
        totals.panics += report.seen.panics;
        totals.unexpected_errors += errors;
        totals.heal_max_ms = totals.heal_max_ms.max(heal_max);
        let verdict = match (report.is_well(), report.no_verdict.is_empty()) {
            (true, true) => "well",
            (true, false) => "well as far as it went",
            (false, _) => "**NOT WELL**",
        };
        let took: Vec<u64> =
            report.samples.iter().filter(|s| s.outcome == Outcome::Answered).map(|s| s.took_us / 1000).collect();
        let [p50, p99] = [50, 99].map(|share| plot::quantile(&took, share).unwrap_or_default());
        line(
            &mut self.rows,
            &format!(
                "| [{title}](#{title}) | {} | {} | {ok} | {unknown} | {refused} | {} | {} | {heal_max} | {} | {p50} / {p99} | {verdict} |",
                plan.nodes,
                report.samples.len(),
                report.faults.len(),
                report.anomalies.len(),
                report.write_gap_ms()
            ),
        );
        self.write(&format!("{title}.svg"), &plot::draw(&title, &report.samples, &report.faults))?;
        self.write(&format!("{title}.history.jsonl"), &report.history)?;
        self.write(&format!("{title}.faults.jsonl"), &json_lines(&report.faults))?;
        self.write(&format!("{title}.calls.jsonl"), &json_lines(&report.samples))?;
        self.tell(report, &title, repeat);
        self.write("report.md", &self.text())
    }

    fn tell(&mut self, report: &Report, title: &str, repeat: &str) {
        let details = &mut self.details;
        line(details, &format!("\n## {title}\n\nTo repeat: `{repeat}`\n\n![{title}]({title}.svg)\n"));
        let (median, longest) = report.waits;
        let sync = report.sync_max;
        line(
            details,
            &format!(
                "The machine beside it: slowest synced write {sync:?}; threads waited {median:?} for a processor, {longest:?} at worst.\n"
            ),
        );
        for fault in &report.faults {
            line(details, &format!("- {} to {} ms: {}", fault.from_ms, fault.to_ms, fault.what));
        }
        let mut wrong: Vec<String> = report.anomalies.iter().take(5).map(|a| format!("anomaly: {a}")).collect();
        wrong.extend(report.findings.iter().cloned());
        wrong.extend(report.seen.errors.iter().map(|(text, times)| format!("logged {times} times: {text}")));
        wrong.extend(report.no_verdict.iter().map(|text| format!("no verdict, the machine was starved: {text}")));
        if report.seen.panics > 0 {
            wrong.push(format!("{} panics", report.seen.panics));
        }
        for text in wrong {
            line(details, &format!("\n```text\n{text}\n```"));
        }
        let mut reasons: std::collections::BTreeMap<(String, &str), u64> = std::collections::BTreeMap::new();
        for sample in report.samples.iter().filter(|sample| sample.outcome != Outcome::Answered) {
            let outcome = if sample.outcome == Outcome::Unknown { "unknown" } else { "refused" };
            // What differs from call to call is no reason.
            let why: String = sample.why.chars().filter(|c| !c.is_ascii_digit()).take(100).collect();
            *reasons.entry((why, outcome)).or_default() += 1;
        }
        if !reasons.is_empty() {
            line(details, "\n| calls | outcome | reason |\n|---|---|---|");
        }
        let mut reasons: Vec<_> = reasons.into_iter().collect();
        reasons.sort_by_key(|(_, times)| std::cmp::Reverse(*times));
        for ((why, outcome), times) in reasons.into_iter().take(12) {
            line(details, &format!("| {times} | {outcome} | {} |", why.replace('|', "/")));
        }
    }

    fn text(&self) -> String {
        format!(
            "# Chaos on real processes\n\n{}\n\n\
             | run | nodes | calls | answered | unknown | refused | faults | anomalies | slowest heal, ms | longest without a write, ms | median / p99, ms | verdict |\n\
             |---|---|---|---|---|---|---|---|---|---|---|---|\n{}\n{}",
            self.head, self.rows, self.details
        )
    }

    fn write(&self, name: &str, text: &str) -> Result<(), ChaosError> {
        let path = self.dir.join(name);
        std::fs::write(&path, text).map_err(ChaosError::io(&path))
    }

    /// Whether all runs were well.
    pub(crate) fn is_well(&self) -> bool {
        self.totals.failed_runs == 0
    }

    /// The line at the end.
    pub(crate) fn line(&self, unavailable: &[String]) -> Value {
        let mut value = json!(self.totals);
        if let Some(all) = value.as_object_mut() {
            all.insert("not_available".to_owned(), json!(unavailable));
            all.insert("report".to_owned(), json!(self.dir.join("report.md")));
        }
        value
    }
}

fn json_lines<T: Serialize>(all: &[T]) -> String {
    all.iter().fold(String::new(), |mut text, one| {
        line(&mut text, &serde_json::to_string(one).unwrap_or_default());
        text
    })
}

fn line(text: &mut String, more: &str) {
    // To write to a string does not fail.
    writeln!(text, "{more}").ok();
}

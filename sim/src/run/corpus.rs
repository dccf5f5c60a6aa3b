//! Seeds that failed once. They are played on every change, for ever.

use std::io::{self, Write};
use std::path::Path;

/// The seeds in `folder` for that scenario: one a line, with a note behind `#`.
#[expect(clippy::disallowed_methods, reason = "reads the source tree of the developer's machine")]
pub fn corpus(folder: &Path, scenario: &str) -> Vec<u64> {
    let text = std::fs::read_to_string(folder.join(format!("{scenario}.txt"))).unwrap_or_default();
    text.lines().filter_map(|line| line.split('#').next()?.trim().parse().ok()).collect()
}

/// Adds a failing seed, unless it is there.
#[expect(clippy::disallowed_types, reason = "writes to the source tree of the developer's machine")]
pub fn add_to_corpus(folder: &Path, scenario: &str, seed: u64, note: &str) -> io::Result<()> {
    if corpus(folder, scenario).contains(&seed) {
        return Ok(());
    }
    let path = folder.join(format!("{scenario}.txt"));
    let note: String = note.lines().next().unwrap_or_default().chars().take(120).collect();
    let mut file = std::fs::OpenOptions::new().create(true).append(true).open(path)?;
    writeln!(file, "{seed} # {note}")
}

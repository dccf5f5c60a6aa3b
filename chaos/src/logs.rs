//! What the daemons logged: panics, and errors that nobody expects.

use std::path::Path;

/// Errors that a fault explains, by a part of their text. Everything else that is logged as an error is a finding.
const EXPECTED: &[&str] = &[];

/// What a log shows.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) panics: u64,
    /// Errors that are not expected, each text once, with how often.
    pub(crate) errors: std::collections::BTreeMap<String, u64>,
}

impl Seen {
    /// Adds what a log shows.
    pub(crate) fn look(&mut self, log: &Path) {
        let bytes = std::fs::read(log).unwrap_or_default();
        self.read(&String::from_utf8_lossy(&bytes));
    }

    fn read(&mut self, text: &str) {
        for line in text.lines() {
            if line.contains("panicked at") {
                self.panics += 1;
            }
            // A line is a time, a level, and the rest.
            let mut words = line.split_whitespace();
            let is_error = words.by_ref().take(2).any(|word| word == "ERROR");
            if is_error && !EXPECTED.iter().any(|part| line.contains(part)) {
                let rest = line.split_once("ERROR").map_or(line, |(_, rest)| rest).trim();
                *self.errors.entry(rest.to_owned()).or_default() += 1;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn panics_and_errors_are_found() {
        let mut seen = Seen::default();
        seen.read(
            "2026-01-01T00:00:00Z  WARN store: an ERROR that is a word\n2026-01-01T00:00:00Z ERROR store: lost\n\
             thread 'raft' panicked at src/x.rs:1:2:\n2026-01-01T00:00:01Z ERROR store: lost\n",
        );
        assert_eq!((seen.panics, seen.errors), (1, [("store: lost".to_owned(), 2)].into()));
    }
}

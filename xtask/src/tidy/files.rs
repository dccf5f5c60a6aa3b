//! Rules for each source file: its length, its first line, its name, and what has no place in it.

use super::tree::Tree;

/// The longest a source file may be. The aim is a third of it.
const LINES_MAX: usize = 600;

/// Names that say nothing about what is inside.
const EMPTY_NAMES: &[&str] = &["utils", "util", "common", "helpers", "helper", "misc", "manager", "stuff"];

/// Notes to oneself that nobody else can act on. Written in halves, so that this file passes its own rule.
const NOTES: &[&str] = &[concat!("TO", "DO"), concat!("FIX", "ME"), concat!("XX", "X:"), concat!("HA", "CK:")];

/// Places that exist on one machine only. In halves for the same reason.
const PLACES: &[&str] = &[concat!("/ho", "me/"), concat!("/Us", "ers/"), concat!("/ro", "ot/.")];

pub(super) fn check(tree: &Tree) -> Vec<String> {
    let mut wrong = Vec::new();
    for (path, text) in tree.rust() {
        let lines = text.lines().count();
        if lines > LINES_MAX {
            wrong.push(format!("{path} has {lines} lines: split it by what it is about before {LINES_MAX}"));
        }
        if !text.starts_with("//! ") {
            wrong.push(format!("{path} does not say in its first line, with //!, what is inside"));
        }
        let name = path.rsplit('/').next().unwrap_or(path);
        if name == "mod.rs" {
            wrong.push(format!("{path}: name the file after its module, beside the directory"));
        }
        if EMPTY_NAMES.iter().any(|empty| name.strip_suffix(".rs") == Some(empty)) {
            wrong.push(format!("{path}: the name says nothing about what is inside"));
        }
    }
    for (path, text) in tree.files().iter().filter(|(path, _)| is_ours(path)) {
        for (number, line) in (1..).zip(text.lines()) {
            if let Some(note) = NOTES.iter().find(|note| line.contains(*note)) {
                wrong.push(format!("{path}:{number} leaves a {note}: do it, or make it an issue"));
            }
            if let Some(place) = PLACES.iter().find(|place| line.contains(*place)) {
                wrong.push(format!("{path}:{number} names {place}, which is a place on one machine"));
            }
        }
    }
    wrong
}

/// Whether somebody here wrote it: not a lock file, not a recorded input.
fn is_ours(path: &str) -> bool {
    let written = super::tree::has_extension(path, &["rs", "md", "toml", "sh", "go", "c"]) || path == ".ci/run";
    written && !path.contains("/corpus/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_rule_finds_its_breach() {
        let long = "//! Long.\n".to_owned() + &"\n".repeat(LINES_MAX);
        let note = format!("//! Notes.\n// {} later\n", NOTES[0]);
        let place = format!("see {}me/x\n", PLACES[0]);
        for (path, text, part) in [
            ("crates/x/src/long.rs", long.as_str(), "601 lines"),
            ("crates/x/src/bare.rs", "fn main() {}\n", "first line"),
            ("crates/x/src/y/mod.rs", "//! Y.\n", "beside the directory"),
            ("crates/x/src/utils.rs", "//! Odds.\n", "says nothing"),
            ("crates/x/src/note.rs", note.as_str(), "note.rs:2"),
            ("docs/place.md", place.as_str(), "one machine"),
        ] {
            let found = check(&Tree::of(&[(path, text)]));
            assert!(found.len() == 1 && found[0].contains(part), "{path}: {found:?}");
        }
        assert!(check(&Tree::of(&[("crates/x/src/fine.rs", "//! Fine.\n")])).is_empty());
    }
}

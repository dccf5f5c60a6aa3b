//! All `sometimes!` of the source, to find those that a sweep never reached.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// The names in every `sometimes!("..")` under `crates/`, except those in rt itself, where they are documentation.
#[expect(clippy::disallowed_methods, reason = "reads the source tree of the developer's machine")]
pub fn all_points(workspace: &Path) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    let mut folders: Vec<PathBuf> = vec![workspace.join("crates")];
    while let Some(folder) = folders.pop() {
        let Ok(entries) = std::fs::read_dir(&folder) else { continue };
        for path in entries.filter_map(Result::ok).map(|e| e.path()) {
            if path.is_dir() && !path.ends_with("crates/rt") {
                folders.push(path);
            } else if path.extension().is_some_and(|e| e == "rs")
                && let Ok(text) = std::fs::read_to_string(&path)
            {
                let after = text.split("sometimes!(\"").skip(1);
                names.extend(after.filter_map(|rest| rest.split_once('"')).map(|(name, _)| name.to_owned()));
            }
        }
    }
    names
}

/// Those that no run reached.
pub fn unreached(all: &BTreeSet<String>, reached: &BTreeMap<String, u64>) -> Vec<String> {
    all.iter().filter(|name| reached.get(*name).copied().unwrap_or(0) == 0).cloned().collect()
}

//! The rings of the architecture, read from the manifests: arrows only point inward, and some crates are named by one other
//! crate only.

use super::tree::Tree;
use toml::Table;

/// The crates by ring, from the inside out. A crate that is not in here has no place yet: give it one.
const RINGS: [&[&str]; 4] = [
    &["base", "swim", "dqlite", "mysql", "nbd", "argo"],
    &["rt", "lifecycle", "rpc", "gossip", "raft", "sqlite"],
    &["store", "cluster", "workflows", "gateway", "blobs", "volumes", "networks"],
    &["api", "bowline"],
];

/// What ring 0 does without: it is pure.
const IMPURE: &[&str] = &["tokio", "rt", "rand", "getrandom", "tracing", "libc", "rustix", "futures"];

/// Foreign crates that only some of ours may name, so that they can be replaced.
const BEHIND: &[(&str, &[&str])] = &[
    ("openraft", &["raft"]),
    ("openraft-rt-tokio", &["raft"]),
    ("libsqlite3-sys", &["sqlite"]),
    ("turmoil", &["rt", "sim"]),
    ("getrandom", &["rt"]),
    ("rcgen", &["cluster"]),
    ("axum", &["api"]),
    ("rustyline", &["bowline"]),
    ("clap", &["bowline", "sim", "swarm", "chaos", "xtask"]),
];

pub(super) fn check(tree: &Tree) -> Vec<String> {
    let mut wrong = Vec::new();
    for (path, text) in
        tree.files().iter().filter(|(path, _)| path.ends_with("Cargo.toml") && !path.starts_with("fuzz/"))
    {
        match text.parse::<Table>() {
            Ok(manifest) => wrong.extend(check_manifest(path, &manifest)),
            Err(error) => wrong.push(format!("{path}: {}", error.message())),
        }
    }
    wrong
}

fn check_manifest(path: &str, manifest: &Table) -> Vec<String> {
    let mut wrong = Vec::new();
    let Some(name) = manifest.get("package").and_then(|package| package.get("name")?.as_str()) else {
        return wrong;
    };
    let dependencies: Vec<&str> = manifest
        .get("dependencies")
        .and_then(toml::Value::as_table)
        .into_iter()
        .flat_map(Table::keys)
        .map(String::as_str)
        .collect();
    let ring = ring(name);
    if path.starts_with("crates/") {
        match ring {
            None => wrong.push(format!(
                "{path}: {name} has no ring: give it one in xtask/src/tidy/rings.rs and ARCHITECTURE.md"
            )),
            Some(ring) => {
                for outer in dependencies.iter().filter(|dependency| self::ring(dependency) > Some(ring)) {
                    wrong.push(format!(
                        "{path}: {name} is in ring {ring} and may not depend on {outer}, which is further out"
                    ));
                }
            }
        }
    }
    if ring == Some(0) {
        for impure in dependencies.iter().filter(|dependency| IMPURE.contains(dependency)) {
            wrong.push(format!(
                "{path}: {name} is pure and may not depend on {impure}: take time and entropy as parameters"
            ));
        }
    }
    for (behind, owners) in BEHIND {
        if dependencies.contains(behind) && !owners.contains(&name) {
            wrong.push(format!("{path}: only {} may name {behind}", owners.join(" and ")));
        }
    }
    wrong
}

fn ring(name: &str) -> Option<usize> {
    RINGS.iter().position(|ring| ring.contains(&name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn findings(path: &str, manifest: &str) -> Vec<String> {
        check(&Tree::of(&[(path, manifest)]))
    }

    #[test]
    fn arrows_point_inward() {
        let manifest =
            "[package]\nname = \"rpc\"\n[dependencies]\nbase = {}\nstore = {}\n[dev-dependencies]\nbowline = {}";
        let found = findings("crates/rpc/Cargo.toml", manifest);
        assert_eq!(
            found,
            ["crates/rpc/Cargo.toml: rpc is in ring 1 and may not depend on store, which is further out"]
        );
        let manifest = "[package]\nname = \"store\"\n[dependencies]\nrt = {}\nraft = {}";
        assert!(findings("crates/store/Cargo.toml", manifest).is_empty());
    }

    #[test]
    fn pure_crates_stay_pure_and_engines_behind_their_crate() {
        let manifest = "[package]\nname = \"dqlite\"\n[dependencies]\ntokio = \"1\"";
        assert_eq!(findings("crates/dqlite/Cargo.toml", manifest).len(), 1);
        let manifest = "[package]\nname = \"store\"\n[dependencies]\nopenraft = \"1\"";
        assert_eq!(
            findings("crates/store/Cargo.toml", manifest),
            ["crates/store/Cargo.toml: only raft may name openraft"]
        );
    }

    #[test]
    fn a_crate_without_a_place_is_found() {
        let found = findings("crates/odds/Cargo.toml", "[package]\nname = \"odds\"");
        assert!(found.iter().any(|text| text.contains("has no ring")), "{found:?}");
    }
}

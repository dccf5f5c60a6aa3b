//! Documents: what the code refers to exists, every crate is on the map, and the glossary is in order.

use super::tree::Tree;

/// Words that the code is built from: the glossary has each.
const TERMS: &[&str] = &[
    "act", "cluster", "database", "decide", "drain", "gate", "group", "leader", "member", "node", "observe", "plan",
    "record", "scope", "session", "spare", "stand-by", "sys", "term", "token", "unit", "version", "voter",
];

pub(super) fn check(tree: &Tree) -> Vec<String> {
    [references(tree), map(tree), glossary(tree)].concat()
}

/// `docs/...md`, `ADR-n` and `INC-n` in sources and documents lead somewhere.
fn references(tree: &Tree) -> Vec<String> {
    let mut wrong = Vec::new();
    let readers = tree.files().iter().filter(|(path, _)| super::tree::has_extension(path, &["rs", "md"]));
    for (path, text) in readers.filter(|(path, _)| !path.starts_with("xtask/src/tidy")) {
        for (number, line) in (1..).zip(text.lines()) {
            for target in documents(line).filter(|target| !tree.has(target)) {
                wrong.push(format!("{path}:{number} refers to {target}, which is not there"));
            }
            for (kind, directory, digits) in [("ADR-", "docs/adr/", 4), ("INC-", "docs/incidents/INC-", 0)] {
                for n in numbers(line, kind) {
                    let start = format!("{directory}{n:0>digits$}");
                    let is_there = |known: &String| {
                        known.strip_prefix(&start).is_some_and(|rest| !rest.starts_with(|c: char| c.is_ascii_digit()))
                    };
                    if !tree.files().keys().any(is_there) {
                        wrong.push(format!("{path}:{number} refers to {kind}{n}, which is not in {directory}"));
                    }
                }
            }
        }
    }
    wrong
}

fn documents(line: &str) -> impl Iterator<Item = &str> {
    line.match_indices("docs/").filter_map(|(start, _)| {
        let rest = line.get(start..)?;
        let end = rest.find(|c: char| !(c.is_ascii_alphanumeric() || "/-_.".contains(c))).unwrap_or(rest.len());
        let path = rest.get(..end)?.trim_end_matches('.');
        // A longer path that only ends so is somebody else's.
        let ours = !line.get(..start)?.ends_with(|c: char| c.is_ascii_alphanumeric() || c == '/' || c == '-');
        (ours && super::tree::has_extension(path, &["md"])).then_some(path)
    })
}

fn numbers<'a>(line: &'a str, kind: &'a str) -> impl Iterator<Item = &'a str> {
    line.match_indices(kind).filter_map(move |(start, _)| {
        let rest = line.get(start + kind.len()..)?;
        let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        rest.get(..end).filter(|digits| !digits.is_empty()).map(|digits| digits.trim_start_matches('0'))
    })
}

/// Every crate is on the map.
fn map(tree: &Tree) -> Vec<String> {
    let Some(map) = tree.file("ARCHITECTURE.md") else { return vec!["ARCHITECTURE.md is missing".to_owned()] };
    let crates = tree.files().keys().filter_map(|path| path.strip_prefix("crates/")?.strip_suffix("/Cargo.toml"));
    crates
        .filter(|name| !map.contains(&format!("`{name}`")))
        .map(|name| format!("ARCHITECTURE.md does not say what crate `{name}` is for"))
        .collect()
}

/// The glossary has the terms, in alphabetical order, each with its meaning.
fn glossary(tree: &Tree) -> Vec<String> {
    let Some(text) = tree.file("docs/GLOSSARY.md") else { return vec!["docs/GLOSSARY.md is missing".to_owned()] };
    let entries: Vec<(&str, &str)> =
        text.lines().filter_map(|line| line.strip_prefix("- **")?.split_once("**: ")).collect();
    let mut wrong = Vec::new();
    for pair in entries.windows(2) {
        if let [(before, _), (after, _)] = pair
            && before.to_lowercase() >= after.to_lowercase()
        {
            wrong.push(format!("docs/GLOSSARY.md: {after} stands after {before}"));
        }
    }
    for term in
        TERMS.iter().filter(|term| !entries.iter().any(|(known, meaning)| known == *term && !meaning.is_empty()))
    {
        wrong.push(format!("docs/GLOSSARY.md does not say what {term:?} means here"));
    }
    wrong
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_must_lead_somewhere() {
        let source =
            ("crates/x/src/a.rs", "//! See docs/formats/log.md, ADR-2 and INC-1; example.com/docs/x.md is not ours.\n");
        assert_eq!(references(&Tree::of(&[source])).len(), 3);
        let there = [source, ("docs/formats/log.md", ""), ("docs/adr/0002-x.md", ""), ("docs/incidents/INC-1.md", "")];
        assert!(references(&Tree::of(&there)).is_empty());
        let wrong = [source, ("docs/formats/log.md", ""), ("docs/adr/0020-x.md", ""), ("docs/incidents/INC-12.md", "")];
        assert_eq!(references(&Tree::of(&wrong)).len(), 2);
    }

    #[test]
    fn the_glossary_is_sorted_and_whole() {
        let all: String = TERMS.iter().flat_map(|term| ["- **", term, "**: meaning\n"]).collect();
        assert!(glossary(&Tree::of(&[("docs/GLOSSARY.md", &all)])).is_empty());
        let found = glossary(&Tree::of(&[("docs/GLOSSARY.md", "- **b**: x\n- **a**: y\n")]));
        assert!(found.len() == TERMS.len() + 1 && found[0].contains("a stands after b"), "{found:?}");
    }
}

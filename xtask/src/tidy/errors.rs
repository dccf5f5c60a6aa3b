//! Error codes: each is written down once in the code, has its number's form, and stands in the error reference.

use super::tree::Tree;
use std::collections::BTreeMap;

/// Where the pages of all codes are, generated from the program.
const REFERENCE: &str = "docs/guide/reference/errors.md";

pub(super) fn check(tree: &Tree) -> Vec<String> {
    let mut wrong = Vec::new();
    let reference = tree.file(REFERENCE).unwrap_or_default();
    let mut seen: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for (path, text) in tree.rust().filter(|(path, _)| path.starts_with("crates/") && is_product(path)) {
        for (number, line) in (1..).zip(text.lines()) {
            // The literal itself, not prose about it, and not the arm of a match that looks for another crate's code.
            let is_defined =
                |code: &&str| line.contains(&format!("\"{code}\"")) && !line.contains(&format!("\"{code}\" =>"));
            for code in codes(line).filter(is_defined) {
                seen.entry(code).or_default().push(format!("{path}:{number}"));
            }
        }
    }
    for (code, places) in &seen {
        let crates: std::collections::BTreeSet<&str> =
            places.iter().filter_map(|place| place.split('/').nth(1)).collect();
        if crates.len() > 1 && !code.starts_with("BL-TEST-") {
            wrong.push(format!("{code} is used by two crates: {}", places.join(", ")));
        }
        if !code.starts_with("BL-TEST-") && !reference.contains(&format!("## {code}: ")) {
            let place = places.first().map_or("", String::as_str);
            wrong.push(format!(
                "{code} ({place}) has no page in {REFERENCE}: add one to its crate's PAGES, then cargo xtask gen"
            ));
        }
    }
    wrong
}

/// Whether a source is part of the product, not a test of it.
fn is_product(path: &str) -> bool {
    path.contains("/src/") && !path.contains("/tests/") && !path.ends_with("tests.rs")
}

/// The codes in a line: `BL-`, capitals, `-`, three digits.
fn codes(line: &str) -> impl Iterator<Item = &str> {
    line.match_indices("BL-").filter_map(|(start, _)| {
        let rest = line.get(start..)?;
        let end =
            rest.find(|c: char| !(c.is_ascii_uppercase() || c.is_ascii_digit() || c == '-')).unwrap_or(rest.len());
        let code = rest.get(..end)?;
        let (family, number) = code.strip_prefix("BL-")?.rsplit_once('-')?;
        (!family.is_empty() && number.len() == 3 && number.bytes().all(|b| b.is_ascii_digit())).then_some(code)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_need_a_page_and_one_owner() {
        let reference = (REFERENCE, "## BL-STORE-001: Title\n");
        let fine = ("crates/store/src/error.rs", "//! E.\nCode(\"BL-STORE-001\")\n// as BL-RAFT-009 says\n");
        assert!(check(&Tree::of(&[reference, fine])).is_empty());
        let other = ("crates/raft/src/error.rs", "//! E.\nCode(\"BL-STORE-001\"), Code(\"BL-RAFT-001\")\n");
        let found = check(&Tree::of(&[reference, fine, other]));
        assert!(found.iter().any(|text| text.contains("two crates")), "{found:?}");
        assert!(found.iter().any(|text| text.contains("BL-RAFT-001") && text.contains("no page")), "{found:?}");
    }

    #[test]
    fn codes_are_found_by_their_form() {
        assert_eq!(codes("BL-A-001 BL-001 BL-AB-12 `BL-SQL-012`").collect::<Vec<_>>(), ["BL-A-001", "BL-SQL-012"]);
    }
}

//! `cargo xtask tidy`: the house rules that no compiler checks. Each rule looks at the text of the repository and says
//! what is wrong and what to do; none has exceptions by name.
#![expect(clippy::print_stderr, reason = "a developer's command: its output is its product")]

mod documents;
mod errors;
mod files;
mod rings;
mod tree;

use crate::process::{exit, root};
use std::process::ExitCode;
use tree::Tree;

/// Looks at the tree and says what is wrong, one finding a line.
type Rule = fn(&Tree) -> Vec<String>;

pub(crate) fn main() -> ExitCode {
    exit(check())
}

/// Whether every rule holds. What is wrong is said on standard error.
pub(crate) fn check() -> bool {
    let tree = match Tree::read(&root()) {
        Ok(tree) => tree,
        Err(error) => {
            eprintln!("the repository cannot be read: {error}");
            return false;
        }
    };
    let rules: [(&str, Rule); 4] =
        [("rings", rings::check), ("files", files::check), ("errors", errors::check), ("documents", documents::check)];
    let mut wrong = 0;
    for (name, rule) in rules {
        for finding in rule(&tree) {
            eprintln!("tidy {name}: {finding}");
            wrong += 1;
        }
    }
    if wrong == 0 {
        eprintln!("tidy: {} files keep the house rules", tree.files().len());
    } else {
        eprintln!("tidy: {wrong} to mend");
    }
    wrong == 0
}

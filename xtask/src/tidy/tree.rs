//! The files of the repository that git knows, as text.
#![expect(clippy::disallowed_methods, reason = "a developer's command on the real machine")]

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::process::Command;

/// The texts by path from the root, with `/` between its parts.
pub(crate) struct Tree(BTreeMap<String, String>);

impl Tree {
    /// Reads all files that git tracks or would track; those that are not UTF-8 are left out.
    pub(crate) fn read(root: &Path) -> io::Result<Self> {
        let listed = Command::new("git")
            .args(["ls-files", "--cached", "--others", "--exclude-standard", "-z"])
            .current_dir(root)
            .output()?;
        if !listed.status.success() {
            return Err(io::Error::other(String::from_utf8_lossy(&listed.stderr).into_owned()));
        }
        let names = String::from_utf8_lossy(&listed.stdout).into_owned();
        let texts = names.split('\0').filter(|name| !name.is_empty()).filter_map(|name| {
            // A file that is deleted and not yet committed so is none.
            let text = String::from_utf8(std::fs::read(root.join(name)).ok()?).ok()?;
            Some((name.to_owned(), text))
        });
        Ok(Self(texts.collect()))
    }

    /// A tree of the given files.
    #[cfg(test)]
    pub(crate) fn of(files: &[(&str, &str)]) -> Self {
        Self(files.iter().map(|(path, text)| ((*path).to_owned(), (*text).to_owned())).collect())
    }

    /// All files by path.
    pub(crate) fn files(&self) -> &BTreeMap<String, String> {
        &self.0
    }

    /// One file.
    pub(crate) fn file(&self, path: &str) -> Option<&str> {
        self.0.get(path).map(String::as_str)
    }

    /// The Rust sources.
    pub(crate) fn rust(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0
            .iter()
            .filter(|(path, _)| has_extension(path, &["rs"]))
            .map(|(path, text)| (path.as_str(), text.as_str()))
    }

    /// Whether a file of that path is there.
    pub(crate) fn has(&self, path: &str) -> bool {
        self.0.contains_key(path)
    }
}

/// Whether a path ends with one of these extensions.
pub(crate) fn has_extension(path: &str, extensions: &[&str]) -> bool {
    Path::new(path).extension().is_some_and(|found| extensions.iter().any(|extension| found == *extension))
}

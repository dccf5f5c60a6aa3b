//! Printing: data on standard output in the format that was asked for, talk on standard error.

use super::args::Format;
use super::failure::{self, Failure};
use crate::text::style::{Style, Tone};
use crate::text::table::{Shown, Table};
use crate::text::yaml;
use serde::Serialize;
use std::io::{IsTerminal, Write};

/// Where a command's words go.
#[derive(Debug, Clone, Copy)]
pub(super) struct Output {
    format: Option<Format>,
    stdout_terminal: bool,
    stdout_style: Style,
    stderr_style: Style,
}

/// The shape of standard output: the format that was asked for, or what fits the other end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    Table(Shown),
    Tsv,
    Json,
    Yaml,
    Name,
}

impl Output {
    pub(super) fn new(format: Option<Format>) -> Self {
        Self {
            format,
            stdout_terminal: std::io::stdout().is_terminal(),
            stdout_style: Style::of(&std::io::stdout()),
            stderr_style: Style::of(&std::io::stderr()),
        }
    }

    pub(super) fn shape(self) -> Shape {
        match self.format {
            Some(Format::Table) => Shape::Table(Shown::Always),
            Some(Format::Wide) => Shape::Table(Shown::Wide),
            Some(Format::Json) => Shape::Json,
            Some(Format::Yaml) => Shape::Yaml,
            Some(Format::Name) => Shape::Name,
            None if self.stdout_terminal => Shape::Table(Shown::Always),
            None => Shape::Tsv,
        }
    }

    /// The format that was asked for.
    pub(super) fn asked(self) -> Option<Format> {
        self.format
    }

    /// The colours of standard output.
    pub(super) fn style(self) -> Style {
        self.stdout_style
    }

    /// The colours of standard error.
    pub(super) fn talk_style(self) -> Style {
        self.stderr_style
    }

    /// A list: its rows for people and pipes, the items for programs, their names.
    pub(super) fn list<T: Serialize>(
        self,
        items: &[T],
        table: impl FnOnce() -> Table,
        name: impl Fn(&T) -> String,
    ) -> Result<(), Failure> {
        match self.shape() {
            Shape::Table(shown) => data(&table().columns(shown, self.stdout_style)),
            Shape::Tsv => data(&table().tsv()),
            Shape::Name => data(&items.iter().map(|item| name(item) + "\n").collect::<String>()),
            Shape::Json | Shape::Yaml => self.document(&items),
        }
    }

    /// The outcome of one operation: a sentence for people, a value for programs, its name.
    pub(super) fn outcome<T: Serialize>(self, value: &T, name: &str, sentence: &str) -> Result<(), Failure> {
        match self.shape() {
            Shape::Table(_) | Shape::Tsv => data(&format!("{sentence}\n")),
            Shape::Name => data(&format!("{name}\n")),
            Shape::Json | Shape::Yaml => self.document(value),
        }
    }

    fn document<T: Serialize>(self, value: &T) -> Result<(), Failure> {
        let value = serde_json::to_value(value).map_err(|e| failure::unprintable(&e))?;
        if self.shape() == Shape::Yaml {
            return data(&yaml::to_string(&value));
        }
        let text = serde_json::to_string_pretty(&value).map_err(|e| failure::unprintable(&e))?;
        data(&(text + "\n"))
    }

    /// What to do next: talk, and none at all when a program reads.
    pub(super) fn next(self, command: &str, what: &str) {
        if matches!(self.shape(), Shape::Table(_)) {
            talk(&next_line(command, what, self.stderr_style));
        }
    }
}

/// `  Next   COMMAND    WHAT`.
fn next_line(command: &str, what: &str, style: Style) -> String {
    format!("  {}   {command:<34}   {what}\n", style.paint(Tone::Strong, "Next")).replace(" \n", "\n")
}

/// Writes to standard output. A reader that has gone ends the command quietly, as it does for `cat`.
pub(super) fn data(text: &str) -> Result<(), Failure> {
    bytes(text.as_bytes())
}

/// As [`data`], for what is not text.
pub(super) fn bytes(data: &[u8]) -> Result<(), Failure> {
    let mut stdout = std::io::stdout().lock();
    stdout.write_all(data).and_then(|()| stdout.flush()).map_err(|error| Failure::from_stdout(&error))
}

/// Writes to standard error. If that is closed nobody wants to know.
pub(super) fn talk(text: &str) {
    let mut stderr = std::io::stderr().lock();
    if stderr.write_all(text.as_bytes()).and_then(|()| stderr.flush()).is_err() {
        tracing::debug!("standard error is closed");
    }
}

/// How the user started this program: `bowline` if it is found so, else the path that works from here.
pub(super) fn program() -> String {
    let Ok(me) = std::env::current_exe() else { return "bowline".to_owned() };
    let on_path = std::env::var_os("PATH").is_some_and(|path| {
        std::env::split_paths(&path).map(|dir| dir.join("bowline")).find(|file| rt::fs::exists(file)).is_some_and(
            |file| {
                file == me
                    || std::path::Path::new(&file)
                        .canonicalize()
                        .is_ok_and(|file| Ok(file) == me.canonicalize().map_err(drop))
            },
        )
    });
    if on_path {
        return "bowline".to_owned();
    }
    let relative =
        std::env::current_dir().ok().and_then(|dir| me.strip_prefix(dir).ok().map(std::path::Path::to_owned));
    shell_word(&relative.unwrap_or(me).to_string_lossy())
}

/// Quotes a word for a POSIX shell if it needs that.
pub(super) fn shell_word(word: &str) -> String {
    let safe = |c: char| c.is_ascii_alphanumeric() || "/._-:=@%+,".contains(c);
    if !word.is_empty() && word.chars().all(safe) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_quoted_only_when_a_shell_would_split_them() {
        assert_eq!(shell_word("/tmp/x-1/control.sock"), "/tmp/x-1/control.sock");
        assert_eq!(shell_word("/tmp/my dir"), "'/tmp/my dir'");
        assert_eq!(shell_word("it's"), r"'it'\''s'");
        assert_eq!(shell_word(""), "''");
    }
}

//! Running other programs and saying what they did.
#![expect(clippy::print_stderr, reason = "a developer's command: its output is its product")]

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

/// The root of the repository.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().map_or_else(|| PathBuf::from("."), Path::to_path_buf)
}

/// Cargo, as it called this program.
pub(crate) fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root());
    command
}

/// Whether `cargo NAME --version` works: a plugin or component is there.
pub(crate) fn has_cargo(name: &str) -> bool {
    quietly(cargo().args([name, "--version"]))
}

/// Whether a program ends well, with its output thrown away.
pub(crate) fn quietly(command: &mut Command) -> bool {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

/// The command as one would type it.
pub(crate) fn line(command: &Command) -> String {
    let program = Path::new(command.get_program()).file_name().unwrap_or_default();
    let words = std::iter::once(program).chain(command.get_args());
    words.map(OsStr::to_string_lossy).collect::<Vec<_>>().join(" ")
}

/// Runs a command before the user's eyes.
pub(crate) fn run(command: &mut Command) -> bool {
    eprintln!("$ {}", line(command));
    match command.status() {
        Ok(status) => status.success(),
        Err(error) => {
            eprintln!("{}: {error}", line(command));
            false
        }
    }
}

/// Runs a command before the user's eyes, and hands each line, without colours, to `seen`. The command writes to one pipe:
/// its standard output and standard error come in the order in which they were written.
pub(crate) fn run_watched(command: &mut Command, mut seen: impl FnMut(&str)) -> bool {
    eprintln!("$ {}", line(command));
    let started = std::io::pipe().and_then(|(reader, writer)| {
        let child = command.stdin(Stdio::null()).stdout(writer.try_clone()?).stderr(writer).spawn()?;
        Ok((reader, child))
    });
    // The pipe ends when its last writer is gone: the command still holds two of them.
    command.stdout(Stdio::null()).stderr(Stdio::null());
    match started {
        Ok((reader, mut child)) => {
            watch(reader, &mut seen);
            child.wait().is_ok_and(|status| status.success())
        }
        Err(error) => {
            eprintln!("{}: {error}", line(command));
            false
        }
    }
}

fn watch(reader: impl Read, seen: &mut impl FnMut(&str)) {
    let mut reader = BufReader::new(reader);
    let mut bytes = Vec::new();
    while reader.read_until(b'\n', &mut bytes).is_ok_and(|count| count > 0) {
        let text = String::from_utf8_lossy(&bytes);
        eprint!("{text}");
        seen(&without_colours(text.trim_end()));
        bytes.clear();
    }
}

/// The text without ANSI escapes.
fn without_colours(text: &str) -> String {
    let mut plain = String::new();
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        if c == '\x1b' {
            // An escape of the kind that colours ends with a letter.
            chars.by_ref().find(char::is_ascii_alphabetic);
        } else {
            plain.push(c);
        }
    }
    plain
}

/// Exit code of a yes or no.
pub(crate) fn exit(well: bool) -> ExitCode {
    if well { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_are_taken_out() {
        assert_eq!(without_colours("\x1b[1;32mok\x1b[0m 3"), "ok 3");
        assert_eq!(without_colours("bare"), "bare");
        assert_eq!(without_colours("cut \x1b["), "cut ");
    }
}

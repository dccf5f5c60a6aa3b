//! How a command ends when it cannot do what was asked: a code, a cause, the next command, and an exit code.

use super::output::{Output, Shape, talk};
use crate::text::style::{Style, Tone};
use api::control::{ClientError, Problem, ProblemKind};
use base::{Code, ErrorPage};
use std::io;
use std::process::ExitCode;

/// Why a command ends early.
#[derive(Debug)]
pub(super) enum Failure {
    /// With something to tell.
    Problem(Box<Problem>),
    /// Everything was said already: only the exit code is left.
    Said(u8),
}

impl From<Problem> for Failure {
    fn from(problem: Problem) -> Self {
        Self::Problem(Box::new(problem))
    }
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        error.into_problem().into()
    }
}

impl Failure {
    /// A failed write to standard output. Nobody reads any more is not worth a word.
    pub(super) fn from_stdout(error: &io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe {
            Self::Said(0)
        } else {
            io(&FILE, "standard output", error).into()
        }
    }

    /// The same, with the place where it happened before the message.
    pub(super) fn at(self, place: &str) -> Self {
        match self {
            Self::Problem(problem) => {
                let message = format!("{place}: {}", problem.message);
                Self::Problem(Box::new(Problem { message, ..*problem }))
            }
            said @ Self::Said(_) => said,
        }
    }

    /// Tells it on standard error and gives the exit code.
    pub(super) fn report(self, output: Output) -> ExitCode {
        match self {
            Self::Said(code) => ExitCode::from(code),
            Self::Problem(problem) => {
                talk(&match output.shape() {
                    Shape::Json => serde_json::to_string(&problem).unwrap_or_default() + "\n",
                    _ => render(&problem, output.talk_style()),
                });
                ExitCode::from(problem.kind.exit_code())
            }
        }
    }
}

/// The three lines of a problem.
pub(super) fn render(problem: &Problem, style: Style) -> String {
    let mut text =
        format!("{} {}\n", style.paint(Tone::Bad, &format!("error {}:", problem.code)), problem.message.trim_end());
    for (label, what) in [("cause", problem.cause.as_deref()), ("next", Some(problem.next.as_str()))] {
        let Some(what) = what.filter(|what| !what.is_empty()) else { continue };
        let label = style.paint(Tone::Strong, &format!("{label:>7}"));
        let what = what.replace('\n', "\n         ");
        text.extend([&label, "  ", &what, "\n"]);
    }
    text
}

/// Help and version are no failures; everything else that clap says is wrong usage.
pub(super) fn usage(error: &clap::Error) -> ExitCode {
    let printed = error.print();
    let code = u8::try_from(error.exit_code()).unwrap_or(2);
    if printed.is_err() {
        tracing::debug!("nobody reads the usage");
    }
    ExitCode::from(code)
}

/// Wrong usage that only the command itself can see.
pub(super) fn misuse(message: impl Into<String>, cause: &str, next: impl Into<String>) -> Failure {
    let problem = Problem::new(&MISUSE, ProblemKind::Refused, message).because(cause).next(next);
    talk(&render(&problem, Style::of(&io::stderr())));
    Failure::Said(2)
}

/// Trouble with the operating system; `what` names the file or thing.
pub(super) fn io(page: &ErrorPage, what: &str, error: &io::Error) -> Problem {
    Problem::new(page, ProblemKind::Refused, format!("{what}: {}", crate::human::io(error)))
}

/// A value of ours that cannot be written as JSON.
pub(super) fn unprintable(error: &serde_json::Error) -> Failure {
    Problem::new(&UNPRINTABLE, ProblemKind::Internal, "the answer cannot be printed").because(error.to_string()).into()
}

pub(super) const MISUSE: ErrorPage = ErrorPage {
    code: Code("BL-CLI-001"),
    title: "The command was used in a way it does not know",
    cause: "Arguments are missing, too many, or exclude each other.",
    next: "bowline COMMAND --help",
};
pub(super) const FILE: ErrorPage = ErrorPage {
    code: Code("BL-CLI-002"),
    title: "A file cannot be read or written",
    cause: "The operating system refused it: the path, the permissions or the space on the disk.",
    next: "ls -ld PATH and df PATH show the permissions and the space",
};
pub(super) const FILE_EXISTS: ErrorPage = ErrorPage {
    code: Code("BL-CLI-003"),
    title: "Refused: the file is there already",
    cause: "Writing would replace a file, which may be the only copy of something.",
    next: "choose another name, or repeat with --force",
};
pub(super) const NOT_CONFIRMED: ErrorPage = ErrorPage {
    code: Code("BL-CLI-004"),
    title: "Refused: it cannot be undone and was not confirmed",
    cause: "The command removes a database, or machines from their cluster, and nobody at a terminal confirmed it by typing the name.",
    next: "repeat with --yes; before `db drop`, `bowline db export NAME` keeps a copy",
};
pub(super) const DAEMON_FAILED: ErrorPage = ErrorPage {
    code: Code("BL-CLI-005"),
    title: "The daemon did not start",
    cause: "It ended before it answered on its control socket. The end of its log says why.",
    next: "`bowline start` runs it in the foreground, where it says what is wrong",
};
pub(super) const NO_THREADS: ErrorPage = ErrorPage {
    code: Code("BL-CLI-006"),
    title: "The operating system gave no threads or signals",
    cause: "A limit of the user or of the machine is reached.",
    next: "`ulimit -a` shows the limits",
};
pub(super) const UNPRINTABLE: ErrorPage = ErrorPage {
    code: Code("BL-CLI-007"),
    title: "An answer could not be printed",
    cause: "This is a defect of the program.",
    next: "repeat without -o, and report the command that did this",
};
pub(super) const NO_CONTEXT: ErrorPage = ErrorPage {
    code: Code("BL-CLI-012"),
    title: "There is no such context",
    cause: "A context keeps the token for a cluster that is asked from afar, under a name that is known on this machine only.",
    next: "`bowline context list` shows the contexts; `bowline context add NAME TOKEN` adds one",
};
pub(super) const UNKNOWN_CODE: ErrorPage = ErrorPage {
    code: Code("BL-CLI-008"),
    title: "There is no error code of that name, and no node",
    cause: "It was mistyped, or it belongs to another version or cluster.",
    next: "`bowline explain` lists all codes, `bowline member list` the nodes",
};
pub(super) const DEV_FAILED: ErrorPage = ErrorPage {
    code: Code("BL-CLI-009"),
    title: "A node of the throw-away cluster stopped by itself",
    cause: "The message says which and why. All nodes were stopped and their directory was removed.",
    next: "`bowline dev --log info` shows what the nodes do",
};
pub(super) const NO_TERMINAL_SESSION: ErrorPage = ErrorPage {
    code: Code("BL-CLI-010"),
    title: "The daemon could not leave the terminal's session",
    cause: "--background is for `init` and `join`; a service manager or a shell runs `bowline start` without it.",
    next: "bowline start",
};

pub(super) const DAMAGED: ErrorPage = ErrorPage {
    code: Code("BL-CLI-011"),
    title: "A copy of a database is damaged",
    cause: "SQLite's integrity_check found pages of this machine's copy that do not fit together, or the disk changed one.",
    next: "A page that the disk has changed comes back from another machine by itself: check again in a few seconds, and look at the \
           disk. If the finding stays, `bowline db check NAME` on another machine tells whether its copy is whole; `bowline db export \
           NAME` there saves it",
};

/// The pages of the command line's own codes.
pub(super) const PAGES: &[ErrorPage] = &[
    MISUSE,
    FILE,
    FILE_EXISTS,
    NOT_CONFIRMED,
    DAEMON_FAILED,
    NO_THREADS,
    UNPRINTABLE,
    UNKNOWN_CODE,
    NO_CONTEXT,
    DEV_FAILED,
    NO_TERMINAL_SESSION,
    DAMAGED,
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_has_a_code_a_cause_and_a_next_step() {
        let problem = Problem::new(&FILE_EXISTS, ProblemKind::Unsafe, "shop.db is there already");
        insta::assert_snapshot!(render(&problem, Style::Plain));
        insta::assert_snapshot!(render(&problem, Style::Ansi).replace('\x1b', "^["));
    }
}

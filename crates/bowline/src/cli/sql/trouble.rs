//! What goes wrong when one talks SQL, and how it is told.

use crate::human::io as human_io;
use api::control::{NO_HOST, Problem, ProblemKind};
use base::{Code, ErrorPage};
use dqlite::FailureCode;
use std::time::Duration;

/// Why a statement has no result.
#[derive(Debug, thiserror::Error)]
pub(super) enum Trouble {
    /// The server said no.
    #[error("{message}")]
    Refused {
        /// The code.
        code: FailureCode,
        /// The server's words.
        message: String,
    },
    /// No connection.
    #[error("no answer at {endpoint}: {}", human_io(source))]
    Unreachable {
        /// Where.
        endpoint: String,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// The conversation broke off.
    #[error("the conversation broke off: {what}")]
    Broken {
        /// What was seen.
        what: String,
    },
    /// The same while a change or a transaction was on its way.
    #[error("the conversation broke off: {what}")]
    Unknown {
        /// What was seen.
        what: String,
    },
    /// The user pressed Ctrl-C, or the statement's deadline came.
    #[error("interrupted")]
    Interrupted,
    /// Nobody takes the rows: standard output is closed or full.
    #[error("the rows cannot be written: {}", human_io(source))]
    Sink {
        /// What the operating system said.
        source: std::io::Error,
    },
    /// The cluster that is asked over HTTPS does not open a session.
    #[error("{}", .0.message)]
    Api(Box<Problem>),
    /// No member leads.
    #[error("no member leads the databases, after {} s", after.as_secs())]
    NoLeader {
        /// How long was waited.
        after: Duration,
    },
    /// Nothing is open to send a statement to.
    #[error("no database is open")]
    NotOpen,
}

impl Trouble {
    pub(super) fn broken(error: &dyn std::error::Error) -> Self {
        Self::Broken { what: error.to_string() }
    }

    /// Whether the same statement may be sent again elsewhere: the server has not run it.
    pub(super) fn is_for_another_leader(&self) -> bool {
        match self {
            Self::Refused { code, .. } => {
                matches!(*code, FailureCode::NOT_LEADER | FailureCode::NOT_LEADER_OLD)
            }
            Self::Unreachable { .. } => true,
            Self::Api(problem) => problem.kind == ProblemKind::NotReady,
            _ => false,
        }
    }

    /// Whether there is nobody to ask: no use in waiting for an election.
    pub(super) fn is_alone(&self) -> bool {
        match self {
            Self::Unreachable { .. } => true,
            Self::Api(problem) => problem.code == NO_HOST.code.0,
            _ => false,
        }
    }

    /// Whether the connection is of no use any more.
    pub(super) fn ends_connection(&self) -> bool {
        match self {
            Self::Refused { code, .. } => code.asks_for_another_leader(),
            Self::Interrupted | Self::NotOpen | Self::Sink { .. } => false,
            _ => true,
        }
    }

    /// The one shape for people.
    pub(super) fn to_problem(&self) -> Problem {
        let (page, kind) = match self {
            Self::Api(problem) => return Problem::clone(problem),
            Self::Refused { code, .. } => match *code {
                FailureCode::NOT_LEADER | FailureCode::NOT_LEADER_OLD => (&NO_LEADER, ProblemKind::NotReady),
                FailureCode::LEADERSHIP_LOST | FailureCode::LEADERSHIP_LOST_OLD => (&UNKNOWN, ProblemKind::TimedOut),
                FailureCode::AUTH => (&FORBIDDEN, ProblemKind::Refused),
                FailureCode::FULL => (&FULL, ProblemKind::Refused),
                FailureCode::BUSY_SNAPSHOT => (&STALE, ProblemKind::NotReady),
                code if code.primary() == 5 => (&BUSY, ProblemKind::NotReady),
                code if code.primary() == 9 => (&INTERRUPTED, ProblemKind::Refused),
                code if code.primary() == 19 => (&CONSTRAINT, ProblemKind::Conflict),
                code if code.primary() == 11 => (&CORRUPT, ProblemKind::Corrupt),
                _ => (&STATEMENT, ProblemKind::Refused),
            },
            Self::Unreachable { .. } | Self::Broken { .. } => (&UNREACHABLE, ProblemKind::NotReady),
            Self::Unknown { .. } => (&UNKNOWN, ProblemKind::TimedOut),
            Self::Interrupted => (&INTERRUPTED, ProblemKind::Refused),
            Self::NoLeader { .. } => (&NO_LEADER, ProblemKind::NotReady),
            Self::Sink { .. } => (&crate::cli::failure::FILE, ProblemKind::Refused),
            Self::NotOpen => (&NOT_OPEN, ProblemKind::Refused),
        };
        let told = Problem::new(page, kind, self.to_string());
        let Self::Refused { message, .. } = self else { return told };
        // A server of ours may name the page that fits best, behind its message.
        let named = crate::cli::explain::all_pages().into_iter().find_map(|page| {
            let text = message.strip_suffix(']')?.strip_suffix(page.code.0)?.strip_suffix(" [")?;
            Some(Problem::new(&page, kind, text))
        });
        named.unwrap_or(told)
    }
}

const STATEMENT: ErrorPage = ErrorPage {
    code: Code("BL-SHELL-001"),
    title: "The statement cannot be run",
    cause: "The database does not understand it, or it names a table or column that does not exist.",
    next: ".tables lists the tables, .schema TABLE shows one; the language is SQLite's",
};
const BUSY: ErrorPage = ErrorPage {
    code: Code("BL-SHELL-002"),
    title: "Another transaction holds the database",
    cause: "Writers wait for one another in a queue; this one waited until its deadline.",
    next: "try again; look for a transaction that was begun and not ended",
};
const STALE: ErrorPage = ErrorPage {
    code: Code("BL-SHELL-003"),
    title: "The transaction has read what has changed since",
    cause: "It began with a read, somebody else committed, and now it wants to write.",
    next: "rollback, and start with `begin immediate`",
};
const UNKNOWN: ErrorPage = ErrorPage {
    code: Code("BL-SHELL-004"),
    title: "Whether the change was made is not known",
    cause: "The leader was lost after the statement was sent and before it was answered.",
    next: "look with a select whether it is there; repeat it only if it is not",
};
const INTERRUPTED: ErrorPage = ErrorPage {
    code: Code("BL-SHELL-005"),
    title: "The statement was interrupted",
    cause: "Ctrl-C, or the deadline of the statement. A change that it had begun was rolled back.",
    next: "run it again, perhaps with a smaller part of the data",
};
const FORBIDDEN: ErrorPage = ErrorPage {
    code: Code("BL-SHELL-006"),
    title: "The statement is not allowed here",
    cause: "It would attach a file, or change how the database is stored, which the cluster decides.",
    next: "leave the statement out; every commit is durable and replicated without it",
};
const FULL: ErrorPage = ErrorPage {
    code: Code("BL-SHELL-007"),
    title: "There is no room for this change",
    cause: "The disk, the database or the transaction would grow over its limit. Nothing was changed.",
    next: "`bowline status` shows the sizes; smaller transactions need less room",
};
const CONSTRAINT: ErrorPage = ErrorPage {
    code: Code("BL-SHELL-008"),
    title: "The change breaks a rule of the table",
    cause: "A unique, not-null, check or foreign-key rule refuses it. Nothing was changed.",
    next: ".schema TABLE shows the rules",
};
const CORRUPT: ErrorPage = ErrorPage {
    code: Code("BL-SHELL-009"),
    title: "A stored page failed its check",
    cause: "The disk of this member gave back other bytes than were written. They were not returned.",
    next: "`bowline status` shows the members; the page is fetched from another one",
};
const UNREACHABLE: ErrorPage = ErrorPage {
    code: Code("BL-SHELL-010"),
    title: "The database server does not answer",
    cause: "The daemon of this machine or the leader does not run, or the network between them is cut.",
    next: "`bowline status` shows who is there; `bowline start` runs the daemon",
};
const NO_LEADER: ErrorPage = ErrorPage {
    code: Code("BL-SHELL-011"),
    title: "No member leads the databases",
    cause: "An election takes a moment; it cannot end while fewer than a majority of the voters are up.",
    next: "`bowline node list` shows which voters are missing",
};
const NOT_OPEN: ErrorPage = ErrorPage {
    code: Code("BL-SHELL-012"),
    title: "No database is open",
    cause: "The shell was started without the name of one.",
    next: ".open NAME opens one, .databases lists them",
};

/// The pages of these codes.
pub(in crate::cli) const PAGES: &[ErrorPage] = &[
    STATEMENT,
    BUSY,
    STALE,
    UNKNOWN,
    INTERRUPTED,
    FORBIDDEN,
    FULL,
    CONSTRAINT,
    CORRUPT,
    UNREACHABLE,
    NO_LEADER,
    NOT_OPEN,
];

//! The one shape in which the control API says that something went wrong.

use base::{Code, Disposition, ErrorPage, Fault};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::time::Duration;

/// What sort of trouble it is. HTTP status and exit code derive from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ProblemKind {
    /// Not now: the node is starting, stopping, or has no leader. The same request may work later.
    NotReady,
    /// The request is wrong, or forbidden for good.
    Refused,
    /// Nobody knows who asks.
    Unauthenticated,
    /// Who asks is known, and may not.
    Forbidden,
    /// The request has more bytes than one may have.
    TooLarge,
    /// It would lose data or availability, and the confirmation for that was not given.
    Unsafe,
    /// What was asked for is not there.
    NotFound,
    /// It was there, and is not kept any more.
    Gone,
    /// It is there already, or in a state that excludes the request.
    Conflict,
    /// No answer came in time. A change that was asked for may have happened or not.
    TimedOut,
    /// Stored data failed its check and was not returned.
    Corrupt,
    /// The product broke its own rule.
    Internal,
}

impl ProblemKind {
    /// The HTTP status it travels with.
    pub const fn http_status(self) -> u16 {
        match self {
            Self::NotReady => 503,
            Self::Refused => 400,
            Self::Unauthenticated => 401,
            Self::Forbidden => 403,
            Self::TooLarge => 413,
            Self::Unsafe => 412,
            Self::NotFound => 404,
            Self::Gone => 410,
            Self::Conflict => 409,
            Self::TimedOut => 504,
            Self::Corrupt | Self::Internal => 500,
        }
    }

    /// The exit code of a command that ends with it.
    pub const fn exit_code(self) -> u8 {
        match self {
            Self::NotReady => 3,
            Self::Unsafe => 4,
            Self::TimedOut => 5,
            Self::Refused
            | Self::Unauthenticated
            | Self::Forbidden
            | Self::TooLarge
            | Self::NotFound
            | Self::Gone
            | Self::Conflict
            | Self::Corrupt
            | Self::Internal => 1,
        }
    }
}

impl From<Disposition> for ProblemKind {
    fn from(disposition: Disposition) -> Self {
        match disposition {
            Disposition::Retry { .. } => Self::NotReady,
            Disposition::Unknown => Self::TimedOut,
            Disposition::Refuse => Self::Refused,
            Disposition::Gone => Self::NotFound,
            Disposition::Corrupt => Self::Corrupt,
            Disposition::Bug => Self::Internal,
        }
    }
}

/// An error on its way to a person: a code, what happened, why, and what to do next.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Problem {
    /// The stable code, such as `BL-API-001`.
    pub code: String,
    /// What sort of trouble it is.
    pub kind: ProblemKind,
    /// What happened, in one line.
    pub message: String,
    /// Why, if more is known than the message says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<String>,
    /// The next command or step.
    pub next: String,
    /// When to try again, in milliseconds, if that makes sense.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after_ms: Option<u64>,
}

impl Problem {
    /// A problem told from the page of its code.
    pub fn new(page: &ErrorPage, kind: ProblemKind, message: impl Into<String>) -> Self {
        Self {
            code: page.code.0.to_owned(),
            kind,
            message: message.into(),
            cause: Some(page.cause.to_owned()),
            next: page.next.to_owned(),
            retry_after_ms: None,
        }
    }

    /// What any [`Fault`] looks like to a user. `pages` is the table of the crate that the fault comes from.
    pub fn from_fault(fault: &dyn Fault, pages: &[ErrorPage]) -> Self {
        let code = fault.code();
        let page = pages.iter().find(|page| page.code == code);
        let disposition = fault.disposition();
        Self {
            code: code.0.to_owned(),
            kind: disposition.into(),
            message: fault.to_string(),
            cause: match (page, std::error::Error::source(fault).map(source_chain)) {
                (Some(page), Some(source)) => Some(format!("{} ({source}).", page.cause.trim_end_matches('.'))),
                (page, source) => source.or_else(|| page.map(|page| page.cause.to_owned())),
            },
            next: page.map_or_else(|| format!("bowline explain {code}"), |page| page.next.to_owned()),
            retry_after_ms: match disposition {
                Disposition::Retry { after } => Some(u64::try_from(after.as_millis()).unwrap_or(u64::MAX)),
                _ => None,
            },
        }
    }

    /// The same problem with another kind: a fault that is "refused" in general may be a conflict here.
    #[must_use]
    pub fn kind(self, kind: ProblemKind) -> Self {
        Self { kind, ..self }
    }

    /// The same problem with a cause that knows more than the page.
    #[must_use]
    pub fn because(self, cause: impl Into<String>) -> Self {
        Self { cause: Some(cause.into()), ..self }
    }

    /// The same problem with a next step that knows more than the page.
    #[must_use]
    pub fn next(self, next: impl Into<String>) -> Self {
        Self { next: next.into(), ..self }
    }

    /// The same problem, worth trying again after a while.
    #[must_use]
    pub fn retry_after(self, after: Duration) -> Self {
        Self { retry_after_ms: Some(u64::try_from(after.as_millis()).unwrap_or(u64::MAX)), ..self }
    }
}

/// `a: b: c` of an error and its sources.
fn source_chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text.push_str(": ");
        text.push_str(&error.to_string());
        source = error.source();
    }
    // The number of the operating system's error says nothing that its words do not.
    match text.rfind(" (os error ") {
        Some(number) => text.get(..number).unwrap_or(&text).to_owned(),
        None => text,
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.code, self.message)
    }
}

impl std::error::Error for Problem {}

/// The node is starting or stopping.
pub(crate) const NOT_READY: ErrorPage = ErrorPage {
    code: Code("BL-API-001"),
    title: "The node is not ready",
    cause: "The daemon runs, but units that the request needs are still starting, or are stopping already.",
    next: "`bowline status --units` shows what it waits for",
};

/// Neither `init` nor `join` has happened.
pub(crate) const UNFORMED: ErrorPage = ErrorPage {
    code: Code("BL-API-002"),
    title: "This machine belongs to no cluster yet",
    cause: "The daemon runs, but neither `bowline init` nor `bowline join` has made this machine a member.",
    next: "`bowline init` starts a cluster on this machine; bowline join TOKEN enters one",
};

/// The body or the path of a request makes no sense.
pub(crate) const MALFORMED: ErrorPage = ErrorPage {
    code: Code("BL-API-003"),
    title: "The request cannot be understood",
    cause: "A field is missing, unknown or of the wrong type, or the path does not exist in this version.",
    next: "compare `bowline --version` of the command with `bowline status` of the node",
};

/// Destructive, and not confirmed.
pub(crate) const UNCONFIRMED: ErrorPage = ErrorPage {
    code: Code("BL-API-004"),
    title: "Refused: it would lose something and was not confirmed",
    cause: "Dropping a database removes its file on all members; removing a node takes its copies out of the cluster. There is no undo.",
    next: "`bowline db export NAME FILE` keeps a copy of a database; then repeat with --yes or type the name",
};

/// Too much is asked for at once.
pub(crate) const BUSY: ErrorPage = ErrorPage {
    code: Code("BL-API-009"),
    title: "Too many queries at once",
    cause: "Each query over HTTP holds a version of its database and rows in memory, so a node answers some tens of them at a time; this one \
            has waited for its turn.",
    next: "Try again in a moment. `SELECT`s that run for long are best read on another member, with `read=local`.",
};

/// Nobody has proved who asks.
pub(crate) const UNKNOWN_CLIENT: ErrorPage = ErrorPage {
    code: Code("BL-API-010"),
    title: "The client is not known",
    cause: "Over HTTPS every client proves who it is, with an access token (`Authorization: Bearer ba1....`) or with the certificate of a member.",
    next: "`bowline access add NAME` on a member prints an access token; `bowline context add` keeps it for this user",
};

/// It is known who asks, and that is not enough.
pub(crate) const NOT_ALLOWED: ErrorPage = ErrorPage {
    code: Code("BL-API-011"),
    title: "The client may not do that",
    cause: "A viewer looks, an operator changes databases, an admin decides who belongs to the cluster and who has access.",
    next: "ask an admin of the cluster for another role: `bowline access add NAME --role ROLE`",
};

/// A session was asked for in another way than by an upgrade.
pub(crate) const NO_UPGRADE: ErrorPage = ErrorPage {
    code: Code("BL-API-037"),
    title: "The request does not ask for an upgrade",
    cause: "A session of dqlite's protocol takes the connection over, which the request asks for with `Connection: upgrade` and \
            `Upgrade: dqlite`; a proxy between may have taken them out.",
    next: "`bowline sql NAME --context CONTEXT` does it; single statements go to POST /v1/databases/NAME/query and /execute",
};

/// The member that leads could not be reached by the one that was asked.
pub const LEADER_AWAY: ErrorPage = ErrorPage {
    code: Code("BL-API-038"),
    title: "The member that was asked does not reach the leader",
    cause: "It passes sessions on to the member that leads the databases, over HTTPS. That one has just fallen or is stopping, or a firewall \
            between the two drops its port.",
    next: "try again in a moment; `bowline node list` shows who leads, and the addresses for HTTPS",
};

/// The door takes no more clients.
pub const DOOR_FULL: ErrorPage = ErrorPage {
    code: Code("BL-API-039"),
    title: "Too many sessions at once",
    cause: "A member serves some thousands of sessions at a time, so that its memory and its files are enough for all of them.",
    next: "end sessions that nobody uses, or ask another member with --host HOST:PORT",
};

/// A client began a request and did not end it.
pub(crate) const LATE: ErrorPage = ErrorPage {
    code: Code("BL-API-040"),
    title: "The request did not arrive in time",
    cause: "A request that has begun holds memory and a connection, so a client has half a minute to send it, and one second more for each \
            64 KiB; who sends a file may pause for half a minute.",
    next: "nothing was done: send it again, over a better link, or from a member's own machine",
};

/// The memory for requests is used up.
pub(crate) const CROWDED: ErrorPage = ErrorPage {
    code: Code("BL-API-041"),
    title: "Too many large requests at once",
    cause: "Requests of more than 64 KiB share 128 MiB of a node's memory until they are answered; this one has waited for its share.",
    next: "nothing was done: try again in a moment, or send large requests one after another",
};

/// The pages of the codes of this crate.
pub const PAGES: &[ErrorPage] = &[
    NOT_READY,
    UNFORMED,
    MALFORMED,
    UNCONFIRMED,
    BUSY,
    LATE,
    CROWDED,
    UNKNOWN_CLIENT,
    NOT_ALLOWED,
    super::resources::NO_KIND,
    super::resources::NO_RESOURCE,
    super::resources::CHANGED,
    super::resources::NOT_SETTABLE,
    super::resources::ANOTHER_WAY,
    super::client::NO_HOST,
    super::client::UNREACHABLE,
    super::client::FORBIDDEN,
    super::client::BROKEN,
    super::client::DEADLINE,
    crate::microcluster::UNANSWERED,
    crate::microcluster::CONFIG,
    crate::microcluster::TOKEN_OPEN,
    crate::microcluster::TOKEN_TIME,
    crate::microcluster::ADDRESS,
    crate::dqlite::READS_ONLY,
    crate::microcluster::NO_TOKEN,
    NO_UPGRADE,
    LEADER_AWAY,
    DOOR_FULL,
];

//! Resources over HTTP: what there is in `sys`, with what is wanted and what is observed, and how it changes.

mod routes;
mod types;
mod watch;

pub(super) use routes::{changes, looks};
pub use types::{
    ChangeInfo, ColumnInfo, KindInfo, ResourceInfo, ResourcePage, ResourcePatch, ResourceRequest, WatchLine,
};
pub use watch::{ChangeStream, Changes};

use super::access::AccessRole;
use super::problem::{Problem, ProblemKind};
use base::{Code, ErrorPage};
use store::resources::Kind;

/// No kind of that name.
pub(crate) const NO_KIND: ErrorPage = ErrorPage {
    code: Code("BL-API-013"),
    title: "There is no kind of resource of that name",
    cause: "The kinds are the tables of `sys` that are seen as resources.",
    next: "`bowline resource kinds` lists them",
};

/// No object of that name.
pub(crate) const NO_RESOURCE: ErrorPage = ErrorPage {
    code: Code("BL-API-014"),
    title: "There is no resource of that kind and name",
    cause: "It never was there, or it is gone.",
    next: "`bowline resource list KIND` lists those that there are",
};

/// Somebody was quicker.
pub(crate) const CHANGED: ErrorPage = ErrorPage {
    code: Code("BL-API-015"),
    title: "The resource was changed meanwhile",
    cause: "The request named the revision that it rests on, and the resource has another one by now.",
    next: "look at it again, decide again, and name its new revision",
};

/// It cannot be set.
pub(crate) const NOT_SETTABLE: ErrorPage = ErrorPage {
    code: Code("BL-API-016"),
    title: "This cannot be set so",
    cause: "Only some fields of a spec can be changed, each to some values; a status is what the cluster observes.",
    next: "`bowline resource kinds KIND` shows which fields can be set, and to what",
};

/// It comes and goes in another way.
pub(crate) const ANOTHER_WAY: ErrorPage = ErrorPage {
    code: Code("BL-API-017"),
    title: "Resources of this kind are not made or removed like this",
    cause: "A machine joins with a token, a token is answered with its secret, and what happened is noted by those to whom it happened.",
    next: "use the command that the message names",
};

/// A refusal to set something.
pub fn not_settable(message: impl Into<String>) -> Problem {
    Problem::new(&NOT_SETTABLE, ProblemKind::Refused, message)
}

/// A refusal because somebody else has changed it.
pub fn changed(message: impl Into<String>) -> Problem {
    Problem::new(&CHANGED, ProblemKind::Conflict, message)
}

/// The kind of this name.
fn kind(name: &str) -> Result<&'static Kind, Problem> {
    cluster::kinds().into_iter().find(|kind| kind.name == name).ok_or_else(|| {
        let names: Vec<&str> = cluster::kinds().iter().map(|kind| kind.name).collect();
        Problem::new(&NO_KIND, ProblemKind::NotFound, format!("there is no kind of resource named {name}"))
            .because(format!("there are {}", names.join(", ")))
    })
}

/// Who may look at a kind: what admins decide is for admins.
const fn looking(kind: &Kind) -> AccessRole {
    match kind.name.as_bytes() {
        b"tokens" | b"access" | b"audit" => AccessRole::Admin,
        _ => AccessRole::Viewer,
    }
}

/// Who may change a kind.
const fn changing(kind: &Kind) -> AccessRole {
    match kind.name.as_bytes() {
        b"databases" => AccessRole::Operator,
        _ => AccessRole::Admin,
    }
}

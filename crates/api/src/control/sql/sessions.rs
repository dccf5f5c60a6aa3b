//! `GET /v1/sql` with `Upgrade: dqlite`: a session of dqlite's protocol on the connection of the request.
//!
//! ```text
//!   client ── HTTPS ──▶ member ── HTTPS, as a member, framed ──▶ leader
//!              101        │         101                            │
//!              bytes ◀────┴──────▶ bytes ◀───────────────────────▶ door
//! ```
//!
//! The member that is asked serves the session itself if it leads, and else passes the bytes on, so that who reaches one member reaches
//! the databases. A session is the door's from the answer on: it ends with the door, not with the listener that it came through.

use crate::control::access::{AccessRole, Grant};
use crate::control::ops::Control;
use crate::control::problem::{MALFORMED, NO_UPGRADE, Problem, ProblemKind};
use crate::control::routes::Node;
use crate::dqlite::AnyStream;
use axum::body::Body;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::Response;
use axum::routing::get;
use axum::{Extension, Router};
use serde::Deserialize;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

/// What the connection is upgraded to.
pub(in crate::control) const PROTOCOL: HeaderValue = HeaderValue::from_static("dqlite");
/// The name of the member that serves the session.
pub(in crate::control) const SERVED_BY: HeaderName = HeaderName::from_static("bowline-node");

/// Where a session is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SessionAt {
    /// Where the databases are led, wherever that is.
    Leader,
    /// At the member that is asked.
    Here,
}

/// How the bytes of a client come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Passage {
    /// As they are.
    Straight,
    /// In frames, through another member, which says when it stops: see docs/formats/passed-on-session.md.
    PassedOn,
}

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SessionWanted {
    /// Where.
    pub at: SessionAt,
    /// What the client may do in it.
    pub role: AccessRole,
    /// How its bytes come.
    pub passage: Passage,
}

/// Takes the connection over when the answer has been sent.
pub type TakesOver = Box<dyn FnOnce(AnyStream) + Send>;

/// A session that waits for its connection.
pub struct SqlSession {
    /// The name of the member that serves it.
    pub node: String,
    /// Serves it.
    pub takes_over: TakesOver,
}

impl fmt::Debug for SqlSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqlSession").field("node", &self.node).finish_non_exhaustive()
    }
}

/// Goes with the answer to whoever has the connection. Taken once.
#[derive(Clone)]
pub(in crate::control) struct Handover(Arc<Mutex<Option<TakesOver>>>);

impl Handover {
    pub(in crate::control) fn take(&self) -> Option<TakesOver> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

pub(in crate::control) fn sessions() -> Router<Arc<dyn Control>> {
    Router::new().route("/v1/sql", get(session))
}

#[derive(Deserialize)]
struct Asked {
    at: Option<SessionAt>,
    role: Option<AccessRole>,
    #[serde(default)]
    passed_on: bool,
}

async fn session(
    State(control): Node,
    Extension(grant): Extension<Grant>,
    asked: Result<Query<Asked>, QueryRejection>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let Query(Asked { at, role, passed_on }) = asked.map_err(|error| {
        Problem::new(&MALFORMED, ProblemKind::Refused, "the parameters after the question mark are not known")
            .because(error.body_text())
    })?;
    let wants = |name: HeaderName, word: &str| {
        let words = headers.get_all(name).into_iter().filter_map(|value| value.to_str().ok());
        words.flat_map(|value| value.split(',')).any(|given| given.trim().eq_ignore_ascii_case(word))
    };
    if !(wants(header::CONNECTION, "upgrade") && wants(header::UPGRADE, "dqlite")) {
        return Err(Problem::new(&NO_UPGRADE, ProblemKind::Refused, "the request does not ask to upgrade to dqlite"));
    }
    let wanted = SessionWanted {
        at: at.unwrap_or(SessionAt::Leader),
        // Nobody gets more than is theirs; a member asks for no more than its client may.
        role: role.map_or(grant.role, |role| role.min(grant.role)),
        passage: if passed_on { Passage::PassedOn } else { Passage::Straight },
    };
    let SqlSession { node, takes_over } = control.sql_session(wanted).await?;
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    response.headers_mut().insert(header::UPGRADE, PROTOCOL);
    if let Ok(node) = HeaderValue::try_from(node) {
        response.headers_mut().insert(SERVED_BY, node);
    }
    response.extensions_mut().insert(Handover(Arc::new(Mutex::new(Some(takes_over)))));
    Ok(response)
}

//! A watch as lines of JSON.

use super::types::{ChangeInfo, WatchLine};
use crate::control::problem::{BUSY, Problem, ProblemKind};
use axum::body::Body;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::BoxStream;
use std::collections::BTreeSet;
use std::time::Duration;
use tokio::sync::OwnedSemaphorePermit;

/// How long a watch is silent before it says how far it is: who watches knows then that it still lives.
const BOOKMARK_EVERY: Duration = Duration::from_secs(10);
/// How many watches are answered at once.
pub(super) const WATCHES_MAX: usize = 512;

/// Some changes, as they come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Changes {
    /// Of all kinds.
    pub changes: Vec<ChangeInfo>,
    /// The last of them.
    pub revision: u64,
}

/// The changes after a revision, of all kinds, in order. An error ends it.
pub struct ChangeStream {
    /// Where it begins.
    pub revision: u64,
    /// What comes.
    pub changes: BoxStream<'static, Result<Changes, Problem>>,
}

pub(super) fn too_many() -> Problem {
    let message = format!("{WATCHES_MAX} watches are answered already");
    Problem::new(&BUSY, ProblemKind::NotReady, message)
        .because("each watch reads what it tells by itself")
        .next("watch on another member, or end a watch")
        .retry_after(Duration::from_secs(5))
}

struct State {
    stream: ChangeStream,
    kinds: BTreeSet<&'static str>,
    begun: bool,
    ended: bool,
    _place: OwnedSemaphorePermit,
}

/// The changes of some kinds, as they come, until the node stops or who watches hangs up.
pub(super) fn lines(stream: ChangeStream, kinds: BTreeSet<&'static str>, place: OwnedSemaphorePermit) -> Response {
    let state = State { stream, kinds, begun: false, ended: false, _place: place };
    let body = futures::stream::unfold(state, async |mut state| {
        let lines = state.next().await?;
        Some((Ok::<_, std::convert::Infallible>(lines), state))
    });
    let kind = HeaderValue::from_static("application/x-ndjson");
    ([(header::CONTENT_TYPE, kind)], Body::from_stream(body)).into_response()
}

impl State {
    async fn next(&mut self) -> Option<Bytes> {
        if self.ended {
            return None;
        }
        let mut out = Vec::new();
        if !std::mem::replace(&mut self.begun, true) {
            put(&mut out, &WatchLine::Bookmark { bookmark: self.stream.revision });
            return Some(out.into());
        }
        while out.is_empty() {
            match rt::time::timeout(BOOKMARK_EVERY, self.stream.changes.next()).await {
                Err(_silent) => put(&mut out, &WatchLine::Bookmark { bookmark: self.stream.revision }),
                Ok(Some(Ok(Changes { changes, revision }))) => {
                    self.stream.revision = revision;
                    for change in changes.into_iter().filter(|change| self.kinds.contains(change.kind.as_str())) {
                        put(&mut out, &WatchLine::Change(change));
                    }
                }
                Ok(Some(Err(problem))) => {
                    self.ended = true;
                    put(&mut out, &WatchLine::Ended { problem });
                }
                Ok(None) => return None,
            }
        }
        Some(out.into())
    }
}

fn put(out: &mut Vec<u8>, line: &WatchLine) {
    out.extend(serde_json::to_vec(line).unwrap_or_default());
    out.push(b'\n');
}

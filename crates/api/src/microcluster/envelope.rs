//! LXD's envelope: every answer is one JSON object that says whether it is an answer or an error.

use crate::control::Problem;
use axum::Json;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::{Map, Value};

/// All fields are always there: clients decode them into a struct.
#[derive(Debug, Serialize)]
pub(super) struct Envelope<T> {
    r#type: &'static str,
    status: &'static str,
    status_code: u16,
    /// For answers that come later. There are none here.
    operation: &'static str,
    error_code: u16,
    error: String,
    metadata: T,
}

impl<T> Envelope<T> {
    /// What was asked for.
    pub(super) fn answer(metadata: T) -> Self {
        Self {
            r#type: "sync",
            status: "Success",
            status_code: StatusCode::OK.as_u16(),
            operation: "",
            error_code: 0,
            error: String::new(),
            metadata,
        }
    }
}

impl Envelope<Problem> {
    /// Why it was not done. Programs find the whole problem in the metadata; people are shown the text only, so that it says the next
    /// step too.
    pub(super) fn error(status: StatusCode, problem: Problem) -> Self {
        Self {
            r#type: "error",
            status: "",
            status_code: 0,
            operation: "",
            error_code: status.as_u16(),
            error: told(&problem),
            metadata: problem,
        }
    }
}

/// `what happened: why. Next: what to do [BL-...]`, in one line.
fn told(problem: &Problem) -> String {
    let cause = problem.cause.as_deref().map_or_else(String::new, |cause| format!(": {}", cause.trim_end_matches('.')));
    format!(
        "{}{cause}. Next: {} [{}]",
        problem.message.trim_end_matches('.'),
        problem.next.trim_end_matches('.'),
        problem.code
    )
    .replace('\n', " ")
}

/// An answer in its envelope.
pub(super) struct Sync<T>(pub(super) T);

impl Sync<Map<String, Value>> {
    /// It was done, and there is nothing to tell.
    pub(super) fn done() -> Self {
        Self(Map::new())
    }
}

impl<T: Serialize> IntoResponse for Sync<T> {
    fn into_response(self) -> Response {
        Json(Envelope::answer(self.0)).into_response()
    }
}

/// Puts a problem into the envelope, wherever on the way to its route a request has met it.
pub(super) async fn enclose(response: Response) -> Response {
    let Some(problem) = response.extensions().get::<Problem>().cloned() else { return response };
    let status = response.status();
    let mut enclosed = (status, Json(Envelope::error(status, problem))).into_response();
    for kept in [header::RETRY_AFTER, header::WWW_AUTHENTICATE] {
        if let Some(value) = response.headers().get(&kept) {
            enclosed.headers_mut().insert(kept, value.clone());
        }
    }
    enclosed
}

//! What handlers take out of a request. All refusals are [`Problem`]s.

use super::problem::{CROWDED, LATE, MALFORMED, Problem, ProblemKind};
use crate::intake::{Arriving, Intake};
use axum::body::{Body, Bytes};
use axum::extract::rejection::{JsonRejection, PathRejection};
use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request, State};
use axum::http::request::Parts;
use axum::middleware::Next;
use axum::response::Response;
use axum::{Json, RequestExt};
use base::DbName;
use bytes::BytesMut;
use futures::StreamExt;
use futures::stream::BoxStream;
use http_body_util::{BodyExt, LengthLimitError};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Mutex;

/// How long a client that sends a file may send nothing of it.
const PIECE_MAX: Duration = Duration::from_secs(30);

pub(super) type Name = Result<Path<DbName>, PathRejection>;

/// What stands after the question mark. Its refusal is a [`Problem`].
pub(super) struct Asked<T>(pub(super) T);

impl<S: Send + Sync, T: serde::de::DeserializeOwned> FromRequestParts<S> for Asked<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let asked = Query::<T>::from_request_parts(parts, state).await;
        asked.map(|Query(value)| Self(value)).map_err(|error| {
            let message = "the parameters after the question mark are not what this request takes";
            Problem::new(&MALFORMED, ProblemKind::Refused, message).because(error.body_text())
        })
    }
}

/// Names in the path. Their refusal is a [`Problem`].
pub(super) struct InPath<T>(pub(super) T);

impl<S: Send + Sync, T: serde::de::DeserializeOwned + Send> FromRequestParts<S> for InPath<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        Ok(Self(Path::<T>::from_request_parts(parts, state).await?.0))
    }
}

/// A JSON body whose refusal is a [`Problem`]. An empty body is `{}`.
pub(crate) struct Input<T>(pub(crate) T);

impl<S: Send + Sync, T: serde::de::DeserializeOwned> FromRequest<S> for Input<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, _state: &S) -> Result<Self, Problem> {
        let arrival = request.extensions().get::<Arrival>().cloned().unwrap_or_default();
        let body = arrival.gather(request.with_limited_body().into_body()).await?;
        let text: &[u8] = if body.is_empty() { b"{}" } else { &body };
        Json::<T>::from_bytes(text).map(|Json(value)| Self(value)).map_err(Problem::from)
    }
}

/// The memory of a request's body, held until the request is answered.
#[derive(Clone)]
struct Arrival(Arc<Mutex<Arriving>>);

impl Default for Arrival {
    fn default() -> Self {
        Self::of(&Intake::default())
    }
}

/// Gives each request its share of the memory for bodies.
pub(super) async fn arrivals(State(intake): State<Intake>, mut request: Request, next: Next) -> Response {
    let arrival = Arrival::of(&intake);
    request.extensions_mut().insert(arrival.clone());
    let response = next.run(request).await;
    drop(arrival);
    response
}

impl Arrival {
    fn of(intake: &Intake) -> Self {
        Self(Arc::new(Mutex::new(intake.begin())))
    }

    /// A whole body.
    async fn gather(&self, mut body: Body) -> Result<Bytes, Problem> {
        let mut arriving = self.0.lock().await;
        let mut gathered = BytesMut::new();
        loop {
            let frame = match rt::time::timeout_at(arriving.deadline(), body.frame()).await {
                Err(_elapsed) => return Err(late()),
                Ok(None) => return Ok(gathered.freeze()),
                Ok(Some(frame)) => frame.map_err(|error| broken(&error))?,
            };
            let Ok(data) = frame.into_data() else { continue };
            arriving.grow(gathered.len() + data.len()).await.map_err(|crowded| {
                let retry = Duration::from_secs(5);
                Problem::new(&CROWDED, ProblemKind::NotReady, crowded.to_string()).retry_after(retry)
            })?;
            gathered.extend_from_slice(&data);
        }
    }
}

/// A body as it comes, of any length, each piece in time.
pub(super) fn timely(body: Body) -> BoxStream<'static, Result<Bytes, Problem>> {
    let pieces = futures::stream::unfold(Some(body.into_data_stream()), async |pieces| {
        let mut pieces = pieces?;
        match rt::time::timeout(PIECE_MAX, pieces.next()).await {
            Err(_elapsed) => Some((Err(late()), None)),
            Ok(None) => None,
            Ok(Some(Err(error))) => Some((Err(broken(&error)), None)),
            Ok(Some(Ok(piece))) => Some((Ok(piece), Some(pieces))),
        }
    });
    pieces.boxed()
}

fn late() -> Problem {
    Problem::new(&LATE, ProblemKind::Refused, "the body of the request did not arrive in time")
}

/// Why a body did not come to its end.
fn broken(error: &axum::Error) -> Problem {
    let mut causes = std::iter::successors(Some(error as &dyn std::error::Error), |error| error.source());
    if causes.any(<dyn std::error::Error>::is::<LengthLimitError>) {
        return Problem::new(&MALFORMED, ProblemKind::TooLarge, "the request is too large")
            .because("a request is read into memory as a whole before anything of it is done")
            .next("send less in one request");
    }
    Problem::new(&MALFORMED, ProblemKind::Refused, "the body of the request ended early").because(error.to_string())
}

impl From<JsonRejection> for Problem {
    fn from(error: JsonRejection) -> Self {
        Self::new(&MALFORMED, ProblemKind::Refused, "the body is not what this request takes")
            .because(error.body_text())
    }
}

impl From<PathRejection> for Problem {
    fn from(error: PathRejection) -> Self {
        Self::new(&MALFORMED, ProblemKind::Refused, "the path holds a name that is not allowed")
            .because(error.body_text())
    }
}

//! `POST /v1/databases/NAME/query` and `/execute`.

use super::places::{Cut, Place, Places};
use super::rows::head;
use super::values::from_json;
use super::{RowBatch, SqlRows, SqlStatement, SqlTransaction};
use crate::control::access::{AccessRole, Grant};
use crate::control::extract::{Input, Name};
use crate::control::ops::Control;
use crate::control::problem::{BUSY, MALFORMED, NOT_ALLOWED, Problem, ProblemKind};
use crate::control::routes::{Answer, Node};
use axum::extract::rejection::QueryRejection;
use axum::extract::{DefaultBodyLimit, Path, Query, RawQuery, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Extension, Json, Router};
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use serde::Serialize;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use store::{Command, SessionOptions, WriteId};

/// The largest request that is read, in bytes: its statements and parameters become one message to the leader.
const REQUEST_BYTES_MAX: usize = 8 << 20;
/// The largest result that is answered as one JSON document, in bytes.
const DOCUMENT_BYTES_MAX: usize = 16 << 20;
/// A larger document is sent in pieces of this size, in bytes, and has its place until the last one is taken.
const PIECE_BYTES: usize = 64 << 10;
/// How many queries are answered at once: each holds a version of its database, and rows in memory.
const QUERIES_MAX: usize = 64;
/// How long a query waits for others to end.
const QUEUE_MAX: Duration = Duration::from_secs(5);
/// Lines of JSON.
const NDJSON: HeaderValue = HeaderValue::from_static("application/x-ndjson");

/// What only looks.
pub(in crate::control) fn queries() -> Router<Arc<dyn Control>> {
    Router::new()
        .route("/v1/databases/{name}/query", post(query))
        .layer(DefaultBodyLimit::max(REQUEST_BYTES_MAX))
        .layer(Extension(Places::new(QUERIES_MAX)))
}

/// What changes something.
pub(in crate::control) fn changes() -> Router<Arc<dyn Control>> {
    Router::new().route("/v1/databases/{name}/execute", post(execute)).layer(DefaultBodyLimit::max(REQUEST_BYTES_MAX))
}

type Options = Result<Query<BTreeMap<String, String>>, QueryRejection>;

/// `?read=LEVEL&deadline=DURATION&busy=DURATION`, as in the names that dqlite's clients open.
fn session_options(given: Options) -> Result<SessionOptions, Problem> {
    let malformed = |why: String| {
        Problem::new(
            &MALFORMED,
            ProblemKind::Refused,
            "the parameters after the question mark are not what this request takes",
        )
        .because(why)
    };
    let Query(given) = given.map_err(|error| malformed(error.body_text()))?;
    let mut options = SessionOptions { one_read: true, ..SessionOptions::default() };
    for (key, value) in given {
        options.set(&key, &value).map_err(|bad| malformed(bad.to_string()))?;
    }
    Ok(options)
}

/// The statement as the store takes it.
fn command(SqlStatement { sql, params }: SqlStatement) -> Result<Command, Problem> {
    let numbered = params.into_iter().enumerate();
    let params = numbered.map(|(i, value)| {
        from_json(value).map_err(|bad| {
            Problem::new(&MALFORMED, ProblemKind::Refused, format!("parameter {} cannot be understood", i + 1))
                .because(bad.to_string())
        })
    });
    Ok(Command::new(sql, params.collect::<Result<Vec<_>, Problem>>()?))
}

async fn query(
    State(control): Node,
    Extension(places): Extension<Places>,
    name: Name,
    given: Options,
    headers: HeaderMap,
    Input(statement): Input<SqlStatement>,
) -> Result<Response, Problem> {
    let options = session_options(given)?;
    let Some(place) = places.take(QUEUE_MAX).await else {
        let message = format!("{QUERIES_MAX} queries are under way already");
        return Err(Problem::new(&BUSY, ProblemKind::NotReady, message).retry_after(QUEUE_MAX));
    };
    let rows = control.db_query(&name?.0, options, command(statement)?).await?;
    let accepts = headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok()).unwrap_or_default();
    if accepts.contains("application/x-ndjson") {
        Ok(lines(&places, place, rows))
    } else {
        document(&places, place, rows).await
    }
}

#[derive(Serialize)]
struct End {
    rows: u64,
}

#[derive(Serialize)]
struct Failed {
    problem: Problem,
}

/// A line of JSON.
fn line(value: &impl Serialize) -> Bytes {
    let mut line = serde_json::to_vec(value).unwrap_or_default();
    line.push(b'\n');
    line.into()
}

/// A result of any size, as it is read. It has its place until then.
fn lines(places: &Places, place: Place, rows: SqlRows) -> Response {
    let first = head(&rows.columns);
    let rest = futures::stream::unfold(Some((rows.batches, 0)), async |state| {
        let (mut batches, rows) = state?;
        Some(match batches.next().await {
            Some(Ok(batch)) => (batch.lines, Some((batches, rows + batch.rows))),
            Some(Err(problem)) => (line(&Failed { problem }), None),
            None => (line(&End { rows }), None),
        })
    });
    let pieces = futures::stream::once(std::future::ready(first)).chain(rest).boxed();
    let problem = Problem::new(&BUSY, ProblemKind::NotReady, "the answer was taken too slowly, and others waited")
        .next("read faster, or ask another member with `read=local`");
    let body = places.body(place, pieces, Cut::Said(line(&Failed { problem })));
    ([(header::CONTENT_TYPE, NDJSON)], body).into_response()
}

/// A whole result.
async fn document(places: &Places, place: Place, mut rows: SqlRows) -> Result<Response, Problem> {
    let mut out = head(&rows.columns).to_vec();
    out.truncate(out.len() - b"}\n".len());
    out.extend_from_slice(br#","rows":["#);
    let mut is_first = true;
    while let Some(RowBatch { lines, .. }) = rows.batches.try_next().await? {
        if out.len() + lines.len() > DOCUMENT_BYTES_MAX {
            let message = format!("the result has more than {} MiB", DOCUMENT_BYTES_MAX >> 20);
            return Err(Problem::new(&MALFORMED, ProblemKind::Refused, message)
                .because("a result that is answered as one JSON document stands in memory as a whole")
                .next("ask for lines of JSON: send `Accept: application/x-ndjson`; or give the query a LIMIT"));
        }
        for row in lines.split(|&byte| byte == b'\n').filter(|row| !row.is_empty()) {
            if !std::mem::take(&mut is_first) {
                out.push(b',');
            }
            out.extend_from_slice(row);
        }
    }
    out.extend_from_slice(b"]}\n");
    let headers: [(HeaderName, HeaderValue); 1] =
        [(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))];
    if out.len() <= PIECE_BYTES {
        return Ok((headers, out).into_response());
    }
    let mut rest = Bytes::from(out);
    let pieces = std::iter::from_fn(move || {
        let piece = rest.split_to(rest.len().min(PIECE_BYTES));
        (!piece.is_empty()).then_some(piece)
    });
    Ok((headers, places.body(place, futures::stream::iter(pieces).boxed(), Cut::Broken)).into_response())
}

async fn execute(
    State(control): Node,
    Extension(grant): Extension<Grant>,
    name: Name,
    RawQuery(parameters): RawQuery,
    Input(transaction): Input<SqlTransaction>,
) -> Answer<impl Serialize> {
    if parameters.is_some_and(|parameters| !parameters.is_empty()) {
        return Err(Problem::new(
            &MALFORMED,
            ProblemKind::Refused,
            "this request takes no parameters after a question mark",
        ));
    }
    let Path(name) = name?;
    // In its rows is who belongs to the cluster and who has access.
    if name.is_sys() && grant.role < AccessRole::Admin {
        return Err(Problem::new(&NOT_ALLOWED, ProblemKind::Forbidden, format!("{} may not change sys", grant.name))
            .because("the cluster's own database is for admins"));
    }
    let SqlTransaction { statements, id } = transaction;
    let refused = |message: &str| Err(Problem::new(&MALFORMED, ProblemKind::Refused, message));
    match (statements.len(), id) {
        (0, _) => return refused("there is no statement in the request"),
        (2.., Some(_)) => return refused("a write with a number is one statement"),
        _ => {}
    }
    let commands = statements.into_iter().map(command).collect::<Result<Vec<_>, Problem>>()?;
    let id = id.map(|id| WriteId { client: id.client, sequence: id.sequence });
    control.db_execute(&name, commands, id).await.map(Json)
}

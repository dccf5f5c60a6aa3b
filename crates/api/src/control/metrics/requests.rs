//! Requests as they are answered, counted by route and status.

use super::{Label, Sample};
use axum::extract::{MatchedPath, Request, State};
use axum::middleware::Next;
use axum::response::Response;
use rt::time::Instant;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// What was counted of one kind of answer.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Counted {
    pub(super) requests: u64,
    pub(super) time: Duration,
}

/// The answers of a router. As many kinds as there are routes, methods and statuses: no client can make more.
#[derive(Debug, Default)]
pub(in crate::control) struct Requests(Mutex<BTreeMap<(String, String, u16), Counted>>);

impl Requests {
    pub(super) fn answered(&self, method: &str, route: &str, status: u16, time: Duration) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let counted = all.entry((method.to_owned(), route.to_owned(), status)).or_default();
        counted.requests += 1;
        counted.time += time;
    }

    pub(super) fn samples(&self, value: fn(&Counted) -> f64) -> Vec<Sample> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let labels = |(method, route, status): &(String, String, u16)| -> Vec<Label> {
            vec![("method", method.clone()), ("route", route.clone()), ("status", status.to_string())]
        };
        all.iter().map(|(kind, counted)| (labels(kind), value(counted))).collect()
    }
}

/// Counts a request when its answer begins.
pub(in crate::control) async fn count(State(requests): State<Arc<Requests>>, request: Request, next: Next) -> Response {
    let route = request.extensions().get::<MatchedPath>().map_or("none", MatchedPath::as_str).to_owned();
    // A method is whatever a client makes up.
    let method = match request.method().as_str() {
        known @ ("GET" | "HEAD" | "POST" | "PUT" | "PATCH" | "DELETE") => known.to_owned(),
        _ => "other".to_owned(),
    };
    let began = Instant::now();
    let response = next.run(request).await;
    requests.answered(&method, &route, response.status().as_u16(), began.elapsed());
    response
}

//! Who asked for what that changes something: noted in the cluster around each such request.
//!
//! SQL is not noted here: it is the databases' own matter.

use super::access::Grant;
use super::extract::Asked;
use super::ops::Control;
use super::problem::Problem;
use super::routes::{Answer, Node};
use axum::extract::{Request, State};
use axum::http::Method;
use axum::middleware::Next;
use axum::response::Response;
use axum::routing::get;
use axum::{Json, Router};
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// How many entries are listed if nobody says, and at most.
const LIMIT: u32 = 100;
const LIMIT_MAX: u32 = 1000;

/// A request that may change something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Audited {
    /// Who asks.
    pub grant: Grant,
    /// Method and path, without what follows a question mark.
    pub request: String,
}

/// What was asked, and what became of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AuditInfo {
    /// Entries are numbered as they come.
    pub id: u64,
    /// When it was asked.
    pub at: Timestamp,
    /// Who asked; `local` is whoever may open a member's control socket.
    pub who: String,
    /// With which role.
    pub role: String,
    /// The member that was asked.
    pub node: String,
    /// What for: method and path.
    pub request: String,
    /// The HTTP status of the answer; none while it is under way, and if nobody could note it.
    pub status: Option<u16>,
    /// The code of the error, if it failed.
    pub code: Option<String>,
}

/// Notes the request, lets it be carried out, and notes what became of it. A request is carried out even if it cannot be noted: what
/// brings a majority back must work without one.
pub(crate) async fn note(State(control): State<Arc<dyn Control>>, request: Request, next: Next) -> Response {
    let grant = request.extensions().get::<Grant>().cloned();
    let Some(grant) = grant.filter(|_| ![Method::GET, Method::HEAD].contains(request.method())) else {
        return next.run(request).await;
    };
    let audited = Audited { grant, request: format!("{} {}", request.method(), request.uri().path()) };
    let noted = control.audit_begin(&audited).await;
    let response = next.run(request).await;
    let code = response.extensions().get::<Problem>().map(|problem| problem.code.clone());
    control.audit_end(&audited, noted, response.status().as_u16(), code).await;
    response
}

/// Which entries are asked for.
#[derive(Deserialize)]
struct Page {
    before: Option<u64>,
    limit: Option<u32>,
}

pub(super) fn routes() -> Router<Arc<dyn Control>> {
    Router::new().route("/v1/audit", get(list))
}

async fn list(State(control): Node, Asked(page): Asked<Page>) -> Answer<Vec<AuditInfo>> {
    control.audit(page.before, page.limit.unwrap_or(LIMIT).min(LIMIT_MAX)).await.map(Json)
}

//! The routes: paths and JSON on one side, [`Control`] on the other.

use super::access::{self, AccessRole, Grant, Required};
use super::audit;
use super::authority;
use super::extract::{Asked, InPath, Input, Name, arrivals, timely};
use super::metrics::{self, Requests};
use super::ops::{Control, Export};
use super::problem::{MALFORMED, NOT_READY, Problem, ProblemKind, UNCONFIRMED, UNFORMED};
use super::types::{
    AccessRequest, DatabaseRequest, InitRequest, JoinRequest, NodeRequest, NodeState, Readiness, RoleTargets,
    TokenRequest, UnitStatus,
};
use crate::intake::Intake;
use axum::body::{Body, Bytes};
use axum::extract::{DefaultBodyLimit, Path, Request, State};
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post, put};
use axum::{Extension, Json, Router};
use serde::{Deserialize, Serialize};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

/// The largest JSON body that is read, in bytes.
const BODY_BYTES_MAX: usize = 64 * 1024;

/// How long a client should wait before it asks a node again that was not ready.
const RETRY_AFTER: Duration = Duration::from_secs(1);

pub(super) type Node = State<Arc<dyn Control>>;
pub(super) type Answer<T> = Result<Json<T>, Problem>;

/// The API of a node. Serve it with [`serve`](super::serve), on as many listeners as there are: it is one API, and counts its
/// requests as one.
pub fn router(control: Arc<dyn Control>) -> Router {
    let requests = Arc::new(Requests::default());
    let takes = |role| middleware::from_fn_with_state(Required::new(&control, role), access::check);
    let (viewer, operator, admin) = (takes(AccessRole::Viewer), takes(AccessRole::Operator), takes(AccessRole::Admin));

    let look = Router::new()
        .route("/v1/nodes", get(nodes))
        .route("/v1/roles", get(roles))
        .route("/v1/authority", get(authority::show))
        .route("/v1/databases", get(databases))
        .route("/v1/databases/{name}", get(db_contents))
        .route("/v1/databases/{name}/check", get(db_check))
        .route("/v1/databases/{name}/file", get(db_export))
        .merge(super::members::looks())
        .merge(super::resources::looks())
        .merge(super::sql::queries())
        .merge(super::sql::sessions());
    let change = Router::new()
        .route("/v1/databases", post(db_create))
        .route("/v1/databases/{name}", delete(db_drop))
        .route("/v1/databases/{name}/file", put(db_import).layer(DefaultBodyLimit::disable()))
        .merge(super::members::changes())
        .merge(super::resources::changes());
    let decide = Router::new()
        .route("/v1/nodes/{name}", delete(node_remove).patch(node_set))
        .route("/v1/roles", put(roles_set))
        .route("/v1/authority/rotate", post(authority::rotate))
        .route("/v1/tokens", get(token_list).post(token_add))
        .route("/v1/tokens/{id}", delete(token_revoke))
        .route("/v1/access", get(access_list).post(access_add))
        .route("/v1/access/{name}", delete(access_revoke));
    let audited = middleware::from_fn_with_state(Arc::clone(&control), audit::note);
    // SQL is not noted.
    let change = change.route_layer(audited.clone()).merge(super::sql::changes());
    let data = look
        .route_layer(viewer.clone())
        .merge(change.route_layer(operator))
        .merge(decide.merge(audit::routes()).route_layer(audited.clone()).route_layer(admin.clone()))
        .route_layer(middleware::from_fn_with_state(Arc::clone(&control), only_when_ready));

    let state =
        Router::new().route("/metrics", get(page)).route("/v1/status", get(status)).route("/v1/whoami", get(whoami));
    let life = Router::new().route("/v1/init", post(init)).route("/v1/join", post(join)).route("/v1/stop", post(stop));
    let life = life.merge(super::recovery::routes());
    Router::new()
        .route("/livez", get(|| async { "alive\n" }))
        .route("/readyz", get(readyz))
        .route("/v1/openapi.json", get(openapi))
        .merge(state.route_layer(viewer))
        .merge(life.route_layer(audited).route_layer(admin))
        .merge(data)
        .merge(crate::microcluster::routes(&control))
        .method_not_allowed_fallback(async |request: Request| {
            let message = format!("this node does not answer {} {}", request.method(), request.uri().path());
            let mut response = Problem::new(&MALFORMED, ProblemKind::Refused, message).into_response();
            *response.status_mut() = StatusCode::METHOD_NOT_ALLOWED;
            response
        })
        .fallback(|request: Request| async move {
            Problem::new(
                &MALFORMED,
                ProblemKind::NotFound,
                format!("this node has no {} {}", request.method(), request.uri().path()),
            )
        })
        .layer(middleware::from_fn_with_state(Intake::default(), arrivals))
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .layer(Extension(Arc::clone(&requests)))
        .layer(middleware::from_fn_with_state(requests, metrics::count))
        .with_state(control)
}

/// Nothing about data is answered before the node is ready: see INC-1.
pub(crate) async fn only_when_ready(State(control): Node, request: Request, next: Next) -> Response {
    if rt::mutant!("api.answer-before-ready") {
        return next.run(request).await;
    }
    let readiness = control.ready();
    match readiness.state {
        NodeState::Ready => next.run(request).await,
        NodeState::Unformed => {
            Problem::new(&UNFORMED, ProblemKind::NotReady, "this machine belongs to no cluster yet").into_response()
        }
        NodeState::Starting | NodeState::Stopping => not_ready_yet(&readiness).into_response(),
    }
}

/// Of a node that starts or stops.
pub(crate) fn not_ready_yet(readiness: &Readiness) -> Problem {
    match readiness.state {
        NodeState::Stopping => not_ready("the node is stopping", &[]),
        _ => not_ready("the node is starting", &readiness.waiting_for),
    }
}

fn not_ready(message: &str, waiting_for: &[String]) -> Problem {
    let problem = Problem::new(&NOT_READY, ProblemKind::NotReady, message).retry_after(RETRY_AFTER);
    if waiting_for.is_empty() { problem } else { problem.because(format!("it waits for {}", waiting_for.join(", "))) }
}

/// The document is large, and anybody may ask for it: it is made once.
async fn openapi() -> impl IntoResponse {
    static DOCUMENT: LazyLock<Bytes> =
        LazyLock::new(|| serde_json::to_vec(&super::openapi::document()).unwrap_or_default().into());
    ([(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))], DOCUMENT.clone())
}

/// `?verbose` asks for a line for each unit.
#[derive(Deserialize)]
struct Wordy {
    verbose: Option<String>,
}

async fn readyz(State(control): Node, Asked(wordy): Asked<Wordy>) -> Response {
    let readiness = control.ready();
    if wordy.verbose.is_some() {
        let status = if readiness.is_ready() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
        return (status, lanes(&control.units())).into_response();
    }
    if readiness.is_ready() {
        return Json(readiness).into_response();
    }
    let retry_after = [(header::RETRY_AFTER, HeaderValue::from(RETRY_AFTER.as_secs()))];
    (StatusCode::SERVICE_UNAVAILABLE, retry_after, Json(readiness)).into_response()
}

/// `[+]store ready`, `[-]members starting: waits for store`: the form that Kubernetes made usual.
fn lanes(units: &[UnitStatus]) -> String {
    let line = |unit: &UnitStatus| {
        let mark = if unit.phase == "ready" { '+' } else { '-' };
        let detail = unit.detail.as_deref().map_or_else(String::new, |detail| format!(": {detail}"));
        format!("[{mark}]{} {}{detail}\n", unit.name, unit.phase)
    };
    units.iter().map(line).collect::<Vec<_>>().concat()
}

async fn page(State(control): Node, Extension(requests): Extension<Arc<Requests>>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, metrics::CONTENT_TYPE)], metrics::page(&control.metrics().await, &requests))
}

async fn status(State(control): Node) -> Answer<impl Serialize> {
    control.status().await.map(Json)
}

async fn nodes(State(control): Node) -> Answer<impl Serialize> {
    control.nodes().await.map(Json)
}

/// `?confirm=NAME` is the proof that somebody knows what is lost; `&force=true` takes more into the bargain.
#[derive(Deserialize)]
struct Removal {
    #[serde(default)]
    confirm: String,
    #[serde(default)]
    force: bool,
}

async fn node_remove(
    State(control): Node,
    InPath(name): InPath<String>,
    Asked(removal): Asked<Removal>,
) -> Answer<impl Serialize> {
    if removal.confirm != name {
        let message = format!("the removal of {name} was not confirmed");
        return Err(Problem::new(&UNCONFIRMED, ProblemKind::Unsafe, message));
    }
    control.node_remove(&name, removal.force).await.map(Json)
}

async fn node_set(
    State(control): Node,
    InPath(name): InPath<String>,
    Input(request): Input<NodeRequest>,
) -> Answer<impl Serialize> {
    control.node_set(&name, request).await.map(Json)
}

async fn roles(State(control): Node) -> Answer<impl Serialize> {
    control.roles().await.map(Json)
}

async fn roles_set(State(control): Node, Input(targets): Input<RoleTargets>) -> Answer<impl Serialize> {
    control.roles_set(targets).await.map(Json)
}

async fn init(State(control): Node, Input(request): Input<InitRequest>) -> Answer<impl Serialize> {
    control.init(request).await.map(Json)
}

async fn join(State(control): Node, Input(request): Input<JoinRequest>) -> Answer<impl Serialize> {
    control.join(request).await.map(Json)
}

async fn stop(State(control): Node) -> Json<super::types::Readiness> {
    control.stop();
    Json(control.ready())
}

async fn token_add(State(control): Node, Input(request): Input<TokenRequest>) -> Answer<impl Serialize> {
    control.token_add(request).await.map(Json)
}

async fn token_list(State(control): Node) -> Answer<impl Serialize> {
    control.token_list().await.map(Json)
}

async fn token_revoke(State(control): Node, InPath(id): InPath<String>) -> Answer<impl Serialize> {
    control.token_revoke(&id).await.map(Json)
}

async fn whoami(Extension(grant): Extension<Grant>) -> Json<Grant> {
    Json(grant)
}

async fn access_list(State(control): Node) -> Answer<impl Serialize> {
    control.access_list().await.map(Json)
}

async fn access_add(State(control): Node, Input(request): Input<AccessRequest>) -> Answer<impl Serialize> {
    control.access_add(request).await.map(Json)
}

async fn access_revoke(State(control): Node, InPath(name): InPath<String>) -> Answer<impl Serialize> {
    control.access_revoke(&name).await.map(Json)
}

async fn databases(State(control): Node) -> Answer<impl Serialize> {
    control.databases().await.map(Json)
}

async fn db_create(State(control): Node, Input(request): Input<DatabaseRequest>) -> Answer<impl Serialize> {
    control.db_create(request).await.map(Json)
}

async fn db_contents(State(control): Node, name: Name) -> Answer<impl Serialize> {
    control.db_contents(&name?.0).await.map(Json)
}

async fn db_check(State(control): Node, name: Name) -> Answer<impl Serialize> {
    control.db_check(&name?.0).await.map(Json)
}

/// `?confirm=NAME` is the proof that somebody knows what is lost.
#[derive(Deserialize)]
struct Confirmation {
    #[serde(default)]
    confirm: String,
}

async fn db_drop(State(control): Node, name: Name, Asked(confirmation): Asked<Confirmation>) -> Answer<impl Serialize> {
    let Path(name) = name?;
    if confirmation.confirm != name.as_str() {
        let contents = control.db_contents(&name).await?;
        let lost =
            format!("{} tables, {} rows, {} bytes would be lost", contents.tables.len(), contents.rows, contents.bytes);
        let message = format!("dropping {name} was not confirmed");
        return Err(Problem::new(&UNCONFIRMED, ProblemKind::Unsafe, message).because(lost));
    }
    control.db_drop(&name).await.map(Json)
}

async fn db_export(State(control): Node, name: Name) -> Result<Response, Problem> {
    let Export { bytes, body } = control.db_export(&name?.0).await?;
    let headers: [(HeaderName, HeaderValue); 2] = [
        (header::CONTENT_TYPE, HeaderValue::from_static("application/vnd.sqlite3")),
        (header::CONTENT_LENGTH, HeaderValue::from(bytes)),
    ];
    Ok((headers, Body::from_stream(body)).into_response())
}

async fn db_import(State(control): Node, name: Name, body: Body) -> Answer<impl Serialize> {
    control.db_import(&name?.0, timely(body)).await.map(Json)
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.kind.http_status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let retry_after_s = self.retry_after_ms.map(|ms| ms.div_ceil(1000).max(1));
        let mut response = (status, Json(&self)).into_response();
        // For what the answer meets on its way out: the audit keeps the code, and other doors tell it in words of their own.
        response.extensions_mut().insert(self);
        if let Some(seconds) = retry_after_s {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

//! `/v1/kinds`, `/v1/resources/KIND[/NAME]`, `/v1/watch`.

use super::types::{KindInfo, ResourceInfo, ResourcePatch, ResourceRequest};
use super::watch::{self, WATCHES_MAX};
use super::{ANOTHER_WAY, NO_RESOURCE, changing, kind, looking};
use crate::control::access::{AccessRole, Grant};
use crate::control::extract::{Asked, InPath, Input};
use crate::control::ops::Control;
use crate::control::problem::{MALFORMED, NOT_ALLOWED, Problem, ProblemKind, UNCONFIRMED};
use crate::control::routes::{Answer, Node};
use crate::control::types::DatabaseRequest;
use axum::extract::State;
use axum::response::Response;
use axum::routing::{get, post};
use axum::{Extension, Json, Router};
use base::DbName;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::sync::Arc;
use store::resources::{Kind, PAGE_MAX};
use tokio::sync::Semaphore;

/// As many resources are on a page if nobody says.
const PAGE: u32 = 100;

/// What only looks.
pub(in crate::control) fn looks() -> Router<Arc<dyn Control>> {
    Router::new()
        .route("/v1/kinds", get(kinds))
        .route("/v1/resources/{kind}", get(list))
        .route("/v1/resources/{kind}/{name}", get(one))
        .route("/v1/watch", get(begin))
        .layer(Extension(Arc::new(Semaphore::new(WATCHES_MAX))))
}

/// What changes something: each kind asks for a role of its own.
pub(in crate::control) fn changes() -> Router<Arc<dyn Control>> {
    Router::new()
        .route("/v1/resources/{kind}", post(create))
        .route("/v1/resources/{kind}/{name}", axum::routing::patch(update).delete(remove))
}

fn may(grant: &Grant, role: AccessRole, what: &str) -> Result<(), Problem> {
    if grant.role >= role {
        return Ok(());
    }
    let message = format!("{} may not {what}: it takes the role {role}", grant.name);
    Err(Problem::new(&NOT_ALLOWED, ProblemKind::Forbidden, message)
        .because(format!("{} has the role {}", grant.name, grant.role)))
}

fn may_look(grant: &Grant, name: &str) -> Result<&'static Kind, Problem> {
    let kind = kind(name)?;
    may(grant, looking(kind), &format!("look at {name}")).map(|()| kind)
}

fn may_change(grant: &Grant, name: &str) -> Result<&'static Kind, Problem> {
    let kind = kind(name)?;
    may(grant, changing(kind), &format!("change {name}")).map(|()| kind)
}

fn absent(kind: &Kind, name: &str) -> Problem {
    Problem::new(&NO_RESOURCE, ProblemKind::NotFound, format!("there is no {name} among the {}", kind.name))
}

async fn kinds() -> Json<Vec<KindInfo>> {
    Json(cluster::kinds().into_iter().map(KindInfo::from).collect())
}

/// `?after=NAME&limit=N`.
#[derive(Deserialize)]
struct PageQuery {
    after: Option<String>,
    limit: Option<u32>,
}

async fn list(
    State(control): Node,
    Extension(grant): Extension<Grant>,
    InPath(name): InPath<String>,
    Asked(page): Asked<PageQuery>,
) -> Answer<impl Serialize> {
    let kind = may_look(&grant, &name)?;
    control.resources(kind, page.after, page.limit.unwrap_or(PAGE).clamp(1, PAGE_MAX)).await.map(Json)
}

async fn one(
    State(control): Node,
    Extension(grant): Extension<Grant>,
    InPath((kind, name)): InPath<(String, String)>,
) -> Answer<impl Serialize> {
    let kind = may_look(&grant, &kind)?;
    found(&control, kind, &name).await.map(Json)
}

async fn found(control: &Arc<dyn Control>, kind: &'static Kind, name: &str) -> Result<ResourceInfo, Problem> {
    control.resource(kind, name.to_owned()).await?.ok_or_else(|| absent(kind, name))
}

async fn create(
    State(control): Node,
    Extension(grant): Extension<Grant>,
    InPath(kind): InPath<String>,
    Input(request): Input<ResourceRequest>,
) -> Answer<impl Serialize> {
    let kind = may_change(&grant, &kind)?;
    let another = match kind.name {
        "databases" => {
            let name = DbName::new(&request.name).map_err(|error| {
                Problem::new(&MALFORMED, ProblemKind::Refused, error.to_string())
                    .because("a database has a name of 1 to 128 letters, digits, dots, underscores and dashes")
                    .next("choose a name that fits")
            })?;
            if let Some(field) = request.spec.keys().next() {
                let message = format!("a database has no {field} to be wanted");
                return Err(Problem::new(&super::NOT_SETTABLE, ProblemKind::Refused, message));
            }
            control.db_create(DatabaseRequest { name }).await?;
            return found(&control, kind, &request.name).await.map(Json);
        }
        "nodes" => "a machine joins with `bowline join TOKEN`",
        "tokens" => "`bowline token add` makes a token, and prints its secret",
        "access" => "`bowline access add NAME` gives access, and prints its secret",
        "cluster" => "`bowline init` founds a cluster",
        _ => "they are noted by those to whom they happen",
    };
    let message = format!("{} are not made like this", kind.name);
    Err(Problem::new(&ANOTHER_WAY, ProblemKind::Refused, message).because(another))
}

async fn update(
    State(control): Node,
    Extension(grant): Extension<Grant>,
    InPath((kind, name)): InPath<(String, String)>,
    Input(patch): Input<ResourcePatch>,
) -> Answer<impl Serialize> {
    let kind = may_change(&grant, &kind)?;
    control.resource_update(kind, name.clone(), patch).await?.ok_or_else(|| absent(kind, &name)).map(Json)
}

/// `?confirm=NAME` is the proof that somebody knows what is lost.
#[derive(Deserialize)]
struct Confirmation {
    #[serde(default)]
    confirm: String,
}

async fn remove(
    State(control): Node,
    Extension(grant): Extension<Grant>,
    InPath((kind, name)): InPath<(String, String)>,
    Asked(confirmation): Asked<Confirmation>,
) -> Answer<impl Serialize> {
    let kind = may_change(&grant, &kind)?;
    let last = found(&control, kind, &name).await?;
    if matches!(kind.name, "databases" | "nodes") && confirmation.confirm != name {
        let message = format!("the removal of {name} was not confirmed");
        return Err(Problem::new(&UNCONFIRMED, ProblemKind::Unsafe, message));
    }
    match kind.name {
        "databases" => {
            let name = DbName::new(&name).map_err(|_| absent(kind, &name))?;
            control.db_drop(&name).await?;
        }
        "nodes" => drop(control.node_remove(&name, false).await?),
        "tokens" => drop(control.token_revoke(&name).await?),
        "access" => drop(control.access_revoke(&name).await?),
        _ => {
            let message = format!("{} are not removed like this", kind.name);
            return Err(Problem::new(&ANOTHER_WAY, ProblemKind::Refused, message));
        }
    }
    Ok(Json(last))
}

/// `?after=REVISION&kinds=nodes,databases`.
#[derive(Deserialize)]
struct WatchQuery {
    after: Option<u64>,
    kinds: Option<String>,
}

async fn begin(
    State(control): Node,
    Extension(grant): Extension<Grant>,
    Extension(places): Extension<Arc<Semaphore>>,
    Asked(query): Asked<WatchQuery>,
) -> Result<Response, Problem> {
    let kinds: BTreeSet<&'static str> = match &query.kinds {
        Some(kinds) => {
            kinds.split(',').map(|name| may_look(&grant, name).map(|kind| kind.name)).collect::<Result<_, _>>()?
        }
        None => cluster::kinds().into_iter().filter(|kind| grant.role >= looking(kind)).map(|kind| kind.name).collect(),
    };
    let place = places.try_acquire_owned().map_err(|_| watch::too_many())?;
    Ok(watch::lines(control.watch(query.after).await?, kinds, place))
}

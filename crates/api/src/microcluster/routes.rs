//! The paths, and what each asks of a node.

use super::envelope::{Sync, enclose};
use super::pages::{ADDRESS, CONFIG, NO_TOKEN, TOKEN_OPEN, TOKEN_TIME, UNANSWERED};
use super::types::{EXTENSIONS, Member, Server, Setup, TokenRecord, TokenRequest, members, numbers};
use crate::control::access::AccessRole;
use crate::control::guards::{self, MALFORMED};
use crate::control::{
    Control, InitRequest, Input, JoinRequest, NodeState, Problem, ProblemKind, TokenInfo, TokenRequest as TokenAsked,
    TokenState,
};
use axum::Router;
use axum::extract::{Path, Query, Request, State};
use axum::middleware;
use axum::routing::{any, delete, get, post};
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Map, Value};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

type Node = State<Arc<dyn Control>>;
type Answer<T> = Result<Sync<T>, Problem>;
type Done = Answer<Map<String, Value>>;

/// What is answered: method, path, the least role that it takes over HTTPS. Held to the guide's page by a test.
#[cfg(test)]
pub(super) const ANSWERED: &[(&str, &str, AccessRole)] = &[
    ("GET", "/core/1.0", AccessRole::Viewer),
    ("GET", "/core/1.0/ready", AccessRole::Viewer),
    ("GET", "/core/1.0/cluster", AccessRole::Viewer),
    ("DELETE", "/core/1.0/cluster/{name}", AccessRole::Admin),
    ("DELETE", "/core/1.0/tokens/{name}", AccessRole::Admin),
    ("GET", "/core/1.0/daemon/servers", AccessRole::Viewer),
    ("POST", "/core/control", AccessRole::Admin),
    ("GET", "/core/control/tokens", AccessRole::Admin),
    ("POST", "/core/control/tokens", AccessRole::Admin),
    ("POST", "/core/control/shutdown", AccessRole::Admin),
];

/// What begins so has no counterpart: why, and what to use instead.
const UNMATCHED: &[(&str, &str, &str)] = &[
    (
        "/core/1.0/cluster/certificates/",
        "each member's certificate comes from the cluster's own authority, and none is replaced from outside",
        "`bowline status` shows the members; leave the certificates to the cluster",
    ),
    (
        "/core/1.0/daemon/servers",
        "a node has no additional listeners",
        "give its addresses when the daemon is started: `bowline start --help`",
    ),
    (
        "/core/internal/sql",
        "a cluster has any number of databases, and this call names none",
        "bowline sql NAME \"STATEMENT\"; who belongs to the cluster is in the database sys",
    ),
    (
        "/core/internal/database",
        "dqlite's protocol has a door of its own",
        "point dqlite clients at port 9000 of a member, or upgrade GET /v1/sql to dqlite",
    ),
    (
        "/core/internal/cluster",
        "a machine joins as a node of Bowline: with its daemon, and a token of this cluster",
        "`bowline token add` here, `bowline join TOKEN` there",
    ),
    (
        "/core/internal/",
        "it is what microcluster's daemons tell each other; nodes of Bowline keep members, roles and trust in one database",
        "nothing to do for a node; a daemon of microcluster cannot be a member",
    ),
];

/// The routes. All answer in LXD's envelope, errors of the way there included.
pub(crate) fn routes(control: &Arc<dyn Control>) -> Router<Arc<dyn Control>> {
    let takes = |role| middleware::from_fn_with_state(guards::Required::new(control, role), guards::check);
    let (viewer, admin) = (takes(AccessRole::Viewer), takes(AccessRole::Admin));
    let audited = middleware::from_fn_with_state(Arc::clone(control), guards::note);
    let when_ready = middleware::from_fn_with_state(Arc::clone(control), guards::only_when_ready);

    let state = Router::new()
        .route("/core/1.0", get(server))
        .route("/core/1.0/ready", get(ready))
        .route("/core/1.0/daemon/servers", get(servers))
        .route_layer(viewer.clone());
    let look = Router::new().route("/core/1.0/cluster", get(list)).route_layer(viewer);
    let decide = Router::new()
        .route("/core/1.0/cluster/{name}", delete(remove))
        .route("/core/1.0/tokens/{name}", delete(token_delete))
        .route("/core/control/tokens", get(token_list).post(token_add))
        .route_layer(audited.clone())
        .route_layer(admin.clone());
    let life = Router::new()
        .route("/core/control", post(setup))
        .route("/core/control/shutdown", post(shutdown))
        .route_layer(audited)
        .route_layer(admin);
    state
        .merge(look.merge(decide).route_layer(when_ready))
        .merge(life)
        .route("/core/{*rest}", any(unanswered))
        .method_not_allowed_fallback(unanswered)
        .layer(middleware::map_response(enclose))
}

async fn unanswered(request: Request) -> Problem {
    let path = request.uri().path();
    let told = format!("{} {path} is not answered here", request.method());
    let problem = Problem::new(&UNANSWERED, ProblemKind::NotFound, told);
    match UNMATCHED.iter().find(|(begins, ..)| path.starts_with(begins)) {
        Some((_, why, next)) => problem.because(*why).next(*next),
        None => problem,
    }
}

fn malformed(what: impl Into<String>) -> Problem {
    Problem::new(&MALFORMED, ProblemKind::Refused, what)
}

/// Answers in any state: clients ask it to learn whether the node belongs to a cluster.
async fn server(State(control): Node) -> Answer<Server> {
    let status = control.status().await?;
    let own = status.nodes.into_iter().find(|node| Some(node.id) == status.node);
    let address = match own {
        Some(own) => {
            let announced = own.https_address.clone();
            let faces = control.faces(vec![own]).await?;
            numbers(&announced, faces.members.first())
        }
        None => String::new(),
    };
    Ok(Sync(Server {
        name: status.name.unwrap_or_default(),
        address,
        version: status.version,
        ready: status.state == NodeState::Ready,
        extensions: EXTENSIONS,
    }))
}

/// Whether the daemon has come up: one without a cluster has, it waits to be bootstrapped or to join.
async fn ready(State(control): Node) -> Done {
    let readiness = control.ready();
    match readiness.state {
        NodeState::Ready | NodeState::Unformed => Ok(Sync::done()),
        NodeState::Starting | NodeState::Stopping => Err(guards::not_ready_yet(&readiness)),
    }
}

/// By their names. A node has none.
async fn servers() -> Sync<Map<String, Value>> {
    Sync::done()
}

async fn list(State(control): Node) -> Answer<Vec<Member>> {
    let nodes = control.nodes().await?;
    let faces = control.faces(nodes.clone()).await?;
    let now = i64::try_from(rt::time::wall().as_secs()).unwrap_or(i64::MAX);
    Ok(Sync(members(nodes, &faces, Timestamp::from_second(now).unwrap_or(Timestamp::MAX))))
}

#[derive(Deserialize)]
struct Removal {
    #[serde(default)]
    force: String,
}

async fn remove(State(control): Node, Path(name): Path<String>, Query(removal): Query<Removal>) -> Done {
    control.node_remove(&name, removal.force == "1").await?;
    Ok(Sync::done())
}

/// The tokens that can be used, as clients know them.
async fn open_tokens(control: &dyn Control) -> Result<Vec<TokenInfo>, Problem> {
    let tokens = control.token_list().await?;
    Ok(tokens.into_iter().filter(|token| token.state == TokenState::Open).collect())
}

fn goes_by(token: &TokenInfo, name: &str) -> bool {
    token.name.as_deref().unwrap_or(&token.id).eq_ignore_ascii_case(name)
}

async fn token_list(State(control): Node) -> Answer<Vec<TokenRecord>> {
    Ok(Sync(open_tokens(&*control).await?.into_iter().map(TokenRecord::of).collect()))
}

async fn token_add(State(control): Node, Input(asked): Input<TokenRequest>) -> Answer<String> {
    let TokenRequest { name, expire_after } = asked;
    if name.is_empty() {
        return Err(malformed(
            "a token goes by the name of the machine that may use it, and there is none in the request",
        ));
    }
    let valid = u64::try_from(expire_after).ok().filter(|nanoseconds| *nanoseconds > 0).map(Duration::from_nanos);
    let Some(valid) = valid else {
        return Err(Problem::new(&TOKEN_TIME, ProblemKind::Refused, format!("the token for {name} would have no end")));
    };
    if let Some(open) = open_tokens(&*control).await?.iter().find(|token| goes_by(token, &name)) {
        let message = format!("there is an open token for {name} already: {}", open.id);
        return Err(Problem::new(&TOKEN_OPEN, ProblemKind::Conflict, message));
    }
    let valid_s = valid.as_millis().div_ceil(1000);
    let asked = TokenAsked { valid_s: Some(u64::try_from(valid_s).unwrap_or(u64::MAX)), name: Some(name) };
    Ok(Sync(control.token_add(asked).await?.token))
}

async fn token_delete(State(control): Node, Path(name): Path<String>) -> Done {
    let tokens = open_tokens(&*control).await?;
    let named: Vec<_> = tokens.into_iter().filter(|token| goes_by(token, &name)).collect();
    if named.is_empty() {
        let message = format!("there is no open token for {name}");
        return Err(Problem::new(&NO_TOKEN, ProblemKind::NotFound, message));
    }
    for token in named {
        control.token_revoke(&token.id).await?;
    }
    Ok(Sync::done())
}

async fn setup(State(control): Node, Input(setup): Input<Setup>) -> Done {
    let Setup { bootstrap, config, join_token, address, name } = setup;
    let keys: Vec<String> = config.into_iter().flatten().map(|(key, _)| key).collect();
    if !keys.is_empty() {
        let message = format!("the configuration {} is for another program", keys.join(", "));
        return Err(Problem::new(&CONFIG, ProblemKind::Refused, message));
    }
    let (address, https_address) = match address.as_str() {
        "" => (None, None),
        given => {
            let meant = own_address(given, control.https_port())?;
            (Some(meant.ip().to_string()), Some(meant.to_string()))
        }
    };
    let name = Some(name).filter(|name| !name.is_empty());
    match (bootstrap, join_token) {
        (true, token) if token.is_empty() => {
            control.init(InitRequest { name, address, dqlite_address: None, https_address }).await?;
        }
        (false, token) if !token.is_empty() => {
            control
                .join(JoinRequest { token, name, address, dqlite_address: None, https_address, witness: false })
                .await?;
        }
        (true, _) => {
            return Err(malformed("the request asks to bootstrap and has a join token: it is one or the other"));
        }
        (false, _) => return Err(malformed("the request neither asks to bootstrap nor has a join token")),
    }
    Ok(Sync::done())
}

/// The address of a node that serves on `port`, if what was given can be it.
fn own_address(given: &str, port: u16) -> Result<SocketAddr, Problem> {
    let meant: SocketAddr =
        given.parse().map_err(|_| malformed(format!("{given:?} is not an address of the form IP:port")))?;
    if meant.port() == port {
        return Ok(meant);
    }
    let message = format!("{meant} would not lead here: this daemon serves HTTPS on port {port}");
    let own = SocketAddr::new(meant.ip(), port);
    Err(Problem::new(&ADDRESS, ProblemKind::Refused, message).next(format!(
        "give {own}, or start the daemon with --https-listen {}",
        SocketAddr::new(if meant.is_ipv4() { [0, 0, 0, 0].into() } else { [0; 16].into() }, meant.port())
    )))
}

async fn shutdown(State(control): Node) -> Sync<Map<String, Value>> {
    control.stop();
    Sync::done()
}

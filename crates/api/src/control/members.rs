//! Who is alive, as the gossip of the node that is asked tells: it is its own opinion, and needs no majority.

use super::extract::{Asked, Input};
use super::ops::Control;
use super::problem::{MALFORMED, Problem, ProblemKind};
use super::routes::{Answer, Node};
use axum::extract::State;
use axum::routing::{get, post, put};
use axum::{Json, Router};
use base::NodeId;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::time::Duration;

/// As many events are in an answer if nobody says, and at most.
const EVENTS: usize = 100;
const EVENTS_MAX: usize = 1000;
/// The longest wait for something to happen.
const WAIT_MAX: Duration = Duration::from_secs(30);

/// A member of the gossip group, as the node that is asked sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct MemberInfo {
    /// Its id in the group, a UUID.
    pub id: String,
    /// The node that it is; none of a member that is no node of this cluster.
    #[schemars(with = "Option<u64>")]
    pub node: Option<NodeId>,
    /// The node's name, or the id.
    pub name: String,
    /// `alive`, `suspected`, `dead` or `left`.
    pub status: String,
    /// Where it is reached, over UDP.
    pub address: String,
    /// Which of its lives it is in, and which change in it: the newer word wins.
    pub incarnation: String,
    /// Since when it has its status, by the clock of the node that is asked.
    pub since: Timestamp,
    /// Why it has its status.
    pub why: String,
    /// What it tells all others of itself, in base64; none if that is not known.
    pub payload: Option<String>,
    /// Whether it is the node that is asked.
    pub is_self: bool,
}

/// Something that happened to a member.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct MemberEvent {
    /// Counts what this node was told since it started, from 1 on.
    pub number: u64,
    /// When, by the clock of the node that is asked.
    pub at: Timestamp,
    /// The member's id in the group.
    pub id: String,
    /// The node's name, or the id.
    pub name: String,
    /// Its status afterwards.
    pub status: String,
    /// What changed: `new`, `status`, `addr`, `generation`, `version`, `payload`, `drop`.
    pub changes: Vec<String>,
    /// Tarantool's number of the same set.
    pub mask: u8,
    /// Why.
    pub why: String,
}

/// What to tell all others of the node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PayloadRequest {
    /// Up to 1200 bytes, in base64.
    pub payload: String,
}

/// Whom to ask whether there is somebody.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ProbeRequest {
    /// `host:port`; or a port alone for everybody on the machine's networks.
    pub address: String,
}

/// What was asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Probed {
    /// To which addresses a ping went. Who answers is a member a moment later.
    pub sent_to: Vec<String>,
}

/// What only looks.
pub(super) fn looks() -> Router<Arc<dyn Control>> {
    Router::new().route("/v1/members", get(list)).route("/v1/members/events", get(events))
}

/// What changes something.
pub(super) fn changes() -> Router<Arc<dyn Control>> {
    Router::new().route("/v1/members/self/payload", put(payload)).route("/v1/members/probe", post(probe))
}

async fn list(State(control): Node) -> Answer<impl Serialize> {
    control.members().await.map(Json)
}

/// `?after=NUMBER&wait_s=SECONDS&limit=N`.
#[derive(Deserialize)]
struct EventsQuery {
    #[serde(default)]
    after: u64,
    #[serde(default)]
    wait_s: u64,
    limit: Option<usize>,
}

async fn events(State(control): Node, Asked(query): Asked<EventsQuery>) -> Result<Json<Vec<MemberEvent>>, Problem> {
    let wait = Duration::from_secs(query.wait_s).min(WAIT_MAX);
    let limit = query.limit.unwrap_or(EVENTS).clamp(1, EVENTS_MAX);
    control.member_events(query.after, limit, wait).await.map(Json)
}

async fn payload(State(control): Node, Input(request): Input<PayloadRequest>) -> Answer<impl Serialize> {
    let payload = STANDARD.decode(&request.payload).map_err(|error| {
        Problem::new(&MALFORMED, ProblemKind::Refused, "the payload is not base64").because(error.to_string())
    })?;
    control.member_payload(payload).await.map(Json)
}

async fn probe(State(control): Node, Input(request): Input<ProbeRequest>) -> Answer<impl Serialize> {
    control.member_probe(request).await.map(Json)
}

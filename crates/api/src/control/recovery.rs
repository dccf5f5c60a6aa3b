//! Recovery after a majority is lost for good: what it would do, and the order to do it.

use super::extract::Input;
use super::problem::Problem;
use super::routes::{Answer, Node};
use axum::extract::State;
use axum::routing::get;
use axum::{Json, Router};
use base::NodeId;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// What a recovery would do, or has done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Recovery {
    /// The members that do not answer, by name: they are given up. So is a witness that has acknowledged more than all that do, for
    /// it would never agree to less.
    pub lost: Vec<RecoveryNode>,
    /// The members that do.
    pub survivors: Vec<RecoveryNode>,
    /// The databases without a majority, `sys` first.
    pub databases: Vec<RecoveryDatabase>,
}

/// A member.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RecoveryNode {
    /// Its id.
    #[schemars(with = "u64")]
    pub node: NodeId,
    /// Its name.
    pub name: String,
    /// It is given up although it answers: it is the witness.
    #[serde(default)]
    pub is_ahead: bool,
}

/// What a database goes on from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RecoveryDatabase {
    /// The database; its group's number where no survivor knows its name.
    pub name: String,
    /// The survivor that has most of it.
    pub from: String,
    /// How many entries of its log that survivor has.
    pub entries: u64,
    /// How many entries after those the witness has acknowledged: they are lost.
    #[serde(default)]
    pub lost_entries: u64,
}

/// The order to recover.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RecoveryRequest {
    /// The members that are lost for good, by name: exactly those that do not answer. Naming them is the confirmation.
    pub give_up: Vec<String>,
}

/// Asked in any state: without a majority a node is not ready.
pub(super) fn routes() -> Router<Arc<dyn super::Control>> {
    Router::new().route("/v1/recovery", get(plan).post(recover))
}

async fn plan(State(control): Node) -> Answer<Recovery> {
    control.recovery().await.map(Json)
}

async fn recover(State(control): Node, Input(request): Input<RecoveryRequest>) -> Result<Json<Recovery>, Problem> {
    control.recover(request).await.map(Json)
}

//! The cluster's certificate authority: what it is, who trusts which, and how one takes the place of another.

use super::extract::Input;
use super::problem::Problem;
use super::routes::{Answer, Node};
use axum::Json;
use axum::extract::State;
use base::NodeId;
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The CAs, and the certificates that they have made for the members.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Authority {
    /// The CAs that the node that was asked trusts: one, or two while one takes the place of the other.
    pub authorities: Vec<AuthorityInfo>,
    /// The rotation that is under way.
    pub rotation: Option<Rotation>,
    /// The members' certificates, by name.
    pub members: Vec<MemberCertificate>,
}

/// A CA.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AuthorityInfo {
    /// The fingerprint of its key (SHA-256, hexadecimal), by which tokens pin it.
    pub fingerprint: String,
    /// What it is to the cluster.
    pub part: AuthorityPart,
    /// When it ends.
    pub ends: Timestamp,
}

/// What a CA is to the cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum AuthorityPart {
    /// The only one.
    Current,
    /// It takes the place of another.
    Coming,
    /// Another one takes its place.
    Going,
}

/// How one CA takes the place of another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Rotation {
    /// How far it is.
    pub state: RotationState,
    /// When it began.
    pub begun: Timestamp,
    /// The members that the next step waits for, by name.
    pub waits_for: Vec<String>,
    /// Members that are not waited for, by name.
    pub without: Vec<String>,
    /// Whose access tokens pin the CA that goes.
    pub access: Vec<String>,
    /// How many join tokens that nobody has used yet pin it.
    pub join_tokens: u64,
    /// Whether those tokens are not waited for.
    pub finishing: bool,
}

/// How far a rotation is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum RotationState {
    /// The new CA is made known to the members; they trust both.
    Distributing,
    /// The members get certificates by the new CA.
    Reissuing,
    /// All have them. Tokens that pin the old CA still work.
    Waiting,
    /// The old CA is trusted no more.
    Retiring,
}

/// A member's certificate, by its own word.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct MemberCertificate {
    /// The member.
    #[schemars(with = "u64")]
    pub node: NodeId,
    /// Its name.
    pub name: String,
    /// When the certificate ends; none while the member has not said so.
    pub ends: Option<Timestamp>,
    /// The fingerprint of the CA that made it.
    pub issuer: Option<String>,
    /// The fingerprints of the CAs that the member trusts.
    pub trusts: Vec<String>,
}

/// The order to replace the CA, or to hurry that.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RotateRequest {
    /// Do not wait for tokens that pin the CA that goes: they stop working.
    #[serde(default)]
    pub finish: bool,
    /// Do not wait for these members, by name.
    #[serde(default)]
    pub without: Vec<String>,
}

pub(super) async fn show(State(control): Node) -> Answer<Authority> {
    control.authority().await.map(Json)
}

pub(super) async fn rotate(
    State(control): Node,
    Input(request): Input<RotateRequest>,
) -> Result<Json<Authority>, Problem> {
    control.authority_rotate(request).await.map(Json)
}

//! What the API can be asked for, one entry each.

use super::{Content, Operation};
use crate::control::access::{AccessRole, Grant};
use crate::control::audit::AuditInfo;
use crate::control::authority::{Authority, RotateRequest};
use crate::control::members::{MemberEvent, MemberInfo, PayloadRequest, ProbeRequest, Probed};
use crate::control::recovery::{Recovery, RecoveryRequest};
use crate::control::resources::{KindInfo, ResourceInfo, ResourcePage, ResourcePatch, ResourceRequest, WatchLine};
use crate::control::sql::{SqlDone, SqlStatement, SqlTransaction};
use crate::control::types::{
    AccessInfo, AccessIssued, AccessRequest, Created, DatabaseCheck, DatabaseContents, DatabaseInfo, DatabaseRequest,
    Dropped, Formed, InitRequest, JoinRequest, NodeInfo, NodeRequest, Parted, Readiness, RoleTargets, Status,
    TokenInfo, TokenIssued, TokenRequest,
};
use AccessRole::{Admin, Operator, Viewer};
use Content::{Json, Lines, Nothing, Other, Stream};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

fn of<T: JsonSchema>(types: &mut SchemaGenerator) -> Schema {
    types.subschema_for::<T>()
}

/// Rows of a query.
#[derive(JsonSchema)]
#[expect(dead_code, reason = "it is written piece by piece, and never built")]
struct Rows {
    /// The columns' names.
    columns: Vec<String>,
    /// A list of values for each row.
    rows: Vec<Vec<serde_json::Value>>,
}

const PLAIN: Operation =
    Operation { method: "GET", path: "/", role: None, does: "", query: &[], takes: Nothing, gives: Nothing };

/// All of it, in the order of the guide's page.
pub(in crate::control) const OPERATIONS: &[Operation] = &[
    Operation { method: "GET", path: "/livez", does: "Whether the daemon lives", gives: Other("text/plain"), ..PLAIN },
    Operation {
        method: "GET",
        path: "/readyz",
        does: "Whether the node is ready; 503 and what it waits for if not",
        query: &[("verbose", "A line for each unit instead")],
        gives: Json(of::<Readiness>),
        ..PLAIN
    },
    Operation {
        method: "GET",
        path: "/v1/openapi.json",
        does: "This API as an OpenAPI document",
        gives: Json(|_| json_schema!({"type": "object"})),
        ..PLAIN
    },
    Operation {
        method: "GET",
        path: "/metrics",
        role: Some(Viewer),
        does: "What the node measures, for Prometheus",
        gives: Other("application/openmetrics-text"),
        ..PLAIN
    },
    Operation {
        method: "GET",
        path: "/v1/whoami",
        role: Some(Viewer),
        does: "Who is asking, and what they may do",
        gives: Json(of::<Grant>),
        ..PLAIN
    },
    Operation {
        method: "GET",
        path: "/v1/status",
        role: Some(Viewer),
        does: "The node and its cluster, as the node sees them",
        gives: Json(of::<Status>),
        ..PLAIN
    },
    Operation {
        method: "POST",
        path: "/v1/init",
        role: Some(Admin),
        does: "Start a cluster of one on this machine",
        takes: Json(of::<InitRequest>),
        gives: Json(of::<Formed>),
        ..PLAIN
    },
    Operation {
        method: "POST",
        path: "/v1/join",
        role: Some(Admin),
        does: "Enter a cluster",
        takes: Json(of::<JoinRequest>),
        gives: Json(of::<Formed>),
        ..PLAIN
    },
    Operation {
        method: "POST",
        path: "/v1/stop",
        role: Some(Admin),
        does: "Stop the daemon in order",
        gives: Json(of::<Readiness>),
        ..PLAIN
    },
    Operation {
        method: "GET",
        path: "/v1/nodes",
        role: Some(Viewer),
        does: "The members",
        gives: Json(of::<Vec<NodeInfo>>),
        ..PLAIN
    },
    Operation {
        method: "DELETE",
        path: "/v1/nodes/{name}",
        role: Some(Admin),
        does: "Remove a node",
        query: &[
            ("confirm", "The node's name, as the proof that somebody knows what is lost"),
            ("force", "`true`: also if it does not answer, or if writes may stop"),
        ],
        gives: Json(of::<Parted>),
        ..PLAIN
    },
    Operation {
        method: "PATCH",
        path: "/v1/nodes/{name}",
        role: Some(Admin),
        does: "Say with whom a node fails together, and how gladly it takes a role",
        takes: Json(of::<NodeRequest>),
        gives: Json(of::<NodeInfo>),
        ..PLAIN
    },
    Operation {
        method: "GET",
        path: "/v1/members",
        role: Some(Viewer),
        does: "Who is alive, as the gossip of the node that is asked tells",
        gives: Json(of::<Vec<MemberInfo>>),
        ..PLAIN
    },
    Operation {
        method: "GET",
        path: "/v1/members/events",
        role: Some(Viewer),
        does: "What happened to members, and why",
        query: &[
            ("after", "Only events after this number; a gap in the numbers was forgotten"),
            ("wait_s", "How long to wait for something to happen; 0 if not given, at most 30"),
            ("limit", "So many at most; 100 if not given"),
        ],
        gives: Json(of::<Vec<MemberEvent>>),
        ..PLAIN
    },
    Operation {
        method: "PUT",
        path: "/v1/members/self/payload",
        role: Some(Operator),
        does: "Tell all others something of the node that is asked",
        takes: Json(of::<PayloadRequest>),
        gives: Json(of::<MemberInfo>),
        ..PLAIN
    },
    Operation {
        method: "POST",
        path: "/v1/members/probe",
        role: Some(Operator),
        does: "Ask an address, or all networks, whether a member is there",
        takes: Json(of::<ProbeRequest>),
        gives: Json(of::<Probed>),
        ..PLAIN
    },
    Operation {
        method: "GET",
        path: "/v1/roles",
        role: Some(Viewer),
        does: "How many members should vote and stand by, and when one is given up",
        gives: Json(of::<RoleTargets>),
        ..PLAIN
    },
    Operation {
        method: "PUT",
        path: "/v1/roles",
        role: Some(Admin),
        does: "Change how many members should vote and stand by, and when one is given up",
        takes: Json(of::<RoleTargets>),
        gives: Json(of::<RoleTargets>),
        ..PLAIN
    },
    Operation {
        method: "GET",
        path: "/v1/authority",
        role: Some(Viewer),
        does: "The cluster's CA, and the members' certificates",
        gives: Json(of::<Authority>),
        ..PLAIN
    },
    Operation {
        method: "POST",
        path: "/v1/authority/rotate",
        role: Some(Admin),
        does: "Replace the cluster's CA, or hurry that",
        takes: Json(of::<RotateRequest>),
        gives: Json(of::<Authority>),
        ..PLAIN
    },
    Operation {
        method: "GET",
        path: "/v1/audit",
        role: Some(Admin),
        does: "Who asked for what, the newest first",
        query: &[("before", "Only entries before the one of this id"), ("limit", "So many at most; 100 if not given")],
        gives: Json(of::<Vec<AuditInfo>>),
        ..PLAIN
    },
    Operation {
        method: "GET",
        path: "/v1/recovery",
        role: Some(Admin),
        does: "What a recovery from the loss of a majority would do",
        gives: Json(of::<Recovery>),
        ..PLAIN
    },
    Operation {
        method: "POST",
        path: "/v1/recovery",
        role: Some(Admin),
        does: "Go on without the members that are lost",
        takes: Json(of::<RecoveryRequest>),
        gives: Json(of::<Recovery>),
        ..PLAIN
    },
    Operation {
        method: "GET",
        path: "/v1/tokens",
        role: Some(Admin),
        does: "The join tokens",
        gives: Json(of::<Vec<TokenInfo>>),
        ..PLAIN
    },
    Operation {
        method: "POST",
        path: "/v1/tokens",
        role: Some(Admin),
        does: "Make a join token",
        takes: Json(of::<TokenRequest>),
        gives: Json(of::<TokenIssued>),
        ..PLAIN
    },
    Operation {
        method: "DELETE",
        path: "/v1/tokens/{id}",
        role: Some(Admin),
        does: "Make a join token useless",
        gives: Json(of::<TokenInfo>),
        ..PLAIN
    },
    Operation {
        method: "GET",
        path: "/v1/access",
        role: Some(Admin),
        does: "Who has access over HTTPS",
        gives: Json(of::<Vec<AccessInfo>>),
        ..PLAIN
    },
    Operation {
        method: "POST",
        path: "/v1/access",
        role: Some(Admin),
        does: "Give access, with a token",
        takes: Json(of::<AccessRequest>),
        gives: Json(of::<AccessIssued>),
        ..PLAIN
    },
    Operation {
        method: "DELETE",
        path: "/v1/access/{name}",
        role: Some(Admin),
        does: "Take access away",
        gives: Json(of::<AccessInfo>),
        ..PLAIN
    },
    Operation {
        method: "GET",
        path: "/v1/kinds",
        role: Some(Viewer),
        does: "The kinds of resources, with their fields",
        gives: Json(of::<Vec<KindInfo>>),
        ..PLAIN
    },
    Operation {
        method: "GET",
        path: "/v1/resources/{kind}",
        role: Some(Viewer),
        does: "Resources of a kind; tokens, access and audit are for admins",
        query: &[
            ("after", "Only those after the one of this name or number"),
            ("limit", "So many at most, 1000 at most; 100 if not given"),
        ],
        gives: Json(of::<ResourcePage>),
        ..PLAIN
    },
    Operation {
        method: "POST",
        path: "/v1/resources/{kind}",
        role: Some(Operator),
        does: "Make a resource",
        takes: Json(of::<ResourceRequest>),
        gives: Json(of::<ResourceInfo>),
        ..PLAIN
    },
    Operation {
        method: "GET",
        path: "/v1/resources/{kind}/{name}",
        role: Some(Viewer),
        does: "A resource",
        gives: Json(of::<ResourceInfo>),
        ..PLAIN
    },
    Operation {
        method: "PATCH",
        path: "/v1/resources/{kind}/{name}",
        role: Some(Operator),
        does: "Change what is wanted of a resource; all but databases take an admin",
        takes: Json(of::<ResourcePatch>),
        gives: Json(of::<ResourceInfo>),
        ..PLAIN
    },
    Operation {
        method: "DELETE",
        path: "/v1/resources/{kind}/{name}",
        role: Some(Operator),
        does: "Remove a resource; all but databases take an admin",
        query: &[("confirm", "The name of a node or database, as the proof that somebody knows what is lost")],
        gives: Json(of::<ResourceInfo>),
        ..PLAIN
    },
    Operation {
        method: "GET",
        path: "/v1/watch",
        role: Some(Viewer),
        does: "The changes of resources in order, as lines of JSON without end",
        query: &[
            ("after", "The last revision that is known; only what comes from now on if not given"),
            ("kinds", "Only these kinds, divided by commas"),
        ],
        gives: Stream(of::<WatchLine>),
        ..PLAIN
    },
    Operation {
        method: "GET",
        path: "/v1/databases",
        role: Some(Viewer),
        does: "The databases",
        gives: Json(of::<Vec<DatabaseInfo>>),
        ..PLAIN
    },
    Operation {
        method: "POST",
        path: "/v1/databases",
        role: Some(Operator),
        does: "Create a database",
        takes: Json(of::<DatabaseRequest>),
        gives: Json(of::<Created>),
        ..PLAIN
    },
    Operation {
        method: "GET",
        path: "/v1/databases/{name}",
        role: Some(Viewer),
        does: "What a database holds: its tables, and how many rows they have",
        gives: Json(of::<DatabaseContents>),
        ..PLAIN
    },
    Operation {
        method: "DELETE",
        path: "/v1/databases/{name}",
        role: Some(Operator),
        does: "Drop a database on all members",
        query: &[("confirm", "The database's name, as the proof that somebody knows what is lost")],
        gives: Json(of::<Dropped>),
        ..PLAIN
    },
    Operation {
        method: "GET",
        path: "/v1/databases/{name}/check",
        role: Some(Viewer),
        does: "Check this node's own copy",
        gives: Json(of::<DatabaseCheck>),
        ..PLAIN
    },
    Operation {
        method: "GET",
        path: "/v1/databases/{name}/file",
        role: Some(Viewer),
        does: "Export a database as a plain SQLite file",
        gives: Other("application/vnd.sqlite3"),
        ..PLAIN
    },
    Operation {
        method: "PUT",
        path: "/v1/databases/{name}/file",
        role: Some(Operator),
        does: "Import a plain SQLite file as a new database",
        takes: Other("application/vnd.sqlite3"),
        gives: Json(of::<DatabaseInfo>),
        ..PLAIN
    },
    Operation {
        method: "GET",
        path: "/v1/sql",
        role: Some(Viewer),
        does: "A session of dqlite's protocol, with `Upgrade: dqlite`; a viewer's only reads",
        query: &[
            ("at", "`leader`, or `here` for the member that is asked"),
            ("role", "To do no more in it than this role may"),
            ("passed_on", "`true`: the bytes come in frames, through another member"),
        ],
        ..PLAIN
    },
    Operation {
        method: "POST",
        path: "/v1/databases/{name}/query",
        role: Some(Viewer),
        does: "Read rows",
        query: &[
            ("read", "`linearizable`, `bounded:DURATION` or `local`"),
            ("deadline", "How long the statement may run: `250ms`, `5s`, `2m`"),
            ("busy", "How long it waits for a majority"),
        ],
        takes: Json(of::<SqlStatement>),
        gives: Lines(of::<Rows>),
    },
    Operation {
        method: "POST",
        path: "/v1/databases/{name}/execute",
        role: Some(Operator),
        does: "Write; for `sys` it takes an admin",
        takes: Json(of::<SqlTransaction>),
        gives: Json(of::<SqlDone>),
        ..PLAIN
    },
];

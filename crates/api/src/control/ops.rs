//! What a node lets its operator do: the seam between the control API and the composition root.

use super::access::{Credential, Grant};
use super::audit::{AuditInfo, Audited};
use super::authority::{Authority, RotateRequest};
use super::faces::Faces;
use super::members::{MemberEvent, MemberInfo, ProbeRequest, Probed};
use super::metrics::Metrics;
use super::problem::Problem;
use super::recovery::{Recovery, RecoveryRequest};
use super::resources::{ChangeStream, ResourceInfo, ResourcePage, ResourcePatch};
use super::sql::{SessionWanted, SqlDone, SqlRows, SqlSession};
use super::types::{
    AccessInfo, AccessIssued, AccessRequest, Created, DatabaseCheck, DatabaseContents, DatabaseInfo, DatabaseRequest,
    Dropped, Formed, InitRequest, JoinRequest, NodeInfo, NodeRequest, Parted, Readiness, RoleTargets, Status,
    TokenInfo, TokenIssued, TokenRequest, UnitStatus,
};
use base::DbName;
use bytes::Bytes;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use std::time::Duration;
use store::resources::Kind;
use store::{Command, SessionOptions, WriteId};

/// The bytes of a database file, in order. An error ends it: what came before must not be used.
pub type ByteStream = BoxStream<'static, Result<Bytes, Problem>>;

/// A database file on its way out.
pub struct Export {
    /// How many bytes will come.
    pub bytes: u64,
    /// The bytes.
    pub body: ByteStream,
}

/// The operations of a node. Implemented once, by the daemon.
///
/// Dropping a returned future stops the waiting, not the work: a join or a drop that was begun goes on, and asking again
/// finds its outcome. Requests about data are only made while [`ready`](Self::ready) says so: the router answers 503 with
/// Retry-After before that, and asks `status`, `init`, `join`, `recovery`, `recover` and `stop` at any time.
pub trait Control: Send + Sync + 'static {
    /// Where the node is in its life. Quick, never waits.
    fn ready(&self) -> Readiness;

    /// Where each unit of the daemon is in its life. Quick, never waits.
    fn units(&self) -> Vec<UnitStatus>;

    /// The node and its cluster, as this node sees them. Answers in any state, never waits for a leader.
    fn status(&self) -> BoxFuture<'_, Result<Status, Problem>>;

    /// What the node measures. Answers in any state, never waits for a leader.
    fn metrics(&self) -> BoxFuture<'_, Metrics>;

    /// The port on which this daemon serves the API over HTTPS. Known from its start on.
    fn https_port(&self) -> u16;

    /// What these members show over HTTPS. Each is asked, and has a second to answer.
    fn faces(&self, members: Vec<NodeInfo>) -> BoxFuture<'_, Result<Faces, Problem>>;

    /// All members, by name.
    fn nodes(&self) -> BoxFuture<'_, Result<Vec<NodeInfo>, Problem>>;

    /// Removes a node, this one too. Answers when it has gone. Without `force` it is refused where it would cost something: see the page of
    /// BL-CLU-027.
    fn node_remove(&self, name: &str, force: bool) -> BoxFuture<'_, Result<Parted, Problem>>;

    /// Says with whom a member fails together, and how gladly it takes a role.
    fn node_set(&self, name: &str, request: NodeRequest) -> BoxFuture<'_, Result<NodeInfo, Problem>>;

    /// How many members should vote and stand by.
    fn roles(&self) -> BoxFuture<'_, Result<RoleTargets, Problem>>;

    /// Changes that; the roles follow by themselves.
    fn roles_set(&self, targets: RoleTargets) -> BoxFuture<'_, Result<RoleTargets, Problem>>;

    /// The CAs, and the members' certificates.
    fn authority(&self) -> BoxFuture<'_, Result<Authority, Problem>>;

    /// Replaces the CA, or hurries that. Answers once it is noted; the rest goes by itself.
    fn authority_rotate(&self, request: RotateRequest) -> BoxFuture<'_, Result<Authority, Problem>>;

    /// What a recovery from the loss of a majority would do. Changes nothing. A conflict if there is nothing to recover.
    fn recovery(&self) -> BoxFuture<'_, Result<Recovery, Problem>>;

    /// Makes the databases go on that have lost their majority, and takes the lost members out. Refused as unsafe unless exactly those are
    /// given up that do not answer.
    fn recover(&self, request: RecoveryRequest) -> BoxFuture<'_, Result<Recovery, Problem>>;

    /// Starts a cluster of one. Answers when the node is ready. On a member it is a conflict that names the cluster.
    fn init(&self, request: InitRequest) -> BoxFuture<'_, Result<Formed, Problem>>;

    /// Enters a cluster. Answers when the node is ready and has its role. On a member it is a conflict.
    fn join(&self, request: JoinRequest) -> BoxFuture<'_, Result<Formed, Problem>>;

    /// Issues a join token.
    fn token_add(&self, request: TokenRequest) -> BoxFuture<'_, Result<TokenIssued, Problem>>;

    /// All tokens that were issued and not yet swept away, newest first.
    fn token_list(&self) -> BoxFuture<'_, Result<Vec<TokenInfo>, Problem>>;

    /// Makes a token useless. Not found if there is none of that id.
    fn token_revoke(&self, id: &str) -> BoxFuture<'_, Result<TokenInfo, Problem>>;

    /// Who a client is that came over HTTPS; nobody if its credential is not good, or not any more. By this node's own copy of `sys`,
    /// so that it is known without a majority too.
    fn who(&self, credential: Credential) -> BoxFuture<'_, Result<Option<Grant>, Problem>>;

    /// Gives a person or a program access. A conflict if the name has it.
    fn access_add(&self, request: AccessRequest) -> BoxFuture<'_, Result<AccessIssued, Problem>>;

    /// Who has access, by name.
    fn access_list(&self) -> BoxFuture<'_, Result<Vec<AccessInfo>, Problem>>;

    /// Takes access away.
    fn access_revoke(&self, name: &str) -> BoxFuture<'_, Result<AccessInfo, Problem>>;

    /// Notes that something is asked for, in the cluster if that is possible now; gives the number of the note. Waits a second at most.
    fn audit_begin<'a>(&'a self, audited: &'a Audited) -> BoxFuture<'a, Option<u64>>;

    /// Notes what became of it: the status of the answer, and the code of the error if there was one.
    fn audit_end<'a>(
        &'a self,
        audited: &'a Audited,
        noted: Option<u64>,
        status: u16,
        code: Option<String>,
    ) -> BoxFuture<'a, ()>;

    /// The newest notes before note `before`, the newest first.
    fn audit(&self, before: Option<u64>, limit: u32) -> BoxFuture<'_, Result<Vec<AuditInfo>, Problem>>;

    /// The members of the gossip group by name, as this node believes.
    fn members(&self) -> BoxFuture<'_, Result<Vec<MemberInfo>, Problem>>;

    /// What happened to members after event `after`; waits for something to happen, but no longer than `wait`.
    fn member_events(
        &self,
        after: u64,
        limit: usize,
        wait: Duration,
    ) -> BoxFuture<'_, Result<Vec<MemberEvent>, Problem>>;

    /// Tells all others this of the node.
    fn member_payload(&self, payload: Vec<u8>) -> BoxFuture<'_, Result<MemberInfo, Problem>>;

    /// Asks an address whether somebody is there.
    fn member_probe(&self, request: ProbeRequest) -> BoxFuture<'_, Result<Probed, Problem>>;

    /// The resources of a kind after one of them, in the order of their names or numbers.
    fn resources(
        &self,
        kind: &'static Kind,
        after: Option<String>,
        limit: u32,
    ) -> BoxFuture<'_, Result<ResourcePage, Problem>>;

    /// One resource; none if it is not there.
    fn resource(&self, kind: &'static Kind, name: String) -> BoxFuture<'_, Result<Option<ResourceInfo>, Problem>>;

    /// Changes what is wanted of a resource, all of it or nothing; none if it is not there. A conflict if it was changed meanwhile.
    fn resource_update(
        &self,
        kind: &'static Kind,
        name: String,
        patch: ResourcePatch,
    ) -> BoxFuture<'_, Result<Option<ResourceInfo>, Problem>>;

    /// The changes after a revision, from now on if none is given. Ends with a problem when the node stops.
    fn watch(&self, after: Option<u64>) -> BoxFuture<'_, Result<ChangeStream, Problem>>;

    /// All databases by name, `sys` first.
    fn databases(&self) -> BoxFuture<'_, Result<Vec<DatabaseInfo>, Problem>>;

    /// Creates a database, or finds that it is there.
    fn db_create(&self, request: DatabaseRequest) -> BoxFuture<'_, Result<Created, Problem>>;

    /// What a database holds, at a committed state. Counts rows: takes time in proportion to its size.
    fn db_contents(&self, name: &DbName) -> BoxFuture<'_, Result<DatabaseContents, Problem>>;

    /// Checks this node's own copy: every page against its checksum, and the whole with SQLite's `integrity_check`. Reads all
    /// of it; writes go on meanwhile.
    fn db_check(&self, name: &DbName) -> BoxFuture<'_, Result<DatabaseCheck, Problem>>;

    /// Reads rows on this node: one statement, which may not write. The first rows are there when this answers; dropping the rows stops
    /// the query.
    fn db_query(
        &self,
        name: &DbName,
        options: SessionOptions,
        statement: Command,
    ) -> BoxFuture<'_, Result<SqlRows, Problem>>;

    /// Carries statements out as one transaction where the database is led. Answers when it is on the disks of a majority. With a
    /// number it is one statement, which is not carried out twice.
    fn db_execute(
        &self,
        name: &DbName,
        statements: Vec<Command>,
        id: Option<WriteId>,
    ) -> BoxFuture<'_, Result<SqlDone, Problem>>;

    /// A session of dqlite's protocol, which waits for the connection of the request that asked for it. Nothing is left of it if that
    /// does not come.
    fn sql_session(&self, wanted: SessionWanted) -> BoxFuture<'_, Result<SqlSession, Problem>>;

    /// Removes a database on all members. The router has asked for confirmation. `sys` is refused.
    fn db_drop(&self, name: &DbName) -> BoxFuture<'_, Result<Dropped, Problem>>;

    /// A plain SQLite file of a committed state. Holds that version until the stream is dropped.
    fn db_export(&self, name: &DbName) -> BoxFuture<'_, Result<Export, Problem>>;

    /// Creates a database from a plain SQLite file. A conflict if it exists; nothing of it is left if the stream fails.
    fn db_import(&self, name: &DbName, file: ByteStream) -> BoxFuture<'_, Result<DatabaseInfo, Problem>>;

    /// Asks the daemon to stop in order, as SIGTERM does, and answers before it has.
    fn stop(&self);
}

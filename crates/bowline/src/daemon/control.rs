//! The control API's operations, carried out by the units.

mod access;
mod audit;
mod authority;
mod certificates;
mod databases;
mod faces;
mod forming;
mod members;
mod membership;
mod metrics;
mod recovery;
mod resources;
mod sessions;
mod sql;
mod witness;

use super::node::{Names, Node, Phase};
use api::control::access::{Credential, Grant};
use api::control::metrics::Metrics;
use api::control::resources::{ChangeStream, ResourceInfo, ResourcePage, ResourcePatch};
use api::control::sql::{SessionWanted, SqlDone, SqlRows, SqlSession};
use api::control::{
    AccessInfo, AccessIssued, AccessRequest, AuditInfo, Audited, Authority, ByteStream, Control, Created,
    DatabaseCheck, DatabaseContents, DatabaseInfo, DatabaseRequest, Dropped, Export, Faces, Formed, InitRequest,
    JoinRequest, MemberEvent, MemberInfo, NodeInfo, NodeRequest, NodeState, Parted, ProbeRequest, Probed, Problem,
    ProblemKind, Readiness, Reboot, Recovery, RecoveryRequest, RoleTargets, RotateRequest, Status, TokenInfo,
    TokenIssued, TokenRequest, UnitStatus, losses,
};
use base::{DbName, Fault, NodeId};
use cluster::{AuditOutcome, Cluster};
use futures::FutureExt;
use futures::future::BoxFuture;
use lifecycle::Lane;
use std::collections::BTreeSet;
use std::time::Duration;
use store::resources::Kind;
use store::{Command, SessionOptions, Store, StoreError, WriteId};

/// What any error looks like to a user.
pub(super) fn problem(error: &dyn Fault) -> Problem {
    let problem = Problem::from_fault(error, &crate::cli::all_pages());
    match error.code().0 {
        "BL-STORE-008" => problem.kind(ProblemKind::Conflict),
        "BL-STORE-005" => problem.kind(ProblemKind::TimedOut),
        _ => problem,
    }
}

impl Node {
    /// The databases, while they are open.
    fn store(&self) -> Result<Store, Problem> {
        let store = self.units().and_then(|units| units.store.get());
        store.map(|store| (*store).clone()).ok_or_else(|| problem(&StoreError::NotOpen { state: self.not_open() }))
    }

    /// The membership, while it is followed.
    fn cluster(&self) -> Result<Cluster, Problem> {
        let members = self.units().and_then(|units| units.members.get());
        members.map(|m| m.cluster.clone()).ok_or_else(|| problem(&StoreError::NotOpen { state: self.not_open() }))
    }

    /// The members that keep no data.
    fn witnesses(&self) -> BTreeSet<NodeId> {
        let raft = self.units().and_then(|units| units.raft.get());
        raft.map(|raft| raft.witnesses()).unwrap_or_default()
    }

    fn not_open(&self) -> &'static str {
        if self.phase() == Phase::Stopping { "closing" } else { "opening" }
    }

    /// The members' names, as this node's copy of `sys` has them.
    async fn names(&self) -> Names {
        membership::rows(self)
            .await
            .map(|rows| rows.into_iter().map(|(row, _)| (row.node, row.name)).collect())
            .unwrap_or_default()
    }

    fn lanes(&self) -> Vec<lifecycle::UnitStatus> {
        self.units().map(|units| units.lanes.now()).unwrap_or_default()
    }
}

impl Control for Node {
    fn ready(&self) -> Readiness {
        let lanes = self.lanes();
        let waiting: Vec<String> =
            lanes.iter().filter(|unit| unit.lane != Lane::Ready).map(|unit| unit.name.to_owned()).collect();
        let state = match self.phase() {
            Phase::Unformed => NodeState::Unformed,
            Phase::Stopping => NodeState::Stopping,
            Phase::Ready if waiting.is_empty() => NodeState::Ready,
            Phase::Forming | Phase::Ready => NodeState::Starting,
        };
        Readiness { state, waiting_for: waiting }
    }

    fn units(&self) -> Vec<UnitStatus> {
        self.lanes().into_iter().map(unit).collect()
    }

    fn status(&self) -> BoxFuture<'_, Result<Status, Problem>> {
        async move {
            let Readiness { state, waiting_for } = self.ready();
            let record = self.units().map(|units| units.record.clone());
            let nodes = membership::list(self).await.unwrap_or_default();
            let databases = self.store().map(|store| store.databases()).unwrap_or_default();
            let witnessed = self.store().map(|store| store.witnessed()).unwrap_or_default();
            let groups = || {
                let here = databases.iter().map(|database| (database.name(), database.group()));
                here.chain(witnessed.iter().map(|witnessed| (witnessed.name(), witnessed.group())))
            };
            let bytes = |database: &std::sync::Arc<store::Database>| {
                u64::from(database.pages().pin_committed().pages()) * sqlite::PAGE_SIZE as u64
            };
            let mut troubles = self.store().map(|store| databases::troubles(&store)).unwrap_or_default();
            troubles.extend(witness::troubles(self).await);
            let reboot = match &record {
                Some(_) if nodes.is_empty() => Reboot::unknown(),
                Some(record) => Reboot::judge(&nodes, record.node).unless(&troubles),
                None => Reboot::judge(&[], base::NodeId(0)),
            };
            let mut warnings = members::warnings(self, &nodes);
            warnings.extend(certificates::warnings(self, &nodes).await);
            Ok(Status {
                state,
                waiting_for,
                reboot,
                node: record.as_ref().map(|r| r.node),
                name: record.as_ref().map(|r| r.name.to_string()),
                cluster: record.as_ref().map(|r| r.cluster.to_string()),
                version: env!("CARGO_PKG_VERSION").to_owned(),
                uptime_ms: millis(self.uptime()),
                warnings,
                losses: losses(&nodes),
                nodes,
                databases: (databases.len().saturating_sub(1) + witnessed.len()) as u64,
                database_bytes: databases.iter().map(bytes).sum(),
                log_bytes: groups().map(|(_, group)| group.watch().borrow().log_bytes).sum(),
                troubles,
                units: Control::units(self),
            })
        }
        .boxed()
    }

    fn metrics(&self) -> BoxFuture<'_, Metrics> {
        metrics::gather(self).boxed()
    }

    fn https_port(&self) -> u16 {
        forming::port(&self.announced().https)
    }

    fn faces(&self, members: Vec<NodeInfo>) -> BoxFuture<'_, Result<Faces, Problem>> {
        faces::look(self, members).boxed()
    }

    fn nodes(&self) -> BoxFuture<'_, Result<Vec<NodeInfo>, Problem>> {
        membership::list(self).boxed()
    }

    fn node_remove(&self, name: &str, force: bool) -> BoxFuture<'_, Result<Parted, Problem>> {
        let name = name.to_owned();
        async move { membership::remove(self, &name, force).await }.boxed()
    }

    fn node_set(&self, name: &str, request: NodeRequest) -> BoxFuture<'_, Result<NodeInfo, Problem>> {
        let name = name.to_owned();
        async move { membership::set(self, &name, request).await }.boxed()
    }

    fn roles(&self) -> BoxFuture<'_, Result<RoleTargets, Problem>> {
        membership::roles(self).boxed()
    }

    fn roles_set(&self, targets: RoleTargets) -> BoxFuture<'_, Result<RoleTargets, Problem>> {
        membership::set_roles(self, targets).boxed()
    }

    fn audit_begin<'a>(&'a self, audited: &'a Audited) -> BoxFuture<'a, Option<u64>> {
        audit::begin(self, audited).boxed()
    }

    fn audit_end<'a>(
        &'a self,
        audited: &'a Audited,
        noted: Option<u64>,
        status: u16,
        code: Option<String>,
    ) -> BoxFuture<'a, ()> {
        audit::end(self, audited, noted, AuditOutcome { status, code }).boxed()
    }

    fn audit(&self, before: Option<u64>, limit: u32) -> BoxFuture<'_, Result<Vec<AuditInfo>, Problem>> {
        audit::page(self, before, limit).boxed()
    }

    fn authority(&self) -> BoxFuture<'_, Result<Authority, Problem>> {
        authority::show(self).boxed()
    }

    fn authority_rotate(&self, request: RotateRequest) -> BoxFuture<'_, Result<Authority, Problem>> {
        authority::rotate(self, request).boxed()
    }

    fn recovery(&self) -> BoxFuture<'_, Result<Recovery, Problem>> {
        recovery::plan(self).boxed()
    }

    fn recover(&self, request: RecoveryRequest) -> BoxFuture<'_, Result<Recovery, Problem>> {
        recovery::recover(self, request).boxed()
    }

    fn init(&self, request: InitRequest) -> BoxFuture<'_, Result<Formed, Problem>> {
        forming::init(self, request).boxed()
    }

    fn join(&self, request: JoinRequest) -> BoxFuture<'_, Result<Formed, Problem>> {
        forming::join(self, request).boxed()
    }

    fn token_add(&self, request: TokenRequest) -> BoxFuture<'_, Result<TokenIssued, Problem>> {
        membership::token_add(self, request).boxed()
    }

    fn token_list(&self) -> BoxFuture<'_, Result<Vec<TokenInfo>, Problem>> {
        membership::token_list(self).boxed()
    }

    fn token_revoke(&self, id: &str) -> BoxFuture<'_, Result<TokenInfo, Problem>> {
        let id = id.to_owned();
        async move { membership::token_revoke(self, &id).await }.boxed()
    }

    fn who(&self, credential: Credential) -> BoxFuture<'_, Result<Option<Grant>, Problem>> {
        access::who(self, credential).boxed()
    }

    fn access_add(&self, request: AccessRequest) -> BoxFuture<'_, Result<AccessIssued, Problem>> {
        access::add(self, request).boxed()
    }

    fn access_list(&self) -> BoxFuture<'_, Result<Vec<AccessInfo>, Problem>> {
        access::list(self).boxed()
    }

    fn access_revoke(&self, name: &str) -> BoxFuture<'_, Result<AccessInfo, Problem>> {
        let name = name.to_owned();
        async move { access::revoke(self, &name).await }.boxed()
    }

    fn members(&self) -> BoxFuture<'_, Result<Vec<MemberInfo>, Problem>> {
        members::list(self).boxed()
    }

    fn member_events(
        &self,
        after: u64,
        limit: usize,
        wait: Duration,
    ) -> BoxFuture<'_, Result<Vec<MemberEvent>, Problem>> {
        members::events(self, after, limit, wait).boxed()
    }

    fn member_payload(&self, payload: Vec<u8>) -> BoxFuture<'_, Result<MemberInfo, Problem>> {
        members::set_payload(self, payload).boxed()
    }

    fn member_probe(&self, request: ProbeRequest) -> BoxFuture<'_, Result<Probed, Problem>> {
        members::probe(self, request).boxed()
    }

    fn resources(
        &self,
        kind: &'static Kind,
        after: Option<String>,
        limit: u32,
    ) -> BoxFuture<'_, Result<ResourcePage, Problem>> {
        resources::page(self, kind, after, limit).boxed()
    }

    fn resource(&self, kind: &'static Kind, name: String) -> BoxFuture<'_, Result<Option<ResourceInfo>, Problem>> {
        async move { resources::one(self, kind, &name).await }.boxed()
    }

    fn resource_update(
        &self,
        kind: &'static Kind,
        name: String,
        patch: ResourcePatch,
    ) -> BoxFuture<'_, Result<Option<ResourceInfo>, Problem>> {
        async move { resources::update(self, kind, &name, patch).await }.boxed()
    }

    fn watch(&self, after: Option<u64>) -> BoxFuture<'_, Result<ChangeStream, Problem>> {
        resources::watch(self, after).boxed()
    }

    fn databases(&self) -> BoxFuture<'_, Result<Vec<DatabaseInfo>, Problem>> {
        databases::list(self).boxed()
    }

    fn db_create(&self, request: DatabaseRequest) -> BoxFuture<'_, Result<Created, Problem>> {
        async move { databases::create(self, &request.name).await }.boxed()
    }

    fn db_contents(&self, name: &DbName) -> BoxFuture<'_, Result<DatabaseContents, Problem>> {
        let name = name.clone();
        async move { databases::contents(self, &name).await }.boxed()
    }

    fn db_check(&self, name: &DbName) -> BoxFuture<'_, Result<DatabaseCheck, Problem>> {
        let name = name.clone();
        async move { databases::check(self, &name).await }.boxed()
    }

    fn db_query(
        &self,
        name: &DbName,
        options: SessionOptions,
        statement: Command,
    ) -> BoxFuture<'_, Result<SqlRows, Problem>> {
        let name = name.clone();
        async move { sql::query(self, &name, options, statement).await }.boxed()
    }

    fn db_execute(
        &self,
        name: &DbName,
        statements: Vec<Command>,
        id: Option<WriteId>,
    ) -> BoxFuture<'_, Result<SqlDone, Problem>> {
        let name = name.clone();
        async move { sql::execute(self, &name, statements, id).await }.boxed()
    }

    fn sql_session(&self, wanted: SessionWanted) -> BoxFuture<'_, Result<SqlSession, Problem>> {
        sessions::open(self, wanted).boxed()
    }

    fn db_drop(&self, name: &DbName) -> BoxFuture<'_, Result<Dropped, Problem>> {
        let name = name.clone();
        async move { databases::drop_database(self, &name).await }.boxed()
    }

    fn db_export(&self, name: &DbName) -> BoxFuture<'_, Result<Export, Problem>> {
        let name = name.clone();
        async move { databases::export(self, &name).await }.boxed()
    }

    fn db_import(&self, name: &DbName, file: ByteStream) -> BoxFuture<'_, Result<DatabaseInfo, Problem>> {
        let name = name.clone();
        async move { databases::import(self, &name, file).await }.boxed()
    }

    fn stop(&self) {
        self.ask_to_stop();
    }
}

fn unit(unit: lifecycle::UnitStatus) -> UnitStatus {
    let waits = (!unit.waits_for.is_empty()).then(|| format!("waits for {}", unit.waits_for.join(", ")));
    UnitStatus {
        name: unit.name.to_owned(),
        phase: unit.lane.to_string(),
        phase_ms: millis(unit.since.elapsed()),
        detail: waits.or_else(|| unit.last_error.map(|error| error.to_string())),
    }
}

fn millis(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

//! The API from end to end: client, HTTP on a Unix socket, routes, and a node that keeps its databases in memory.

mod resources;

use crate::control::access::{AccessRole, Credential, Grant, Peer};
use crate::control::metrics::Metrics;
use crate::control::openapi::{OPERATIONS, Operation};
use crate::control::resources::{ChangeInfo, ChangeStream, Changes, ResourceInfo, ResourcePage, ResourcePatch};
use crate::control::sql::{SessionWanted, SqlDone, SqlRows, SqlSession};
use crate::control::{
    AccessInfo, AccessIssued, AccessRequest, AuditInfo, Audited, Authority, ByteStream, Client, ClientError, Control,
    Created, DatabaseCheck, DatabaseContents, DatabaseInfo, DatabaseRequest, Dropped, Entrance, Export, Faces, Formed,
    InitRequest, JoinRequest, MemberEvent, MemberInfo, NodeInfo, NodeRequest, NodeState, PAGES, Parted, ProbeRequest,
    Probed, Problem, ProblemKind, Readiness, Reboot, Recovery, RecoveryRequest, RoleTargets, RotateRequest, Status,
    TokenInfo, TokenIssued, TokenRequest, UnitStatus, router, serve,
};
use axum::Router;
use axum::body::Body;
use base::{DbName, NodeId};
use bytes::Bytes;
use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt};
use hyper::Request;
use hyper::service::Service as _;
use hyper_util::service::TowerToHyperService;
use rt::sync::watch;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use store::resources::Kind;
use store::{Command, SessionOptions, WriteId};

/// Enough of a node to have something to ask: what it is asked is what is tested here, not what it does.
struct Node {
    state: watch::Sender<NodeState>,
    files: Mutex<BTreeMap<DbName, Bytes>>,
    notes: Mutex<Vec<String>>,
}

impl Node {
    fn info(&self, name: &DbName) -> Result<DatabaseInfo, Problem> {
        let files = self.files.lock().unwrap();
        let file =
            files.get(name).ok_or_else(|| Problem::new(&PAGES[2], ProblemKind::NotFound, format!("no {name}")))?;
        Ok(DatabaseInfo {
            name: name.clone(),
            bytes: file.len() as u64,
            version: 1,
            is_here: true,
            leader: None,
            copies: 1,
        })
    }
}

fn ready<T: Send + 'static>(value: Result<T, Problem>) -> BoxFuture<'static, Result<T, Problem>> {
    std::future::ready(value).boxed()
}

fn refused<T>(what: &str) -> Result<T, Problem> {
    Err(Problem::new(&PAGES[2], ProblemKind::Conflict, what))
}

impl Control for Node {
    fn ready(&self) -> Readiness {
        let state = *self.state.borrow();
        let waiting_for = if state == NodeState::Starting { vec!["store".to_owned()] } else { vec![] };
        Readiness { state, waiting_for }
    }
    fn status(&self) -> BoxFuture<'_, Result<Status, Problem>> {
        ready(Ok(Status {
            state: *self.state.borrow(),
            waiting_for: vec![],
            reboot: Reboot::judge(&[], NodeId(1)),
            node: None,
            name: None,
            cluster: None,
            version: "test".to_owned(),
            uptime_ms: 0,
            nodes: vec![],
            losses: vec![],
            databases: 0,
            database_bytes: 0,
            log_bytes: 0,
            troubles: vec![],
            warnings: vec![],
            units: vec![],
        }))
    }
    fn units(&self) -> Vec<UnitStatus> {
        let unit = |name: &str, phase: &str, detail: Option<&str>| UnitStatus {
            name: name.to_owned(),
            phase: phase.to_owned(),
            phase_ms: 1,
            detail: detail.map(str::to_owned),
        };
        vec![unit("raft", "ready", None), unit("store", "starting", Some("waits for raft"))]
    }
    fn metrics(&self) -> BoxFuture<'_, Metrics> {
        std::future::ready(Metrics::default()).boxed()
    }
    fn https_port(&self) -> u16 {
        7443
    }
    fn faces(&self, _: Vec<NodeInfo>) -> BoxFuture<'_, Result<Faces, Problem>> {
        ready(Ok(Faces::default()))
    }
    fn nodes(&self) -> BoxFuture<'_, Result<Vec<NodeInfo>, Problem>> {
        ready(Ok(vec![]))
    }
    fn node_remove(&self, name: &str, _: bool) -> BoxFuture<'_, Result<Parted, Problem>> {
        ready(refused(&format!("asked for {name:?}")))
    }
    fn node_set(&self, name: &str, _: NodeRequest) -> BoxFuture<'_, Result<NodeInfo, Problem>> {
        ready(refused(&format!("asked for {name:?}")))
    }
    fn roles(&self) -> BoxFuture<'_, Result<RoleTargets, Problem>> {
        ready(Ok(RoleTargets { voters: 3, stand_bys: 3, dead_after_s: 10 }))
    }
    fn roles_set(&self, targets: RoleTargets) -> BoxFuture<'_, Result<RoleTargets, Problem>> {
        ready(Ok(targets))
    }
    fn authority(&self) -> BoxFuture<'_, Result<Authority, Problem>> {
        ready(Ok(Authority { authorities: vec![], rotation: None, members: vec![] }))
    }
    fn authority_rotate(&self, request: RotateRequest) -> BoxFuture<'_, Result<Authority, Problem>> {
        ready(refused(&format!("asked for {request:?}")))
    }
    fn audit_begin<'a>(&'a self, audited: &'a Audited) -> BoxFuture<'a, Option<u64>> {
        let mut notes = self.notes.lock().unwrap();
        notes.push(format!("{} ({}): {}", audited.grant.name, audited.grant.role, audited.request));
        let id = notes.len() as u64 - 1;
        std::future::ready(Some(id)).boxed()
    }
    fn audit_end<'a>(
        &'a self,
        _: &'a Audited,
        id: Option<u64>,
        status: u16,
        code: Option<String>,
    ) -> BoxFuture<'a, ()> {
        let mut notes = self.notes.lock().unwrap();
        let line = &mut notes[usize::try_from(id.unwrap()).unwrap()];
        *line = format!("{line}: {status} {}", code.unwrap_or_default());
        std::future::ready(()).boxed()
    }
    fn audit(&self, _: Option<u64>, _: u32) -> BoxFuture<'_, Result<Vec<AuditInfo>, Problem>> {
        ready(Ok(vec![]))
    }
    fn members(&self) -> BoxFuture<'_, Result<Vec<MemberInfo>, Problem>> {
        ready(Ok(vec![]))
    }
    fn member_events(
        &self,
        after: u64,
        limit: usize,
        wait: Duration,
    ) -> BoxFuture<'_, Result<Vec<MemberEvent>, Problem>> {
        ready(refused(&format!("asked for {limit} after {after} within {wait:?}")))
    }
    fn member_payload(&self, payload: Vec<u8>) -> BoxFuture<'_, Result<MemberInfo, Problem>> {
        ready(refused(&format!("asked for {payload:?}")))
    }
    fn member_probe(&self, request: ProbeRequest) -> BoxFuture<'_, Result<Probed, Problem>> {
        ready(refused(&format!("asked for {request:?}")))
    }
    fn resources(
        &self,
        kind: &'static Kind,
        _: Option<String>,
        limit: u32,
    ) -> BoxFuture<'_, Result<ResourcePage, Problem>> {
        ready(refused(&format!("asked for {limit} {}", kind.name)))
    }
    fn resource(&self, kind: &'static Kind, name: String) -> BoxFuture<'_, Result<Option<ResourceInfo>, Problem>> {
        let is_there = DbName::new(&name).is_ok_and(|name| self.files.lock().unwrap().contains_key(&name));
        ready(Ok(is_there.then(|| ResourceInfo {
            kind: kind.name.to_owned(),
            name,
            generation: 1,
            revision: 1,
            finalizers: vec![],
            spec: serde_json::Map::new(),
            status: serde_json::Map::new(),
        })))
    }
    fn resource_update(
        &self,
        kind: &'static Kind,
        name: String,
        _: ResourcePatch,
    ) -> BoxFuture<'_, Result<Option<ResourceInfo>, Problem>> {
        self.resource(kind, name)
    }
    fn watch(&self, after: Option<u64>) -> BoxFuture<'_, Result<ChangeStream, Problem>> {
        let change = |revision: u64, kind: &str| ChangeInfo {
            revision,
            at: jiff::Timestamp::UNIX_EPOCH,
            verb: "created".to_owned(),
            kind: kind.to_owned(),
            name: format!("n{revision}"),
            generation: 1,
            spec: serde_json::Map::new(),
            status: serde_json::Map::new(),
        };
        let revision = after.unwrap_or(7);
        let changes = vec![change(revision + 1, "nodes"), change(revision + 2, "tokens")];
        let batch = Changes { changes, revision: revision + 2 };
        let changes = futures::stream::iter([Ok(batch), refused("the node stops").map(|never: Changes| never)]).boxed();
        ready(Ok(ChangeStream { revision, changes }))
    }
    fn recovery(&self) -> BoxFuture<'_, Result<Recovery, Problem>> {
        ready(refused("nothing is lost"))
    }
    fn recover(&self, request: RecoveryRequest) -> BoxFuture<'_, Result<Recovery, Problem>> {
        ready(refused(&format!("asked to give up {:?}", request.give_up)))
    }
    fn init(&self, _: InitRequest) -> BoxFuture<'_, Result<Formed, Problem>> {
        ready(refused("a member already"))
    }
    fn join(&self, _: JoinRequest) -> BoxFuture<'_, Result<Formed, Problem>> {
        async { panic!("a join that breaks") }.boxed()
    }
    fn token_add(&self, _: TokenRequest) -> BoxFuture<'_, Result<TokenIssued, Problem>> {
        std::future::pending().boxed()
    }
    fn token_list(&self) -> BoxFuture<'_, Result<Vec<TokenInfo>, Problem>> {
        ready(Ok(vec![]))
    }
    fn token_revoke(&self, id: &str) -> BoxFuture<'_, Result<TokenInfo, Problem>> {
        ready(refused(&format!("asked for {id:?}")))
    }
    fn who(&self, credential: Credential) -> BoxFuture<'_, Result<Option<Grant>, Problem>> {
        let role = match credential {
            Credential::Token(token) => match token.as_str() {
                "viewer" => Some(AccessRole::Viewer),
                "operator" => Some(AccessRole::Operator),
                "admin" => Some(AccessRole::Admin),
                _ => None,
            },
            Credential::Certificate(_) => Some(AccessRole::Admin),
        };
        ready(Ok(role.map(|role| Grant { name: format!("the {role}"), role })))
    }
    fn access_add(&self, _: AccessRequest) -> BoxFuture<'_, Result<AccessIssued, Problem>> {
        ready(refused("asked for access"))
    }
    fn access_list(&self) -> BoxFuture<'_, Result<Vec<AccessInfo>, Problem>> {
        ready(Ok(vec![]))
    }
    fn access_revoke(&self, name: &str) -> BoxFuture<'_, Result<AccessInfo, Problem>> {
        ready(refused(&format!("asked for {name:?}")))
    }
    fn databases(&self) -> BoxFuture<'_, Result<Vec<DatabaseInfo>, Problem>> {
        let names: Vec<DbName> = self.files.lock().unwrap().keys().cloned().collect();
        ready(names.iter().map(|name| self.info(name)).collect())
    }
    fn db_create(&self, request: DatabaseRequest) -> BoxFuture<'_, Result<Created, Problem>> {
        let created = self.files.lock().unwrap().insert(request.name.clone(), Bytes::new()).is_none();
        ready(self.info(&request.name).map(|database| Created { database, created }))
    }
    fn db_contents(&self, name: &DbName) -> BoxFuture<'_, Result<DatabaseContents, Problem>> {
        ready(self.info(name).map(|info| DatabaseContents {
            name: info.name,
            bytes: info.bytes,
            rows: 7,
            tables: vec![],
        }))
    }
    fn db_check(&self, name: &DbName) -> BoxFuture<'_, Result<DatabaseCheck, Problem>> {
        ready(self.info(name).map(|info| DatabaseCheck {
            name: info.name,
            version: info.version,
            bytes: info.bytes,
            hash: "00".to_owned(),
            problems: vec![],
        }))
    }
    fn db_query(&self, _: &DbName, _: SessionOptions, _: Command) -> BoxFuture<'_, Result<SqlRows, Problem>> {
        ready(refused("asked for rows"))
    }
    fn db_execute(&self, _: &DbName, _: Vec<Command>, _: Option<WriteId>) -> BoxFuture<'_, Result<SqlDone, Problem>> {
        ready(refused("asked to write"))
    }
    fn sql_session(&self, wanted: SessionWanted) -> BoxFuture<'_, Result<SqlSession, Problem>> {
        let echo = move |mut stream: crate::dqlite::AnyStream| {
            // Nobody waits for it: it ends with the client.
            rt::task::spawn("echo", async move {
                let said = format!("{wanted:?}");
                tokio::io::AsyncWriteExt::write_all(&mut stream, said.as_bytes()).await.unwrap();
            });
        };
        ready(Ok(SqlSession { node: "box1".to_owned(), takes_over: Box::new(echo) }))
    }
    fn db_drop(&self, name: &DbName) -> BoxFuture<'_, Result<Dropped, Problem>> {
        let contents = self.info(name).map(|info| DatabaseContents {
            name: info.name,
            bytes: info.bytes,
            rows: 7,
            tables: vec![],
        });
        self.files.lock().unwrap().remove(name);
        ready(contents.map(|contents| Dropped { contents }))
    }
    fn db_export(&self, name: &DbName) -> BoxFuture<'_, Result<Export, Problem>> {
        let file = self.files.lock().unwrap().get(name).cloned().unwrap_or_default();
        let chunks: Vec<_> = file.chunks(100_000).map(|chunk| Ok(Bytes::copy_from_slice(chunk))).collect();
        ready(Ok(Export { bytes: file.len() as u64, body: futures::stream::iter(chunks).boxed() }))
    }
    fn db_import(&self, name: &DbName, mut file: ByteStream) -> BoxFuture<'_, Result<DatabaseInfo, Problem>> {
        let name = name.clone();
        async move {
            let mut bytes = Vec::new();
            while let Some(chunk) = file.next().await {
                bytes.extend_from_slice(&chunk?);
            }
            self.files.lock().unwrap().insert(name.clone(), bytes.into());
            self.info(&name)
        }
        .boxed()
    }
    fn stop(&self) {
        self.state.send_replace(NodeState::Stopping);
    }
}

/// Serves a node in that state, runs the test against it, and checks that serving ends when it is told to.
async fn with_node(state: NodeState, test: impl AsyncFnOnce(Client, watch::Sender<NodeState>)) {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("control.sock");
    let listener = rt::net::Listener::bind_unix(&socket).unwrap();
    let (states, mut stopped) = watch::channel(state);
    let node = Arc::new(Node { state: states.clone(), files: Mutex::default(), notes: Mutex::default() });
    let served = serve(listener, Entrance::Trusted, router(node), async move {
        // Served to the end: the test's sender goes last.
        while stopped.changed().await.is_ok() {
            if *stopped.borrow() == NodeState::Stopping {
                break;
            }
        }
    });
    let client = Client::new(&socket, Duration::from_secs(10));
    let tested = async {
        test(client.clone(), states.clone()).await;
        states.send_replace(NodeState::Stopping);
    };
    tokio::join!(served, tested);
    assert!(matches!(client.ready().await, Err(ClientError::Unreachable { .. })));
}

fn problem<T>(answer: Result<T, ClientError>) -> Problem {
    match answer {
        Err(error) => error.into_problem(),
        Ok(_) => panic!("an answer where a problem was due"),
    }
}

/// A bare request: its status, and the body of the answer.
async fn say(client: &Client, request: &str) -> (u16, String) {
    let mut stream = rt::net::Stream::connect_unix(client.socket().unwrap()).await.unwrap();
    let request = format!("{request} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
    tokio::io::AsyncWriteExt::write_all(&mut stream, request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    tokio::io::AsyncReadExt::read_to_string(&mut stream, &mut answer).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
}

fn shop() -> DbName {
    DbName::new("shop").unwrap()
}

#[tokio::test]
async fn nothing_about_data_is_answered_before_the_node_is_ready() {
    with_node(NodeState::Unformed, async |client, states| {
        assert_eq!(client.ready().await.unwrap().state, NodeState::Unformed);
        assert_eq!(problem(client.nodes().await).code, "BL-API-002");
        states.send_replace(NodeState::Starting);
        for refused in [problem(client.databases().await), problem(client.db_create(&shop()).await)] {
            assert_eq!((refused.kind, refused.code.as_str()), (ProblemKind::NotReady, "BL-API-001"));
            assert_eq!(refused.cause.as_deref(), Some("it waits for store"));
            assert!(refused.retry_after_ms.is_some_and(|ms| ms > 0));
        }
        assert!(client.status().await.is_ok());
        let (status, words) = say(&client, "GET /readyz?verbose").await;
        assert_eq!((status, words.as_str()), (503, "[+]raft ready\n[-]store starting: waits for raft\n"));
        let (_, readiness) = say(&client, "GET /readyz").await;
        assert!(readiness.contains(r#""waiting_for":["store"]"#), "{readiness}");
        states.send_replace(NodeState::Ready);
        assert!(client.databases().await.unwrap().is_empty());
    })
    .await;
}

#[tokio::test]
async fn a_drop_that_was_not_confirmed_says_what_would_be_lost() {
    with_node(NodeState::Ready, async |client, _| {
        client.db_create(&shop()).await.unwrap();
        let (status, refused) = say(&client, "DELETE /v1/databases/shop").await;
        assert_eq!(status, 412);
        assert!(refused.contains("BL-API-004") && refused.contains("7 rows, 0 bytes would be lost"), "{refused}");
        assert_eq!(client.databases().await.unwrap().len(), 1);
        assert_eq!(client.db_drop(&shop()).await.unwrap().contents.rows, 7);
        assert_eq!(problem(client.db_drop(&shop()).await).kind, ProblemKind::NotFound);
    })
    .await;
}

#[tokio::test]
async fn a_database_file_goes_in_and_comes_out_as_it_was() {
    with_node(NodeState::Ready, async |client, _| {
        let file: Vec<u8> = (0..3_000_000u32).map(|i| i.to_le_bytes()[0]).collect();
        let chunks: Vec<_> = file.chunks(65_536).map(|chunk| Ok(Bytes::copy_from_slice(chunk))).collect();
        let source = futures::stream::iter(chunks).boxed();
        assert_eq!(client.db_import(&shop(), 3_000_000, source).await.unwrap().bytes, 3_000_000);
        let mut out = Vec::new();
        let sink = |total: u64, chunk: &[u8]| {
            assert_eq!(total, 3_000_000);
            out.extend_from_slice(chunk);
            Ok(())
        };
        assert_eq!(client.db_export(&shop(), sink).await.unwrap(), 3_000_000);
        assert!(out == file);
    })
    .await;
}

#[tokio::test]
async fn a_handler_that_panics_costs_its_own_connection_only() {
    with_node(NodeState::Ready, async |client, _| {
        let request = JoinRequest {
            token: "bl1.x".into(),
            name: None,
            address: None,
            dqlite_address: None,
            https_address: None,
            witness: false,
        };
        assert!(matches!(client.join(&request).await, Err(ClientError::Broken { .. })));
        assert!(client.status().await.is_ok());
    })
    .await;
}

#[tokio::test]
async fn a_request_that_is_not_answered_ends_at_its_deadline() {
    with_node(NodeState::Ready, async |client, _| {
        let hasty = Client::new(client.socket().unwrap(), Duration::from_millis(50));
        assert_eq!(problem(hasty.token_add(&TokenRequest::default()).await).kind, ProblemKind::TimedOut);
        assert_eq!(problem(client.token_revoke("a/b c").await).message, "asked for \"a/b c\"");
    })
    .await;
}

#[tokio::test]
async fn a_stop_lets_what_was_asked_end() {
    with_node(NodeState::Ready, async |client, _| {
        assert_eq!(client.stop().await.unwrap().state, NodeState::Stopping);
    })
    .await;
}

/// What the API says to a request over HTTPS: the status, and the code of its problem.
async fn asked(router: &Router, method: &str, path: &str, token: Option<&str>) -> (u16, String) {
    let mut request = Request::builder().method(method).uri(path);
    if let Some(token) = token {
        request = request.header("authorization", format!("Bearer {token}"));
    }
    let mut request = request.body(Body::empty()).unwrap();
    request.extensions_mut().insert(Peer::Stranger(None));
    let answer = TowerToHyperService::new(router.clone()).call(request).await.unwrap();
    let status = answer.status().as_u16();
    let body = axum::body::to_bytes(answer.into_body(), 1 << 20).await.unwrap();
    let problem: serde_json::Value = serde_json::from_slice(&body).unwrap_or_default();
    (status, problem["code"].as_str().unwrap_or_default().to_owned())
}

#[tokio::test]
async fn every_operation_is_there_and_takes_the_role_that_the_table_says() {
    let (states, _) = watch::channel(NodeState::Ready);
    let node = Arc::new(Node { state: states, files: Mutex::default(), notes: Mutex::default() });
    let router = router(node.clone());
    for Operation { method, path, role, .. } in OPERATIONS {
        let role = role.map_or_else(|| "everybody".to_owned(), |role| role.to_string());
        let name = path.replace("{kind}", "databases").replace("{name}", "shop").replace("{id}", "00c0ffee");
        let asks = if *method == "DELETE" { format!("{name}?confirm=shop") } else { name };
        let mut takes = "everybody";
        for (shown, next) in [(None, "viewer"), (Some("viewer"), "operator"), (Some("operator"), "admin")] {
            match (asked(&router, method, &asks, shown).await, shown) {
                ((401, code), None) if code == "BL-API-010" => takes = next,
                ((403, code), Some(_)) if code == "BL-API-011" => takes = next,
                _ => break,
            }
        }
        // A join breaks this node, on purpose; a stop stops it, and a token never comes.
        let is_harmless = *method == "GET" || !matches!(*path, "/v1/join" | "/v1/stop" | "/v1/tokens");
        node.files.lock().unwrap().insert(shop(), Bytes::new());
        if is_harmless {
            let answer = asked(&router, method, &asks, Some("admin")).await;
            assert!(!matches!(answer.0, 401 | 403 | 404 | 405), "{method} {path}: {answer:?}");
            // What may change something is noted, with what became of it; SQL is not.
            let last = node.notes.lock().unwrap().drain(..).next_back();
            let path_asked = asks.split('?').next().unwrap();
            let expected = format!("the admin (admin): {method} {path_asked}: {} {}", answer.0, answer.1);
            let is_noted = *method != "GET" && !path.ends_with("/query") && !path.ends_with("/execute");
            assert_eq!(last, is_noted.then_some(expected));
        }
        assert_eq!(takes, role, "{method} {path}");
    }
    for wrong in [Some("else"), Some("")] {
        assert_eq!(asked(&router, "GET", "/v1/status", wrong).await, (401, "BL-API-010".to_owned()));
    }
}

/// Like [`asked`], in the words that clients of microcluster read: the status, what sort of answer, and its text.
async fn asked_as_microcluster(router: &Router, method: &str, path: &str, token: &str) -> (u16, String, String) {
    let request = Request::builder().method(method).uri(path).header("authorization", format!("Bearer {token}"));
    let mut request = request.body(Body::empty()).unwrap();
    request.extensions_mut().insert(Peer::Stranger(None));
    let answer = TowerToHyperService::new(router.clone()).call(request).await.unwrap();
    let status = answer.status().as_u16();
    let body = axum::body::to_bytes(answer.into_body(), 1 << 20).await.unwrap();
    let envelope: serde_json::Value = serde_json::from_slice(&body).unwrap();
    let text = |name: &str| envelope[name].as_str().unwrap().to_owned();
    (status, text("type"), text("error"))
}

#[tokio::test]
async fn whatever_goes_wrong_under_core_is_told_in_its_envelope() {
    let (states, _) = watch::channel(NodeState::Unformed);
    let node = Arc::new(Node { state: states.clone(), files: Mutex::default(), notes: Mutex::default() });
    let router = router(node);
    // Clients take this status for "not set up yet", and offer to do it.
    let unformed = asked_as_microcluster(&router, "GET", "/core/1.0/cluster", "viewer").await;
    assert!(unformed.0 == 503 && unformed.1 == "error" && unformed.2.contains("[BL-API-002]"), "{unformed:?}");
    let ready = asked_as_microcluster(&router, "GET", "/core/1.0/ready", "viewer").await;
    assert_eq!((ready.0, ready.1.as_str()), (200, "sync"));
    states.send_replace(NodeState::Starting);
    let starting = asked_as_microcluster(&router, "GET", "/core/1.0/ready", "viewer").await;
    assert!(starting.0 == 503 && starting.2.contains("[BL-API-001]"), "{starting:?}");
    states.send_replace(NodeState::Ready);
    for (method, path, token, status, code) in [
        ("GET", "/core/1.0/cluster", "nobody", 401, "BL-API-010"),
        ("POST", "/core/control/tokens", "operator", 403, "BL-API-011"),
        ("POST", "/core/control", "admin", 400, "BL-API-003"),
        ("PUT", "/core/1.0/cluster", "admin", 404, "BL-API-030"),
        ("PUT", "/core/1.0/daemon/servers", "admin", 404, "BL-API-030"),
        ("PUT", "/core/1.0/cluster/certificates/cluster", "admin", 404, "BL-API-030"),
        ("POST", "/core/internal/sql", "admin", 404, "BL-API-030"),
        ("GET", "/core/1.0/nothing", "admin", 404, "BL-API-030"),
    ] {
        let (answered, kind, text) = asked_as_microcluster(&router, method, path, token).await;
        assert_eq!((answered, kind.as_str()), (status, "error"), "{method} {path}: {text}");
        assert!(text.ends_with(&format!("[{code}]")) && text.contains(". Next: "), "{method} {path}: {text}");
    }
}

#[tokio::test]
async fn a_connection_that_is_upgraded_is_the_sessions_and_nobody_gets_more_than_is_theirs() {
    use crate::control::access::AccessRole::{Admin, Viewer};
    use crate::control::sql::{Passage, SessionAt};
    with_node(NodeState::Ready, async |client, _| {
        let mut sql = client.sql().await.unwrap();
        let mut said = String::new();
        tokio::io::AsyncReadExt::read_to_string(&mut sql.stream, &mut said).await.unwrap();
        assert_eq!(
            (sql.node.as_str(), said.as_str()),
            (
                "box1",
                &*format!("{:?}", SessionWanted { at: SessionAt::Leader, role: Admin, passage: Passage::Straight })
            )
        );
        let less = SessionWanted { at: SessionAt::Here, role: Viewer, passage: Passage::PassedOn };
        let mut sql = client.sql_session(less).await.unwrap();
        said.clear();
        tokio::io::AsyncReadExt::read_to_string(&mut sql.stream, &mut said).await.unwrap();
        assert_eq!(said, format!("{less:?}"));
        let (status, refused) = say(&client, "GET /v1/sql").await;
        assert!(status == 400 && refused.contains("BL-API-037"), "{refused}");
        let (status, refused) = say(&client, "GET /v1/sql?role=emperor").await;
        assert!(status == 400 && refused.contains("BL-API-003"), "{refused}");
    })
    .await;
}

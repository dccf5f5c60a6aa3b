//! The control API from end to end: client, HTTP on a Unix socket, routes, and a node that keeps its databases in memory.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test says what is wrong by panicking"
)]

use api::control::metrics::Metrics;
use api::control::sql::{SqlDone, SqlRows};
use api::control::{
    ByteStream, Client, ClientError, Control, Created, DatabaseCheck, DatabaseContents, DatabaseInfo, DatabaseRequest,
    Dropped, Export, Formed, InitRequest, JoinRequest, NodeInfo, NodeState, PAGES, Parted, Problem, ProblemKind,
    Readiness, Reboot, Status, TokenInfo, TokenIssued, TokenRequest, router, serve,
};
use base::{DbName, NodeId};
use bytes::Bytes;
use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt};
use rt::sync::watch;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use store::{Command, SessionOptions, WriteId};

/// Enough of a node to have something to ask: what it is asked is what is tested here, not what it does.
struct Node {
    state: watch::Sender<NodeState>,
    files: Mutex<BTreeMap<DbName, Bytes>>,
}

impl Node {
    fn info(&self, name: &DbName) -> Result<DatabaseInfo, Problem> {
        let files = self.files.lock().unwrap();
        let file =
            files.get(name).ok_or_else(|| Problem::new(&PAGES[2], ProblemKind::NotFound, format!("no {name}")))?;
        Ok(DatabaseInfo { name: name.clone(), bytes: file.len() as u64, version: 1, leader: None, copies: 1 })
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
            databases: 0,
            database_bytes: 0,
            log_bytes: 0,
            troubles: vec![],
            units: vec![],
        }))
    }
    fn metrics(&self) -> BoxFuture<'_, Metrics> {
        std::future::ready(Metrics::default()).boxed()
    }
    fn nodes(&self) -> BoxFuture<'_, Result<Vec<NodeInfo>, Problem>> {
        ready(Ok(vec![]))
    }
    fn node_remove(&self, name: &str, _: bool) -> BoxFuture<'_, Result<Parted, Problem>> {
        ready(refused(&format!("asked for {name:?}")))
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
    let node = Arc::new(Node { state: states.clone(), files: Mutex::default() });
    let served = serve(listener, router(node), async move {
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
        states.send_replace(NodeState::Ready);
        assert!(client.databases().await.unwrap().is_empty());
    })
    .await;
}

#[tokio::test]
async fn a_drop_that_was_not_confirmed_says_what_would_be_lost() {
    with_node(NodeState::Ready, async |client, _| {
        client.db_create(&shop()).await.unwrap();
        let mut stream = rt::net::Stream::connect_unix(client.socket()).await.unwrap();
        let request = b"DELETE /v1/databases/shop HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
        tokio::io::AsyncWriteExt::write_all(&mut stream, request).await.unwrap();
        let mut answer = String::new();
        tokio::io::AsyncReadExt::read_to_string(&mut stream, &mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 412 "), "{answer}");
        assert!(answer.contains("BL-API-004") && answer.contains("7 rows, 0 bytes would be lost"), "{answer}");
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
        let request = JoinRequest { token: "bl1.x".into(), name: None, address: None, dqlite_address: None };
        assert!(matches!(client.join(&request).await, Err(ClientError::Broken { .. })));
        assert!(client.status().await.is_ok());
    })
    .await;
}

#[tokio::test]
async fn a_request_that_is_not_answered_ends_at_its_deadline() {
    with_node(NodeState::Ready, async |client, _| {
        let hasty = Client::new(client.socket(), Duration::from_millis(50));
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

//! What a client hears for what it says.

use super::fake::{Answer, Client, Fake, OPEN, connect};
use crate::dqlite::backend::Change;
use crate::dqlite::connection::Rights;
use ::dqlite::{ClientEvent, ClusterFormat, Params, Request, ResponseKind, Tail, Value, ValueRef};
use base::{NodeId, Role};
use lifecycle::Scope;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::io::DuplexStream;

struct Talk {
    backend: Fake,
    scope: Scope,
    client: Client<DuplexStream>,
}

fn talk() -> Talk {
    let backend = Fake::default();
    let scope = Scope::new("test");
    let client = connect(&backend, Rights::Admin, &scope);
    Talk { backend, scope, client }
}

fn failure(code: u64, message: &str) -> Answer {
    Answer::Failure(code, message.to_owned())
}

fn kind(answer: &Answer) -> ResponseKind {
    match answer {
        Answer::Failure(..) => ResponseKind::Failure,
        Answer::Rows { .. } => ResponseKind::Rows,
        Answer::Other(kind, _) => *kind,
    }
}

#[tokio::test]
async fn a_client_finds_the_leader_opens_and_works() {
    let Talk { mut client, backend, scope: _scope } = talk();
    assert_eq!(kind(&client.ask(&Request::Leader).await), ResponseKind::Server);
    assert_eq!(kind(&client.ask(&Request::Client { id: 0 }).await), ResponseKind::Welcome);
    assert_eq!(client.exec("write").await, failure(12, "no database opened"));
    assert_eq!(client.query("rows 1").await, failure(12, "no database opened"));
    let open = Request::Open { name: "t?read=local", flags: 1, vfs: "volatile" };
    assert_eq!(kind(&client.ask(&open).await), ResponseKind::Db);
    assert_eq!(*backend.0.opened.lock().unwrap(), [("t?read=local".to_owned(), 1)]);
    assert_eq!(client.ask(&OPEN).await, failure(5, "a database for this connection is already open"));
    let Answer::Other(ResponseKind::Result, frame) = client.exec("write").await else { panic!() };
    assert_eq!(frame.body[..8], (-1i64).to_le_bytes(), "a rowid keeps its sign");
}

#[tokio::test]
async fn a_refused_open_leaves_the_connection_usable() {
    let Talk { mut client, scope: _scope, .. } = talk();
    let elsewhere = Request::Open { name: "elsewhere", flags: 0, vfs: "" };
    assert_eq!(client.ask(&elsewhere).await, failure(10250, "not leader"));
    client.open().await;
}

#[tokio::test]
async fn statements_are_prepared_run_and_forgotten() {
    let Talk { mut client, scope: _scope, .. } = talk();
    client.open().await;
    let prepare = |sql, tail| Request::Prepare { db: 0, sql, tail };
    assert_eq!(client.ask(&prepare("", Tail::Refused)).await, failure(0, "empty statement"));
    assert_eq!(client.ask(&prepare(" -- nothing", Tail::Refused)).await, failure(0, "empty statement"));
    assert_eq!(client.ask(&prepare("a; b", Tail::Refused)).await, failure(1, "nonempty statement tail"));
    let Answer::Other(ResponseKind::Statement, frame) = client.ask(&prepare("params ? ?", Tail::Refused)).await else {
        panic!()
    };
    assert_eq!((frame.header.schema, frame.body[8]), (0, 2), "two parameters");
    let stmt = u32::from(frame.body[4]);
    let values = [ValueRef::Integer(1), ValueRef::Text(b"x")];
    let answer = client.ask(&Request::Query { db: 0, stmt, params: Params::new(&values) }).await;
    let rows = vec![vec![Value::Integer(1), Value::text("x")]];
    assert_eq!(answer, Answer::Rows { columns: 2, rows, parts: 1 });
    assert_eq!(kind(&client.ask(&Request::Exec { db: 0, stmt, params: Params::NONE }).await), ResponseKind::Result);
    assert_eq!(kind(&client.ask(&Request::Finalize { db: 0, stmt }).await), ResponseKind::Empty);
    let again = Request::Exec { db: 0, stmt, params: Params::NONE };
    assert_eq!(client.ask(&again).await, failure(12, "no statement with the given id"));
}

#[tokio::test]
async fn a_comment_is_no_tail_and_schema_1_tells_where_the_tail_is() {
    let Talk { mut client, scope: _scope, .. } = talk();
    client.open().await;
    let comment = Request::Prepare { db: 0, sql: "a; -- done", tail: Tail::Refused };
    assert_eq!(kind(&client.ask(&comment).await), ResponseKind::Statement);
    let two = Request::Prepare { db: 0, sql: "a; b", tail: Tail::Reported };
    let Answer::Other(ResponseKind::Statement, frame) = client.ask(&two).await else { panic!() };
    assert_eq!((frame.header.schema, frame.body[16]), (1, 2));
}

#[tokio::test]
async fn long_results_come_in_parts_and_in_order() {
    let Talk { mut client, scope: _scope, .. } = talk();
    client.open().await;
    for count in [0u32, 1, 100, 20_000] {
        let Answer::Rows { rows, parts, .. } = client.query(&format!("rows {count}")).await else { panic!() };
        let expected: Vec<_> = (0..count).rev().map(|n| vec![Value::Integer(n.into()), Value::text("row")]).collect();
        assert_eq!(rows, expected);
        assert_eq!(parts > 100, count == 20_000, "{parts} parts");
    }
}

#[tokio::test]
async fn an_interrupt_while_rows_stream_is_answered_once_and_the_connection_goes_on() {
    let Talk { mut client, scope: _scope, .. } = talk();
    client.open().await;
    for _ in 0..3 {
        client.send(&Request::QuerySql { db: 0, sql: "rows 1000000", params: Params::NONE }).await;
        assert!(matches!(client.event().await, Some(ClientEvent::Part(_))));
        client.send(&Request::Interrupt { db: 0 }).await;
        assert_eq!(client.event().await, Some(ClientEvent::Interrupted));
        assert_eq!(kind(&client.exec("write").await), ResponseKind::Result);
    }
}

#[tokio::test]
async fn an_interrupt_stops_what_hangs() {
    let Talk { mut client, backend, scope: _scope } = talk();
    client.open().await;
    for request in [
        Request::QuerySql { db: 0, sql: "hang rows", params: Params::NONE },
        Request::ExecSql { db: 0, sql: "hang", params: Params::NONE },
    ] {
        client.send(&request).await;
        client.send(&Request::Interrupt { db: 0 }).await;
        assert_eq!(client.event().await, Some(ClientEvent::Interrupted));
        assert_eq!(kind(&client.exec("write").await), ResponseKind::Result);
    }
    assert!(backend.0.interrupts.load(Ordering::SeqCst) >= 2);
}

#[tokio::test]
async fn an_interrupt_of_nothing_is_answered_once() {
    let Talk { mut client, scope: _scope, .. } = talk();
    client.send(&Request::Interrupt { db: 0 }).await;
    assert_eq!(client.event().await, Some(ClientEvent::Interrupted));
    assert_eq!(kind(&client.ask(&Request::Leader).await), ResponseKind::Server);
}

#[tokio::test]
async fn a_failure_half_way_takes_the_place_of_the_last_part() {
    let Talk { mut client, scope: _scope, .. } = talk();
    client.open().await;
    assert_eq!(client.query("fail 3").await, failure(1, "failed half-way"));
    assert_eq!(client.query("fail 2000").await, failure(1, "failed half-way"));
    assert_eq!(kind(&client.query("rows 1").await), ResponseKind::Rows);
}

#[tokio::test]
async fn a_client_that_leaves_stops_its_statement() {
    let Talk { mut client, backend, scope } = talk();
    client.open().await;
    client.send(&Request::ExecSql { db: 0, sql: "hang", params: Params::NONE }).await;
    drop(client);
    rt::time::timeout(Duration::from_secs(5), scope.idle()).await.unwrap();
    assert!(backend.0.interrupts.load(Ordering::SeqCst) >= 1);
    assert_eq!(backend.0.sessions.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn an_idle_transaction_is_ended() {
    let Talk { mut client, backend: _, scope } = talk();
    client.open().await;
    client.exec("begin idle").await;
    // The stop waits for the transaction, and nobody but the idle limit ends it.
    scope.cancel();
    assert_eq!(client.event().await, None);
}

#[tokio::test]
async fn a_stop_lets_idle_clients_go_and_waits_for_transactions() {
    let Talk { client: mut idle, backend, scope } = talk();
    let mut busy = connect(&backend, Rights::Admin, &scope);
    idle.open().await;
    busy.open().await;
    busy.exec("begin").await;
    scope.cancel();
    assert_eq!(idle.event().await, None);
    assert_eq!(kind(&busy.exec("write").await), ResponseKind::Result);
    assert_eq!(kind(&busy.exec("commit").await), ResponseKind::Result);
    assert_eq!(busy.event().await, None);
    rt::time::timeout(Duration::from_secs(5), scope.idle()).await.unwrap();
}

#[tokio::test]
async fn unreadable_requests_are_refused_and_the_connection_goes_on() {
    let Talk { mut client, scope: _scope, .. } = talk();
    client.open().await;
    for (kind, schema, words) in [(99u8, 0u8, 1u32), (8, 2, 1), (8, 0, 0), (3, 0, 1), (2, 0, 1)] {
        let Answer::Failure(code, message) = client.ask_raw(kind, schema, words).await else { panic!("type {kind}") };
        assert_eq!(code, 1005, "{message}");
    }
}

#[tokio::test]
async fn membership_requests_reach_the_backend() {
    let Talk { mut client, backend, scope: _scope } = talk();
    let requests = [
        Request::Add { id: 2, address: "b:1" },
        Request::Promote { id: 2 },
        Request::Assign { id: 2, role: 1 },
        Request::Remove { id: 2 },
        Request::Transfer { id: 0 },
        Request::Transfer { id: 2 },
        Request::Weight { weight: 9 },
    ];
    for request in &requests {
        assert_eq!(kind(&client.ask(request).await), ResponseKind::Empty, "{request:?}");
    }
    let id = NodeId(2);
    assert_eq!(
        *backend.0.changes.lock().unwrap(),
        [
            Change::Add { id, address: "b:1".to_owned() },
            Change::Assign { id, role: Role::Voter },
            Change::Assign { id, role: Role::StandBy },
            Change::Remove { id },
            Change::Transfer { to: None },
            Change::Transfer { to: Some(id) },
            Change::Weight { weight: 9 },
        ]
    );
    assert_eq!(client.ask(&Request::Assign { id: 2, role: 3 }).await, failure(1, "no role has the number 3"));
    assert_eq!(kind(&client.ask(&Request::Cluster { format: ClusterFormat::Addresses }).await), ResponseKind::Servers);
    assert_eq!(kind(&client.ask(&Request::Describe { format: 0 }).await), ResponseKind::Metadata);
    assert_eq!(client.ask(&Request::Describe { format: 1 }).await, failure(1005, "bad format version"));
    assert_eq!(kind(&client.ask(&Request::Dump { name: "t" }).await), ResponseKind::Files);
    assert_eq!(client.ask(&Request::Dump { name: "none" }).await, failure(12, "no such database"));
}

#[tokio::test]
async fn without_a_members_certificate_nothing_of_the_cluster_can_be_changed_or_taken() {
    let backend = Fake::default();
    let scope = Scope::new("test");
    let mut client = connect(&backend, Rights::Client, &scope);
    for request in [
        Request::Add { id: 2, address: "b:1" },
        Request::Promote { id: 2 },
        Request::Remove { id: 2 },
        Request::Transfer { id: 0 },
        Request::Weight { weight: 9 },
        Request::Dump { name: "t" },
    ] {
        assert!(matches!(client.ask(&request).await, Answer::Failure(23, _)), "{request:?}");
    }
    assert!(backend.0.changes.lock().unwrap().is_empty());
    client.open().await;
    assert_eq!(kind(&client.exec("write").await), ResponseKind::Result);
    assert_eq!(kind(&client.ask(&Request::Cluster { format: ClusterFormat::Roles }).await), ResponseKind::Servers);
}

#[tokio::test]
async fn raft_peers_of_dqlite_are_told_no() {
    let Talk { mut client, scope: _scope, .. } = talk();
    assert!(matches!(client.ask(&Request::Connect { id: 1, address: "a:1" }).await, Answer::Failure(1001, _)));
    assert_eq!(client.event().await, None);
}

#[tokio::test]
async fn an_oversized_request_is_refused_and_the_connection_closed() {
    let Talk { mut client, scope: _scope, .. } = talk();
    let long = "x".repeat(2 << 20);
    let writer = async {
        client.send_ignoring_errors(&Request::ExecSql { db: 0, sql: &long, params: Params::NONE }).await;
        client.answer().await
    };
    assert!(matches!(writer.await, Answer::Failure(1001, _)));
    assert_eq!(client.event().await, None);
}
